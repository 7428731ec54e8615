package fsupper

import (
	"bytes"
	"errors"
	"io"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/fs"
	"github.com/workdir/workdir/internal/eintr"
)

// chunkSize is the unit, in bytes, in which content is compared: the unit in which a tree
// copies base up.
const chunkSize = 1 << 20

// content is the new content of a file.
type content struct {
	size int64
	same []fs.Extent // where it equals the old content
}

// compareContent finds out whether the content differs, and where. It reads nothing if the
// content is certain to differ and is so small that no chunk could be kept, or if the
// target only wants to know whether it differs.
func (a *applier) compareContent(n *fs.Inode, at *fs.Attr, e *entry, c *change) error {
	switch {
	case e.metacopy && e.origin == 0:
		return inconsistent("its content is in lower, but it has no origin")
	case e.metacopy:
		return nil
	}
	known := at.Size != e.st.Size || c.set.Valid&fs.SetMtime != 0
	if known && (a.live || max(at.Size, e.st.Size) <= chunkSize || e.origin == 0) {
		if at.Size != 0 || e.st.Size != 0 {
			c.content = &content{size: e.st.Size}
		}
		return nil
	}
	fd, err := openFile(e.dir, e.name)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	same, err := a.same(n, at.Size, fd, e.st.Size)
	if err != nil {
		return err
	}
	if at.Size != e.st.Size || !covers(same, at.Size) {
		c.content = &content{e.st.Size, same}
	}
	return nil
}

// covers reports whether ranges, in order and without overlap, cover all of size bytes.
func covers(ranges []fs.Extent, size int64) bool {
	for _, r := range ranges {
		size -= r.Len
	}
	return size == 0
}

// same returns the ranges, of whole chunks or up to the end, in which the content of a file
// equals that of n.
func (a *applier) same(n *fs.Inode, was int64, fd int, is int64) (ranges []fs.Extent, err error) {
	end := is
	if is > was {
		end = was / chunkSize * chunkSize // the rest is in a chunk that is longer now
	}
	for off := int64(0); off < end; {
		next, err := a.nextData(n, fd, off, end)
		if err != nil {
			return nil, err
		}
		if next > off { // holes in both until there
			ranges = append(ranges, fs.Extent{Off: off, Len: next - off})
			off = next
			continue
		}
		length := min(chunkSize, end-off)
		equal, err := a.equalChunk(n, fd, off, length)
		if err != nil {
			return nil, err
		}
		if equal {
			ranges = append(ranges, fs.Extent{Off: off, Len: length})
		}
		off += length
	}
	return ranges, nil
}

// nextData returns where the first chunk at or after off begins in which either has data;
// end if neither has.
func (a *applier) nextData(n *fs.Inode, fd int, off, end int64) (int64, error) {
	ours, _, errno := a.tree.NextData(n, off, end)
	if errno != 0 {
		return 0, errno
	}
	var theirs int64
	err := eintr.Retry(func() (err error) { theirs, err = unix.Seek(fd, off, unix.SEEK_DATA); return err })
	switch {
	case errors.Is(err, unix.ENXIO):
		theirs = end
	case err != nil:
		return 0, err
	}
	if next := min(ours, theirs); next < end {
		return next / chunkSize * chunkSize, nil
	}
	return end, nil
}

// equalChunk compares at most one chunk.
func (a *applier) equalChunk(n *fs.Inode, fd int, off, length int64) (bool, error) {
	for i := range a.chunks {
		if a.chunks[i] == nil {
			a.chunks[i] = make([]byte, chunkSize)
		}
	}
	theirs, ours := a.chunks[0][:length], a.chunks[1][:length]
	for done := 0; done < len(theirs); {
		got := 0
		err := eintr.Retry(func() (err error) { got, err = unix.Pread(fd, theirs[done:], off+int64(done)); return err })
		if err == nil && got == 0 {
			return false, nil // truncated since
		}
		if err != nil {
			return false, err
		}
		done += got
	}
	for done := 0; done < len(ours); {
		got, errno := a.tree.ReadAt(n, ours[done:], off+int64(done))
		if errno != 0 {
			return false, errno
		}
		if got == 0 {
			return false, io.ErrUnexpectedEOF
		}
		done += got
	}
	return bytes.Equal(theirs, ours), nil
}
