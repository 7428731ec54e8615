package main

import (
	"context"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/workdir/workdir/activity/inuse"
	"github.com/workdir/workdir/internal/printable"
	"github.com/workdir/workdir/mount"
	"github.com/workdir/workdir/store"
)

// pruneFlags select what is removed.
type pruneFlags struct {
	olderThan age
	last      uint
	versions  keepFlags
	recursive bool
	dryRun    bool
	temporal  string // address of a server; "": none is asked
	namespace string
}

func (a *app) pruneCommand() *cobra.Command {
	var f pruneFlags
	cmd := &cobra.Command{
		Use:   "prune [flags] PREFIX-URL",
		Short: "Remove old workspaces and versions",
		Long: `prune removes the workspaces beneath a prefix that were not stored for the time that
--older-than says, and their versions and checkpoints; the last N of them stay with
--keep-last, however old, and so do those that are mounted on this host, by this user.
Checkpoints as old go from the workspaces that stay, too. With --versions-last and
--versions-for it removes the other versions of the workspaces that stay.

With --temporal those stay too that a workflow has committed to which is open, or closed and
within its retention, so that it can still be reset; each line says why.

Each is removed on the condition that it is what was judged: one that is committed to meanwhile
stays. --dry-run says what would go. If there is no workspace the exit code is 101.`,
		Example: `  workdir-mount prune --older-than 30d --dry-run s3://bucket/jobs
  workdir-mount prune -r --older-than 30d --keep-last 10 --versions-last 5 s3://bucket/jobs`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			given := cmd.Flags().Changed("versions-last") || cmd.Flags().Changed("versions-for")
			if f.olderThan == 0 && !given {
				return badFlag("--older-than", "is missing: say how old what goes is, such as 30d; or which versions stay, with --versions-last or --versions-for")
			}
			if f.namespace != "" && f.temporal == "" {
				return badFlag("--namespace", "is for --temporal, which names the server that is asked")
			}
			return changing(func(ctx context.Context) error { return a.prune(ctx, args[0], &f, given) })
		},
	}
	flags := cmd.Flags()
	flags.Var(&f.olderThan, "older-than", "remove workspaces that were not stored for so long, such as 30d")
	flags.UintVar(&f.last, "keep-last", 0, "keep the `N` workspaces that were stored last, however old")
	flags.UintVar(&f.versions.Last, "versions-last", 0, "keep the last `N` versions of each workspace that stays")
	flags.Var(&f.versions.For, "versions-for", "keep the versions that were replaced no longer ago, such as 30d")
	flags.BoolVarP(&f.recursive, "recursive", "r", false, "all that is beneath the prefix")
	flags.StringVar(&f.temporal, "temporal", "", "keep what belongs to workflows that are open or within retention, as the Temporal server at `ADDRESS` (host:port, without TLS) says")
	flags.StringVar(&f.namespace, "namespace", "", "with --temporal, ask about workflows of `NAMESPACE` alone, and keep what belongs to others (default: all that the logs name)")
	flags.BoolVarP(&f.dryRun, "dry-run", "n", false, "remove nothing, and say what would go")
	return cmd
}

// prunedWorkspace is a workspace in the output of prune --json.
type prunedWorkspace struct {
	Name         string    `json:"name"`
	URL          string    `json:"url"`
	Removed      bool      `json:"deleted"`
	Why          string    `json:"why"`
	Size         int64     `json:"size"` // of the archive
	ModTime      time.Time `json:"modTime"`
	Versions     int       `json:"versions"`     // that were removed
	VersionBytes int64     `json:"versionBytes"` // of them

	Checkpoints     int   `json:"checkpoints"`     // that were removed
	CheckpointBytes int64 `json:"checkpointBytes"` // of them
}

// pruned is the output of prune --json.
type pruned struct {
	DryRun     bool              `json:"dryRun,omitempty"`
	Workspaces []prunedWorkspace `json:"workspaces"`
}

func newPruned(p *store.Pruned) prunedWorkspace {
	out := prunedWorkspace{
		Name: p.Name, URL: p.URL.Redacted(), Removed: p.Removed, Why: p.Why,
		Size: p.Size, ModTime: p.ModTime.UTC(), Versions: len(p.Dropped),
	}
	for _, v := range p.Dropped {
		out.VersionBytes += v.Size
	}
	out.Checkpoints = len(p.Cleared)
	for _, c := range p.Cleared {
		out.CheckpointBytes += c.Size
	}
	return out
}

func (a *app) prune(ctx context.Context, url string, f *pruneFlags, versions bool) error {
	spare := a.mountedHere
	if f.temporal != "" {
		server, err := inuse.Dial(ctx, f.temporal, f.namespace)
		if err != nil {
			return fmt.Errorf("prune %s: %w", store.Redacted(url), err)
		}
		defer server.Close()
		spare = firstReason(a.mountedHere, server.Spare)
	}
	opts := &store.PruneOptions{
		OlderThan: time.Duration(f.olderThan), KeepLast: int(min(f.last, 1<<30)),
		Recursive: f.recursive, DryRun: f.dryRun, Spare: spare,
	}
	if versions {
		keep := f.versions.keep()
		opts.Versions = &keep
	}
	found, err := store.Prune(ctx, url, opts)
	out := pruned{DryRun: f.dryRun, Workspaces: make([]prunedWorkspace, 0, len(found))}
	for i := range found {
		out.Workspaces = append(out.Workspaces, newPruned(&found[i]))
	}
	var perr error
	if a.json && found != nil {
		perr = printJSON(a.stdout, out)
	} else {
		perr = a.printPruned(&out)
	}
	if err != nil {
		return err
	}
	return perr
}

