package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/workdir/workdir/internal/printable"
	"github.com/workdir/workdir/store"
)

// storedWorkspace is a workspace in the output of ls and stat --json.
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
			fmt.Fprintf(w, "%s\t%s\t%s\t  %s\n", printable.Bytes(ws.Size), ws.ModTime.Local().Format(time.DateTime), printable.Text(orNone(ws.Revision)), printable.Name(ws.Name))
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
		Short: "Show the revision, size and time of a workspace's archive",
		Long: `stat prints what the store knows of a workspace's archive: revision, size and time.
A workspace without an archive is an error (exit code 101).`,
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

// sizeWithBytes is a size for people, and in bytes.
func sizeWithBytes(n int64) string {
	if n < 1<<10 {
		return printable.Bytes(n)
	}
	return fmt.Sprintf("%s (%d bytes)", printable.Bytes(n), n)
}

// printRows prints names and values, a line each.
func (a *app) printRows(rows [][2]string) error {
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintf(w, "%s\t%s\n", row[0], printable.Text(row[1]))
	}
	return w.Flush()
}

// rmFlags say what rm deletes.
type rmFlags struct {
	revision  string
	force     bool
	recursive bool
	versions  bool
}

func (f *rmFlags) check(flags *pflag.FlagSet, n int) error {
	switch given := flags.Changed(ifRevision); {
	case given && f.revision == "":
		return badFlag("--"+ifRevision, "is empty; write the revision that stat shows")
	case given && (n > 1 || f.recursive):
		return badFlag("--"+ifRevision, "is for one workspace")
	}
	return nil
}

func (a *app) rmCommand() *cobra.Command {
	var f rmFlags
	cmd := &cobra.Command{
		Use:   "rm [flags] URL...",
		Short: "Delete the archives of workspaces",
		Long: `rm deletes the stored archive of each workspace that is named. If one of them has none the
exit code is 101, or 0 with --force; the others are deleted. Mounts of a workspace go on; their
commits end in a conflict. Versions stay, and rollback brings the workspace back; with
--versions they go too, for good.

With --recursive the URLs are prefixes, and all workspaces beneath them are deleted, each on the
condition that it is what the list showed. With --if-revision it deletes that revision only, and
ends in a conflict (exit code 104) if the workspace has another one.`,
		Example: `  workdir-mount rm file:///tmp/ws/job-1 file:///tmp/ws/job-2
  workdir-mount rm -r --versions s3://bucket/jobs
  workdir-mount rm --if-revision 5f1d s3://bucket/jobs/job-1`,
		Args: cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.check(cmd.Flags(), len(args)); err != nil {
				return err
			}
			return changing(func(ctx context.Context) error { return a.rm(ctx, args, &f) })
		},
	}
	cmd.Flags().StringVar(&f.revision, ifRevision, "", "delete this revision only")
	cmd.Flags().BoolVarP(&f.force, "force", "f", false, "it is no error if there is no archive")
	cmd.Flags().BoolVarP(&f.recursive, "recursive", "r", false, "delete all workspaces beneath the URLs")
	cmd.Flags().BoolVar(&f.versions, "versions", false, "delete the versions too")
	return cmd
}

// rm deletes the named workspaces in turn. Its error is the first one.
func (a *app) rm(ctx context.Context, urls []string, f *rmFlags) error {
	var err error
	for _, url := range urls {
		one := a.rmOne
		if f.recursive {
			one = a.rmBeneath
		}
		if rerr := one(ctx, url, f); rerr != nil && err == nil {
			err = rerr
		} else if rerr != nil {
			a.log.Warn("not deleted", "cause", rerr)
		}
		if ctx.Err() != nil {
			break
		}
	}
	return err
}

func (a *app) rmOne(ctx context.Context, url string, f *rmFlags) (err error) {
	var deleted bool
	if f.revision == "" {
		deleted, err = store.Delete(ctx, url)
	} else {
		deleted, err = store.DeleteRevision(ctx, url, store.Revision(f.revision))
	}
	versions := 0
	if err == nil && f.versions {
		versions, err = store.DeleteVersions(ctx, url)
	}
	if err == nil && !deleted && versions == 0 && !f.force {
		err = fmt.Errorf("rm %s: %w", store.Redacted(url), store.ErrNotExist)
	}
	if err != nil {
		return err
	}
	if a.json {
		out := map[string]any{"url": store.Redacted(url), "deleted": deleted}
		if f.versions {
			out["versions"] = versions
		}
		return printJSON(a.stdout, out)
	}
	word := "there is no archive of"
	if deleted {
		word = "deleted"
	}
	extra := ""
	if versions > 0 {
		extra = fmt.Sprintf("; deleted %d versions", versions)
	}
	return a.say("%s %s%s", word, store.Redacted(url), extra)
}

// rmBeneath deletes all workspaces beneath a prefix.
func (a *app) rmBeneath(ctx context.Context, prefix string, f *rmFlags) error {
	found, err := store.UsageOf(ctx, prefix, true)
	if err != nil {
		return err
	}
	n := 0
	for _, u := range found {
		one := *f
		if one.revision = string(u.Revision); u.Gone && !f.versions {
			continue
		}
		if u.Gone {
			one.revision, one.force = "", true
		}
		if err := a.rmOne(ctx, u.URL.String(), &one); err != nil {
			return err
		}
		n++
	}
	if n == 0 && !f.force {
		return fmt.Errorf("rm %s: %w beneath it", store.Redacted(prefix), store.ErrNotExist)
	}
	return nil
}

// say prints a result for people.
func (a *app) say(format string, args ...any) error {
	if a.quiet {
		return nil
	}
	return printText(a.stdout, fmt.Sprintf(format+"\n", args...))
}
