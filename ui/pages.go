package ui

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/workspace"
)

// How many entries a page of a list has.
const (
	workspacesOnPage = 200
	commitsOnPage    = 200
	namesOnPage      = 500
)

// frame is a page: its body, and what every page has around it.
type frame struct {
	View   view
	Title  string
	Crumbs []crumb
	Links  pageLinks
	Script bool
	Kept   bool      // it is kept as a file, and contains its own content security policy
	Now    time.Time // when the page was made; zero if it is kept as a file, where ages would become wrong
	Body   any
}

// crumb is a step of the path to a page. The last one has no link.
type crumb struct{ Text, Link string }

// pageLinks are the links on every page; "" if there is no such page.
type pageLinks struct{ Style, Script, Icon, Workspaces, Mounts string }

// pages makes pages.
type pages struct {
	source *source // nil: only the mounts of this host are shown
	opts   *Options
	links  links
	live   bool // pages are made on request; false: they are kept as files
}

// page makes a target's page. Errors: errTarget; those of packages store and workspace.
func (p *pages) page(ctx context.Context, t target) (*frame, error) {
	body, ok := map[view]func(context.Context, target) (*frame, error){
		viewWorkspaces: p.workspaces, viewWorkspace: p.workspace, viewTree: p.tree, viewFile: p.file,
		viewDiff: p.diff, viewWorkflow: p.workflow, viewMounts: p.mounts, viewMount: p.mount,
	}[t.View]
	if !ok || !t.View.isOfHost() && p.source == nil {
		return nil, errTarget
	}
	f, err := body(ctx, t)
	if err != nil {
		return nil, err
	}
	f.View, f.Links, f.Kept = t.View, p.frameLinks(), !p.live
	if p.live {
		f.Now = time.Now()
	}
	return f, nil
}

func (p *pages) frameLinks() pageLinks {
	l := pageLinks{Style: p.links.asset("style.css"), Script: p.links.asset("live.js"), Icon: p.links.asset("icon.svg"), Mounts: p.links.link(target{View: viewMounts})}
	if p.source != nil {
		l.Workspaces = p.links.link(target{View: viewWorkspaces})
	}
	return l
}

// workspaceRow is a line of the list of workspaces.
type workspaceRow struct {
	Name, Link string
	Size       int64
	Stored     time.Time
	Last       *commitRow // nil if not known
}

type workspacesBody struct {
	URL    string // of the prefix, without secrets
	Rows   []workspaceRow
	Groups []crumb // longer prefixes
	Next   string
}

// workspaces lists the workspaces directly beneath the prefix, or beneath a longer one.
func (p *pages) workspaces(ctx context.Context, t target) (*frame, error) {
	prefix, err := p.source.longer(t.Name)
	if err != nil {
		return nil, err
	}
	found, more, err := prefix.ListPage(ctx, t.After, workspacesOnPage)
	if err != nil {
		return nil, err
	}
	b := &workspacesBody{URL: prefix.Redacted()}
	heads := p.source.heads(found)
	for i, ws := range found {
		name := path.Join(t.Name, ws.Name)
		row := workspaceRow{Name: ws.Name, Link: p.links.link(target{View: viewWorkspace, Name: name}), Size: ws.Size, Stored: ws.ModTime}
		if heads[i] != nil {
			row.Last = p.commitRow(heads[i])
		}
		b.Rows = append(b.Rows, row)
	}
	if more {
		b.Next = p.links.link(target{View: viewWorkspaces, Name: t.Name, After: found[len(found)-1].Name})
	}
	if t.After == "" {
		b.Groups = p.groups(ctx, prefix, t.Name)
	}
	f := &frame{Title: "Workspaces", Body: b}
	f.Crumbs = p.groupCrumbs(t.Name)
	return f, nil
}

