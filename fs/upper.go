package fs

import (
	"io"
	"math"
	"sync"
	"sync/atomic"
	"syscall"
)

// chunkSize is the unit in which base is copied up, in bytes, and how much is copied at a
// time between contents.
const chunkSize = 1 << 20

var chunkBuffers = sync.Pool{New: func() any { return new([chunkSize]byte) }}

// upper is content that was written: a backing file, over those ranges of a base that were
// not written to. The size of the file is the inode's; the backing file has the same size,
// and no data where the content is still base. Its fields are guarded by Inode.mu, except
// File, which is immutable, and below.
type upper struct {
	File
	below atomic.Pointer[below] // nil: all of it is in the backing file; changes under Inode.mu

	pages  int64 // of the backing file, as counted in Tree.bytes
	beyond bool  // memory was allocated beyond the end of the file
	unseen bool  // memory was allocated that SEEK_DATA takes for a hole until it is written to
}

// dense reports whether the backing file has no holes, so that it is known without asking
// the home what a write takes.
func (u *upper) dense(size int64) bool { return !u.beyond && u.pages == pagesOf(size) }

// absent counts the pages of [off, end) without memory; pages that SEEK_DATA does not see
// count as absent.
func (u *upper) absent(off, end, size int64) (pages int64, err error) {
	first, last, have := off/pageSize, pagesOf(end), pagesOf(size)
	if last > have {
		pages = last - max(first, have)
	}
	if u.dense(size) || first >= have {
		return pages, nil
	}
	inside, err := u.holes(first*pageSize, min(end, size))
	return pages + inside, err
}

// holes counts the pages of [pos, end) that are in holes of the backing file; pos is the
// first byte of a page, end is within the file.
func (u *upper) holes(pos, end int64) (pages int64, err error) {
	for r, err := range dataIn(u.File, pos, end) {
		if err != nil {
			return 0, err
		}
		pages += pagesOf(max(0, r.begin-pos))
		pos = roundUp(r.end, pageSize)
	}
	return pages + pagesOf(max(0, end-pos)), nil
}

// roundUp returns the lowest multiple of unit that is not below pos, or the largest int64
// if there is none.
func roundUp(pos, unit int64) int64 {
	if pos > math.MaxInt64-unit {
		return math.MaxInt64
	}
	return (pos + unit - 1) / unit * unit
}

// recount asks the home again what u takes.
func (t *Tree) recount(u *upper) {
	used, err := u.Used()
	if err != nil {
		return // the previous count is the best that is known
	}
	pages := used / pageSize
	t.givePages(u.pages - pages)
	u.pages = pages
}

// put writes p at off into u, which is size bytes long, all of it or nothing: ENOSPC.
func (t *Tree) put(u *upper, p []byte, off, size int64) syscall.Errno {
	end := off + int64(len(p))
	return t.grow(u, off, end, size, func(pages int64) error {
		if pages > 0 && off < size {
			// A tmpfs that fills up would write a part, over what is there.
			if err := u.Allocate(off, end-off); err != nil {
				return err
			}
		}
		_, err := u.WriteAt(p, off)
		return err
	})
}

// grow calls write, which takes memory for [off, end), at most the given number of pages,
// and counts it. If the limit is reached or write fails, the size stays, and what was base
// still is.
func (t *Tree) grow(u *upper, off, end, size int64, write func(pages int64) error) syscall.Errno {
	pages, err := u.absent(off, end, size)
	if err != nil {
		return errnoOf(err)
	}
	if errno := t.takePages(pages); errno != 0 {
		return errno
	}
	known := u.dense(size) || (!u.beyond && !u.unseen)
	u.pages += pages
	if err = write(pages); err != nil {
		if end > size {
			err = firstError(err, u.Truncate(size))
		}
		err = firstError(err, u.clear(off, end))
		known = false
	}
	if !known {
		t.recount(u)
	}
	return errnoOf(err)
}

