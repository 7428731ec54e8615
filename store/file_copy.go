package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// CopyFrom implements Copier for archives in files: the kernel copies, by sharing
// blocks where the file system can.
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
	source, _ := o.(*fileObject) // Open gives nothing else
	return s.Put(ctx, key, func(w io.Writer) error {
		temp, ok := w.(*tempWriter)
		if !ok {
			return fmt.Errorf("%w: a writer that is no file", errors.ErrUnsupported)
		}
		return source.copyTo(ctx, temp)
	}, opts)
}

// copyStep is how many bytes are copied between two looks at the context.
const copyStep = 64 << 20

// copyTo copies the archive into a temporary file, and fails if the archive was
// overwritten in place meanwhile.
func (o *fileObject) copyTo(ctx context.Context, w *tempWriter) error {
	file, size := o.found.file, o.found.stamp.size
	if unix.IoctlFileClone(int(w.file.Fd()), int(file.Fd())) != nil { // shares all blocks, or none
		if err := w.copy(ctx, file, size); err != nil {
			return err
		}
	}
	_, err := o.ReadAt(make([]byte, 1), size) // looks whether the file is still what was opened
	if err == io.EOF {
		return nil
	}
	return err
}

// copy copies the first size bytes of file, by copy_file_range(2), which
// package os uses between two files.
func (w *tempWriter) copy(ctx context.Context, file *os.File, size int64) error {
	if _, err := file.Seek(0, io.SeekStart); err != nil {
		return err
	}
	for left := size; left > 0; {
		if err := ContextError(ctx); err != nil {
			return err
		}
		n, err := io.CopyN(w.file, file, min(left, copyStep))
		if err != nil {
			return err
		}
		left -= n
	}
	return nil
}
