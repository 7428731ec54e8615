package integration

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// forgets is how often the kernel is asked to forget before a probe says that it does not.
const forgets = 100

// forget makes the kernel forget all files that are not open, until is true, and reports
// whether that came.
func forget(t *testing.T, until func() bool) bool {
	t.Helper()
	for range forgets {
		must(t, os.WriteFile("/proc/sys/vm/drop_caches", []byte("2"), 0))
		if until() {
			return true
		}
	}
	return false
}

// appendTo changes a file.
func appendTo(t *testing.T, name string) {
	t.Helper()
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	_, err = f.WriteString("more")
	must(t, err)
	must(t, f.Close())
}

// ctimeOfACopy opens a file for writing, and reports whether ctime is another one by that.
func ctimeOfACopy(t *testing.T, dir string) string {
	before := statOf(t, dir, "f").Ctim
	tick()
	f, err := os.OpenFile(filepath.Join(dir, "f"), os.O_RDWR, 0)
	must(t, err)
	must(t, f.Close())
	if statOf(t, dir, "f").Ctim == before {
		return "the same ctime"
	}
	return "a new ctime"
}

// numberOfAForgottenFile changes a file, and reports whether it keeps its inode number when
// the kernel has forgotten it.
func numberOfAForgottenFile(t *testing.T, dir string) string {
	appendTo(t, filepath.Join(dir, "f"))
	before := statOf(t, dir, "f").Ino
	if forget(t, func() bool { return statOf(t, dir, "f").Ino != before }) {
		return "another number"
	}
	return "the same number"
}

// linkOfAForgottenFile gives an open file, which was changed, a second name, and says what
// is seen of it when the kernel has forgotten that name.
func linkOfAForgottenFile(t *testing.T, dir string) string {
	name, again := filepath.Join(dir, "f"), filepath.Join(dir, "again")
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	must(t, err)
	defer f.Close()
	must(t, os.Link(name, again))
	must(t, unix.Flock(int(f.Fd()), unix.LOCK_EX))
	if !forget(t, func() bool { return statOf(t, dir, "again").Ino != statOf(t, dir, "f").Ino }) {
		return "one file"
	}
	other, err := os.Open(again)
	must(t, err)
	defer other.Close()
	return "two numbers, flock " + outcome(unix.Flock(int(other.Fd()), unix.LOCK_EX|unix.LOCK_NB))
}

// watchOfAForgottenFile watches a file, changes it, and reports whether the watch is told of a
// change when the kernel has forgotten the file's name.
func watchOfAForgottenFile(t *testing.T, dir string) string {
	return watched(t, filepath.Join(dir, "f"), filepath.Join(dir, "f"))
}

// watchOfAForgottenDirectory does the same to a directory with the file.
func watchOfAForgottenDirectory(t *testing.T, dir string) string {
	return watched(t, dir, filepath.Join(dir, "f"))
}

func watched(t *testing.T, name, changed string) string {
	watch, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	must(t, err)
	defer unix.Close(watch)
	_, err = unix.InotifyAddWatch(watch, name, unix.IN_MODIFY)
	must(t, err)
	silent := func() bool {
		appendTo(t, changed)
		n, err := unix.Read(watch, make([]byte, 4096))
		return err != nil || n == 0
	}
	if silent() || forget(t, silent) {
		return "lost"
	}
	return "heard"
}
