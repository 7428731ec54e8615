package main

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/workdir/workdir/internal/printable"
	"github.com/workdir/workdir/mount"
	"github.com/workdir/workdir/store"
)

// find returns the mount that contains a path.
func (a *app) find(ctx context.Context, path string) (*mount.Remote, error) {
	a.cleanUp(ctx)
	return mount.Find(ctx, path, a.runDir)
}

// cleanUp removes leftovers of killed processes. Its errors are not fatal.
func (a *app) cleanUp(ctx context.Context) {
	if err := mount.CleanUp(ctx, a.runDir); err != nil {
		a.log.Warn("leftovers of killed processes could not be removed", "cause", err)
	}
}

func (a *app) commitCommand() *cobra.Command {
	var message string
	cmd := &cobra.Command{
		Use:   "commit [flags] DIR",
		Short: "Mark a mounted workspace to be stored when it is unmounted",
		Long: `commit marks the workspace that DIR is in. It writes nothing itself: the
workspace is stored as it is when it is unmounted.`,
		Example: `  workdir-mount commit /mnt/job-1
  workdir-mount commit -m 'prices of November' /mnt/job-1`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := checkMessage(message); err != nil {
				return err
			}
			return a.onMount(func(r *mount.Remote, ctx context.Context) error { return r.CommitWith(ctx, message) })(cmd, args)
		},
	}
	cmd.Flags().StringVarP(&message, "message", "m", "", "what the log is to say of the commit")
	return cmd
}

func (a *app) abandonCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "abandon DIR",
		Short: "Make sure that a mounted workspace is not stored",
		Long: `abandon takes back the mark of workdir-mount commit, for good: whatever is done in
the mount that DIR is in, nothing of it is stored.`,
		Example: `  workdir-mount abandon /mnt/job-1`,
		Args:    cobra.ExactArgs(1),
		RunE:    a.onMount((*mount.Remote).Abandon),
	}
}

// onMount is a command with one operation on a mount.
func (a *app) onMount(do func(*mount.Remote, context.Context) error) func(*cobra.Command, []string) error {
	return func(_ *cobra.Command, args []string) error {
		return untilSignal(func(ctx context.Context) error {
			r, err := a.find(ctx, args[0])
			if err != nil {
				return err
			}
			if err := do(r, ctx); err != nil || !a.json {
				return err
			}
			return a.printStatus(ctx, r)
		})
	}
}

// umountFlags say what to do with the work.
type umountFlags struct {
	commit  bool
	discard bool
	to      string
}

func (f *umountFlags) check() error {
	switch {
	case f.commit && f.discard:
		return badFlag("--commit", "does not go with --discard")
	case f.to != "" && (f.commit || f.discard):
		return badFlag("--to", "says what becomes of the work; leave --commit and --discard out")
	}
	return nil
}

func (a *app) umountCommand() *cobra.Command {
	var f umountFlags
	cmd := &cobra.Command{
		Use:     "umount [flags] DIR...",
		Aliases: []string{"unmount"},
		Short:   "Unmount workspaces, and store those that were marked",
		Long: `umount ends the mount at DIR, waits until its changes are stored if workdir-mount commit
has marked it, and says what it stored or discarded. If there are changes and it is not marked,
umount wants to be told what becomes of them: --commit stores them, --discard does not, and
--to stores them as another workspace. It fails if storing failed. A mount that is still in use
stays, and can be unmounted again.

Of several it unmounts one after the other. If some fail it goes on with the others, and
the exit code is that of the first that failed.`,
		Example: `  workdir-mount umount /mnt/job-1
  workdir-mount umount --discard /mnt/*
  workdir-mount umount --to s3://bucket/jobs/job-1-mine /mnt/job-1`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := f.check(); err != nil {
				return err
			}
			return untilSignal(func(ctx context.Context) error { return a.umountAll(ctx, args, &f) })
		},
	}
	cmd.Flags().BoolVar(&f.commit, "commit", false, "store the changes, as workdir-mount commit before it does")
	cmd.Flags().BoolVar(&f.discard, "discard", false, "store nothing")
	cmd.Flags().StringVar(&f.to, "to", "", "store the work as the workspace `URL`, which must not exist, and nothing in its own")
	return cmd
}

