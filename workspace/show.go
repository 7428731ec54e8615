package workspace

import (
	"context"
	"fmt"
	"io"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/fs"
	"github.com/workdir/workdir/store"
)

// Tree returns the entries of a workspace at and beneath path, in archive order:
// each directory before its names, names sorted by bytes. "" is all of it. Only symbolic links
// on the way to path are followed. Of an archive with an index only the index is read; any
// other is read to its end.
//
// Errors: ErrPath; those of store.Store.Open; archive.ErrFormat and archive.ErrLimit for a
// refused archive.
func Tree(ctx context.Context, url, path string, opts *Options) ([]Entry, error) {
	l, err := load(ctx, url, loadOptions{Options: opts.orDefault(), devices: true})
	if err != nil {
		return nil, err
	}
	defer l.close()
	all, err := l.listAt(path)
	if err != nil {
		return nil, l.pathError("tree", err)
	}
	entries := make([]Entry, len(all))
	for i, e := range all {
		entries[i] = e.Entry
	}
	return entries, nil
}

func (l *loaded) pathError(op string, err error) error {
	return fmt.Errorf("%s %s: %w", op, l.url.Redacted(), err)
}

// Cat writes the content of files of a workspace to w, one after the other, and returns their
// entries. It follows symbolic links within the workspace. All paths are looked up before
// anything is written. Of an archive with an index only the files' content is read, and
// verified; any other is read to its end first.
//
// Errors: ErrPath, also for anything but a regular file; those of Tree; w's own.
func Cat(ctx context.Context, url string, paths []string, w io.Writer, opts *Options) ([]Entry, error) {
	l, err := load(ctx, url, loadOptions{Options: opts.orDefault(), content: true, devices: true})
	if err != nil {
		return nil, err
	}
	defer l.close()
	found := make([]listed, 0, len(paths))
	for _, path := range paths {
		e, err := l.findFile(path)
		if err != nil {
			return nil, l.pathError("cat", err)
		}
		found = append(found, e)
	}
	entries := make([]Entry, 0, len(found))
	for i := range found {
		if err := l.writeContent(ctx, w, &found[i]); err != nil {
			return entries, l.pathError("cat", err)
		}
		entries = append(entries, found[i].Entry)
	}
	return entries, nil
}

// findFile finds a regular file.
func (l *loaded) findFile(path string) (listed, error) {
	n, at, err := find(l.tree, path)
	if err != nil {
		return listed{}, err
	}
	defer l.tree.Unref(n, 1)
	a := l.tree.Attr(n)
	e, err := entryOf(l.tree, at, n, a)
	if err == nil && e.Kind != File {
		err = fmt.Errorf("%q: %w: it is a %s", path, ErrPath, e.Kind)
	}
	return listed{e, a.Ino}, err
}

// file is a regular file being read.
type file struct {
	from  *loaded
	entry *listed
	inode *fs.Inode // nil if it was not found
}

// file returns the file of an entry, which the caller must release even on error.
func (l *loaded) file(e *listed) (*file, error) {
	n, errno := l.tree.Find(e.ino)
	if errno != 0 {
		return &file{}, fmt.Errorf("%q: %w", e.Path, errno)
	}
	return &file{l, e, n}, nil
}

func (f *file) release() {
	if f.inode != nil {
		f.from.tree.Unref(f.inode, 1)
	}
}

// nextData returns where the next data begin, at or after off; the size if there are none.
func (f *file) nextData(off int64) int64 {
	data, _, errno := f.from.tree.NextData(f.inode, off, f.entry.Size)
	if errno != 0 {
		return off // fill returns the error
	}
	return data
}

// fill fills p from byte off.
func (f *file) fill(p []byte, off int64) error {
	n, errno := f.from.tree.ReadAt(f.inode, p, off)
	switch {
	case errno != 0:
		return fmt.Errorf("%q: %w", f.entry.Path, f.from.because(errno))
	case n < len(p):
		return fmt.Errorf("%q: %w", f.entry.Path, io.ErrUnexpectedEOF)
	}
	return nil
}

// readSize is how much content is read at once, bytes.
const readSize = 256 << 10

// writeContent writes all of a file, holes as zeros.
func (l *loaded) writeContent(ctx context.Context, w io.Writer, e *listed) error {
	f, err := l.file(e)
	defer f.release()
	if err != nil {
		return err
	}
	buf := make([]byte, readSize)
	for off := int64(0); off < e.Size; off += readSize {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		p := buf[:min(readSize, e.Size-off)]
		if err := f.fill(p, off); err != nil {
			return err
		}
		if _, err := w.Write(p); err != nil {
			return err
		}
	}
	return nil
}

// Log returns the commits of a workspace and the store's Info of the archive; a nil log if
// another tool wrote it. It reads only the end of the archive, or all of it if there is no
// log, to detect a truncated archive, which has lost its log. Errors as Tree, without ErrPath.
func Log(ctx context.Context, url string) (log *archive.Log, info store.Info, err error) {
	o, err := open(ctx, url, store.LogTail)
	if err != nil {
		return nil, info, err
	}
	defer o.close()
	info = o.object.Info()
	if log, err = archive.FindLog(ctx, o.object, info.Size); err != nil {
		err = fmt.Errorf("log %s: %w", o.url.Redacted(), err)
	}
	return log, info, err
}
