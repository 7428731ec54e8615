package fusefs

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// Where a write(2) is overtaken by what the kernel has sent later, the mount shows in
// the end what will be stored.
func TestWriteOvertaken(t *testing.T) {
	const before = "what the file had before"
	m := newMount(t, childConfig{Disable: []string{"writeback"}, Files: map[string]string{"f": before}})
	f, err := os.OpenFile(filepath.Join(m.dir, "f"), os.O_RDWR, 0)
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
	page[0] = 'S'
	must(t, unix.Munmap(page)) // writes it back, as msync(2) does, but not behind the write
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
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
