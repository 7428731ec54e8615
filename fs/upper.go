package fs

import (
	"io"
	"math"
	"sync"
	"syscall"
)

// copySize is how many bytes are copied at a time between contents.
const copySize = 256 << 10

var copyBuffers = sync.Pool{New: func() any { return new([copySize]byte) }}

// upper is content that was written. The size of the file is the inode's; the
// backing file has the same. Its fields are guarded by Inode.mu, but for File,
// which is immutable.
type upper struct {
	File
	pages int64 // that it takes, as counted in Tree.bytes
	seen  int64 // of a lent file: its time of modification when it was last looked at
}

// extent is the size of a backing file, and what memory it may have that
// SEEK_DATA does not see: beyond the end, or allocated and not written to.
type extent struct {
	size           int64
	beyond, unseen bool
	lost           bool // bytes of the file are lost, see Tree.Lose
}

// dense tells whether there are no holes, so that what a write takes is known
// without asking the home.
func (u *upper) dense(e extent) bool { return !e.beyond && u.pages == pagesOf(e.size) }

// absent counts the pages of [off, end) that have no memory; those that SEEK_DATA
// does not see are taken to have none.
func (u *upper) absent(off, end int64, e extent) (pages int64, err error) {
	first, last, have := off/pageSize, pagesOf(end), pagesOf(e.size)
	if last > have {
		pages = last - max(first, have)
	}
	if u.dense(e) || first >= have {
		return pages, nil
	}
	inside, err := u.holes(first*pageSize, min(end, e.size))
	return pages + inside, err
}

// holes counts the pages of [pos, end) that are in holes; pos is a page's first
// byte, end within the file.
func (u *upper) holes(pos, end int64) (pages int64, err error) {
	for pos < end {
		data, err := u.SeekData(pos)
		if err == syscall.ENXIO {
			data, err = end, nil
		}
		if err != nil {
			return 0, err
		}
		pages += pagesOf(min(data, end) - pos)
		if data >= end {
			break
		}
		hole, err := u.SeekHole(data)
		if err != nil {
			return 0, err
		}
		pos = roundUp(hole)
	}
	return pages, nil
}

// roundUp is the end of the page that ends at pos or holds it, as far as an
// int64 can tell.
func roundUp(pos int64) int64 {
	if pos > math.MaxInt64-pageSize {
		return math.MaxInt64
	}
	return pagesOf(pos) * pageSize
}

// freeUpper gives back the memory of content that nobody uses any more.
func (t *Tree) freeUpper(u *upper) error {
	err := u.Close()
	t.givePages(u.pages)
	return err
}

// settle counts anew what u takes, by asking the home.
func (t *Tree) settle(u *upper) {
	used, err := u.Used()
	if err != nil {
		return // what was counted before is the best that is known
	}
	pages := used / pageSize
	t.givePages(u.pages - pages)
	u.pages = pages
}

// put writes p at off into u, all of it or nothing: ENOSPC.
func (t *Tree) put(u *upper, p []byte, off int64, e extent) syscall.Errno {
	end := off + int64(len(p))
	return t.grow(u, off, end, e, func(pages int64) error {
		if pages > 0 && off < e.size {
			// A tmpfs that fills up would write a part, over what is there.
			if err := u.Allocate(off, end-off); err != nil {
				return err
			}
		}
		_, err := u.WriteAt(p, off)
		return err
	})
}

