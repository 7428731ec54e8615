package fs

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// lender is a backing file that others can have a descriptor of.
type lender interface {
	// dup gives a descriptor of the file, the caller's to close.
	dup() (int, error)
	// looks tells what others may have changed.
	looks() (looks, error)
	// age sets the times of access and, unless keepMtime is set, of modification
	// to 1970.
	age(keepMtime bool) error
}

// looks are the attributes of a backing file.
type looks struct {
	size, pages  int64 // bytes, and pages that it takes
	atime, mtime int64 // nanoseconds since 1970
}

// Lend lets somebody else, which is the kernel, read and write the content of n
// in its backing file, past the tree, until Return. It gives a descriptor of that
// file, the caller's to close, and holds a reference. While n is lent all operations on it go on and see
// what was written, and its size and times follow the backing file's.
//
// EOPNOTSUPP where that is not possible: some of the content is base, or it is in a home
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
	defer n.mu.Unlock()
	if n.baseLocked() != nil || n.privilegedLocked() {
		return -1, syscall.EOPNOTSUPP
	}
	u, errno := t.upperLocked(n)
	if errno != 0 {
		return -1, errno
	}
	l, ok := u.File.(lender)
	if !ok || u.lent {
		return -1, syscall.EOPNOTSUPP
	}
	if fd, errno = lendFile(l, n.size); errno != 0 {
		return -1, errno
	}
	u.seen, u.lent, u.wasLent = 0, true, true
	t.keepLocked(n) // what is written past us leaves no mark
	t.Ref(n)
	return fd, 0
}

// lendFile makes a backing file fit to be lent: as long as the inode, and older
// than whatever is written to it from now on, though that be within one tick of
// the clock.
func lendFile(l lender, size int64) (int, syscall.Errno) {
	now, err := l.looks()
	if err != nil || now.size != size {
		return -1, syscall.EIO
	}
	if err := l.age(false); err != nil {
		return -1, errnoOf(err)
	}
	fd, err := l.dup()
	return fd, errnoOf(err)
}

// Mapped notes that a lent file may be written to through memory, which leaves no
// trace in its times. An empty file has no memory to write to, and when it grows that
// leaves one.
func (t *Tree) Mapped(n *Inode) {
	n.mu.Lock()
	defer n.mu.Unlock()
	t.refreshLocked(n)
	if n.size > 0 {
		n.flags |= flagData
	}
}

// WasLent tells whether n was ever lent.
func (t *Tree) WasLent(n *Inode) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	u, ok := n.content.(*upper)
	return ok && u.wasLent
}

// lentLocked returns the content of n if it is lent, or nil.
// Preconditions: n.mu is held.
func (n *Inode) lentLocked() *upper {
	if u, ok := n.content.(*upper); ok && u.lent {
		return u
	}
	return nil
}

// Privileged tells whether n has suid, sgid or security.capability.
func (t *Tree) Privileged(n *Inode) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.privilegedLocked()
}

// Preconditions: n.mu is held.
func (n *Inode) privilegedLocked() bool {
	_, capable := n.findXattr("security.capability")
	return capable || n.perm&(syscall.S_ISUID|syscall.S_ISGID) != 0
}

// Return ends a Lend. The other one must not touch the file any more.
func (t *Tree) Return(n *Inode) {
	n.mu.Lock()
	t.refreshLocked(n)
	if u := n.lentLocked(); u != nil {
		u.lent = false
	}
	n.mu.Unlock()
	t.Unref(n, 1)
}

// refreshLocked takes over what was done to a lent file: its size, its times, and
// the memory that it takes.
// Preconditions: n.mu is held.
func (t *Tree) refreshLocked(n *Inode) {
	u := n.lentLocked()
	if u == nil {
		return
	}
	now, err := u.File.(lender).looks()
	if err != nil {
		return // of a file in memory there is no error but that it is closed
	}
	t.givePages(u.pages - now.pages)
	u.pages = now.pages
	read := now.atime != 0 && (n.stale(now.atime) || now.mtime != u.seen && now.atime >= now.mtime)
	if now.size != n.size || now.mtime != u.seen {
		n.size, u.seen = now.size, now.mtime
		n.mtime, n.ctime = stampOf(timeOfNanos(now.mtime)), now.mtime
		n.flags |= flagData
	}
	if read {
		n.atime = stampOf(timeOfNanos(now.atime))
	}
}

// attrSetLocked makes attributes that were set outlast the backing file's, and the
// next read of a lent file one that is noted. mtime says whether that was set.
// Preconditions: n.mu is held.
func (t *Tree) attrSetLocked(n *Inode, mtime bool) {
	u := n.lentLocked()
	if u == nil {
		return
	}
	l := u.File.(lender)
	_ = l.age(true) // of a file in memory it cannot fail
	if now, err := l.looks(); err == nil && mtime {
		u.seen = now.mtime
	}
}

func (f *tmpfsFile) dup() (fd int, err error) {
	err = f.with(func(open int) (err error) {
		fd, err = unix.FcntlInt(uintptr(open), unix.F_DUPFD_CLOEXEC, 0)
		return err
	})
	return fd, err
}

func (f *tmpfsFile) looks() (looks, error) {
	st, err := f.stat()
	return looks{st.Size, st.Blocks * 512 / pageSize, st.Atim.Nano(), st.Mtim.Nano()}, err
}

func (f *tmpfsFile) age(keepMtime bool) error {
	times := make([]unix.Timespec, 2)
	if keepMtime {
		times[1].Nsec = unix.UTIME_OMIT
	}
	return f.with(func(fd int) error {
		return retry(func() error { return unix.UtimesNanoAt(fd, "", times, unix.AT_EMPTY_PATH) })
	})
}
