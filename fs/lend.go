package fs

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// lender is a backing file that others can have a descriptor of.
type lender interface {
	// dup gives a descriptor of the file, the caller's to close.
	dup() (int, error)
	// looks gives the size, the time of modification in nanoseconds since 1970,
	// and the pages that the file takes.
	looks() (size, mtime, pages int64, err error)
	// age sets the time of modification to 1970.
	age() error
}

// Lend lets somebody else, which is the kernel, read and write the content of n
// in its backing file, past the tree, until Return. It gives a descriptor of that
// file, the caller's to close, and holds a reference. While n is lent all operations on it go on and see
// what was written, and its size and times follow the backing file's.
//
// EOPNOTSUPP where that is not possible: the content is base, or is in a home
// whose files are no files of the kernel's; or n has suid, sgid or
// security.capability, which the kernel does not clear in a file that it writes
// to by itself. Errors as of Mknod beyond that. EOPNOTSUPP as well
// for an inode that is lent already.
func (t *Tree) Lend(n *Inode) (fd int, errno syscall.Errno) {
	if errno := regular(n); errno != 0 {
		return -1, errno
	}
	if errno := t.lockChange(n); errno != 0 {
		return -1, errno
	}
	_, isUpper := n.content.(*upper)
	_, capable := n.findXattr("security.capability")
	privileged := capable || n.perm&(syscall.S_ISUID|syscall.S_ISGID) != 0
	base := n.content != nil && !isUpper
	n.mu.Unlock()
	if base || privileged {
		return -1, syscall.EOPNOTSUPP
	}
	u, errno := t.lockUpper(n, 0)
	if errno != 0 {
		return -1, errno
	}
	defer n.mu.Unlock()
	l, ok := u.File.(lender)
	if !ok || n.flags&flagLent != 0 {
		return -1, syscall.EOPNOTSUPP
	}
	if fd, errno = lendFile(l, n.size); errno != 0 {
		return -1, errno
	}
	u.seen = 0
	n.flags |= flagLent | flagWasLent
	t.Ref(n)
	return fd, 0
}

// lendFile makes a backing file fit to be lent: as long as the inode, and older
// than whatever is written to it from now on, though that be within one tick of
// the clock.
func lendFile(l lender, size int64) (int, syscall.Errno) {
	now, _, _, err := l.looks()
	if err != nil || now != size {
		return -1, syscall.EIO
	}
	if err := l.age(); err != nil {
		return -1, errnoOf(err)
	}
	fd, err := l.dup()
	return fd, errnoOf(err)
}

// Mapped notes that a lent file may be written to through memory, which leaves no
// trace in its times.
func (t *Tree) Mapped(n *Inode) {
	n.mu.Lock()
	defer n.mu.Unlock()
	t.markLocked(n, flagData)
}

// WasLent tells whether n was ever lent.
func (t *Tree) WasLent(n *Inode) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.flags&flagWasLent != 0
}

// Return ends a Lend. The other one must not touch the file any more.
func (t *Tree) Return(n *Inode) {
	n.mu.Lock()
	t.refreshLocked(n)
	n.flags &^= flagLent
	n.mu.Unlock()
	t.Unref(n, 1)
}

// refreshLocked takes over what was done to a lent file: its size, its times, and
// the memory that it takes.
// Preconditions: n.mu is held.
func (t *Tree) refreshLocked(n *Inode) {
	if n.flags&flagLent == 0 {
		return
	}
	u := n.content.(*upper) // a lent file has no other
	size, mtime, pages, err := u.File.(lender).looks()
	if err != nil || size == n.size && mtime == u.seen && pages == u.pages {
		return // of a file in memory there is no error but that it is closed
	}
	t.givePages(u.pages - pages)
	u.pages = pages
	if size == n.size && mtime == u.seen {
		return
	}
	n.size, u.seen = size, mtime
	n.mtime, n.ctime = stampOf(timeOfNanos(mtime)), mtime
	t.markLocked(n, flagData)
}

// timesSetLocked makes times that were set outlast the backing file's.
// Preconditions: n.mu is held.
func (t *Tree) timesSetLocked(n *Inode) {
	if n.flags&flagLent == 0 {
		return
	}
	u := n.content.(*upper)
	if _, mtime, _, err := u.File.(lender).looks(); err == nil {
		u.seen = mtime
	}
}

func (f *tmpfsFile) dup() (fd int, err error) {
	err = f.with(func(open int) (err error) {
		fd, err = unix.FcntlInt(uintptr(open), unix.F_DUPFD_CLOEXEC, 0)
		return err
	})
	return fd, err
}

func (f *tmpfsFile) looks() (size, mtime, pages int64, err error) {
	st, err := f.stat()
	return st.Size, st.Mtim.Nano(), st.Blocks * 512 / pageSize, err
}

func (f *tmpfsFile) age() error {
	return f.with(func(fd int) error {
		return retry(func() error { return unix.Futimes(fd, make([]unix.Timeval, 2)) })
	})
}
