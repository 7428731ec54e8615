package fsmerge

import (
	"io"
	"syscall"

	"github.com/workdir/workdir/fs"
)

// treeBase is the content of a file of mine as the base of a file of theirs.
type treeBase struct {
	tree *fs.Tree
	n    *fs.Inode
	attr fs.Attr
}

// Size implements fs.Base, as do the methods that follow.
func (b *treeBase) Size() int64 { return b.attr.Size }

func (b *treeBase) ReadAt(p []byte, off int64) (int, error) {
	n, errno := b.tree.ReadAt(b.n, p, off)
	switch {
	case errno != 0:
		return n, errno
	case n < len(p):
		return n, io.EOF
	}
	return n, nil
}

func (b *treeBase) SeekData(off int64) (int64, error) {
	at, errno := b.tree.Seek(b.n, off, seekData)
	if errno == syscall.ENXIO {
		return b.attr.Size, nil
	}
	return at, errorOf(errno)
}

func (b *treeBase) SeekHole(off int64) (int64, error) {
	at, errno := b.tree.Seek(b.n, off, seekHole)
	if errno == syscall.ENXIO {
		return b.attr.Size, nil
	}
	return at, errorOf(errno)
}

func (b *treeBase) Used() int64 { return b.attr.Blocks * 512 }

// Values of whence, as lseek(2) has them.
const (
	seekData = 3
	seekHole = 4
)

func errorOf(errno syscall.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}

// Modes of fallocate(2).
const (
	keepSize  = 1
	punchHole = 2
)

// setContent gives a file of theirs, which still has the content of the base, the content
// that it has in mine.
func (a *applier) setContent(into, n *fs.Inode, size int64) syscall.Errno {
	if _, errno := a.theirs.SetAttr(into, &fs.SetAttr{Valid: fs.SetSize, Size: size}); errno != 0 {
		return errno
	}
	at := int64(0)
	var errno syscall.Errno
	a.mine.BaseRanges(n, func(off, length int64) bool {
		errno = a.copyRange(into, n, at, min(off, size))
		at = off + length
		return errno == 0
	})
	if errno != 0 {
		return errno
	}
	return a.copyRange(into, n, at, size)
}

// copySize is how much is copied at a time, in bytes.
const copySize = 1 << 20

// copyRange copies the bytes from off to end from mine; holes stay holes.
func (a *applier) copyRange(into, n *fs.Inode, off, end int64) syscall.Errno {
	if off >= end {
		return 0
	}
	if errno := a.theirs.Allocate(into, off, end-off, punchHole|keepSize); errno != 0 {
		return errno
	}
	buf := make([]byte, min(copySize, end-off))
	for r, errno := range a.mine.Data(n, off, end) {
		if errno != 0 {
			return errno
		}
		for off := r.Off; off < r.End(); {
			got, errno := a.mine.ReadAt(n, buf[:min(int64(len(buf)), r.End()-off)], off)
			if errno == 0 && got == 0 {
				errno = syscall.EIO
			}
			if errno == 0 {
				_, errno = a.theirs.WriteAt(into, buf[:got], off, false)
			}
			if errno != 0 {
				return errno
			}
			off += int64(got)
		}
	}
	return 0
}
