package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/workdir/workdir/mount"
	"github.com/workdir/workdir/store"
)

// archiveSuffixes are what names of archives end with, and names of workspaces hardly.
var archiveSuffixes = []string{".tar.gz", ".tgz"}

// meant returns the workspace that is most likely meant by a URL whose key ends as the name of
// an archive does; false for all others.
func meant(u store.URL) (store.URL, bool) {
	for _, suffix := range archiveSuffixes {
		if key, found := strings.CutSuffix(u.Key, suffix); found && key != "" && !strings.HasSuffix(key, "/") {
			u.Key = key
			return u, true
		}
	}
	return u, false
}

// asked adds to the error for a workspace that does not exist which one may be meant.
func asked(u store.URL, err error) error {
	if m, ok := meant(u); ok && errors.Is(err, store.ErrNotExist) {
		return fmt.Errorf("%w (did you mean %s? the archive of %s is %s; --may-be-absent makes a new workspace of that name)",
			err, m.Redacted(), m.Key[strings.LastIndexByte(m.Key, '/')+1:], u.Key[strings.LastIndexByte(u.Key, '/')+1:])
	}
	return err
}

// newName says what there is to say of the name of a workspace that is made or written.
func (a *app) newName(url string) {
	u, err := store.ParseURL(url)
	if err != nil {
		return // the command says so
	}
	if m, ok := meant(u); ok {
		a.log.Warn("the archive of this workspace will end in .tar.gz once more; did you mean " + m.Redacted() + "?")
	}
	a.nothingRemains(u)
}

// nothingRemains says that a workspace in memory is gone when this command ends.
func (a *app) nothingRemains(u store.URL) {
	if u.Scheme == "mem" {
		a.note("%s is in the memory of this command: nothing remains of it afterwards", u.Redacted())
	}
}

// saysNew says on a terminal that a workspace did not exist, since that may be a typing error.
func (a *app) saysNew(ctx context.Context, m *mount.Mount) {
	if a.quiet || !isTerminal(a.stderr) {
		return
	}
	if status, err := m.Status(ctx); err == nil && status.Revision == "" {
		a.note("new workspace: %s", m.URL())
	}
}
