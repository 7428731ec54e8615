package fs

import (
	"io"
	"math"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxCopy limits what CopyRange copies, in bytes, so that no call takes minutes.
const maxCopy = 1 << 30

// regular returns why n has no content: EISDIR, EINVAL.
func regular(n *Inode) syscall.Errno {
	switch {
	case n.isDir():
		return syscall.EISDIR
	case !n.isRegular():
		return syscall.EINVAL
	}
	return 0
}

// contentOf returns the current content of n. A base may be freed as soon as n has dropped
// it, so bytes that were read from it count only if n still holds it afterwards.
func (t *Tree) contentOf(n *Inode) (c content, e fileState, errno syscall.Errno) {
	if errno := t.refuse(); errno != 0 {
		return nil, fileState{}, errno
	}
	if errno := regular(n); errno != 0 {
		return nil, fileState{}, errno
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.content, fileState{n.size, n.flags&flagLost != 0}, 0
}

// fileState is the size of a file, and whether it has lost bytes.
type fileState struct {
	size int64
	lost bool // bytes of it are lost, see Tree.Lose
}

// holds reports whether c is still what n holds.
func (n *Inode) holds(c content) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.content == c
}

// ReadAt fills p from byte off of a regular file. It returns fewer bytes at the end of the
// file, and 0 beyond. Errors: EISDIR, EINVAL, and EIO, also for bytes that are lost (see
// Lose).
func (t *Tree) ReadAt(n *Inode, p []byte, off int64) (int, syscall.Errno) {
	for {
		c, e, errno := t.contentOf(n)
		switch {
		case errno != 0:
			return 0, errno
		case off < 0:
			return 0, syscall.EINVAL
		case e.lost && t.losses.meet(n, byteRange{off, off + int64(len(p))}):
			return 0, syscall.EIO // also beyond the end: what a tool has appended
		case off >= e.size:
			return 0, 0
		}
		part := p[:min(int64(len(p)), e.size-off)]
		if c == nil {
			clear(part)
			return len(part), 0
		}
		got, err := c.ReadAt(part, off)
		if _, isUpper := c.(*upper); !isUpper && !n.holds(c) {
			continue
		}
		if err != nil && err != io.EOF {
			return 0, syscall.EIO
		}
		return got, 0
	}
}

// WriteAt writes p at byte off of a regular file and grows the file if necessary; a gap
// becomes a hole. killPriv clears suid and the like, see SetKillPriv. It writes all of p,
// except what would lie beyond the largest offset, or nothing. Errors: EFBIG, ENOSPC,
// EISDIR, EINVAL.
func (t *Tree) WriteAt(n *Inode, p []byte, off int64, killPriv bool) (int, syscall.Errno) {
	if errno := regular(n); errno != 0 {
		return 0, errno
	}
	switch {
	case off < 0:
		return 0, syscall.EINVAL
	case off == math.MaxInt64 && len(p) > 0:
		return 0, syscall.EFBIG
	}
	p = p[:min(int64(len(p)), math.MaxInt64-off)]
	if len(p) == 0 {
		return 0, t.refuseChange()
	}
	end := off + int64(len(p))
	u, errno := t.lockUpper(n, off, end, false)
	if errno != 0 {
		return 0, errno
	}
	defer n.mu.Unlock()
	if errno := t.put(u, p, off, n.size); errno != 0 {
		return 0, errno
	}
	t.written(n, u, off, end)
	t.setSizeLocked(n, max(n.size, end))
	t.replacedLocked(n, off, end)
	if killPriv {
		t.killPrivLocked(n)
	}
	t.wroteLocked(n, Now())
	return len(p), 0
}

// wroteLocked records a change of content.
// Preconditions: n.mu is held.
func (t *Tree) wroteLocked(n *Inode, when Time) {
	if !t.LeavesTimes(n) {
		n.modifiedLocked(when)
	}
	n.flags |= flagData
	t.keepLocked(n)
}

// lockResized locks n, sets its size, and marks n if the size differs. It reports whether
// the times must change. As on tmpfs, they do even if the size is the same and the file
// takes memory (shmem_setattr in the kernel's mm/shmem.c). Errors: EISDIR and EINVAL for an
// inode without a size, EINVAL for a negative size, ENOSPC if no backing file can be made;
// n is not locked then.
func (t *Tree) lockResized(n *Inode, size int64) (timed bool, errno syscall.Errno) {
	if errno := regular(n); errno != 0 {
		return false, errno
	}
	if size < 0 {
		return false, syscall.EINVAL
	}
	if errno := t.lockChange(n); errno != 0 {
		return false, errno
	}
	before := n.size
	timed = size != before || n.blocksLocked() > 0
	_, isUpper := n.content.(*upper)
	switch {
	case size == before && !isUpper:
		return timed, 0
	case n.content == nil, size == 0 && !isUpper:
		t.dropContentLocked(n)
		t.setSizeLocked(n, size)
	default:
		u, errno := t.upperLocked(n)
		if errno == 0 {
			errno = t.resizeUpper(n, u, size)
		}
		if errno != 0 {
			n.mu.Unlock()
			return false, errno
		}
	}
	if size != before {
		n.flags |= flagData
	}
	return timed, 0
}

// resizeUpper sets the size of n, whose content is u. If the size is not larger, memory
// beyond it is freed.
// Preconditions: n.mu is held.
func (t *Tree) resizeUpper(n *Inode, u *upper, size int64) syscall.Errno {
	before := n.size
	if size == before && !u.beyond {
		return 0
	}
	dense := u.dense(before)
	if err := u.Truncate(size); err != nil {
		return errnoOf(err)
	}
	t.setSizeLocked(n, size)
	u.beyond = u.beyond && size > before
	u.unseen = u.unseen && size > 0
	t.uncover(n, u, size, math.MaxInt64)
	switch {
	case !dense:
		t.recount(u)
	case size < before:
		t.givePages(u.pages - pagesOf(size))
		u.pages = pagesOf(size)
	}
	return 0
}

// Seek finds the next data (SEEK_DATA) or hole (SEEK_HOLE; the end counts as one) at or
// after off. Errors: ENXIO at or beyond the end, and for SEEK_DATA if only a hole follows;
// EINVAL for another whence; EIO for a file that has lost bytes, which are not a hole.
func (t *Tree) Seek(n *Inode, off int64, whence int) (int64, syscall.Errno) {
	c, e, errno := t.contentOf(n)
	switch {
	case errno != 0:
		return 0, errno
	case whence != unix.SEEK_DATA && whence != unix.SEEK_HOLE:
		return 0, syscall.EINVAL
	case e.lost:
		return 0, syscall.EIO
	case off < 0 || off >= e.size:
		return 0, syscall.ENXIO
	}
	pos, errno := seekContent(c, e.size, off, whence)
	switch {
	case errno == syscall.ENXIO && whence == unix.SEEK_HOLE: // truncated since the size was read
		return off, 0
	case errno != 0:
		return 0, errno
	case whence == unix.SEEK_DATA && pos >= e.size:
		return 0, syscall.ENXIO
	}
	return min(pos, e.size), 0
}

// seekContent is Seek on c; a result at or beyond size means that none was found.
func seekContent(c content, size, off int64, whence int) (pos int64, errno syscall.Errno) {
	var err error
	switch {
	case c == nil && whence == unix.SEEK_DATA:
		return size, 0
	case c == nil:
		return off, 0
	case whence == unix.SEEK_DATA:
		pos, err = c.SeekData(off)
	default:
		pos, err = c.SeekHole(off)
	}
	if err == syscall.ENXIO {
		return 0, syscall.ENXIO
	}
	if err != nil {
		return 0, syscall.EIO
	}
	return pos, 0
}

// CopyRange copies up to length bytes from src to dst, as copy_file_range(2) does, and
// returns how many: fewer at the end of src, and at most 1 GiB. Errors if nothing was
// copied: those of ReadAt and WriteAt; EINVAL for overlapping ranges of one file.
func (t *Tree) CopyRange(src *Inode, soff int64, dst *Inode, doff, length int64) (int64, syscall.Errno) {
	switch {
	case soff < 0 || doff < 0 || length < 0:
		return 0, syscall.EINVAL
	case length > math.MaxInt64-soff || length > math.MaxInt64-doff:
		return 0, syscall.EOVERFLOW
	}
	_, e, errno := t.contentOf(src)
	if errno != 0 {
		return 0, errno
	}
	if e.lost && t.losses.meet(src, byteRange{soff, soff + length}) {
		return 0, syscall.EIO
	}
	length = min(length, max(0, e.size-soff))
	if src == dst && soff < doff+length && doff < soff+length {
		return 0, syscall.EINVAL
	}
	length = min(length, maxCopy)
	buf := chunkBuffers.Get().(*[chunkSize]byte)
	defer chunkBuffers.Put(buf)
	for done := int64(0); ; {
		part := buf[:min(chunkSize, length-done)]
		got, errno := t.ReadAt(src, part, soff+done)
		if errno == 0 {
			got, errno = t.WriteAt(dst, part[:got], doff+done, false)
		}
		if errno != 0 && done == 0 {
			return 0, errno
		}
		if got == 0 || errno != 0 {
			return done, 0
		}
		done += int64(got)
	}
}

// Local reports whether the content of n is in the tree's own home, so that reading and
// writing it never waits for a store.
func (t *Tree) Local(n *Inode) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch c := n.content.(type) {
	case *upper:
		return c.below.Load() == nil
	case Base:
		_, own := c.(freer)
		return own
	}
	return true
}
