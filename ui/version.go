package ui

import (
	"context"
	"path"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/workspace"
)

// history says which states of a workspace can be read: the newest commit, and the kept
// versions of earlier ones.
type history struct {
	newest archive.CommitID
	kept   map[archive.CommitID]bool
}

// historyOf returns the history of a workspace.
func historyOf(h *workspace.Past) *history {
	k := &history{kept: map[archive.CommitID]bool{}}
	if h.Log != nil {
		k.newest = h.Log.Record.ID
	}
	for _, v := range h.Versions {
		k.kept[v.ID] = true
	}
	return k
}

// at returns target.At for a commit; ok is false if the commit is not kept.
func (h *history) at(id archive.CommitID) (at string, ok bool) {
	if id == h.newest {
		return "", true
	}
	return string(id), h.kept[id]
}

// versionLinks sets the link to a commit's files, and, if its parent is kept too, to what it
// changed.
func (p *pages) versionLinks(c *commitRow, name string, r *archive.Record, h *history) {
	at, ok := h.at(r.ID)
	if !ok {
		return
	}
	c.Tree = p.links.link(target{View: viewTree, Name: name, At: at})
	if h.kept[r.Parent] {
		c.Diff = p.links.link(target{View: viewDiff, Name: name, At: at, From: string(r.Parent)})
	}
}

type diffBody struct {
	From, To string
	Rows     []diffRow
	More     int // differences that are not shown
}

type diffRow struct {
	workspace.Difference
	Text  string
	Link  string // of the lines of a file
	Pairs []pair
	More  bool // lines are not shown
}

// differencesOnPage is how many differences a page shows.
const differencesOnPage = 500

// diff shows what changed between two commits; with a path, which lines of that file.
func (p *pages) diff(ctx context.Context, t target) (*frame, error) {
	before, release, err := p.source.snapshot(ctx, target{Name: t.Name, At: t.From})
	if err != nil {
		return nil, err
	}
	defer release()
	after, release, err := p.source.snapshot(ctx, t)
	if err != nil {
		return nil, err
	}
	defer release()
	found, err := after.Diff(ctx, before, &workspace.DiffOptions{Path: t.Path, Patches: t.Path != ""})
	if err != nil {
		return nil, err
	}
	b := &diffBody{From: shortID(t.From), To: shortID(t.At)}
	b.More = max(0, len(found)-differencesOnPage)
	for _, d := range found[:len(found)-b.More] {
		b.Rows = append(b.Rows, p.diffRow(t, d))
	}
	crumbs := append(p.workspaceCrumbs(t), crumb{"changes", ""})
	return &frame{Title: "What changed in " + path.Base(t.Name), Crumbs: crumbs, Body: b}, nil
}

// maxPatch is how much of a patch a page shows, in bytes.
const maxPatch = 256 << 10

func (p *pages) diffRow(t target, d workspace.Difference) diffRow {
	row := diffRow{Difference: d, Text: d.String()}
	if d.A != nil && d.A.Kind == workspace.File || d.B != nil && d.B.Kind == workspace.File {
		t.Path = d.Path
		row.Link = p.links.link(t)
	}
	if d.Patch != nil {
		text := d.Patch.Text
		if row.More = len(text) > maxPatch; row.More {
			text = string(wholeLines([]byte(text[:maxPatch])))
		}
		row.Pairs = sideBySide(text)
	}
	return row
}

// shortID returns a commit's id in its short form; "now" for the newest.
func shortID(id string) string {
	if id == "" {
		return "now"
	}
	return archive.CommitID(id).Short()
}

// versioned adds a commit's id to a URL.
func versioned(u store.URL, at string) (store.URL, error) {
	if at == "" {
		return u, nil
	}
	return u.At(at)
}
