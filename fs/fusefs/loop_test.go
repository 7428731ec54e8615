package fusefs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Two WRITEs of one page, the first of which waits for the store: in the end the mount
// shows what will be stored. The second once overtook the first.
func TestWritesStayInOrder(t *testing.T) {
	const before, written = "what the file had before", "slow write"
	m := newMount(t, childConfig{Disable: []string{"writeback"}, Files: map[string]string{"f": before}, Image: true})
	f, err := os.OpenFile(filepath.Join(m.dir, "f"), os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	page, err := unix.Mmap(int(f.Fd()), 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	must(t, err)
	if page[0] != before[0] { // the page is there, and so will not be locked
		t.Fatalf("mapped: %q, want %q", page[:len(before)], before)
	}
	m.ask("hold")
	ends := make(chan error)
	go func() {
		_, err := f.WriteAt([]byte(written), 0)
		ends <- err
	}()
	if r := m.ask("held"); r.Err != "" {
		t.Fatal(r.Err)
	}
	page[0] = 'S'
	go func() { // writes it back, as msync(2) does, but not behind the write
		ends <- unix.SyncFileRange(int(f.Fd()), 0, 0, unix.SYNC_FILE_RANGE_WRITE|unix.SYNC_FILE_RANGE_WAIT_AFTER)
	}()
	for m.ask("stats").Stats["WRITE"] < 2 {
		runtime.Gosched()
	}
	m.ask("release")
	must(t, errors.Join(<-ends, <-ends))
	must(t, unix.Munmap(page)) // not before: it would keep the whole process from mapping memory

	shown := make([]byte, len(before))
	_, err = f.ReadAt(shown, 0) // no other open, which could drop the page
	must(t, err)
	want := "S" + written[1:] + before[len(written):]
	if stored := m.ask("f").Bytes; string(stored) != want || string(shown) != want {
		t.Errorf("the mount shows %q and stores %q, want %q", shown, stored, want)
	}
}

// A request that waits for the store delays no other request, in its own mount or in
// another one.
func TestSlowStoreHoldsUpNobody(t *testing.T) {
	files := map[string]string{"quick": "content"}
	const slow = 3 * readersAtMost
	for i := range slow {
		files[fmt.Sprint(i)] = "content"
	}
	m := newMount(t, childConfig{Files: files, Image: true, More: 1})
	ends := make(chan error)
	for i := range slow {
		m.ask("hold")
		go func() {
			_, err := os.ReadFile(filepath.Join(m.dirs[i%2], fmt.Sprint(i)))
			ends <- err
		}()
		if r := m.ask("held"); r.Err != "" {
			t.Fatal(r.Err)
		}
	}
	for _, dir := range m.dirs {
		if b, err := os.ReadFile(filepath.Join(dir, "quick")); err != nil || string(b) != "content" {
			t.Errorf("%q, %v", b, err)
		}
		must(t, create(dir))
	}
	for range slow {
		m.ask("release")
	}
	for range slow {
		must(t, <-ends)
	}
}

// Each mount once had threads and buffers of its own.
func TestManyMountsShareThreads(t *testing.T) {
	const mounts = 100
	m := newMount(t, childConfig{More: mounts - 1})
	data := make([]byte, 1<<20)
	for _, dir := range m.dirs {
		must(t, os.WriteFile(filepath.Join(dir, "f"), data, 0o644))
	}
	if n := m.ask("threads").Stats["threads"]; n == 0 || n > uint64(10+4*runtime.NumCPU()) {
		t.Errorf("%d mounts have %d threads", mounts, n)
	}
}

// A panic is the end of its own mount, and not of others of the same process.
func TestPanicSparesOtherMounts(t *testing.T) {
	m := newMount(t, childConfig{More: 1, Quiet: true})
	for i, want := range []error{unix.EIO, nil} {
		if i == 0 {
			_ = stat(filepath.Join(m.dirs[0], panicName))
		}
		if err := create(m.dirs[i]); !errors.Is(err, want) {
			t.Errorf("mount %d: create = %v, want %v", i, err, want)
		}
	}
}