// grow calls write, which takes memory for [off, end), so many pages at most, and
// counts that. Where the limit is reached or write fails, the file is as long as
// it was.
func (t *Tree) grow(u *upper, off, end int64, e extent, write func(pages int64) error) syscall.Errno {
	pages, err := u.absent(off, end, e)
	if err != nil {
		return errnoOf(err)
	}
	if errno := t.takePages(pages); errno != 0 {
		return errno
	}
	known := u.dense(e) || (!e.beyond && !e.unseen)
	u.pages += pages
	if err = write(pages); err != nil {
		if end > e.size {
			err = firstError(err, u.Truncate(e.size))
		}
		known = false
	}
	if !known {
		t.settle(u)
	}
	return errnoOf(err)
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// lockUpper locks n, a regular file, and gives its content to be written. Base is
// copied up and the file cut to keep bytes, so that no more need be copied. That
// is done without the lock: a large file holds up nobody who asks for its
// attributes. On an errno, such as ENOSPC, n is not locked and its content is as
// it was.
func (t *Tree) lockUpper(n *Inode, keep int64) (*upper, syscall.Errno) {
	for {
		base, size, errno := t.lockUnlessBase(n, keep)
		if errno != 0 {
			return nil, errno
		}
		if base == nil {
			return n.content.(*upper), 0
		}
		u, errno := t.copyOf(base, size) // which n may drop meanwhile
		if errno != 0 {
			return nil, errno
		}
		if errno := t.lockChange(n); errno != 0 {
			t.discard(u)
			return nil, errno
		}
		if n.content == base {
			n.content, n.size = u, size
			t.free(n, base)
			return u, 0
		}
		n.mu.Unlock() // somebody else was first
		t.discard(u)
	}
}

// lockUnlessBase locks n and sees to it that its content is upper. If it is base,
// it gives that and how much of it to copy, and n is not locked.
func (t *Tree) lockUnlessBase(n *Inode, keep int64) (content, int64, syscall.Errno) {
	if errno := t.lockChange(n); errno != 0 {
		return nil, 0, errno
	}
	switch c := n.content.(type) {
	case *upper:
	case nil:
		u, errno := t.copyOf(nil, n.size)
		if errno != 0 {
			n.mu.Unlock()
			return nil, 0, errno
		}
		n.content = u
	default:
		defer n.mu.Unlock()
		return c, min(keep, n.size), 0
	}
	return nil, 0, 0
}

// copyOf gives new content that is the first size bytes of c, or of a hole.
func (t *Tree) copyOf(c content, size int64) (*upper, syscall.Errno) {
	f, err := t.home.NewFile()
	if err != nil {
		return nil, errnoOf(err)
	}
	u, errno := &upper{File: f}, syscall.Errno(0)
	if c != nil {
		errno = t.copyUp(u, c, size)
	}
	if errno == 0 && size > 0 {
		errno = errnoOf(u.Truncate(size))
	}
	if errno != 0 {
		t.discard(u)
		return nil, errno
	}
	return u, 0
}

// discard frees content that became nobody's.
func (t *Tree) discard(u *upper) {
	if err := t.freeUpper(u); err != nil {
		t.log.Error("content that was not used was not freed", "error", err)
	}
}

// copyUp copies the data of the first size bytes of c; holes stay holes.
func (t *Tree) copyUp(u *upper, c content, size int64) syscall.Errno {
	buf := copyBuffers.Get().(*[copySize]byte)
	defer copyBuffers.Put(buf)
	e := extent{}
	for pos := int64(0); pos < size; {
		data, err := c.SeekData(pos)
		if err != nil {
			return baseErrno(err)
		}
		if data >= size {
			break
		}
		hole, err := c.SeekHole(data)
		if err != nil || hole <= data {
			return syscall.EIO
		}
		for pos = data; pos < min(hole, size); pos = e.size {
			part := buf[:min(copySize, min(hole, size)-pos)]
			if n, err := c.ReadAt(part, pos); n < len(part) || (err != nil && err != io.EOF) {
				return syscall.EIO
			}
			if errno := t.put(u, part, pos, e); errno != 0 {
				return errno
			}
			e.size = pos + int64(len(part))
		}
	}
	return 0
}

// dropContentLocked makes n one hole, and frees what it had.
// Preconditions: n.mu is held.
func (t *Tree) dropContentLocked(n *Inode) {
	c := n.content
	n.content = nil
	n.flags &^= flagBeyond | flagUnseen
	t.free(n, c)
}

// free returns the memory of content that n has dropped.
func (t *Tree) free(n *Inode, c content) {
	if err := t.freeContent(c); err != nil {
		t.log.Error("content that nobody has any more was not freed", "inode", n.ino, "error", err)
	}
}

func (t *Tree) freeContent(c content) error {
	switch c := c.(type) {
	case *upper:
		return t.freeUpper(c)
	case freer:
		return c.free()
	}
	return nil
}
