package fusefs

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// muchMore is what a file would take that nobody stops, in bytes.
const muchMore = 2 << 30

// writeUntil writes to f until write(2) fails.
func writeUntil(t *testing.T, f *os.File, most int64) error {
	t.Helper()
	part := make([]byte, 64<<10)
	for written := int64(0); written < most; {
		n, err := f.Write(part)
		written += int64(n)
		if err != nil {
			return errors.Unwrap(err)
		}
	}
	return nil
}

// A file that is made in a nearly full mount takes what fits, as on tmpfs: write(2) reports
// the end, and nothing that it took is lost.
func TestNearlyFullMountLosesNothing(t *testing.T) {
	const limit = 16 << 20
	for _, c := range []struct {
		name    string
		disable []string
		lost    bool
	}{
		{"this kernel", nil, false},
		{"a kernel before 6.6", []string{"direct_mmap"}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMount(t, childConfig{MaxBytes: limit, Quiet: true, Disable: c.disable})
			if err := fill(filepath.Join(m.dir, "most"), limit/16*15); err != nil {
				t.Fatal(err)
			}
			f, err := os.OpenFile(filepath.Join(m.dir, "f"), os.O_CREATE|os.O_RDWR, 0o644)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if err := writeUntil(t, f, muchMore); err != unix.ENOSPC {
				t.Fatalf("write(2) said %v, want ENOSPC", err)
			}
			if err := store(f, 'x'); err != nil && !c.lost {
				t.Errorf("store through memory: %v", err)
			}
			st, err := f.Stat()
			if err != nil {
				t.Fatal(err)
			}
			got, tree := m.ask("f").Bytes, m.ask("err").Err
			if lost := int64(len(got)) != st.Size() || got[0] != 'x' || tree != "<nil>"; lost != c.lost {
				t.Errorf("the tree has %d bytes of %d, %s; want something lost: %v", len(got), st.Size(), tree, c.lost)
			}
		})
	}
}

// store stores b through memory into the first byte of f.
func store(f *os.File, b byte) error {
	mapped, err := unix.Mmap(int(f.Fd()), 0, blockSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	mapped[0] = b
	return errors.Join(unix.Msync(mapped, unix.MS_SYNC), unix.Munmap(mapped))
}

// Under the writeback cache, write(2) never failed in a full mount: a log grew forever,
// with content that nobody kept.
func TestFullMountTellsWrite(t *testing.T) {
	const limit = 4 << 20
	openings := map[string]func(name string) (*os.File, error){
		"new": os.Create,
		"old": func(name string) (*os.File, error) {
			return os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
		},
		"old, to read and write": func(name string) (*os.File, error) { return os.OpenFile(name, os.O_RDWR, 0) },
	}
	for name, open := range openings {
		t.Run(name, func(t *testing.T) {
			m := newMount(t, childConfig{MaxBytes: limit, Quiet: true, Files: map[string]string{"f": "content"}})
			path := filepath.Join(m.dir, "f")
			if name == "new" {
				path = filepath.Join(m.dir, "g")
			}
			f, err := open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if err := writeUntil(t, f, muchMore); err != unix.ENOSPC {
				t.Fatalf("write(2) said %v, want ENOSPC", err)
			}
			if err := writeUntil(t, f, muchMore); err != unix.ENOSPC {
				t.Errorf("the next one said %v, want ENOSPC", err)
			}
			// A tool that goes on without the file has lost nothing.
			if err := f.Truncate(0); err != nil {
				t.Fatal(err)
			}
			if _, err := f.Write([]byte("new")); err != nil {
				t.Errorf("a write to the file that was cut to nothing: %v", err)
			}
			if err := f.Close(); err != nil && !errors.Is(err, unix.ENOSPC) { // close(2) reports the loss, once
				t.Error(err)
			}
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := fill(path, limit-1<<16); err != nil {
				t.Error(err)
			}
			if got := m.ask("err").Err; got != "<nil>" {
				t.Errorf("tree: %s", got)
			}
		})
	}
}
