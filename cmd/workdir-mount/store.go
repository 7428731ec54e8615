package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/workdir/workdir/internal/printable"
	"github.com/workdir/workdir/store"
)

// storedWorkspace is what ls and stat --json tell of one workspace.
type storedWorkspace struct {
	Name     string         `json:"name,omitempty"` // in a listing
	URL      string         `json:"url"`            // without secrets
	Size     int64          `json:"size"`
	ModTime  time.Time      `json:"modTime"`
	Revision store.Revision `json:"revision"`
}

func newStoredWorkspace(url string, info store.Info) storedWorkspace {
	return storedWorkspace{URL: store.Redacted(url), Size: info.Size, ModTime: info.ModTime.UTC(), Revision: info.Revision}
}

func (a *app) lsCommand() *cobra.Command {
	var long, recursive bool
	cmd := &cobra.Command{
		Use:   "ls [flags] PREFIX-URL",
		Short: "List workspaces",
		Long: `ls lists the workspaces whose URLs are PREFIX-URL, a slash and one name; with
--recursive also those whose names have slashes. If there is none the exit code is 101.`,
		Example: `  workdir-mount ls file:///tmp/ws
  workdir-mount ls -l s3://bucket
  workdir-mount ls -r --json gs://bucket/jobs`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return untilSignal(func(ctx context.Context) error { return a.ls(ctx, args[0], long, recursive) })
		},
	}
	cmd.Flags().BoolVarP(&long, "long", "l", false, "show size, time and revision of the archives")
	cmd.Flags().BoolVarP(&recursive, "recursive", "r", false, "list all that is beneath the prefix")
	return cmd
}

func (a *app) ls(ctx context.Context, url string, long, recursive bool) error {
	list := store.List
	if recursive {
		list = store.ListAll
	}
	found, err := list(ctx, url)
	if err == nil && len(found) == 0 {
		err = fmt.Errorf("ls %s: %w beneath it", store.Redacted(url), store.ErrNotExist)
	}
	if err != nil {
		return err
	}
	if a.json {
		return printJSON(a.stdout, forJSON(found))
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, ws := range found {
		if long {
			fmt.Fprintf(w, "%s\t%s\t%s\t  %s\n", humanBytes(ws.Size), ws.ModTime.Local().Format(time.DateTime), printable.Text(orNone(ws.Revision)), printable.Name(ws.Name))
		} else {
			fmt.Fprintln(w, printable.Name(ws.Name))
		}
	}
	return w.Flush()
}

// orNone shows a revision; an archive that may be seen but not read has none.
func orNone(r store.Revision) string {
	if r == "" {
		return "-"
	}
	return string(r)
}

func forJSON(found []store.Workspace) []storedWorkspace {
	out := make([]storedWorkspace, 0, len(found))
	for _, ws := range found {
		out = append(out, storedWorkspace{Name: ws.Name, URL: ws.URL.Redacted(), Size: ws.Size, ModTime: ws.ModTime.UTC(), Revision: ws.Revision})
	}
	return out
}

func (a *app) statCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "stat URL",
		Short: "Tell of the archive of a workspace",
		Long: `stat tells of a workspace's archive what its store knows: revision, size and time.
It is an error if there is none (exit code 101).`,
		Example: `  workdir-mount stat s3://bucket/jobs/job-1`,
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return untilSignal(func(ctx context.Context) error { return a.stat(ctx, args[0]) })
		},
	}
}

func (a *app) stat(ctx context.Context, url string) error {
	info, err := store.Stat(ctx, url)
	if err != nil {
		return err
	}
	if a.json {
		return printJSON(a.stdout, newStoredWorkspace(url, info))
	}
	return a.printRows([][2]string{
		{"url", store.Redacted(url)},
		{"revision", string(info.Revision)},
		{"size", sizeWithBytes(info.Size)},
		{"stored", info.ModTime.Local().Format(time.DateTime)},
	})
}

// sizeWithBytes is a size for people, and exact.
func sizeWithBytes(n int64) string {
	if n < 1<<10 {
		return humanBytes(n)
	}
	return fmt.Sprintf("%s (%d bytes)", humanBytes(n), n)
}

// printRows prints names and values, a line each.
func (a *app) printRows(rows [][2]string) error {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintf(w, "%s\t%s\n", row[0], printable.Text(row[1]))
	}
	return w.Flush()
}

func (a *app) rmCommand() *cobra.Command {
	var revision string
	var force bool
	cmd := &cobra.Command{
		Use:   "rm [flags] URL",
		Short: "Delete the archive of a workspace",
		Long: `rm deletes the stored archive of a workspace, for good. If there is none the exit code
is 101, or 0 with --force. Mounts of the workspace go on; their commits end in a conflict.

With --if-revision it deletes that revision only, and ends in a conflict (exit code
104) if the workspace has another one.`,
		Example: `  workdir-mount rm file:///tmp/ws/job-1
  workdir-mount rm --if-revision 5f1d s3://bucket/jobs/job-1`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			given := cmd.Flags().Changed(ifRevision)
			if given && revision == "" {
				return badFlag("--"+ifRevision, "is empty; write the revision that stat shows")
			}
			return changing(func(ctx context.Context) error { return a.rm(ctx, args[0], store.Revision(revision), force) })
		},
	}
	cmd.Flags().StringVar(&revision, ifRevision, "", "delete this revision only")
	cmd.Flags().BoolVarP(&force, "force", "f", false, "it is no error if there is no archive")
	return cmd
}

func (a *app) rm(ctx context.Context, url string, revision store.Revision, force bool) (err error) {
	var deleted bool
	if revision == "" {
		deleted, err = store.Delete(ctx, url)
	} else {
		deleted, err = store.DeleteRevision(ctx, url, revision)
	}
	if err == nil && !deleted && !force {
		err = fmt.Errorf("rm %s: %w", store.Redacted(url), store.ErrNotExist)
	}
	if err != nil {
		return err
	}
	if a.json {
		return printJSON(a.stdout, map[string]any{"url": store.Redacted(url), "deleted": deleted})
	}
	word := "there is no archive of"
	if deleted {
		word = "deleted"
	}
	return a.say("%s %s", word, store.Redacted(url))
}

// say prints a result for people.
func (a *app) say(format string, args ...any) error {
	if a.quiet {
		return nil
	}
	return printText(a.stdout, fmt.Sprintf(format+"\n", args...))
}
