package ui

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/workdir/workdir/mount"
	"github.com/workdir/workdir/store"
)

// isOfHost reports whether a page is about the mounts of the host.
func (v view) isOfHost() bool { return v == viewMounts || v == viewMount }

type mountsBody struct {
	Mounts []mountRow
	Failed string // why some may be missing
}

type mountRow struct {
	mount.Status
	Changed   string // link to its own page; "" if its owner does not answer
	Workspace string // link; "" if it is not beneath the prefix
	Work      *commitRow
}

// mounts lists the mounts of this user on this host.
func (p *pages) mounts(ctx context.Context, _ target) (*frame, error) {
	all, err := p.allMounts(ctx)
	if errors.Is(err, errTarget) {
		return nil, err
	}
	b := &mountsBody{}
	if err != nil {
		b.Failed = err.Error()
	}
	for i := range all {
		b.Mounts = append(b.Mounts, p.mountRow(&all[i]))
	}
	return &frame{Title: "Mounts of this host", Crumbs: []crumb{{"Mounts", ""}}, Script: true, Body: b}, nil
}

// allMounts returns this user's mounts. An error may be about some of them only, and the
// others are returned with it. Kept pages have no mounts: errTarget.
func (p *pages) allMounts(ctx context.Context) ([]mount.Status, error) {
	if !p.live {
		return nil, errTarget
	}
	all, err := mount.List(ctx, p.opts.RunDir)
	slices.SortFunc(all, func(a, b mount.Status) int { return cmp.Or(cmp.Compare(a.URL, b.URL), cmp.Compare(a.Path, b.Path)) })
	return all, err
}

// mountPatience is how long a workspace's page waits for the owners of mounts.
var mountPatience = 50 * time.Millisecond // another one in a test

// mountsOf returns links to the mounts of a workspace whose owners answer within
// mountPatience.
func (p *pages) mountsOf(ctx context.Context, url string) (links []crumb) {
	ctx, cancel := context.WithTimeout(ctx, mountPatience)
	defer cancel()
	all, _ := p.allMounts(ctx) // the page of mounts shows the error
	for i := range all {
		if row := p.mountRow(&all[i]); row.URL == url && row.Changed != "" {
			links = append(links, crumb{row.Path, row.Changed})
		}
	}
	return links
}

func (p *pages) mountRow(st *mount.Status) mountRow {
	row := mountRow{Status: *st, Workspace: p.workspaceOf(st.URL)}
	if st.State != mount.StateSilent && st.State != mount.StateLost {
		row.Changed = p.links.link(target{View: viewMount, Path: st.Path})
	}
	if st.Origin != nil {
		row.Work = p.workRow(st.Origin)
	}
	return row
}

// workspaceOf returns the link to a workspace's page; "" if it is not beneath the prefix.
func (p *pages) workspaceOf(url string) string {
	if p.source == nil {
		return ""
	}
	u, err := store.ParseURL(url)
	prefix := p.source.prefix
	if err != nil || u.Scheme != prefix.Scheme || u.Bucket != prefix.Bucket {
		return ""
	}
	name, ok := strings.CutPrefix(u.Key, prefix.Key)
	name = strings.TrimPrefix(name, "/")
	if again, err := p.source.url(target{Name: name}); !ok || err != nil || store.Redacted(again) != url {
		return ""
	}
	return p.links.link(target{View: viewWorkspace, Name: name})
}

// changesOnPage is how many changes of a mount a page shows.
const changesOnPage = 500

type mountBody struct {
	mountRow
	Changes []mount.Change
	More    bool
	Ended   string // why the list is missing or incomplete
}

// mount lists what has changed in a mount so far.
func (p *pages) mount(ctx context.Context, t target) (*frame, error) {
	all, err := p.allMounts(ctx) // an error may be of others
	if errors.Is(err, errTarget) {
		return nil, err
	}
	i := slices.IndexFunc(all, func(st mount.Status) bool { return st.Path == t.Path })
	if i < 0 {
		return nil, fmt.Errorf("%w: nothing is mounted at %q any more", errTarget, t.Path)
	}
	b := &mountBody{mountRow: p.mountRow(&all[i])}
	r, err := mount.Find(ctx, t.Path, p.opts.RunDir)
	if err != nil {
		b.Ended = err.Error()
	} else {
		b.list(ctx, r)
	}
	crumbs := []crumb{{"Mounts", p.links.link(target{View: viewMounts})}, {t.Path, ""}}
	return &frame{Title: t.Path, Crumbs: crumbs, Script: true, Body: b}, nil
}

func (b *mountBody) list(ctx context.Context, r *mount.Remote) {
	for c, err := range r.Changes(ctx) {
		switch {
		case err != nil:
			b.Ended = err.Error()
		case len(b.Changes) == changesOnPage:
			b.More = true
			return
		default:
			b.Changes = append(b.Changes, c)
		}
	}
}
