package proc

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Place is the directory that a test has for itself and for the programs that it
// starts. Nothing of them may be left when the test ends.
type Place struct {
	T     testing.TB
	Root  string
	Store string // directory of archives; "" for none
	Mark  string // variable, "NAME=value", in the environment of what the test starts
}

// Processes are those that bear the mark, and have not ended.
func (p *Place) Processes() []int { return Marked(p.Mark) }

// Mounts are the workspaces mounted in the place, in this mount namespace.
func (p *Place) Mounts() []string {
	paths, err := WorkspaceMounts(p.Root)
	if err != nil {
		p.T.Error(err)
	}
	return paths
}

// Litter is everything in the store except archives and locks of commits.
func (p *Place) Litter() []string {
	if p.Store == "" {
		return nil
	}
	var paths []string
	err := filepath.WalkDir(p.Store, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.HasSuffix(path, "/.workdir/lock") && (!strings.HasSuffix(path, ".tar.gz") || strings.HasPrefix(d.Name(), ".")) {
			paths = append(paths, path)
		}
		return err
	})
	if err != nil {
		p.T.Error(err)
	}
	return paths
}

// Report reports leftovers.
func (p *Place) Report() {
	p.T.Helper()
	for _, pid := range p.Processes() {
		p.T.Errorf("left running: process %d: %s", pid, CommandLine(pid))
	}
	for _, path := range p.Mounts() {
		p.T.Errorf("left mounted: %s", path)
	}
	for _, path := range p.Litter() {
		p.T.Errorf("left beside the archives: %s", path)
	}
}

// Remove ends reported leftovers, and removes the place.
func (p *Place) Remove() {
	for _, pid := range p.Processes() {
		_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
	}
	for _, path := range p.Mounts() {
		_ = syscall.Unmount(path, syscall.MNT_DETACH) // likewise
	}
	if err := os.RemoveAll(p.Root); err != nil {
		p.T.Error(err)
	}
}
