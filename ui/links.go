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

// target says which page, and which part of it.
type target struct {
	View  view
	Name  string // of the workspace: its key without the prefix
	At    string // commit id; "" is the newest
	Path  string // in the workspace
	After string // where a list continues: the last name on the previous page
	From  string // of a diff: the other commit id
	Off   int64  // of a file: the first byte shown

	Namespace, Workflow, Run string // of a workflow
}

// fields returns the URL parameters of a target, except for its view and Off.
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

// liveLinks makes links to pages of a server.
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

// parseTarget is the inverse of liveLinks.link.
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

// fileLinks makes links to files in one directory. It records the pages that links lead to.
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

// fileOf returns the name of a page's file. It depends only on the target, so links from
// elsewhere stay valid.
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