// groups returns the next longer prefixes of a prefix.
func (p *pages) groups(ctx context.Context, prefix store.URL, name string) (groups []crumb) {
	// They are optional: if the store cannot list them, the page goes without.
	found, err := store.Complete(ctx, strings.TrimSuffix(bare(prefix), "/")+"/")
	if err != nil {
		return nil
	}
	for _, u := range found {
		if !strings.HasSuffix(u, "/") {
			continue
		}
		base := path.Base(u)
		groups = append(groups, crumb{base + "/", p.links.link(target{View: viewWorkspaces, Name: path.Join(name, base)})})
	}
	return groups
}

// bare returns a URL without its options.
func bare(u store.URL) string {
	u.Query = ""
	return u.String()
}

// groupCrumbs returns the path to a prefix. All steps but the last are links.
func (p *pages) groupCrumbs(name string) []crumb {
	crumbs := []crumb{{"Workspaces", p.links.link(target{View: viewWorkspaces})}}
	at := ""
	for part := range strings.SplitSeq(name, "/") {
		if at = path.Join(at, part); part != "" {
			crumbs = append(crumbs, crumb{part, p.links.link(target{View: viewWorkspaces, Name: at})})
		}
	}
	crumbs[len(crumbs)-1].Link = ""
	return crumbs
}

// workspaceCrumbs returns the path to a workspace. All steps are links.
func (p *pages) workspaceCrumbs(t target) []crumb {
	dir, base := path.Split(t.Name)
	crumbs := p.groupCrumbs(strings.TrimSuffix(dir, "/"))
	crumbs[len(crumbs)-1].Link = p.links.link(target{View: viewWorkspaces, Name: strings.TrimSuffix(dir, "/")})
	return append(crumbs, crumb{base, p.links.link(target{View: viewWorkspace, Name: t.Name})})
}

// commitRow is a line of a timeline.
type commitRow struct {
	ID, Short        string
	Time             time.Time
	Work             string // workflow and activity type, the execution, or the program
	Workflow         string // id
	WorkflowLink     string // the commits of the workflow
	TemporalLink     string // the run on Temporal's page
	Activity, Step   string
	Attempt          int32
	Took             time.Duration // since it was scheduled; 0 if not known
	Host             string
	Message, Command string
	Restored         string // short id of the commit whose state it brought back
	Created, Changed int64
	Removed, Bytes   int64
	Tree, Diff       string // links; "" if the version is not kept
}

// commitRow describes a commit.
func (p *pages) commitRow(r *archive.Record) *commitRow {
	o := &r.Origin
	c := p.workRow(o)
	c.ID, c.Short, c.Time, c.Host, c.Work = string(r.ID), r.ID.Short(), r.Time, cmp.Or(o.Worker, r.Host), cmp.Or(c.Work, r.Tool)
	c.Message, c.Command, c.Restored = r.Message, r.Command, archive.CommitID(r.Restored).Short()
	c.Created, c.Changed, c.Removed, c.Bytes = r.Changed.Created, r.Changed.Modified, r.Changed.Removed, r.Changed.Bytes
	if !o.Scheduled.IsZero() && r.Time.After(o.Scheduled) {
		c.Took = r.Time.Sub(o.Scheduled)
	}
	return c
}

// workRow describes the work that an origin names.
func (p *pages) workRow(o *archive.Origin) *commitRow {
	c := &commitRow{Workflow: o.WorkflowID, Activity: o.ActivityID, Step: o.Step, Attempt: o.Attempt, Host: o.Worker}
	c.Work = cmp.Or(strings.Trim(o.WorkflowType+" / "+o.ActivityType, " /"), o.Execution)
	if o.WorkflowID != "" && p.source != nil {
		c.WorkflowLink = p.links.link(target{View: viewWorkflow, Namespace: o.Namespace, Workflow: o.WorkflowID, Run: o.RunID})
	}
	c.TemporalLink = p.opts.temporalLink(o)
	return c
}

