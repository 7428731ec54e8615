package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/fs"
	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/workspace"
)

// loggedCommit is what log and verify --json tell of a commit. Of earlier ones
// than the last, id and time are kept alone.
type loggedCommit struct {
	ID      archive.CommitID `json:"id"`
	Parent  archive.CommitID `json:"parent,omitempty"`
	Time    time.Time        `json:"time"`
	Tool    string           `json:"tool,omitempty"`
	Host    string           `json:"host,omitempty"`
	Changes *fs.Changes      `json:"changes,omitempty"`
}

// commitsOf gives the commits of a log, newest first.
func commitsOf(log *archive.Log) []loggedCommit {
	commits := make([]loggedCommit, 0, log.Len())
	for r := range log.All() {
		commits = append(commits, loggedCommit{r.ID, r.Parent, r.Time, r.Tool, r.Host, &r.Changed})
	}
	return commits
}

func (c loggedCommit) String() string {
	s := fmt.Sprintf("%s  %s", c.ID, c.Time.Local().Format(time.DateTime))
	if c.Changes != nil {
		s += fmt.Sprintf("  %s on %s: %d created, %d modified, %d removed",
			workspace.Printable(c.Tool), workspace.Printable(c.Host), c.Changes.Created, c.Changes.Modified, c.Changes.Removed)
	}
	return s
}

func (a *app) logCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "log URL",
		Short: "Show the commits of a workspace",
		Long: `log shows the commits that led to a workspace's archive, newest first: the last one
with program, host and number of changes, and up to 1,000 before it with id and time.
An archive that another program wrote has none.`,
		Example: `  workdir-mount log s3://bucket/jobs/job-1`,
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return untilSignal(func(ctx context.Context) error { return a.showLog(ctx, args[0]) })
		},
	}
}

// workspaceLog is what log --json tells.
type workspaceLog struct {
	URL      string         `json:"url"`
	Revision store.Revision `json:"revision"`
	Commits  []loggedCommit `json:"commits"`
}

func (a *app) showLog(ctx context.Context, url string) error {
	log, info, err := workspace.Log(ctx, url)
	if err != nil {
		return err
	}
	commits := commitsOf(log)
	if a.json {
		return printJSON(a.stdout, workspaceLog{store.Redacted(url), info.Revision, commits})
	}
	if len(commits) == 0 {
		a.note("there is no commit log: another program wrote this archive")
	}
	return a.toStdout(ctx, func(w io.Writer) error {
		out := bufio.NewWriter(w)
		for _, c := range commits {
			fmt.Fprintln(out, c)
		}
		return out.Flush()
	})
}

func (a *app) verifyCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "verify URL",
		Short: "Check the whole archive of a workspace",
		Long: `verify reads all of a workspace's archive and checks every checksum, name and number
in it. It says what is there, and whether the Python temporal-workdir could read it.
A damaged archive, and one that a mount would refuse, is an error (exit code 103).`,
		Example: `  workdir-mount verify s3://bucket/jobs/job-1`,
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return untilSignal(func(ctx context.Context) error { return a.verify(ctx, args[0]) })
		},
	}
}

// verified is what verify --json tells.
type verified struct {
	storedWorkspace
	Names       int64         `json:"names"`
	Files       int64         `json:"files"`
	Directories int64         `json:"directories"`
	Symlinks    int64         `json:"symlinks"`
	Others      int64         `json:"others"`
	Bytes       int64         `json:"bytes"`
	Commits     int           `json:"commits"`
	LastCommit  *loggedCommit `json:"lastCommit,omitempty"`
	Portable    bool          `json:"portable"`
	NotPortable []string      `json:"notPortable,omitempty"`
	Warnings    []string      `json:"warnings,omitempty"`
}

func (a *app) verify(ctx context.Context, url string) error {
	w := a.newWork()
	opts := w.options()
	r, err := workspace.Verify(ctx, url, &opts)
	w.finish()
	if err != nil {
		return err
	}
	commits := commitsOf(r.Log)
	v := verified{
		storedWorkspace: newStoredWorkspace(url, r.Info),
		Names:           r.Names, Files: r.Files, Directories: r.Directories, Symlinks: r.Symlinks, Others: r.Others,
		Bytes: r.Bytes, Commits: len(commits),
		Portable: len(r.NotPortable) == 0, NotPortable: r.NotPortable, Warnings: r.Warnings,
	}
	if len(commits) > 0 {
		v.LastCommit = &commits[0]
	}
	if a.json {
		return printJSON(a.stdout, v)
	}
	return a.printRows(v.rows())
}

func (v *verified) rows() [][2]string {
	rows := [][2]string{
		{"url", v.URL},
		{"archive", "whole, " + sizeWithBytes(v.Size) + ", revision " + string(v.Revision)},
		{"names", fmt.Sprint(v.Names)},
		{"files", fmt.Sprintf("%d, %s", v.Files, humanBytes(v.Bytes))},
		{"directories", fmt.Sprint(v.Directories)},
		{"symbolic links", fmt.Sprint(v.Symlinks)},
		{"others", fmt.Sprint(v.Others)},
		{"commits", fmt.Sprint(v.Commits)},
	}
	if v.LastCommit != nil {
		rows = append(rows, [2]string{"last commit", v.LastCommit.String()})
	}
	rows = append(rows, [2]string{"temporal-workdir", "can read it"})
	if !v.Portable {
		rows[len(rows)-1][1] = "refuses it: " + someOf(v.NotPortable)
	}
	for _, text := range v.Warnings {
		rows = append(rows, [2]string{"warning", text})
	}
	return rows
}

// shownPaths is how many paths a message names.
const shownPaths = 5

func someOf(paths []string) string {
	var names []string
	for _, path := range paths[:min(len(paths), shownPaths)] {
		names = append(names, workspace.Printable(path))
	}
	text := strings.Join(names, ", ")
	if more := len(paths) - shownPaths; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
