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
	Failed string // why there may be more
}

type mountRow struct {
	mount.Status
	Changed   string // link to what has changed
	Workspace string // link; "" of one that is not beneath the prefix
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

// allMounts returns the mounts that are found, also beside an error; errTarget in pages that
// are kept.
func (p *pages) allMounts(ctx context.Context) ([]mount.Status, error) {
	if !p.live {
		return nil, errTarget
	}
	all, err := mount.List(ctx, p.opts.RunDir)
	slices.SortFunc(all, func(a, b mount.Status) int { return cmp.Or(cmp.Compare(a.URL, b.URL), cmp.Compare(a.Path, b.Path)) })
	return all, err
}

// mountPatience bounds how long a page of something else waits for the owners of mounts.
var mountPatience = 50 * time.Millisecond // another one in a test

// mountsOf returns the pages of the mounts of a workspace, as far as their owners answer in
// time.
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

// workspaceOf is the page of a workspace, if it is beneath the prefix.
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
	Ended   string // why there is no list
}

// mount lists what has changed in one so far.
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
