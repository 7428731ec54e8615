package ui

import (
	"crypto/sha256"
	"encoding/hex"
	"net/url"
	"strconv"
)

// view is a kind of page.
type view string

// The pages.
const (
	viewWorkspaces view = "workspaces"
	viewWorkspace  view = "workspace" // the commits of one
	viewTree       view = "tree"      // a directory of one
	viewFile       view = "file"
	viewRaw        view = "raw" // the bytes of a file
	viewDiff       view = "diff"
	viewWorkflow   view = "workflow" // the commits of a workflow
	viewMounts     view = "mounts"
	viewMount      view = "mount" // what has changed in one; Path is the mountpoint
)

// target is a page, and what of it.
type target struct {
	View  view
	Name  string // of the workspace: its key without the prefix
	At    string // commit id; "" is the newest
	Path  string // in the workspace
	After string // where a list goes on: the last name of the page before
	From  string // of a diff: the other commit id
	Off   int64  // of a file: the first byte that is shown

	Namespace, Workflow, Run string // of a workflow
}

// fields are the parameters of a URL that a target has besides its view.
func (t *target) fields() []struct {
	name  string
	value *string
} {
	return []struct {
		name  string
		value *string
	}{
		{"name", &t.Name}, {"at", &t.At}, {"path", &t.Path}, {"after", &t.After}, {"from", &t.From},
		{"namespace", &t.Namespace}, {"workflow", &t.Workflow}, {"run", &t.Run},
	}
}

// links makes the URLs of a page's links.
type links interface {
	// link returns the URL of a page, or "" where there is no such page.
	link(t target) string
	// asset returns the URL of the style sheet or of the script.
	asset(name string) string
}

// liveLinks are those of a server.
type liveLinks struct{}

func (liveLinks) link(t target) string {
	q := url.Values{}
	for _, f := range t.fields() {
		if *f.value != "" {
			q.Set(f.name, *f.value)
		}
	}
	if t.Off != 0 {
		q.Set("off", strconv.FormatInt(t.Off, 10))
	}
	path := "/" + string(t.View)
	if t.View == viewWorkspaces {
		path = "/"
	}
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}

func (liveLinks) asset(name string) string { return "/assets/" + name }

// parseTarget is the opposite of liveLinks.link.
func parseTarget(u *url.URL) (t target) {
	q := u.Query()
	t.View = view(u.Path[1:])
	if u.Path == "/" {
		t.View = viewWorkspaces
	}
	for _, f := range t.fields() {
		*f.value = q.Get(f.name)
	}
	if off, err := strconv.ParseInt(q.Get("off"), 10, 64); err == nil && off > 0 {
		t.Off = off
	}
	return t
}

// fileLinks are those of pages in one directory. It notes the pages that others lead to.
type fileLinks struct {
	allowed func(target) bool
	todo    []target
	seen    map[target]bool
}

func (l *fileLinks) link(t target) string {
	if !l.allowed(t) {
		return ""
	}
	if !l.seen[t] {
		l.seen[t] = true
		l.todo = append(l.todo, t)
	}
	return fileOf(t)
}

func (l *fileLinks) asset(name string) string { return name }

// fileOf is the name of a page's file. It follows from the target alone, so that links
// from elsewhere stay good.
func fileOf(t target) string {
	if t == (target{View: viewWorkspaces}) {
		return "index.html"
	}
	digest := sha256.Sum256([]byte(liveLinks{}.link(t)))
	ext := ".html"
	if t.View == viewRaw {
		ext = ".bin"
	}
	return string(t.View) + "-" + hex.EncodeToString(digest[:10]) + ext
}
