package fs

import (
	"math"
	"syscall"

	"golang.org/x/sys/unix"
)

// Allocate does what fallocate(2) does with mode 0 or KEEP_SIZE, with PUNCH_HOLE
// and KEEP_SIZE, and with ZERO_RANGE, with or without KEEP_SIZE; any other mode
// is EOPNOTSUPP. Errors: EINVAL for a range that is empty or begins before 0,
// EFBIG for one that ends beyond the largest offset, ENOSPC, EISDIR, ENODEV.
func (t *Tree) Allocate(n *Inode, off, length int64, mode uint32) syscall.Errno {
	if errno := checkRange(n, off, length, mode); errno != 0 {
		return errno
	}
	u, errno := t.lockUpper(n, math.MaxInt64)
	if errno != 0 {
		return errno
	}
	defer n.mu.Unlock()
	if mode&(unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_ZERO_RANGE) != 0 {
		errno = errnoOf(u.PunchHole(off, length))
		t.settle(u)
	}
	if errno == 0 && mode&unix.FALLOC_FL_PUNCH_HOLE == 0 {
		errno = t.reserve(n, u, off, off+length, mode&unix.FALLOC_FL_KEEP_SIZE != 0)
	}
	if errno != 0 {
		return errno
	}
	if mode&(unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_ZERO_RANGE) != 0 {
		t.replacedLocked(n, off, min(off+length, n.size))
	}
	t.wroteLocked(n, now())
	return 0
}

// checkRange refuses what vfs_fallocate in the kernel's fs/open.c refuses.
func checkRange(n *Inode, off, length int64, mode uint32) syscall.Errno {
	switch {
	case off < 0 || length <= 0:
		return syscall.EINVAL
	case n.isDir():
		return syscall.EISDIR
	case !n.isRegular():
		return syscall.ENODEV
	case length > math.MaxInt64-off:
		return syscall.EFBIG
	}
	switch mode {
	case 0, unix.FALLOC_FL_KEEP_SIZE,
		unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE,
		unix.FALLOC_FL_ZERO_RANGE, unix.FALLOC_FL_ZERO_RANGE | unix.FALLOC_FL_KEEP_SIZE:
		return 0
	}
	return syscall.EOPNOTSUPP
}

// reserve takes the memory for a range of u, which is the content of n.
// Preconditions: n.mu is held.
func (t *Tree) reserve(n *Inode, u *upper, off, end int64, keepSize bool) syscall.Errno {
	errno := t.grow(u, off, end, n.extentLocked(), func(int64) error {
		if err := u.Allocate(off, end-off); err != nil || keepSize || end <= n.size {
			return err
		}
		return u.Truncate(end)
	})
	switch {
	case errno != 0:
		return errno
	case !keepSize:
		n.size = max(n.size, end)
	case end > n.size:
		n.flags |= flagBeyond
	}
	n.flags |= flagUnseen
	return 0
}
