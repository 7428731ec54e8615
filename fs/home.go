package fs

import (
	"errors"
	"io"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/internal/eintr"
)

// Home is where the content of files is kept, outside of the Go heap. Several trees may
// share one. NewTmpfsHome and NewArenaHome make one.
type Home interface {
	// NewFile makes an empty file. Errors: ENOSPC, ENFILE.
	NewFile() (File, error)
	// StatFS returns the home's own limit and what is free of it, in bytes; total 0 means
	// no limit.
	StatFS() (total, free int64, err error)
	// Resize sets the limit, in bytes and more than 0. ENOSPC if more is in use.
	Resize(size int64) error
	// Close frees everything. No file of the home may be used afterwards.
	Close() error
}

// File is one backing file. Its methods may be called from several goroutines; the callers
// order reads and writes of the same bytes themselves. Errors are syscall.Errno, except
// io.EOF.
type File interface {
	// ReadAt fills p from byte off; holes read as zeros, io.EOF at the end.
	ReadAt(p []byte, off int64) (int, error)
	// WriteAt writes all of p, and grows the file if necessary. After ENOSPC a part may
	// have been written.
	WriteAt(p []byte, off int64) (int, error)
	// Truncate sets the size. Memory beyond a smaller or equal size is freed; what is
	// beyond a larger one is a hole.
	Truncate(size int64) error
	// Size returns the length of the file, in bytes.
	Size() (int64, error)
	// PunchHole makes the bytes read as zeros and frees the pages that lie wholly in the
	// range. The size stays.
	PunchHole(off, length int64) error
	// Allocate makes sure that a write into the range needs no new memory. It does all of
	// it or nothing, and the size stays. ENOSPC.
	Allocate(off, length int64) error
	// SeekData returns the next byte at or after off that is not in a hole; ENXIO if none
	// follows before the end.
	SeekData(off int64) (int64, error)
	// SeekHole returns the next byte at or after off that is in a hole; the end of the file
	// counts as one. ENXIO at or beyond the end.
	SeekHole(off int64) (int64, error)
	// Used returns how many bytes of memory the file takes, in whole pages.
	Used() (int64, error)
	// Close frees the content.
	Close() error
}

// pageSize is the unit in which the kernel, and so every home, counts memory.
var pageSize = int64(os.Getpagesize())

// pagesOf returns the number of pages that hold the first size bytes of a file.
func pagesOf(size int64) int64 {
	pages := size / pageSize
	if size%pageSize != 0 {
		pages++
	}
	return pages
}

// readFull reads until p is full or the file ends, with io.EOF.
func readFull(fd int, p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		n := 0
		err := eintr.Retry(func() (err error) {
			n, err = unix.Pread(fd, p[done:], off+int64(done))
			return err
		})
		if err != nil {
			return done, err
		}
		if n == 0 {
			return done, io.EOF
		}
		done += n
	}
	return done, nil
}

// writeFull writes all of p.
func writeFull(fd int, p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		n := 0
		err := eintr.Retry(func() (err error) {
			n, err = unix.Pwrite(fd, p[done:], off+int64(done))
			return err
		})
		if err != nil {
			return done, err
		}
		done += n
	}
	return done, nil
}

// errnoOf returns the errno in an error of a home or a base; EIO if it has none.
func errnoOf(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	var errno syscall.Errno
	if errors.As(err, &errno) && errno != 0 {
		return errno
	}
	return syscall.EIO
}
