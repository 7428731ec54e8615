package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/internal/eintr"
)

// CopyFrom implements Copier for archives in files.
func (s *fileStore) CopyFrom(ctx context.Context, src Store, srcKey string, srcRev Revision, key string, opts *PutOptions) (Info, error) {
	from, ok := src.(*fileStore)
	if !ok {
		return Info{}, errors.ErrUnsupported
	}
	o, err := from.Open(ctx, srcKey)
	if err != nil {
		return Info{}, err
	}
	defer o.Close()
	if have := o.Info().Revision; have != srcRev {
		return Info{}, replacedMeanwhile(from.object(srcKey), srcRev, have)
	}
	return s.Compose(ctx, key, o, []Piece{{Len: o.Info().Size}}, opts)
}

// Compose implements Composer: the kernel copies the ranges, by sharing blocks where the
// file system can.
func (s *fileStore) Compose(ctx context.Context, key string, base Object, plan []Piece, opts *PutOptions) (Info, error) {
	source, ok := base.(*fileObject)
	if !ok {
		return Info{}, errors.ErrUnsupported
	}
	return s.Put(ctx, key, composed(source, plan), opts)
}

// composed returns the function that writes a plan, whose ranges are of source, into a file.
func composed(source *fileObject, plan []Piece) func(io.Writer) error {
	return func(w io.Writer) error {
		temp, ok := w.(*tempWriter)
		if !ok {
			return fmt.Errorf("%w: the writer is not a file", errors.ErrUnsupported)
		}
		for _, p := range plan {
			if p.Write == nil {
				temp.keep(source.found.file, p.Off, p.Len)
			} else if err := p.Write(w); err != nil {
				return err
			}
		}
		if err := source.unchanged(); err != nil {
			temp.err = err // if the file was truncated, this explains the failed copy
		}
		return temp.err
	}
}

// unchanged returns ErrConflict if the file is no longer the archive that was opened.
func (o *fileObject) unchanged() error {
	if _, err := o.ReadAt(make([]byte, 1), o.found.stamp.size); err != io.EOF {
		return err
	}
	return nil
}

const (
	// copyStep is how many bytes are copied between two checks of the context.
	copyStep = 64 << 20
	// blockSize is the unit in which a file system shares content: aligned runs of it.
	blockSize = 4096
)

// keep appends n bytes of file from off. Like a failed Write it records its error in the
// writer.
func (w *tempWriter) keep(file *os.File, off, n int64) {
	if w.err != nil {
		return
	}
	at, err := w.file.Seek(0, io.SeekCurrent)
	for err == nil && n > 0 {
		if err = ContextError(w.ctx); err != nil {
			break
		}
		var m int64
		m, err = w.copyRange(file, off, shareable(off, at, min(n, copyStep)))
		off, at, n = off+m, at+m, n-m
	}
	w.err = err
}

// shareable is how many of n bytes to copy at once from off to at: first up to a block
// boundary, then whole blocks if both sides are aligned alike.
func shareable(off, at, n int64) int64 {
	switch head := -off & (blockSize - 1); {
	case (off-at)%blockSize != 0 || n < blockSize:
		return n
	case head > 0:
		return min(head, n)
	}
	return n &^ (blockSize - 1)
}

// cannotCopy are the errors of copy_file_range(2) for files that it cannot copy.
var cannotCopy = []error{unix.EXDEV, unix.EINVAL, unix.ENOSYS, unix.EOPNOTSUPP, unix.EBADF}

// copyRange appends up to n bytes of file from off, at least one.
func (w *tempWriter) copyRange(file *os.File, off, n int64) (copied int64, err error) {
	err = eintr.Retry(func() error {
		m, err := unix.CopyFileRange(int(file.Fd()), &off, int(w.file.Fd()), nil, int(n), 0)
		copied = int64(m)
		return err
	})
	if slices.Contains(cannotCopy, err) {
		copied, err = io.CopyN(w.file, io.NewSectionReader(file, off, n), n)
	}
	if err == nil && copied == 0 || err == io.EOF {
		err = io.ErrUnexpectedEOF // the file was truncated
	}
	return copied, err
}
