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
// so that the processes of one program see the same archives.

// memHome is this process's directory for mem.
var memHome struct {
	sync.Mutex
	dir  string // "" while there is none
	lock *dir   // holds the flock that says that we live; nil where the directory is another process's
}

const memPrefix = "workdir-mem-"

// openMem is the driver for mem. Its archives need not survive a crash of the
// host, so nothing is flushed.
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

// MemDir returns the directory that holds the archives of mem URLs, and makes it
// at the first call. It belongs to this process, only its user may look into
// it, and it is removed by [RemoveMem], or by the next process that makes one
// where this one is killed.
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

// newMemDir makes a directory and locks it. lock is nil where another process
// took it for a left one before it was locked.
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

// alone locks d, and says whether that was possible and d is still there.
func (d *dir) alone() bool {
	var st unix.Stat_t
	return unix.Flock(d.fd, unix.LOCK_EX|unix.LOCK_NB) == nil && unix.Fstat(d.fd, &st) == nil && st.Nlink > 0
}

// removeLeftMem removes the directories of processes of this user that are gone.
func removeLeftMem(base string) {
	paths, _ := filepath.Glob(filepath.Join(base, memPrefix+"*"))
	for _, path := range paths {
		_ = removeIfLeft(path) // what stays is for the next process
	}
}

// removeIfLeft removes the directory of a process of this user that is gone.
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

// SetMemDir makes this process use the directory of another one, which goes on
// owning it. A server calls it with its client's [MemDir] before it opens a
// store; a directory that this process had made itself is removed.
func SetMemDir(path string) {
	memHome.Lock()
	defer memHome.Unlock()
	if path != memHome.dir {
		_ = removeMemLocked()
	}
	memHome.dir = path
}

// RemoveMem removes the archives of mem URLs. It does nothing where there are
// none, and leaves a directory of another process alone, unless that process is
// gone. A mem URL that is opened afterwards finds nothing.
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
