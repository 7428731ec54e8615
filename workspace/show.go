package workspace

import (
	"context"
	"fmt"
	"io"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/fs"
	"github.com/workdir/workdir/store"
)

// Tree gives the entries of a workspace at and beneath path, in archive order:
// each directory before its names, names sorted by bytes. "" is all of it.
// Symbolic links are followed on the way to path, and nowhere else. The archive is
// read to its end.
//
// Errors: ErrPath; those of store.Store.Open; archive.ErrFormat and
// archive.ErrLimit for one that is refused.
func Tree(ctx context.Context, url, path string, opts *Options) ([]Entry, error) {
	l, err := load(ctx, url, loadOptions{Options: opts.orDefault(), devices: true})
	if err != nil {
		return nil, err
	}
	defer l.close()
	n, at, err := find(l.tree, path)
	if err != nil {
		return nil, l.pathError("tree", err)
	}
	l.tree.Unref(n, 1)
	all, err := list(l.tree, at)
	if err != nil {
		return nil, err
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

// Cat writes the content of files of a workspace to w, one after the other, and
// tells which they were. Symbolic links are followed as long as they stay in the
// workspace. The archive is read to its end, and all paths are looked up, before
// anything is written.
//
// Errors: ErrPath, also for what is no regular file; those of Tree; w's own.
func Cat(ctx context.Context, url string, paths []string, w io.Writer, opts *Options) ([]Entry, error) {
	l, err := load(ctx, url, loadOptions{Options: opts.orDefault(), content: true, devices: true})
	if err != nil {
		return nil, err
	}
	defer l.close()
	found := make([]listed, 0, len(paths))
	for _, path := range paths {
		e, err := l.file(path)
		if err != nil {
			return nil, l.pathError("cat", err)
		}
		found = append(found, e)
	}
	entries := make([]Entry, 0, len(found))
	for _, e := range found {
		if err := writeContent(ctx, w, l.tree, e); err != nil {
			return entries, l.pathError("cat", err)
		}
		entries = append(entries, e.Entry)
	}
	return entries, nil
}

// file finds a regular file.
func (l *loaded) file(path string) (listed, error) {
	n, at, err := find(l.tree, path)
	if err != nil {
		return listed{}, err
	}
	l.tree.Unref(n, 1) // it has a name, and nobody removes that
	e, err := entryOf(l.tree, at, n, l.tree.Attr(n))
	if err == nil && e.Kind != File {
		err = fmt.Errorf("%q: %w: it is a %s", path, ErrPath, e.Kind)
	}
	return listed{e, n}, err
}

// readSize is how much content is read at once, bytes.
const readSize = 256 << 10

// writeContent writes all of a file, holes as zeros.
func writeContent(ctx context.Context, w io.Writer, t *fs.Tree, e listed) error {
	buf := make([]byte, readSize)
	for off := int64(0); off < e.Size; {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		n, errno := t.ReadAt(e.inode, buf, off)
		if errno != 0 {
			return fmt.Errorf("%q: %w", e.Path, errno)
		}
		if n == 0 {
			return fmt.Errorf("%q: %w", e.Path, io.ErrUnexpectedEOF)
		}
		if _, err := w.Write(buf[:n]); err != nil {
			return err
		}
		off += int64(n)
	}
	return nil
}

// Log returns the commits of a workspace and what its store tells of the archive; a
// nil log where another tool wrote it. It reads the end of the archive only, and all
// of it where there is no log: an archive that is cut off has lost it. Errors as
// Tree, without ErrPath.
func Log(ctx context.Context, url string) (log *archive.Log, info store.Info, err error) {
	err = withEnd(ctx, url, func(u store.URL, o store.Object) error {
		info = o.Info()
		if log, err = archive.FindLog(ctx, o, info.Size); err != nil {
			return fmt.Errorf("log %s: %w", u.Redacted(), err)
		}
		return nil
	})
	return log, info, err
}
