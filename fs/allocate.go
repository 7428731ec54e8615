package fs

import (
	"math"
	"syscall"

	"golang.org/x/sys/unix"
)

// Allocate does what fallocate(2) does with mode 0 or KEEP_SIZE, with PUNCH_HOLE and
// KEEP_SIZE, and with ZERO_RANGE, with or without KEEP_SIZE; any other mode is EOPNOTSUPP.
// Errors: EINVAL for a range that is empty or begins before 0, EFBIG for one that ends
// beyond the largest offset, ENOSPC, EISDIR, ENODEV. After an ENOSPC of ZERO_RANGE the part
// of the range within the file is a hole.
func (t *Tree) Allocate(n *Inode, off, length int64, mode uint32) syscall.Errno {
	if errno := checkRange(n, off, length, mode); errno != 0 {
		return errno
	}
	zeros := mode&(unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_ZERO_RANGE) != 0
	u, errno := t.lockUpper(n, off, off+length, !zeros)
	if errno != 0 {
		return errno
	}
	defer n.mu.Unlock()
	if zeros {
		errno = errnoOf(u.PunchHole(off, length))
		t.recount(u)
		if errno != 0 {
			return errno
		}
	}
	if mode&unix.FALLOC_FL_PUNCH_HOLE == 0 {
		errno = t.reserve(u, off, off+length, n.size, mode&unix.FALLOC_FL_KEEP_SIZE != 0)
	}
	if errno != 0 && !zeros {
		return errno
	}
	t.written(n, u, off, off+length)
	if errno == 0 && mode&unix.FALLOC_FL_KEEP_SIZE == 0 {
		t.setSizeLocked(n, max(n.size, off+length))
	}
	if zeros {
		t.replacedLocked(n, off, min(off+length, n.size))
	}
	t.wroteLocked(n, Now())
	return errno
}

// checkRange refuses the ranges that vfs_fallocate in the kernel's fs/open.c refuses.
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

// reserve takes the memory for a range of u, the content of a file of size bytes.
// Preconditions: Inode.mu is held.
func (t *Tree) reserve(u *upper, off, end, size int64, keepSize bool) syscall.Errno {
	errno := t.grow(u, off, end, size, func(int64) error {
		if err := u.Allocate(off, end-off); err != nil || keepSize || end <= size {
			return err
		}
		return u.Truncate(end)
	})
	if errno == 0 {
		u.beyond = u.beyond || keepSize && end > size
		u.unseen = true
	}
	return errno
}