func (a *app) printPruned(out *pruned) error {
	if a.quiet {
		return nil
	}
	word := "removed"
	if out.DryRun {
		word = "would remove"
	}
	var bytes int64
	n := 0
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	for _, p := range out.Workspaces {
		what := "kept"
		if p.Removed {
			what = word
			bytes += p.Size
			n++
		}
		bytes += p.VersionBytes + p.CheckpointBytes
		extra := ""
		if p.Versions > 0 {
			extra = fmt.Sprintf("; %s %d versions, %s", word, p.Versions, printable.Bytes(p.VersionBytes))
		}
		if p.Checkpoints > 0 {
			extra += fmt.Sprintf("; %s %d checkpoints, %s", word, p.Checkpoints, printable.Bytes(p.CheckpointBytes))
		}
		fmt.Fprintf(w, "%s\t%s\t%s%s\n", what, printable.Name(p.Name), p.Why, extra)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return a.say("%s %d of %d workspaces, %s", word, n, len(out.Workspaces), printable.Bytes(bytes))
}

// firstReason returns the first reason to keep a workspace.
func firstReason(spares ...func(context.Context, *store.Usage) (string, error)) func(context.Context, *store.Usage) (string, error) {
	return func(ctx context.Context, u *store.Usage) (why string, err error) {
		for _, spare := range spares {
			if why, err = spare(ctx, u); why != "" || err != nil {
				break
			}
		}
		return why, err
	}
}

// mountedHere returns where on this host a workspace is mounted writable.
func (a *app) mountedHere(ctx context.Context, u *store.Usage) (string, error) {
	mounts, err := mount.List(ctx, a.runDir)
	if err != nil {
		return "", err
	}
	for _, m := range mounts {
		if m.URL == u.URL.Redacted() && !m.ReadOnly {
			return "it is mounted at " + m.Path, nil
		}
	}
	return "", nil
}

func (a *app) duCommand() *cobra.Command {
	var recursive bool
	cmd := &cobra.Command{
		Use:   "du [flags] PREFIX-URL",
		Short: "Show what workspaces and their versions take",
		Long: `du shows the size of the archive of each workspace beneath a prefix, how many versions and
checkpoints of it are kept and what they take, and the sum. In a directory a version that is another name of
the present archive takes nothing yet, and is counted all the same.`,
		Example: `  workdir-mount du -r s3://bucket`,
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return untilSignal(func(ctx context.Context) error { return a.du(ctx, args[0], recursive) })
		},
	}
	cmd.Flags().BoolVarP(&recursive, "recursive", "r", false, "all that is beneath the prefix")
	return cmd
}

// usedBy is a workspace in the output of du --json.
type usedBy struct {
	Name         string `json:"name"`
	URL          string `json:"url"`
	Size         int64  `json:"size"`
	Versions     int    `json:"versions"`
	VersionBytes int64  `json:"versionBytes"`

	Checkpoints     int   `json:"checkpoints"`
	CheckpointBytes int64 `json:"checkpointBytes"`

	Gone bool `json:"gone,omitempty"` // only versions and checkpoints are left
}

// used is the output of du --json.
type used struct {
	Workspaces []usedBy `json:"workspaces"`
	Bytes      int64    `json:"bytes"` // of all
}

func (a *app) du(ctx context.Context, url string, recursive bool) error {
	found, err := store.UsageOf(ctx, url, recursive)
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("du %s: %w beneath it", store.Redacted(url), store.ErrNotExist)
	}
	if err != nil {
		return err
	}
	out := used{Workspaces: make([]usedBy, 0, len(found))}
	for i := range found {
		u := &found[i]
		by := usedBy{u.Name, u.URL.Redacted(), u.Size, len(u.Versions), u.VersionBytes(), len(u.Checkpoints), u.CheckpointBytes(), u.Gone}
		out.Workspaces = append(out.Workspaces, by)
		out.Bytes += by.Size + by.VersionBytes + by.CheckpointBytes
	}
	if a.json {
		return printJSON(a.stdout, out)
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, by := range out.Workspaces {
		versions := "-"
		if by.Versions > 0 {
			versions = fmt.Sprintf("%d versions, %s", by.Versions, printable.Bytes(by.VersionBytes))
		}
		if by.Checkpoints > 0 {
			versions = strings.TrimPrefix(versions+", ", "-, ") + fmt.Sprintf("%d checkpoints, %s", by.Checkpoints, printable.Bytes(by.CheckpointBytes))
		}
		gone := ""
		if by.Gone {
			gone = " (removed)"
		}
		fmt.Fprintf(w, "%s\t%s\t  %s%s\n", printable.Bytes(by.Size), versions, printable.Name(by.Name), gone)
	}
	fmt.Fprintf(w, "%s\t\t  in all\n", printable.Bytes(out.Bytes))
	return w.Flush()
}
