package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/internal/eintr"
)

// homeName is the hidden directory beside the archives of a directory, for their writers'
// temporary files and the lock. No key leads into it.
const homeName = ".workdir"

// homeError is what is wrong with that directory.
type homeError struct {
	path string
	err  error
}

func (e *homeError) Error() string {
	return fmt.Sprintf("%s, where commits have their temporary files and their lock: %v", e.path, e.err)
}
func (e *homeError) Unwrap() error { return e.err }

// homeTries is how often a home is opened that others remove concurrently.
const homeTries = 10

// withHome calls fn with the home of d, which it creates if need be. If fn returns ENOENT
// because others have removed the home meanwhile, it is called once more with a new one.
// ENOENT means that d itself was removed. fn closes the home.
func (d *dir) withHome(fn func(home *dir) error) error {
	for n := 1; ; n++ {
		home, err := d.openHome()
		if err != nil {
			return err
		}
		if err = fn(home); !errors.Is(err, unix.ENOENT) || n == homeTries {
			return err
		}
	}
}

func (d *dir) openHome() (*dir, error) {
	path := d.path + "/" + homeName
	for {
		fd, err := openat(d.fd, homeName, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
		if err == nil {
			return &dir{fd: fd, path: path, sys: d.sys}, nil
		}
		if !errors.Is(err, unix.ENOENT) {
			return nil, &homeError{path, err}
		}
		if err := d.makeHome(); err != nil {
			return nil, err
		}
	}
}

// makeHome creates the home of d, unless another process is faster. The home appears complete,
// with its permissions and the lock in it: it is never empty, so a rename never replaces one.
// Once a home exists, the names that lead to d are durable.
func (d *dir) makeHome() error {
	var st unix.Stat_t
	if err := eintr.Retry(func() error { return unix.Fstat(d.fd, &st) }); err != nil {
		return err
	}
	if err := d.syncAbove(); err != nil {
		return err
	}
	name := tempPrefix + randomName()
	if err := eintr.Retry(func() error { return unix.Mkdirat(d.fd, name, 0o700) }); err != nil {
		return err
	}
	err := d.furnish(name, &st)
	if err != nil {
		_ = unix.Unlinkat(d.fd, name+"/"+lockName, 0)
		_ = unix.Unlinkat(d.fd, name, unix.AT_REMOVEDIR)
		if errors.Is(err, unix.ENOTEMPTY) || errors.Is(err, unix.EEXIST) {
			return nil // another process was faster, and may have removed its home since
		}
		if _, serr := d.stat(homeName); serr == nil {
			return nil // another process made it, and may have swept ours away
		}
		return err
	}
	// Remove leftovers of processes killed in this function, and of older builds, which had
	// their temporary files beside the archives.
	d.sweep()
	return nil
}

// syncAbove makes the names that lead to d durable, including those made by others, as far up
// as its file system reaches and this user may read.
func (d *dir) syncAbove() error {
	at := d
	for {
		fd, err := openat(at.fd, "..", unix.O_RDONLY|unix.O_DIRECTORY, 0)
		if errors.Is(err, unix.EACCES) {
			return nil
		}
		if err != nil {
			return err
		}
		up := &dir{fd: fd, path: filepath.Dir(at.path), sys: d.sys}
		defer up.close()
		var below, above unix.Stat_t
		if err := errors.Join(unix.Fstat(at.fd, &below), unix.Fstat(up.fd, &above)); err != nil {
			return err
		}
		if above.Dev != below.Dev || above.Ino == below.Ino {
			return nil // a mount point, or the root
		}
		if err := up.sync(); err != nil {
			return fmt.Errorf("%s could not be made durable: %w", up.path, err)
		}
		at = up
	}
}

// furnish puts the lock into a new home, sets its permissions, and renames it. st is the
// directory that it is for. The new home is locked by flock(2) meanwhile: an unlocked one was
// left by a killed process.
func (d *dir) furnish(name string, st *unix.Stat_t) error {
	fd, err := openat(d.fd, name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	home := os.NewFile(uintptr(fd), name)
	defer home.Close()
	if err := eintr.Retry(func() error { return d.sys.flock(fd, unix.LOCK_EX|unix.LOCK_NB) }); errors.Is(err, unix.EWOULDBLOCK) {
		return err // it is being swept away
	}
	fd, err = openat(fd, lockName, unix.O_RDWR|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	lock := os.NewFile(uintptr(fd), name+"/"+lockName)
	defer lock.Close()
	letIn(lock, st, 0o666)
	letIn(home, st, 0o777)
	return eintr.Retry(func() error { return unix.Renameat(d.fd, name, d.fd, homeName) })
}

// letIn grants permission bits on a file only to users who may write the directory st: readers
// must not be able to block writers. File systems without owners and modes ignore it.
func letIn(f *os.File, st *unix.Stat_t, bits uint32) {
	if f.Chown(int(st.Uid), int(st.Gid)) != nil {
		_ = f.Chown(-1, int(st.Gid))
	}
	mode := writers(st.Mode) & bits
	if bits&0o111 != 0 {
		mode |= st.Mode & (unix.S_ISGID | unix.S_ISVTX)
	}
	_ = unix.Fchmod(int(f.Fd()), mode)
}

// writers returns all bits of the user classes that may write by mode.
func writers(mode uint32) uint32 {
	var bits uint32
	for _, class := range []uint32{0o700, 0o070, 0o007} {
		if mode&class&0o222 != 0 {
			bits |= class
		}
	}
	return bits
}

// removeHome removes the home of d if it contains only the lock. It does not block.
func (d *dir) removeHome() {
	home, err := d.openHome()
	if err != nil {
		return
	}
	defer home.close()
	fd, err := home.openLock()
	if err != nil {
		return
	}
	defer unix.Close(fd)
	names, err := home.names()
	if err != nil || len(names) != 1 || d.sys.lock(fd) != nil || !home.isLock(fd) {
		return
	}
	_ = unix.Unlinkat(home.fd, lockName, 0) // a process that gets this lock now sees that it is gone
	_ = unix.Unlinkat(d.fd, homeName, unix.AT_REMOVEDIR)
}

// lockName is the file in a home that is locked for a commit. The lock is an OFD lock,
// which NFS carries to its server, where clients and the server's own processes agree
// on it.
const lockName = "lock"

func (d *dir) openLock() (int, error) {
	return openat(d.fd, lockName, unix.O_RDWR|unix.O_CREAT|unix.O_NOFOLLOW, 0o600)
}

// isLock reports whether fd is still the lock, and not a removed one.
//
// Preconditions: d is a home.
func (d *dir) isLock(fd int) bool {
	var ours unix.Stat_t
	if eintr.Retry(func() error { return unix.Fstat(fd, &ours) }) != nil {
		return false
	}
	there, err := d.stat(lockName)
	return err == nil && there.Ino == ours.Ino && there.Dev == ours.Dev
}

// lockWhole is the lock of a whole file, for [syscalls].
func lockWhole(fd int) error {
	return unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK, Whence: io.SeekStart})
}

// errNoLocks says that the file system has no such lock.
func errNoLocks(call string, err error) error {
	return fmt.Errorf("%w: the file system has no locks (%s: %w)", ErrNotAllowed, call, err)
}

// noSuchLock reports whether err means that the file system has no such lock, rather than that
// another process holds it.
func noSuchLock(err error) bool {
	for _, errno := range []error{unix.EBADF, unix.EINVAL, unix.ENOLCK, unix.ENOSYS, unix.EOPNOTSUPP} {
		if errors.Is(err, errno) {
			return true
		}
	}
	return false
}