// umountAll unmounts several mounts in turn. It prints their errors at once, and returns the
// exit code of the first.
func (a *app) umountAll(ctx context.Context, dirs []string, f *umountFlags) error {
	var first error
	for _, dir := range dirs {
		err := a.umount(ctx, dir, f)
		if len(dirs) == 1 || ctx.Err() != nil {
			return err
		}
		a.printError(err)
		if first == nil && err != nil {
			first = &statusError{code: exitCode(err)}
		}
	}
	return first
}

// decide marks or abandons a mount according to the flags, or asks the user if neither has
// been decided.
func (f *umountFlags) decide(ctx context.Context, r *mount.Remote, status *mount.Status) error {
	switch {
	case f.commit:
		return r.Commit(ctx)
	case f.discard:
		return r.Abandon(ctx)
	case f.to != "", status.Marked, status.Abandoned, status.ReadOnly, status.State != "mounted", status.Changes.Total() == 0:
		return nil
	}
	return &statusError{code: exitUsage, err: fmt.Errorf("umount %s: %s and not committed; store the work with --commit, or as another workspace with --to, or drop it with --discard",
		status.Path, changedFiles(status.Changes))}
}

func (a *app) umount(ctx context.Context, dir string, f *umountFlags) error {
	r, err := a.find(ctx, dir)
	if err != nil {
		return err
	}
	status, err := r.Status(ctx)
	if err != nil {
		return err
	}
	if !isPlace(dir, status.Path) {
		return &statusError{code: exitUsage, err: fmt.Errorf("umount %s: it is not a mountpoint, but in the mount at %s", dir, status.Path)}
	}
	if err := f.decide(ctx, r, &status); err != nil {
		return err
	}
	result, err := a.closeRemote(ctx, r, f.to)
	for _, text := range result.Warnings {
		a.log.Warn(text)
	}
	if err != nil {
		return err
	}
	if a.json {
		return printJSON(a.stdout, newClosedMount(status.URL, status.Path, result))
	}
	if !a.quiet {
		return printText(a.stdout, outcome(result)+"\n")
	}
	return nil
}

// isPlace reports whether a path, which may be a symbolic link, is that of a mountpoint.
func isPlace(path, mountpoint string) bool {
	abs, err := filepath.Abs(path)
	if err != nil || abs == mountpoint {
		return err == nil
	}
	real, err := filepath.EvalSymlinks(abs)
	return err == nil && real == mountpoint
}

func (a *app) closeRemote(ctx context.Context, r *mount.Remote, to string) (mount.Result, error) {
	bar := a.newProgress()
	defer bar.finish()
	if to != "" {
		return r.CloseTo(ctx, strings.TrimSuffix(to, ".tar.gz"), bar.update)
	}
	return r.Close(ctx, bar.update)
}

func (a *app) statusCommand() *cobra.Command {
	changes := false
	cmd := &cobra.Command{
		Use:   "status [DIR]",
		Short: "Show mounted workspaces",
		Long: `status shows the mount that DIR is in, or all mounts of this user that
belong to the run directory. With --changes it lists what has been created, modified,
removed and moved in the mount so far, while work goes on.`,
		Example: `  workdir-mount status
  workdir-mount status --json /mnt/job-1
  workdir-mount status --changes /mnt/job-1`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			if changes && len(args) == 0 {
				return badFlag("--changes", "is for one mount: name its directory")
			}
			return untilSignal(func(ctx context.Context) error {
				if len(args) == 0 {
					return a.statusOfAll(ctx)
				}
				r, err := a.find(ctx, args[0])
				switch {
				case err != nil:
					return err
				case changes:
					return a.toStdout(ctx, func(w io.Writer) error { return a.printChanges(w, r.Changes(ctx)) })
				}
				return a.printStatus(ctx, r)
			})
		},
	}
	cmd.Flags().BoolVar(&changes, "changes", false, "list the paths that are different, with their kinds and sizes")
	return cmd
}