// temporalLink returns the address of a workflow's run in Temporal's UI; "" if that is not
// known.
func (o *Options) temporalLink(origin *archive.Origin) string {
	if o.TemporalUI == "" || origin.WorkflowID == "" {
		return ""
	}
	u := strings.TrimSuffix(o.TemporalUI, "/") + "/namespaces/" + url.PathEscape(origin.Namespace) + "/workflows/" + url.PathEscape(origin.WorkflowID)
	if origin.RunID != "" {
		u += "/" + url.PathEscape(origin.RunID) + "/history"
	}
	return u
}

type workspaceBody struct {
	URL     string
	Info    store.Info
	Tree    string
	Mounts  []crumb // where it is mounted on this host
	Commits []*commitRow
	HasLog  bool
	Total   int
	Next    string
}

// workspace shows a workspace's timeline.
func (p *pages) workspace(ctx context.Context, t target) (*frame, error) {
	url, err := p.source.url(t)
	if err != nil {
		return nil, err
	}
	past, err := workspace.History(ctx, url)
	if err != nil {
		return nil, err
	}
	log, kept := past.Log, historyOf(&past)
	b := &workspaceBody{URL: store.Redacted(url), Info: past.Info, HasLog: log != nil, Tree: p.links.link(target{View: viewTree, Name: t.Name})}
	b.Mounts = p.mountsOf(ctx, b.URL)
	after := t.After == ""
	for r := range log.All() {
		b.Total++
		switch {
		case !after:
			after = string(r.ID) == t.After
		case len(b.Commits) < commitsOnPage:
			c := p.commitRow(r)
			p.versionLinks(c, t.Name, r, kept)
			b.Commits = append(b.Commits, c)
		case b.Next == "":
			b.Next = p.links.link(target{View: viewWorkspace, Name: t.Name, After: b.Commits[commitsOnPage-1].ID})
		}
	}
	return &frame{Title: path.Base(t.Name), Crumbs: unlinked(p.workspaceCrumbs(t)), Body: b}, nil
}

// unlinked removes the link of the last step, which is the page itself.
func unlinked(crumbs []crumb) []crumb {
	crumbs[len(crumbs)-1].Link = ""
	return crumbs
}

type treeBody struct {
	URL     string
	At      string
	Path    string
	Entries []treeRow
	Total   int
	Next    string
}

type treeRow struct {
	workspace.Entry
	Base string
	Link string
}

// tree lists a directory.
func (p *pages) tree(ctx context.Context, t target) (*frame, error) {
	snap, release, err := p.source.snapshot(ctx, t)
	if err != nil {
		return nil, err
	}
	defer release()
	entries, total, err := snap.Dir(t.Path, t.After, namesOnPage)
	if err != nil {
		return nil, err
	}
	b := &treeBody{At: t.At, Path: t.Path, Total: total}
	for _, e := range entries {
		b.Entries = append(b.Entries, treeRow{e, path.Base(e.Path), p.entryLink(t, e)})
	}
	if len(entries) == namesOnPage {
		next := t
		next.After = path.Base(entries[namesOnPage-1].Path)
		b.Next = p.links.link(next)
	}
	return &frame{Title: cmp.Or(path.Base("/"+t.Path), "/"), Crumbs: p.pathCrumbs(t), Body: b}, nil
}

// entryLink returns the link to an entry's page; "" for one without a page, such as a FIFO.
func (p *pages) entryLink(t target, e workspace.Entry) string {
	to := target{Name: t.Name, At: t.At, Path: e.Path}
	switch e.Kind {
	case workspace.Directory:
		to.View = viewTree
	case workspace.File:
		to.View = viewFile
	default:
		return ""
	}
	return p.links.link(to)
}

