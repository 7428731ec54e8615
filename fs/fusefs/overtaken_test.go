package fusefs

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Where a write(2) is overtaken by what the kernel has sent later, the mount shows in
// the end what will be stored. A file with suid is not lent, so that all goes by the
// server.
func TestWriteOvertaken(t *testing.T) {
	const before = "what the file had before"
	storeThroughMemory := func(t *testing.T, _ string, page []byte) {
		page[0] = 'S'
		must(t, unix.Munmap(page)) // writes it back, as msync(2) does, but not behind the write
	}
	openAndRead := func(t *testing.T, path string, page []byte) {
		must(t, unix.Munmap(page))
		_, err := os.ReadFile(path) // once the open dropped the page of a file that was ever lent
		must(t, err)
	}
	for _, c := range []struct {
		name  string
		cfg   childConfig
		files map[string]string // by which the test begins
		by    func(t *testing.T, path string, page []byte)
	}{
		{"passthrough, a store", childConfig{Passed: true}, map[string]string{"f": before}, storeThroughMemory},
		{"passthrough, a read", childConfig{Passed: true}, nil, openAndRead},
		{"passthrough without a kernel for it", childConfig{Passed: true, Disable: []string{"passthrough"}}, nil, storeThroughMemory},
		{"no writeback", childConfig{Disable: []string{"writeback"}}, nil, storeThroughMemory},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.cfg.Files = c.files
			m := newMount(t, c.cfg)
			path := filepath.Join(m.dir, "f")
			if c.files == nil {
				must(t, os.WriteFile(path, []byte(before), 0o644))
				awaitRelease(t, m, c.cfg) // or what is opened next is lent too
			}
			must(t, os.Chmod(path, 0o644|os.ModeSetuid))
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			must(t, err)
			defer f.Close()
			page, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			must(t, err)

			if page[0] != before[0] { // the page is there, and so will not be locked
				t.Fatalf("mapped: %q, want %q", page[:len(before)], before)
			}
			wrote := make(chan error)
			go func() {
				_, err := f.WriteAt([]byte(slowWrite), 0)
				wrote <- err
			}()
			if r := m.ask("held"); r.Err != "" {
				t.Fatal(r.Err)
			}
			c.by(t, path, page)
			m.ask("release")
			must(t, <-wrote)

			shown := make([]byte, len(before))
			_, err = f.ReadAt(shown, 0) // no other open, which could drop the page
			must(t, err)
			stored := m.ask("f").Bytes
			if string(shown) != string(stored) {
				t.Errorf("the mount shows %q and stores %q", shown, stored)
			}
			if want := slowWrite + before[len(slowWrite):]; string(stored) != want {
				t.Errorf("stored: %q, want %q", stored, want)
			}
		})
	}
}

// awaitRelease waits for a RELEASE, which comes after close(2) has returned.
func awaitRelease(t *testing.T, m *testMount, cfg childConfig) {
	t.Helper()
	until := time.Now().Add(30 * time.Second)
	wait(func() bool {
		if time.Now().After(until) {
			t.Fatal("no RELEASE came")
		}
		return cfg.Passed && m.ask("stats").Stats["RELEASE"] == 0
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
