package fsdir

import (
	"os"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/fs"
	"github.com/workdir/workdir/internal/eintr"
)

// The calls below take one name, relative to the descriptor of a directory, and follow no
// symbolic link. So they never leave the directory that was given, even if others change it
// meanwhile.

// openAt is openat(2) of one name.
func openAt(dir int, name string, flags int, mode uint32) (fd int, err error) {
	err = eintr.Retry(func() error {
		fd, err = unix.Openat(dir, name, flags|unix.O_NOFOLLOW|unix.O_CLOEXEC, mode)
		return err
	})
	return fd, err
}

// openDirAt opens a directory; access is O_RDONLY or O_PATH.
func openDirAt(dir int, name string, access int) (int, error) {
	return openAt(dir, name, access|unix.O_DIRECTORY, 0)
}

// beneath calls fn with a descriptor of the directory that contains path and with the last
// name of path. It descends from root one name at a time.
func beneath(root int, path string, fn func(dir int, name string) error) error {
	parent, last := fs.Split(path)
	at := root
	defer func() {
		if at != root {
			_ = unix.Close(at)
		}
	}()
	for name := range fs.Names(parent) {
		next, err := openDirAt(at, name, unix.O_PATH)
		if err != nil {
			return err
		}
		if at != root {
			_ = unix.Close(at)
		}
		at = next
	}
	return fn(at, last)
}

// statAt is lstat(2).
func statAt(dir int, name string) (st unix.Stat_t, err error) {
	err = eintr.Retry(func() error { return unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	return st, err
}

// setTimeAt sets the mtime and leaves the atime; "." is dir itself.
func setTimeAt(dir int, name string, t fs.Time) error {
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Sec: t.Sec, Nsec: int64(t.Nsec)}}
	return eintr.Retry(func() error { return unix.UtimesNanoAt(dir, name, times, unix.AT_SYMLINK_NOFOLLOW) })
}

// namesOf lists an open directory from its beginning.
func namesOf(fd int) ([]string, error) {
	again, err := openDirAt(fd, ".", unix.O_RDONLY)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(again), ".")
	defer f.Close()
	return f.Readdirnames(-1)
}

func fsTime(t unix.Timespec) fs.Time { return fs.Time{Sec: t.Sec, Nsec: uint32(t.Nsec)} }
