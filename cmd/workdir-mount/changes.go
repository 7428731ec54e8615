package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"iter"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/workspace"
)

// logFlags select the commits that log shows, and how.
type logFlags struct {
	number uint // 0: all
	path   string
	diffFlags
}

// changes reports whether differences are needed, to show them or to select commits.
func (f *logFlags) changes() bool { return f.path != "" || f.patch || f.stat || f.nameOnly }

// pastChanges are the differences made by the commits of a workspace, as far as the archives
// before and after are kept.
type pastChanges struct {
	app  *app
	ctx  context.Context
	url  string // of the workspace, without a version
	flag *logFlags
	has  map[archive.CommitID]bool // archives that can be read

	unknown int   // commits whose changes are not known
	err     error // that ended it
}

func newPastChanges(ctx context.Context, a *app, url string, h *workspace.Past, f *logFlags) *pastChanges {
	p := &pastChanges{app: a, ctx: ctx, url: url, flag: f, has: map[archive.CommitID]bool{}}
	for _, v := range h.Versions {
		p.has[v.ID] = true
	}
	if h.Log.Len() > 0 {
		p.has[h.Log.Record.ID] = true
	}
	return p
}

// of returns the selected commits, with their differences.
func (p *pastChanges) of(commits iter.Seq[*loggedCommit]) iter.Seq[*loggedCommit] {
	return func(yield func(*loggedCommit) bool) {
		for c := range commits {
			if !p.has[c.ID] || c.Parent != "" && !p.has[c.Parent] {
				p.unknown++
				if p.flag.path == "" && !yield(c) {
					return
				}
				continue
			}
			differences, err := p.between(c.Parent, c.ID)
			if err != nil {
				p.err = err
				return
			}
			if c.Differences = &differences; p.flag.path != "" && len(differences) == 0 {
				continue
			}
			if !yield(c) {
				return
			}
		}
	}
}

// between compares the archives of two commits; "" is before the first.
func (p *pastChanges) between(before, after archive.CommitID) ([]workspace.Difference, error) {
	a := workspace.Nothing
	if before != "" {
		a = p.url + "@" + string(before)
	}
	found, err := p.app.differences(p.ctx, a, p.url+"@"+string(after), p.flag.path, &p.flag.diffFlags)
	if found == nil {
		found = []workspace.Difference{}
	}
	return found, err
}

// print prints commits and their changes.
func (p *pastChanges) print(w io.Writer, commits iter.Seq[*loggedCommit]) error {
	for c := range commits {
		out := bufio.NewWriter(w)
		fmt.Fprintln(out, c)
		if c.Differences == nil {
			fmt.Fprintln(out, "  (what it changed is not known: the archives before and after it are not both kept)")
		}
		if err := out.Flush(); err != nil {
			return err
		}
		if c.Differences != nil && (p.flag.patch || p.flag.stat || p.flag.nameOnly) {
			if err := p.app.printDifferences(w, *c.Differences, &p.flag.diffFlags); err != nil {
				return err
			}
		}
	}
	if p.err == nil && p.unknown > 0 && p.flag.path != "" {
		p.app.note("%s of which the archives before and after are not both kept may have changed it too", commitCount(p.unknown))
	}
	return p.err
}

func commitCount(n int) string {
	if n == 1 {
		return "1 commit"
	}
	return fmt.Sprintf("%d commits", n)
}

// firstOf returns the first n of commits, or all if n is 0.
func firstOf(commits iter.Seq[*loggedCommit], n uint) iter.Seq[*loggedCommit] {
	if n == 0 {
		return commits
	}
	return func(yield func(*loggedCommit) bool) {
		left := n
		for c := range commits {
			if left--; !yield(c) || left == 0 {
				return
			}
		}
	}
}
