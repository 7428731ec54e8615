package fusefs

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Where a store through memory overtakes a write(2) of the same bytes, the file ends
// as one of the two has it, and the mount shows what will be stored. A file with suid
// is not lent, so that both go by the server.
func TestWriteOvertaken(t *testing.T) {
	for _, c := range []struct {
		name string
		cfg  childConfig
	}{
		{"passthrough", childConfig{Passed: true}},
		{"passthrough without a kernel for it", childConfig{Passed: true, Disable: []string{"passthrough"}}},
		{"no writeback", childConfig{Disable: []string{"writeback"}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.cfg.Files = map[string]string{"f": "what the file had before"}
			m := newMount(t, c.cfg)
			path := filepath.Join(m.dir, "f")
			must(t, os.Chmod(path, 0o644|os.ModeSetuid))
			f, err := os.OpenFile(path, os.O_RDWR, 0)
			must(t, err)
			defer f.Close()
			page, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
			must(t, err)
			_ = page[0] // the page is there, and so will not be locked
			wrote := make(chan error)
			go func() {
				_, err := f.WriteAt([]byte(slowWrite), 0)
				wrote <- err
			}()
			for page[0] != slowWrite[0] {
				time.Sleep(time.Millisecond) // until the write is on its way
			}
			page[0] = 'S'
			must(t, unix.Munmap(page)) // writes it back, as msync(2) does, but not behind the write
			must(t, <-wrote)

			shown, err := os.ReadFile(path)
			must(t, err)
			stored := m.ask("f").Bytes
			if string(shown) != string(stored) {
				t.Errorf("the mount shows %q and stores %q", shown, stored)
			}
			if want := slowWrite + "what the file had before"[len(slowWrite):]; string(stored) != want {
				t.Errorf("stored: %q, want %q", stored, want)
			}
		})
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