// printChanges prints the changes of a mount as they come.
func (a *app) printChanges(w io.Writer, changes iter.Seq2[mount.Change, error]) error {
	out := bufio.NewWriter(w) // it keeps its first error
	if a.json {
		return printJSONArray(out, changes)
	}
	for c, err := range changes {
		if err != nil {
			return errors.Join(err, out.Flush())
		}
		size := ""
		if c.Kind == "file" {
			size = printable.Bytes(c.Size)
		}
		path := printable.Name(cmp.Or(c.Path, "."))
		if c.From != "" {
			path = printable.Name(c.From) + " -> " + path
		}
		if _, err := fmt.Fprintf(out, "%-8s  %-9s  %9s  %s\n", c.Change, c.Kind, size, path); err != nil {
			return err
		}
	}
	return out.Flush()
}

func (a *app) printStatus(ctx context.Context, r *mount.Remote) error {
	status, err := r.Status(ctx)
	if err != nil {
		return err
	}
	if a.json {
		return printJSON(a.stdout, status)
	}
	return a.printRows(rowsOf(status))
}

func (a *app) statusOfAll(ctx context.Context) error {
	a.cleanUp(ctx)
	mounts, err := mount.List(ctx, a.runDir) // an error may concern only some of them
	if a.json {
		return errors.Join(err, printJSON(a.stdout, mounts))
	}
	if len(mounts) == 0 {
		return err
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "DIR\tURL\tSTATE\tAT UNMOUNT\tCHANGES\tMEMORY")
	for _, m := range mounts {
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%d\t%s\n", printable.Name(m.Path), printable.Text(m.URL), m.State, atUnmount(m), m.Changes.Total(), printable.Bytes(m.Bytes))
	}
	return errors.Join(err, w.Flush())
}

// rowsOf describes one mount, one property per row.
func rowsOf(s mount.Status) [][2]string {
	revision := string(s.Revision)
	if revision == "" {
		revision = "none: the workspace has no archive"
	}
	return [][2]string{
		{"dir", printable.Name(s.Path)},
		{"url", s.URL},
		{"state", s.State},
		{"view", viewWord(s)},
		{"at unmount", atUnmount(s)},
		{"opened", s.Opened.Local().Format(time.DateTime)},
		{"revision", revision},
		{"archive", archiveWord(s.Base)},
		{"changes", fmt.Sprintf("%d created, %d modified, %d removed; %s", s.Changes.Created, s.Changes.Modified, s.Changes.Removed, printable.Bytes(s.Changes.Bytes))},
		{"memory", printable.Bytes(s.Bytes) + limitOf(s.MaxBytes > 0, printable.Bytes(s.MaxBytes))},
		{"files", fmt.Sprint(s.Inodes) + limitOf(s.MaxInodes > 0, fmt.Sprint(s.MaxInodes))},
		{"traffic", trafficWord(s.Traffic)},
		{"processes", fmt.Sprintf("client %d, server %d", s.ClientPID, s.ServerPID)},
	}
}

// viewWord names the view, and the reason why it is not the overlay.
func viewWord(s mount.Status) string {
	if s.ViewReason == "" {
		return string(s.View)
	}
	return fmt.Sprintf("%s: %s", s.View, s.ViewReason)
}

// archiveWord says how much of the archive no longer needs the store.
func archiveWord(b *mount.BaseStatus) string {
	if b == nil {
		return "none, or read whole"
	}
	return fmt.Sprintf("%s of %s are here", printable.Bytes(b.Here), printable.Bytes(b.Bytes))
}

// trafficWord summarises the network traffic.
func trafficWord(t store.Traffic) string {
	if t == nil {
		return "none: the store needs no network"
	}
	var all store.Requests
	for _, r := range t {
		all.Count += r.Count
		all.Retries += r.Retries
		all.Sent += r.Sent
		all.Received += r.Received
	}
	return fmt.Sprintf("%d requests, %d of them again; %s sent, %s received", all.Count, all.Retries, printable.Bytes(all.Sent), printable.Bytes(all.Received))
}

func limitOf(limited bool, limit string) string {
	if !limited {
		return ""
	}
	return " of " + limit
}

// atUnmount says what will happen to the changes at unmount.
func atUnmount(s mount.Status) string {
	switch {
	case s.State == mount.StateSilent:
		return "not known"
	case s.State == mount.StateLost:
		return "discard (its server is lost)"
	case s.ReadOnly:
		return "nothing (read-only)"
	case s.Abandoned:
		return "discard (abandoned)"
	case s.Marked:
		return "store"
	}
	return "discard (not committed)"
}
