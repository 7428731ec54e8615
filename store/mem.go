package store

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"
)

// The driver mem keeps archives for as long as a program runs: in a private
// directory beneath the directory for temporary files, through the file driver,
// so that the processes of one program share the archives.

// memHome is this process's directory for mem.
var memHome struct {
	sync.Mutex
	dir  string // "" until it is made
	lock *dir   // holds the flock that marks the process as alive; nil if the directory is another process's
}

const memPrefix = "workdir-mem-"

// openMem is the driver for mem. Its archives need not survive a crash of the host, so they
// are not flushed.
func openMem(_ context.Context, u URL) (Store, error) {
	if err := noOptions(u); err != nil {
		return nil, err
	}
	home, err := MemDir()
	if err != nil {
		return nil, err
	}
	return &fileStore{
		root:  filepath.Join(home, u.Bucket),
		label: u.bucket() + "/",
		sys:   syscalls{flock: unix.Flock, lock: lockWhole, fsync: func(int) error { return nil }},
	}, nil
}

// MemDir returns the directory for the archives of mem URLs, which the first call creates. It
// belongs to this process, only its user may read it, and it is removed by [RemoveMem], or, if
// this process is killed, by the next one that creates such a directory.
func MemDir() (string, error) {
	memHome.Lock()
	defer memHome.Unlock()
	if memHome.dir != "" {
		return memHome.dir, nil
	}
	base := os.TempDir()
	removeLeftMem(base)
	for {
		path, lock, err := newMemDir(base)
		if err != nil {
			return "", &Error{Op: "open", Object: "mem:", Kind: ErrUnreachable, Cause: err, Todo: "mem needs a directory for temporary files that this user can write; TMPDIR names another"}
		}
		if lock != nil {
			memHome.dir, memHome.lock = path, lock
			return path, nil
		}
	}
}

// newMemDir creates a directory and locks it. lock is nil if another process took it for a
// leftover before it was locked.
func newMemDir(base string) (path string, lock *dir, err error) {
	path, err = os.MkdirTemp(base, memPrefix) // mode 0700
	if err != nil {
		return "", nil, err
	}
	if path, err = filepath.Abs(path); err != nil {
		return "", nil, err
	}
	lock, err = openDir(path, unix.O_RDONLY, &durable)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil, nil
	}
	if err != nil {
		return "", nil, err
	}
	if !lock.alone() {
		lock.close()
		return "", nil, nil
	}
	return path, lock, nil
}

// alone locks d, and reports whether that was possible and d still exists.
func (d *dir) alone() bool {
	var st unix.Stat_t
	return unix.Flock(d.fd, unix.LOCK_EX|unix.LOCK_NB) == nil && unix.Fstat(d.fd, &st) == nil && st.Nlink > 0
}

// removeLeftMem removes the directories of this user's dead processes.
func removeLeftMem(base string) {
	paths, _ := filepath.Glob(filepath.Join(base, memPrefix+"*"))
	for _, path := range paths {
		_ = removeIfLeft(path) // the next process removes the rest
	}
}

// removeIfLeft removes the directory of a dead process of this user.
func removeIfLeft(path string) error {
	d, err := openDir(path, unix.O_RDONLY|unix.O_NOFOLLOW, &durable)
	if err != nil {
		return err
	}
	defer d.close()
	var st unix.Stat_t
	if unix.Fstat(d.fd, &st) == nil && int(st.Uid) == os.Geteuid() && d.alone() {
		return os.RemoveAll(path)
	}
	return nil
}

// SetMemDir makes this process use the directory of another one, which keeps owning it. A
// server calls it with its client's [MemDir] before it opens a store; a directory that this
// process itself has created is removed.
func SetMemDir(path string) {
	memHome.Lock()
	defer memHome.Unlock()
	if path != memHome.dir {
		_ = removeMemLocked()
	}
	memHome.dir = path
}

// RemoveMem removes the archives of mem URLs, if any. It does not remove a directory of
// another process unless that process is dead. A mem URL opened afterwards has no archive.
func RemoveMem() error {
	memHome.Lock()
	defer memHome.Unlock()
	return removeMemLocked()
}

// Preconditions: memHome is locked.
func removeMemLocked() error {
	path, lock := memHome.dir, memHome.lock
	memHome.dir, memHome.lock = "", nil
	if path == "" {
		return nil
	}
	if lock == nil {
		return removeIfLeft(path)
	}
	defer lock.close()
	return os.RemoveAll(path)
}
