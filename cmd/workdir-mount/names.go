package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/workdir/workdir/mount"
	"github.com/workdir/workdir/store"
)

// archiveSuffixes end the names of archives, but rarely those of workspaces.
var archiveSuffixes = []string{".tar.gz", ".tgz"}

// meant returns the workspace most likely meant by a URL whose key ends like the name of an
// archive; false for all others.
func meant(u store.URL) (store.URL, bool) {
	for _, suffix := range archiveSuffixes {
		if key, found := strings.CutSuffix(u.Key, suffix); found && key != "" && !strings.HasSuffix(key, "/") {
			u.Key = key
			return u, true
		}
	}
	return u, false
}

// asked adds the workspace that may be meant to the error for one that does not exist.
func asked(u store.URL, err error) error {
	if m, ok := meant(u); ok && errors.Is(err, store.ErrNotExist) {
		return fmt.Errorf("%w (did you mean %s? the archive of %s is %s; --may-be-absent makes a new workspace of that name)",
			err, m.Redacted(), m.Key[strings.LastIndexByte(m.Key, '/')+1:], u.Key[strings.LastIndexByte(u.Key, '/')+1:])
	}
	return err
}

// newName warns of a suspicious name of a workspace that is created or written.
func (a *app) newName(url string) {
	u, err := store.ParseURL(url)
	if err != nil {
		return // the command reports that
	}
	if m, ok := meant(u); ok {
		a.log.Warn("the archive of this workspace will end in .tar.gz once more; did you mean " + m.Redacted() + "?")
	}
	a.nothingRemains(u)
}

// nothingRemains warns that a workspace in memory is gone when this command ends.
func (a *app) nothingRemains(u store.URL) {
	if u.Scheme == "mem" {
		a.note("%s is in the memory of this command: nothing remains of it afterwards", u.Redacted())
	}
}

// saysNew notes on a terminal that a workspace did not exist, since that may be a typo.
func (a *app) saysNew(ctx context.Context, m *mount.Mount) {
	if a.quiet || !isTerminal(a.stderr) {
		return
	}
	if status, err := m.Status(ctx); err == nil && status.Revision == "" {
		a.note("new workspace: %s", m.URL())
	}
}
