package integration

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/mount"
)

// small opens a workspace with 1 MiB of memory and 8 MiB of disk.
func (w *oracleWorld) small(t *testing.T, key string) *mount.Mount {
	t.Helper()
	world := *w
	world.opts.MaxBytes, world.opts.SpillReserve = 1<<20, -1
	world.opts.Spill = filepath.Join(w.dir, key+"-disk")
	must(t, os.Mkdir(world.opts.Spill, 0o700))
	must(t, unix.Mount("tmpfs", world.opts.Spill, "tmpfs", 0, "size=8m"))
	t.Cleanup(func() { must(t, unix.Unmount(world.opts.Spill, unix.MNT_DETACH)) })
	return world.open(t, key)
}

// overfill writes more to a new file than a small mount has room for, and says what it
// is told.
func overfill(t *testing.T, m *mount.Mount) (f *os.File, told string) {
	t.Helper()
	f, err := os.OpenFile(m.Path("f"), os.O_CREATE|os.O_RDWR, 0o644)
	must(t, err)
	told = "write " + outcome(second(f.Write(make([]byte, 16<<20))))
	told += ", fsync " + outcome(f.Sync())
	return f, told + ", write " + outcome(second(f.Write(make([]byte, 1<<20))))
}

func fullMount(t *testing.T, w *oracleWorld) string {
	m := w.small(t, "full")
	f, told := overfill(t, m)
	_ = f.Close() // it says ENOSPC once more
	must(t, m.Commit())
	_, err := m.Close(context.Background())
	if errors.Is(err, mount.ErrCommit) {
		return told + ", commit refused"
	}
	return told + ", commit " + outcome(err)
}

func fileThatLost(t *testing.T, w *oracleWorld) string {
	m := w.small(t, "lost")
	f, _ := overfill(t, m)
	defer w.close(t, m)
	defer f.Close()
	must(t, second(f.Stat())) // the first step of any reader
	middle, end := make([]byte, 10), make([]byte, 1<<20)
	return fmt.Sprintf("read %s, at the end %s", count(f.ReadAt(middle, 0)), count(f.ReadAt(end, 16<<20-10)))
}

func mtimeOfWrittenThrough(t *testing.T, w *oracleWorld) string {
	m := w.small(t, "mtime")
	defer w.close(t, m)
	for i := range 17 { // in memory, and each that finds no room there on disk
		must(t, os.WriteFile(m.Path(fmt.Sprint(i)), make([]byte, 500<<10), 0o644))
	}
	f, err := os.Create(m.Path("f"))
	must(t, err)
	defer f.Close()
	before := statOf(t, m.Path(), "f")
	tick()
	must(t, second(f.Write([]byte("content"))))
	if statOf(t, m.Path(), "f").Mtim == before.Mtim {
		return "the same mtime"
	}
	return "a new mtime"
}

func allFreeInOneFile(t *testing.T, w *oracleWorld) string {
	m := w.small(t, "all")
	defer w.close(t, m)
	f, err := os.Create(m.Path("f"))
	must(t, err)
	defer f.Close()
	var st unix.Statfs_t
	must(t, unix.Fstatfs(int(f.Fd()), &st))
	return outcome(unix.Fallocate(int(f.Fd()), 0, 0, int64(st.Bavail)*st.Bsize))
}

// mountInMount opens a workspace at a path in another one.
func mountInMount(t *testing.T, w *oracleWorld) string {
	m := w.open(t, "outer")
	defer w.close(t, m)
	dir := m.Path("d")
	must(t, os.Mkdir(dir, 0o755))
	return refusedAt(t, w, dir)
}

// mountOverMount opens a workspace where another one is mounted.
func mountOverMount(t *testing.T, w *oracleWorld) string {
	m := w.open(t, "under")
	defer w.close(t, m)
	return refusedAt(t, w, m.Path())
}

func refusedAt(t *testing.T, w *oracleWorld, dir string) string {
	t.Helper()
	opts := w.opts
	opts.Dir = dir
	m, err := mount.Open(context.Background(), "file://"+filepath.Join(w.dir, "store", "inner"), &opts)
	if err == nil {
		w.close(t, m)
		return answerOK
	}
	if !errors.Is(err, mount.ErrCannotMount) {
		t.Errorf("%s: %v", dir, err)
	}
	return "refused"
}

// beyondTheEnd stores a byte through memory behind the end of a file, has the kernel
// write back and forget its pages, makes the file longer, and reports whether the byte is
// in it.
func beyondTheEnd(t *testing.T, dir string) string {
	f, err := os.Create(filepath.Join(dir, "f"))
	must(t, err)
	defer f.Close()
	must(t, second(f.WriteString("content")))
	mapped, err := unix.Mmap(int(f.Fd()), 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	must(t, err)
	mapped[100] = 'x'
	must(t, errors.Join(unix.Munmap(mapped), f.Sync(), unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED), f.Truncate(200)))
	b := make([]byte, 1)
	must(t, second(f.ReadAt(b, 100)))
	if b[0] == 'x' {
		return "kept"
	}
	return "zero"
}

// polled adds a file to an epoll set.
func polled(fd int) error {
	set, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return err
	}
	defer unix.Close(set)
	return unix.EpollCtl(set, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
}

// lockedTwice takes a lock of a file by two descriptors of one process.
func lockedTwice(t *testing.T, dir string) string {
	var last error
	for range 2 {
		f, err := os.OpenFile(filepath.Join(dir, "f"), os.O_CREATE|os.O_RDWR, 0o644)
		must(t, err)
		defer f.Close()
		last = unix.FcntlFlock(f.Fd(), unix.F_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
	}
	return outcome(last)
}
