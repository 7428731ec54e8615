package main

import (
	"context"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/workdir/workdir/store"
)

// storedWorkspace is what ls --json tells of one workspace.
type storedWorkspace struct {
	Name     string         `json:"name"`
	URL      string         `json:"url"` // without secrets
	Size     int64          `json:"size"`
	ModTime  time.Time      `json:"modTime"`
	Revision store.Revision `json:"revision"`
}

func (a *app) lsCommand() *cobra.Command {
	var long bool
	cmd := &cobra.Command{
		Use:   "ls [flags] PREFIX-URL",
		Short: "List workspaces",
		Long: `ls lists the workspaces whose URLs are PREFIX-URL, a slash and one name. A prefix
that does not exist has none.`,
		Example: `  workdir-mount ls file:///tmp/ws
  workdir-mount ls -l --json file:///tmp/ws`,
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return untilSignal(func(ctx context.Context) error { return a.ls(ctx, args[0], long) })
		},
	}
	cmd.Flags().BoolVarP(&long, "long", "l", false, "show size and time of the archives")
	return cmd
}

func (a *app) ls(ctx context.Context, url string, long bool) error {
	found, err := store.List(ctx, url)
	if err != nil {
		return interrupted(ctx, err)
	}
	if a.json {
		return printJSON(a.stdout, forJSON(found))
	}
	w := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, ws := range found {
		if long {
			fmt.Fprintf(w, "%s\t%s\t  %s\n", humanBytes(ws.Size), ws.ModTime.Local().Format(time.DateTime), ws.Name)
		} else {
			fmt.Fprintln(w, ws.Name)
		}
	}
	return w.Flush()
}

func forJSON(found []store.Workspace) []storedWorkspace {
	out := make([]storedWorkspace, 0, len(found))
	for _, ws := range found {
		out = append(out, storedWorkspace{Name: ws.Name, URL: redactedURL(ws.URL), Size: ws.Size, ModTime: ws.ModTime, Revision: ws.Revision})
	}
	return out
}

// redactedURL is a URL that was parsed before, without secrets.
func redactedURL(url string) string {
	u, err := store.ParseURL(url)
	if err != nil {
		return ""
	}
	return u.Redacted()
}

func (a *app) rmCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "rm URL",
		Short: "Delete the archive of a workspace",
		Long: `rm deletes the stored archive of a workspace, for good. That there was none is no
error. Mounts of the workspace go on; their commits end in a conflict.`,
		Example: `  workdir-mount rm file:///tmp/ws/job-1`,
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return untilSignal(func(ctx context.Context) error { return a.rm(ctx, args[0]) })
		},
	}
}

func (a *app) rm(ctx context.Context, url string) error {
	deleted, err := store.Delete(ctx, url)
	if err != nil {
		return err
	}
	if a.json {
		return printJSON(a.stdout, map[string]any{"url": redactedURL(url), "deleted": deleted})
	}
	if a.quiet {
		return nil
	}
	word := "there is no archive of"
	if deleted {
		word = "deleted"
	}
	_, err = fmt.Fprintln(a.stdout, word, redactedURL(url))
	return err
}
