package fs

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// holdOpens makes every open(2) in dir wait until release is called.
func holdOpens(t *testing.T, dir string) (release func()) {
	t.Helper()
	fd, err := unix.FanotifyInit(unix.FAN_CLASS_CONTENT|unix.FAN_CLOEXEC, unix.O_RDONLY)
	if err != nil {
		t.Fatalf("fanotify: %v", err)
	}
	release = sync.OnceFunc(func() { _ = unix.Close(fd) }) // answers all that wait, and those to come
	t.Cleanup(release)
	if err := unix.FanotifyMark(fd, unix.FAN_MARK_ADD, unix.FAN_OPEN_PERM|unix.FAN_EVENT_ON_CHILD, unix.AT_FDCWD, dir); err != nil {
		t.Fatalf("fanotify: %v", err)
	}
	return release
}

// within runs f, and fails the test if f does not return.
func within(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { defer close(done); f() }()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatalf("%s did not come to an end", what)
	}
}

// A spill directory on a slow disk once stopped the files of all mounts of a server:
// a lock was held while a file was opened there.
func TestSlowSpillHoldsUpNobodyElse(t *testing.T) {
	memory, err := NewTmpfsHome(1<<20, 0)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	slow, err := NewSpillHome(memory, dir, -1)
	if err != nil {
		t.Fatal(err)
	}
	own, err := filepath.Glob(filepath.Join(dir, spillPrefix+"*"))
	if err != nil || len(own) != 1 {
		t.Fatal(own, err)
	}
	release := holdOpens(t, own[0])
	moved := make(chan error)
	go func() {
		f, err := slow.NewFile()
		if err == nil {
			_, err = f.WriteAt(make([]byte, 2<<20), 0) // moves to the disk
			err = errors.Join(err, f.Close())
		}
		moved <- err
	}()
	waitFor(t, "a file to be opened on the disk", func() bool {
		left, _ := filepath.Glob(filepath.Join(own[0], "[0-9]*")) // O_CREAT comes before the permission
		return len(left) > 0
	})
	within(t, "the use of another home", func() {
		other, err := NewTmpfsHome(1<<20, 0)
		if err != nil {
			t.Error(err)
			return
		}
		for range 3 {
			f, err := other.NewFile()
			if err == nil {
				_, err = f.WriteAt([]byte("x"), 0)
				err = errors.Join(err, f.Close())
			}
			if err != nil {
				t.Error(err)
			}
		}
		if err := other.Close(); err != nil {
			t.Error(err)
		}
	})
	release()
	if err := <-moved; err != nil {
		t.Error(err)
	}
	for _, h := range []Home{slow, memory} {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}
}

func waitFor(t *testing.T, what string, cond func() bool) {
	t.Helper()
	within(t, what, func() {
		for !cond() {
			time.Sleep(time.Millisecond)
		}
	})
}

// A file that several open at once is opened once, and one that cannot be opened is
// an error for all of them and tried again by the next.
func TestDescriptorsAreSharedWhileOpening(t *testing.T) {
	dir := t.TempDir()
	root, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	h := &tmpfsHome{cached: newDescriptorCache(1)}
	h.root.Store(int64(root))
	f := &tmpfsFile{home: h, number: 1}
	each := func() (errs [8]error) {
		var all sync.WaitGroup
		for i := range errs {
			all.Go(func() { _, errs[i] = f.Size() })
		}
		all.Wait()
		return errs
	}
	for _, err := range each() {
		if err != syscall.ENOENT {
			t.Errorf("a file that there is not: %v", err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "1"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	release := holdOpens(t, dir)
	said := make(chan [8]error)
	go func() { said <- each() }()
	waitFor(t, "all to want the file", func() bool {
		h.cached.mu.Lock()
		defer h.cached.mu.Unlock()
		return f.open != nil && f.open.users == 8
	})
	release()
	for _, err := range <-said {
		if err != nil {
			t.Error(err)
		}
	}
	if n := len(h.cached.ring); n != 1 {
		t.Errorf("%d descriptors of one file", n)
	}
	if err := errors.Join(f.Close(), h.Close()); err != nil {
		t.Error(err)
	}
}
