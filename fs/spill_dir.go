package fs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/internal/eintr"
)

const (
	// spillPrefix begins the names of directories that spill homes make.
	spillPrefix = ".workdir-spill-"
	// spillLock is the file in it whose flock shows that its process is alive: NFS has no
	// flock of directories.
	spillLock = "lock"
	// spillGone ends the name of a directory that is being removed.
	spillGone = ".gone"
	// spillTries is how often a directory is made again after another process took it for a
	// left one.
	spillTries = 100
)

// makeSpillDir makes a directory in dir and locks it.
func makeSpillDir(dir string) (own string, lock *os.File, err error) {
	for range spillTries {
		own, err := os.MkdirTemp(dir, spillPrefix+strconv.Itoa(os.Getpid())+"-")
		if err != nil {
			return "", nil, err
		}
		lock, err := lockSpillDir(own)
		if err != nil {
			os.RemoveAll(own) // the first error counts
			return "", nil, err
		}
		if lock != nil {
			return own, lock, nil
		}
	}
	return "", nil, errors.New("others remove it as soon as it is made; choose another directory")
}

// lockSpillDir locks a new directory. lock is nil if another process took the directory for
// a left one before it was locked.
func lockSpillDir(own string) (lock *os.File, err error) {
	name := filepath.Join(own, spillLock)
	if err = os.WriteFile(name, nil, 0o600); err == nil {
		lock, err = lockFile(name)
	}
	switch {
	case errors.Is(err, os.ErrNotExist), errors.Is(err, unix.EWOULDBLOCK):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("lock %s: %w; choose a directory on a file system that has flock(2)", name, err)
	case !isStill(lock, name):
		lock.Close()
		return nil, nil
	}
	return lock, nil
}

// lockFile takes the flock of a file or directory. EWOULDBLOCK if another process has it.
// Opening it for reading is enough except on NFS, which turns flock(2) into a lock of
// bytes; an open file for writing would keep the disk from being remounted read-only.
func lockFile(name string) (*os.File, error) {
	f, err := openAndLock(name, os.O_RDONLY)
	if errors.Is(err, unix.EBADF) {
		defer f.Close()
		f, err = openAndLock(name, os.O_RDWR)
	}
	if err != nil {
		f.Close() // an error, no more, if it is nil
		return nil, err
	}
	return f, nil
}

// openAndLock returns the open file even beside an error of flock(2).
func openAndLock(name string, mode int) (*os.File, error) {
	f, err := os.OpenFile(name, mode|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	return f, eintr.Retry(func() error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) })
}

// isStill reports whether name leads to f.
func isStill(f *os.File, name string) bool {
	is, err1 := f.Stat()
	there, err2 := os.Lstat(name)
	return err1 == nil && err2 == nil && os.SameFile(is, there)
}

// RemoveLeftSpills removes from dir what the spill homes of killed processes left there.
// Directories of live processes stay.
func RemoveLeftSpills(dir string) {
	left, err := os.ReadDir(dir)
	if err != nil {
		return // making one there reports the reason
	}
	for _, e := range left {
		if path := filepath.Join(dir, e.Name()); e.IsDir() && strings.HasPrefix(e.Name(), spillPrefix) {
			removeIfLeft(path)
		}
	}
}

// removeIfLeft removes a directory whose lock nobody holds. It renames the directory first,
// so that a process that has just made it and is about to lock it sees that it is gone.
func removeIfLeft(path string) {
	name := filepath.Join(path, spillLock)
	lock, err := lockFile(name)
	if errors.Is(err, os.ErrNotExist) {
		lock, err = lockInstead(path, name)
	}
	if err != nil {
		return
	}
	defer lock.Close()
	gone := path + spillGone
	if isStill(lock, name) && os.Rename(path, gone) == nil {
		os.RemoveAll(gone) // the next process removes what is left
	}
}

// lockInstead makes and takes the lock of a directory that has none: the directory was only
// just made, or was made by a version that locked the directory itself.
func lockInstead(path, name string) (*os.File, error) {
	dir, err := lockFile(path)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	// By descriptor: the owner of the directory could redirect the path.
	fd, err := unix.Openat(int(dir.Fd()), spillLock, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	_ = unix.Close(fd)
	return lockFile(name)
}
