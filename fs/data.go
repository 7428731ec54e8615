package fs

import (
	"io"
	"iter"
	"syscall"

	"golang.org/x/sys/unix"
)

// seeker finds data and holes, as SEEK_DATA and SEEK_HOLE of lseek(2) do. Where no data
// follow, SeekData returns ENXIO or a position at the end of the content or beyond.
type seeker interface {
	SeekData(off int64) (int64, error)
	SeekHole(off int64) (int64, error)
}

// dataIn iterates over the runs of data of c from off up to end, in order. What lies
// between them are holes. An error is the last that it yields: that of c, or
// io.ErrUnexpectedEOF for data of no length. c must not change meanwhile.
func dataIn(c seeker, off, end int64) iter.Seq2[byteRange, error] {
	return func(yield func(byteRange, error) bool) {
		for pos := off; pos < end; {
			from, err := c.SeekData(pos)
			if err == syscall.ENXIO || err == nil && from >= end {
				return
			}
			if err == nil {
				pos, err = c.SeekHole(from)
			}
			if err == nil && pos <= from {
				err = io.ErrUnexpectedEOF
			}
			if !yield(byteRange{from, min(pos, end)}, err) || err != nil {
				return
			}
		}
	}
}

// Data iterates over the runs of data of a regular file from off up to end, in order. What
// lies between them are holes. An errno is the last that it yields; errors as Seek, without
// ENXIO. The file may be changed meanwhile.
func (t *Tree) Data(n *Inode, off, end int64) iter.Seq2[Extent, syscall.Errno] {
	return func(yield func(Extent, syscall.Errno) bool) {
		for pos := off; pos < end; {
			from, to, errno := t.NextData(n, pos, end)
			if errno == 0 && from >= end {
				return
			}
			if !yield(Extent{from, to - from}, errno) || errno != 0 {
				return
			}
			pos = to
		}
	}
}

// NextData returns the next run of data at or after off in the first size bytes of a
// file, or size twice where only a hole follows. Errors as Seek, without ENXIO.
func (t *Tree) NextData(n *Inode, off, size int64) (from, to int64, errno syscall.Errno) {
	for {
		from, errno = t.Seek(n, off, unix.SEEK_DATA)
		if errno == syscall.ENXIO || errno == 0 && from >= size {
			return size, size, 0
		}
		if errno != 0 {
			return 0, 0, errno
		}
		to, errno = t.Seek(n, from, unix.SEEK_HOLE)
		switch {
		case errno == 0 && to > from:
			return from, min(to, size), 0
		case errno != 0 && errno != syscall.ENXIO:
			return 0, 0, errno
		}
		// The file was truncated there, or a hole was punched, since the first call.
	}
}
