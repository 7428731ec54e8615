package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/workdir/workdir/internal/printable"
	"github.com/workdir/workdir/workspace"
)

func (a *app) verifyCommand() *cobra.Command {
	var quick bool
	cmd := &cobra.Command{
		Use:   "verify [flags] URL",
		Short: "Check the whole archive of a workspace",
		Long: `verify reads all of a workspace's archive and checks every checksum, name and number
in it, and what the index says against the tar. It says what is there, and whether the
Python temporal-workdir could read it. A damaged archive, and one that a mount would
refuse, is an error (exit code 103). --quick reads the archive's end alone: the index and
the log are held against their digests, and content is not looked at.`,
		Example: `  workdir-mount verify s3://bucket/jobs/job-1`,
		Args:    cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			return untilSignal(func(ctx context.Context) error { return a.verify(ctx, args[0], quick) })
		},
	}
	cmd.Flags().BoolVar(&quick, "quick", false, "read the archive's end alone, if it has an index")
	return cmd
}

// verified is the output of verify --json.
type verified struct {
	storedWorkspace
	Quick       bool          `json:"quick,omitempty"` // content was not read
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

func (a *app) verify(ctx context.Context, url string, quick bool) error {
	w := a.newWork()
	r, err := workspace.Verify(ctx, url, &workspace.VerifyOptions{Options: w.options(), Quick: quick})
	w.finish()
	if err != nil {
		return err
	}
	v := verified{
		storedWorkspace: newStoredWorkspace(url, r.Info), Quick: r.Quick,
		Names: r.Names, Files: r.Files, Directories: r.Directories, Symlinks: r.Symlinks, Others: r.Others,
		Bytes: r.Bytes, Commits: r.Log.Len(),
		Portable: len(r.NotPortable) == 0, NotPortable: r.NotPortable, Warnings: r.Warnings,
	}
	for c := range commitsOf(r.Log, 1) {
		v.LastCommit = c
	}
	if a.json {
		return printJSON(a.stdout, v)
	}
	return a.printRows(v.rows())
}

func (v *verified) rows() [][2]string {
	state := "whole, "
	if v.Quick {
		state = "its index and log are whole, content was not read, "
	}
	rows := [][2]string{
		{"url", v.URL},
		{"archive", state + sizeWithBytes(v.Size) + ", revision " + string(v.Revision)},
		{"names", fmt.Sprint(v.Names)},
		{"files", fmt.Sprintf("%d, %s", v.Files, printable.Bytes(v.Bytes))},
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

// shownPaths is the maximum number of paths in a message.
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