// pathCrumbs returns the path to a file or directory. All steps but the last are links.
func (p *pages) pathCrumbs(t target) []crumb {
	crumbs := p.workspaceCrumbs(t)
	root := "files"
	if t.At != "" {
		root = "files at " + archive.CommitID(t.At).Short()
	}
	crumbs = append(crumbs, crumb{root, p.links.link(target{View: viewTree, Name: t.Name, At: t.At})})
	if t.Path == "" {
		return unlinked(crumbs)
	}
	dir, base := path.Split(path.Clean(t.Path))
	at := ""
	for part := range strings.SplitSeq(dir, "/") {
		if at = path.Join(at, part); part != "" {
			crumbs = append(crumbs, crumb{part, p.links.link(target{View: viewTree, Name: t.Name, At: t.At, Path: at})})
		}
	}
	return append(crumbs, crumb{base, ""})
}

type fileBody struct {
	workspace.Entry
	*content
	Raw  string
	Next string
}

// file shows a part of a file.
func (p *pages) file(ctx context.Context, t target) (*frame, error) {
	snap, release, err := p.source.snapshot(ctx, t)
	if err != nil {
		return nil, err
	}
	defer release()
	e, err := snap.Stat(t.Path)
	if err != nil {
		return nil, err
	}
	if e.Kind != workspace.File {
		return nil, fmt.Errorf("%w: %q is a %s", workspace.ErrPath, t.Path, e.Kind)
	}
	c, err := show(fileAt{snap, t.Path}, e, min(t.Off, e.Size))
	if err != nil {
		return nil, err
	}
	b := &fileBody{Entry: e, content: c}
	if p.live || c.Picture {
		b.Raw = p.links.link(target{View: viewRaw, Name: t.Name, At: t.At, Path: t.Path})
	}
	if c.Next > 0 {
		next := t
		next.Off = c.Next
		b.Next = p.links.link(next)
	}
	return &frame{Title: path.Base(t.Path), Crumbs: p.pathCrumbs(t), Body: b}, nil
}

// fileAt is a file in a snapshot.
type fileAt struct {
	snap *workspace.Snapshot
	path string
}

// ReadAt implements io.ReaderAt.
func (f fileAt) ReadAt(buf []byte, off int64) (int, error) {
	for n := 0; ; {
		m, err := f.snap.ReadFile(f.path, buf[n:], off+int64(n))
		if n += m; n == len(buf) || err != nil {
			if n == len(buf) && err == io.EOF {
				err = nil
			}
			return n, err
		}
	}
}

// searched is how many workspaces a page searches for a workflow's commits.
const searched = 1000

type workflowBody struct {
	Namespace, Workflow, Run string
	Temporal                 string
	Found                    []foundCommit
	Searched                 int
	Next                     string
}

type foundCommit struct {
	Name, Link string
	*commitRow
}

// workflow lists the workspaces directly beneath the prefix whose last commit a workflow made.
func (p *pages) workflow(ctx context.Context, t target) (*frame, error) {
	b := &workflowBody{Namespace: t.Namespace, Workflow: t.Workflow, Run: t.Run}
	b.Temporal = p.opts.temporalLink(&archive.Origin{Namespace: t.Namespace, WorkflowID: t.Workflow, RunID: t.Run})
	found, more, err := p.source.prefix.ListPage(ctx, t.After, searched)
	if err != nil {
		return nil, err
	}
	b.Searched = len(found)
	for i, r := range p.source.heads(found) {
		if r == nil || r.Origin.WorkflowID != t.Workflow || r.Origin.Namespace != t.Namespace || t.Run != "" && r.Origin.RunID != t.Run {
			continue
		}
		name := found[i].Name
		b.Found = append(b.Found, foundCommit{name, p.links.link(target{View: viewWorkspace, Name: name}), p.commitRow(r)})
	}
	if more {
		next := t
		next.After = found[len(found)-1].Name
		b.Next = p.links.link(next)
	}
	return &frame{Title: t.Workflow, Crumbs: []crumb{{"Workspaces", p.links.link(target{View: viewWorkspaces})}, {t.Workflow, ""}}, Body: b}, nil
}
