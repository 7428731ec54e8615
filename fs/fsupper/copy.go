package fsupper

import (
	"errors"
	"fmt"
	"io"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/fs"
	"github.com/workdir/workdir/internal/eintr"
)

// copySize is how much is copied at a time, in bytes.
const copySize = 1 << 20

// copy gives n the present content of e.
func (to *treeTarget) copy(n *fs.Inode, e *entry, c *content) error {
	fd, err := openFile(e.dir, e.name)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if _, errno := to.tree.SetAttr(n, &fs.SetAttr{Valid: fs.SetSize, Size: c.size}); errno != 0 {
		return fmt.Errorf("copy its content: %w", errno)
	}
	at := int64(0)
	for _, r := range append(c.same[:len(c.same):len(c.same)], fs.Extent{Off: c.size}) {
		if err := to.copyRange(n, fd, at, r.Off); err != nil {
			return fmt.Errorf("copy its content: %w", err)
		}
		at = r.Off + r.Len
	}
	return nil
}

// copyRange copies the bytes from off to end from a file to n; holes stay holes.
func (to *treeTarget) copyRange(n *fs.Inode, fd int, off, end int64) error {
	if off >= end {
		return nil
	}
	if errno := to.tree.Allocate(n, off, end-off, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE); errno != 0 {
		return errno
	}
	buf := make([]byte, min(copySize, end-off))
	for off < end {
		from, err := seek(fd, off, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) || err == nil && from >= end {
			return nil
		}
		if err == nil {
			off, err = seek(fd, from, unix.SEEK_HOLE)
		}
		if err != nil {
			return err
		}
		if err := to.copyData(n, fd, buf, from, min(off, end)); err != nil {
			return err
		}
	}
	return nil
}

func seek(fd int, off int64, whence int) (at int64, err error) {
	err = eintr.Retry(func() error { at, err = unix.Seek(fd, off, whence); return err })
	return at, err
}

func (to *treeTarget) copyData(n *fs.Inode, fd int, buf []byte, off, end int64) error {
	for off < end {
		got := 0
		err := eintr.Retry(func() (err error) {
			got, err = unix.Pread(fd, buf[:min(int64(len(buf)), end-off)], off)
			return err
		})
		if err == nil && got == 0 {
			err = io.ErrUnexpectedEOF // it was truncated meanwhile
		}
		if err != nil {
			return err
		}
		if _, errno := to.tree.WriteAt(n, buf[:got], off, false); errno != 0 {
			return errno
		}
		off += int64(got)
	}
	return nil
}
