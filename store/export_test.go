package store

import (
	"context"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/archive"
)

// NewFileStore returns a store of the file driver beneath a directory.
func NewFileStore(root string) Store { return &fileStore{root: root, sys: durable} }

// NewFileStoreWith returns one whose file system has another flock or fsync; nil
// is the real one.
func NewFileStoreWith(root string, flock func(fd, how int) error, fsync func(fd int) error) Store {
	s := &fileStore{root: root, sys: durable}
	if flock != nil {
		s.sys.flock = flock
	}
	if fsync != nil {
		s.sys.fsync = fsync
	}
	return s
}

// NewFileStoreLockedBy returns one whose file system has another lock of files.
func NewFileStoreLockedBy(root string, lock func(fd int) error) Store {
	s := &fileStore{root: root, sys: durable}
	s.sys.lock = lock
	return s
}

// LockFile is the lock of a file that a store takes.
var LockFile = lockWhole

// ForgetSweeps makes the next commits of this process sweep.
func ForgetSweeps() { swept.Clear() }

// LockPatience is how long a commit waits for the lock.
const LockPatience = lockPatience

// Freshness is how old an answer of PutOptions.Before may be.
const Freshness = freshness

// LockDir takes the lock of a directory, as a writer does.
func LockDir(ctx context.Context, path string) (unlock func(), err error) {
	d, err := openDir(path, unix.O_RDONLY, &durable)
	if err != nil {
		return nil, err
	}
	release, err := d.lock(ctx)
	if err != nil {
		d.close()
		return nil, err
	}
	return func() { release(); d.close() }, nil
}

// SetBetween notes the commits of a log that came in between.
func (e *ConflictError) SetBetween(log *archive.Log) { e.setBetween(log) }

// IsDir reports whether fd is a directory.
func IsDir(fd int) bool {
	var st unix.Stat_t
	return unix.Fstat(fd, &st) == nil && st.Mode&unix.S_IFMT == unix.S_IFDIR
}

// Unregister takes back a Register.
func Unregister(scheme string) {
	openers.Lock()
	defer openers.Unlock()
	delete(openers.byScheme, scheme)
}

// ForbidLinks makes files of this process have no second name until the function that it
// returns is called.
func ForbidLinks() (allow func()) {
	linkat = func(int, string, int, string, int) error { return unix.EPERM }
	return func() { linkat = unix.Linkat }
}
