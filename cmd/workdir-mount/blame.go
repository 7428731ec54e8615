package main

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/workspace"
)

func (a *app) blameCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "blame URL [PATH]",
		Short: "Show which commit changed each path last",
		Long: `blame shows the entries of a workspace, or those at and beneath PATH, a line each: which
commit changed it last, when, what made that commit, and the path. It reads the index of the
archive and its log, and no content. A commit that the log has forgotten, since more than a
thousand came after it, has its id alone. An archive without an index, which another program
or an earlier release wrote, does not say: commit to the workspace once.`,
		Example: `  workdir-mount blame s3://bucket/jobs/job-1
  workdir-mount blame --json s3://bucket/jobs/job-1 src/main.go`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(_ *cobra.Command, args []string) error {
			return untilSignal(func(ctx context.Context) error { return a.blame(ctx, args[0], pathIn(args)) })
		},
	}
}

// blamed is an entry in the output of blame --json.
type blamed struct {
	Path    string           `json:"path"`
	RawPath []byte           `json:"rawPath,omitempty"` // the path if it is not UTF-8
	Kind    workspace.Kind   `json:"kind"`
	Commit  archive.CommitID `json:"commitId"`
	Record  *loggedCommit    `json:"commit,omitempty"` // absent if the log no longer has the commit
}

// blamedWorkspace is the output of blame --json.
type blamedWorkspace struct {
	URL     string   `json:"url"`
	Entries []blamed `json:"entries"`
}

func (a *app) blame(ctx context.Context, url, path string) error {
	w := a.newWork()
	opts := w.options()
	all, err := workspace.Blame(ctx, url, path, &opts)
	w.finish()
	if err != nil {
		return err
	}
	told := blamedWorkspace{URL: store.Redacted(url), Entries: make([]blamed, 0, len(all))}
	for _, e := range all {
		b := blamed{Path: e.Path, RawPath: e.RawPath, Kind: e.Kind, Commit: e.Commit}
		if e.Record != nil {
			b.Record = newLoggedCommit(e.Record)
		}
		told.Entries = append(told.Entries, b)
	}
	if a.json {
		return printJSON(a.stdout, told)
	}
	return a.toStdout(ctx, func(w io.Writer) error { return printBlamed(w, told.Entries) })
}

// printBlamed prints a line for each entry, in columns.
func printBlamed(w io.Writer, all []blamed) error {
	out := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, b := range all {
		when, by := "-", "-"
		if b.Record != nil {
			when, by = b.Record.Time.Local().Format(time.DateTime), shortened(b.Record.work())
		}
		fmt.Fprintf(out, "%s\t%s\t%s\t%s\n", b.Commit.Short(), when, by, workspace.Printable(b.Path))
	}
	return out.Flush()
}