// clear removes from the backing file what was written into a range where the content is
// base.
func (u *upper) clear(off, end int64) (err error) {
	for _, r := range u.below.Load().within(off, end) {
		err = firstError(err, u.PunchHole(r.begin, r.end-r.begin))
	}
	return err
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// lockUpper locks n, a regular file, and returns its content for a write from off up to
// end. It copies up the chunks that the range touches, unless the range covers all their
// base and keep is not set. It reads base without the lock, so that a slow store does not
// delay those who ask for attributes. On an errno, such as ENOSPC, n is not locked and its
// content is unchanged.
func (t *Tree) lockUpper(n *Inode, off, end int64, keep bool) (*upper, syscall.Errno) {
	for {
		if errno := t.lockChange(n); errno != 0 {
			return nil, errno
		}
		u, errno := t.upperLocked(n)
		if errno != 0 {
			n.mu.Unlock()
			return nil, errno
		}
		b := u.below.Load()
		r := b.toCopy(off, end, keep)
		if r == (byteRange{}) {
			return u, 0
		}
		n.mu.Unlock()
		if errno := t.copyUp(n, u, b.base, r); errno != 0 {
			return nil, errno
		}
	}
}

// upperLocked returns the content of n as upper, over its present base. ENOSPC.
// Preconditions: n.mu is held.
func (t *Tree) upperLocked(n *Inode) (*upper, syscall.Errno) {
	if u, ok := n.content.(*upper); ok {
		return u, 0
	}
	f, err := t.home.NewFile()
	if err != nil {
		return nil, errnoOf(err)
	}
	if err := f.Truncate(n.size); err != nil {
		return nil, errnoOf(firstError(err, f.Close()))
	}
	u := &upper{File: f}
	if b, ok := n.content.(Base); ok {
		u.below.Store(&below{b, []byteRange{{0, n.size}}})
	}
	n.content = u
	t.keepLocked(n)
	return u, 0
}

// copyUp copies a range of base, at most a chunk, into the backing file; holes stay holes.
// It does nothing if the range is no longer base.
func (t *Tree) copyUp(n *Inode, u *upper, base Base, r byteRange) syscall.Errno {
	buf := chunkBuffers.Get().(*[chunkSize]byte)
	defer chunkBuffers.Put(buf)
	data, readErr := readData(base, buf[:r.end-r.begin], r.begin)
	if errno := t.lockChange(n); errno != 0 {
		return errno
	}
	defer n.mu.Unlock()
	switch {
	case n.content != u || !u.below.Load().has(r):
		return 0 // reading a base that was dropped may return anything
	case readErr != nil:
		return syscall.EIO
	}
	for _, d := range data {
		if errno := t.put(u, buf[d.begin-r.begin:d.end-r.begin], d.begin, n.size); errno != 0 {
			if err := u.clear(r.begin, r.end); err == nil {
				t.recount(u)
			}
			return errno
		}
	}
	t.written(n, u, r.begin, r.end)
	return 0
}

// readData fills p from byte off of a base, and returns which ranges are data.
func readData(base Base, p []byte, off int64) (data []byteRange, err error) {
	for r, err := range dataIn(base, off, off+int64(len(p))) {
		if err == nil {
			err = readAll(base, p[r.begin-off:r.end-off], r.begin)
		}
		if err != nil {
			return nil, err
		}
		data = append(data, r)
	}
	return data, nil
}

// readAll fills p from byte off.
func readAll(c content, p []byte, off int64) error {
	got, err := c.ReadAt(p, off)
	switch {
	case got == len(p):
		return nil
	case err == nil:
		return io.ErrUnexpectedEOF
	}
	return err
}

// written records that the backing file has the content from off up to end, and that of all
// chunks that the range touches. What was base of them is freed.
// Preconditions: n.mu is held, and lockUpper has copied up what must be kept.
func (t *Tree) written(n *Inode, u *upper, off, end int64) {
	t.uncover(n, u, off/chunkSize*chunkSize, roundUp(end, chunkSize))
}

// uncover makes the backing file the content of a range of u, and frees what was base.
// Preconditions: n.mu is held.
func (t *Tree) uncover(n *Inode, u *upper, off, end int64) {
	b := u.below.Load()
	gone := b.within(off, end)
	if len(gone) == 0 {
		return
	}
	if left := subtract(b.left, byteRange{off, end}); len(left) > 0 {
		u.below.Store(&below{b.base, left})
	} else {
		u.below.Store(nil)
	}
	t.logUnfreed(n, freeBase(b.base, gone))
}

// dropContentLocked makes n one hole, and frees its content.
// Preconditions: n.mu is held.
func (t *Tree) dropContentLocked(n *Inode) {
	c := n.content
	n.content = nil
	t.keepLocked(n)
	t.logUnfreed(n, t.freeContent(c))
}

func (t *Tree) logUnfreed(n *Inode, err error) {
	if err != nil {
		t.log.Error("content that nobody has any more was not freed", "inode", n.ino, "error", err)
	}
}

// freeContent frees content that nobody uses any more.
func (t *Tree) freeContent(c content) error {
	switch c := c.(type) {
	case *upper:
		err := c.Close()
		t.givePages(c.pages)
		if b := c.below.Load(); b != nil {
			err = firstError(err, freeBase(b.base, b.left))
		}
		return err
	case Base:
		return freeBase(c, []byteRange{{0, c.Size()}})
	}
	return nil
}

// freeBase frees ranges of a base.
func freeBase(b Base, ranges []byteRange) (err error) {
	f, ok := b.(freer)
	if !ok {
		return nil
	}
	for _, r := range ranges {
		err = firstError(err, f.free(r.begin, r.end))
	}
	return err
}
