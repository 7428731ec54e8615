package fs

import "syscall"

// content is the content of a regular file: a base, or an *upper, which may stand over a
// base. A file without content is one hole of its size. See doc.go.
type content interface {
	ReadAt(p []byte, off int64) (int, error)
	seeker
}

// Base is the content of one file in an archive. It never changes, and its methods may be
// called from several goroutines. ReadAt may take as long as a store does; the other
// methods are called under locks. An error other than io.EOF becomes EIO. Bases are
// compared with ==, so a Base should be a pointer.
type Base interface {
	Size() int64
	ReadAt(p []byte, off int64) (int, error)
	SeekData(off int64) (int64, error) // next data at or after off; Size() if there is none
	SeekHole(off int64) (int64, error) // next hole at or after off; Size() if there is none
	Used() int64                       // bytes of memory or archive that the content takes; for st_blocks
}

// freer is a base whose memory the tree frees when its file drops it, each byte once.
type freer interface{ free(off, end int64) error }

// SetBase makes b the content of an empty regular file. From then on b belongs to that file
// alone. A write copies up the chunks that it changes. The times of the file stay. EINVAL
// if the file is not empty or not regular, or if it is an image's.
func (t *Tree) SetBase(n *Inode, b Base) syscall.Errno {
	if errno := t.lockChange(n); errno != 0 {
		return errno
	}
	defer n.mu.Unlock()
	if !n.isRegular() || n.size != 0 || n.ino <= t.rows || b == nil || b.Size() < 0 {
		return syscall.EINVAL
	}
	t.dropContentLocked(n)
	if b.Size() > 0 {
		n.content = b
	}
	t.setSizeLocked(n, b.Size())
	n.flags |= flagData
	return 0
}

// blocksLocked returns st_blocks: units of 512 bytes, holes not counted.
// Preconditions: n.mu is held.
func (n *Inode) blocksLocked() int64 {
	switch c := n.content.(type) {
	case nil:
		return 0
	case *upper:
		return (c.pages + c.below.Load().pages()) * (pageSize / 512)
	case Base:
		return (c.Used() + 511) / 512
	}
	return 0
}

// baseLocked returns the base of n if some of it is left, else nil.
// Preconditions: n.mu is held.
func (n *Inode) baseLocked() Base {
	switch c := n.content.(type) {
	case *upper:
		if b := c.below.Load(); b != nil {
			return b.base
		}
	case Base:
		return c
	}
	return nil
}
