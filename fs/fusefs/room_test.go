package fusefs

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Removed and replaced files are room for the very next write. They once were not until the
// kernel's FORGET, and a tool that removed a file and wrote another at once met ENOSPC on
// every second try.
func TestRemovedIsRoom(t *testing.T) {
	const limit = 4 << 20
	m := newMount(t, childConfig{MaxBytes: limit, MaxInodes: 3})
	name := filepath.Join(m.dir, "f")
	for i := range 100 {
		if err := fill(name, limit-1<<16); err != nil {
			t.Fatalf("round %d: %v", i, err)
		}
		switch {
		case i%2 == 0:
			if err := os.Remove(name); err != nil {
				t.Fatal(err)
			}
		default: // an empty file takes its place
			other := filepath.Join(m.dir, "other")
			if err := errors.Join(fill(other, 0), os.Rename(other, name)); err != nil {
				t.Fatalf("round %d: %v", i, err)
			}
		}
	}
	if got := m.ask("err").Err; got != "<nil>" {
		t.Errorf("tree: %s", got)
	}
}

// fill writes a file that no write-back is left of.
func fill(name string, size int) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, size))
	return errors.Join(err, f.Sync(), f.Close())
}

// A removed file is all there for those who have it open, and gone with the last
// of them.
func TestRemovedWhileOpen(t *testing.T) {
	m := newMount(t, childConfig{})
	name := filepath.Join(m.dir, "f")
	if err := os.WriteFile(name, []byte("content"), 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := os.Remove(name); err != nil {
		t.Fatal(err)
	}
	again, err := os.Open(fmt.Sprintf("/proc/self/fd/%d", f.Fd())) // still open, so it can be opened
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if _, err := f.WriteAt([]byte("more"), 7); err != nil {
		t.Error(err)
	}
	if got, err := io.ReadAll(again); string(got) != "contentmore" || err != nil {
		t.Errorf("content = %q, %v", got, err)
	}
}

// A file without a name can get one as long as anybody has hold of it.
func TestTmpfileLinkedByPath(t *testing.T) {
	m := newMount(t, childConfig{})
	f, err := os.OpenFile(m.dir, os.O_RDWR|unix.O_TMPFILE, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString("content"); err != nil {
		t.Fatal(err)
	}
	held, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", f.Fd()), unix.O_PATH, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(held)
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(m.dir, "named")
	if err := unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", held), unix.AT_FDCWD, name, unix.AT_SYMLINK_FOLLOW); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(name); string(got) != "content" || err != nil {
		t.Errorf("content = %q, %v", got, err)
	}
}
