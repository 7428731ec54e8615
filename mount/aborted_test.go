package mount

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// connections returns the numbers of the FUSE connections that a process serves.
func connections(t *testing.T, pid int) map[string]bool {
	t.Helper()
	infos, err := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", pid))
	if err != nil {
		t.Fatal(err)
	}
	numbers := map[string]bool{}
	for _, info := range infos {
		b, err := os.ReadFile(info)
		if err != nil {
			continue // it was closed
		}
		for line := range strings.Lines(string(b)) {
			if number, ok := strings.CutPrefix(line, "fuse_connection:"); ok {
				numbers[strings.TrimSpace(number)] = true
			}
		}
	}
	return numbers
}

// abort aborts the one FUSE connection of a server that was not there before.
func abort(t *testing.T, before, after map[string]bool) {
	t.Helper()
	for number := range before {
		delete(after, number)
	}
	if len(after) != 1 {
		t.Fatalf("new connections: %v, want one", after)
	}
	dir := t.TempDir()
	if err := unix.Mount("fusectl", dir, "fusectl", 0, ""); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }()
	for number := range after {
		if err := os.WriteFile(filepath.Join(dir, number, "abort"), []byte("1"), 0); err != nil {
			t.Fatal(err)
		}
	}
}

// A mount outlives its connection where somebody aborts that. It stayed at the mountpoint
// for good.
func TestAbortedConnection(t *testing.T) {
	f := newFixture(t)
	f.commit("k", "file", "content")
	first := f.open("other", nil)
	server := f.status(first).ServerPID
	before := connections(t, server)
	m := f.open("k", nil)
	f.write(m, "new", "content")
	if err := m.Commit(); err != nil {
		t.Error(err)
	}
	abort(t, before, connections(t, server))
	<-m.Done()
	if res, err := m.Close(t.Context()); !errors.Is(err, ErrUnmounted) || res.Stored {
		t.Errorf("Close = %+v, %v; want ErrUnmounted", res, err)
	}
	if _, err := os.Lstat(m.Path()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the mountpoint after Close: %v, want it gone", err)
	}
	f.close(first, false)
}
