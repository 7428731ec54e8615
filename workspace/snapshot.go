package workspace

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/fs"
	"github.com/workdir/workdir/store"
)

// Snapshot is one revision of a workspace, open for reading. Later commits do not change it.
// Its methods except Close may be called from several goroutines.
type Snapshot struct{ l *loaded }

// Open opens the archive of a workspace; ctx ends the reads of the snapshot. An archive with
// an index is read on demand, and stays open; any other is read to its end, and its content
// kept in memory and in a temporary directory. The caller closes the snapshot.
//
// Errors: those of Tree, without ErrPath.
func Open(ctx context.Context, url string, opts *Options) (*Snapshot, error) {
	l, err := load(ctx, url, loadOptions{Options: opts.orDefault(), content: true, devices: true})
	if err != nil {
		return nil, err
	}
	return &Snapshot{l}, nil
}

// Close frees the snapshot, which must not be used afterwards.
func (s *Snapshot) Close() { s.l.close() }

// Info is the store's description of the archive.
func (s *Snapshot) Info() store.Info { return s.l.info }

// Log returns the commits that led to the revision; nil if another program wrote the archive.
func (s *Snapshot) Log() *archive.Log { return s.l.log }

// Stat returns the entry at a path, with its clean path. It follows symbolic links within the
// workspace. "" is the root. Error: ErrPath.
func (s *Snapshot) Stat(path string) (Entry, error) {
	n, at, err := find(s.l.tree, path)
	if err != nil {
		return Entry{}, s.l.pathError("stat", err)
	}
	defer s.l.tree.Unref(n, 1)
	return entryOf(s.l.tree, at, n, s.l.tree.Attr(n))
}

// Dir returns at most n of the names of a directory, sorted by bytes: the first ones after the
// name after, which need not exist; "" sorts before all. total is the number of names in the
// directory. Only symbolic links on the way to path are followed.
//
// Error: ErrPath, also for anything but a directory.
func (s *Snapshot) Dir(path, after string, n int) (page []Entry, total int, err error) {
	t := s.l.tree
	dir, at, err := find(t, path)
	if err != nil {
		return nil, 0, s.l.pathError("list", err)
	}
	defer t.Unref(dir, 1)
	var found []child
	errno := t.ReadDir(dir, 0, func(d fs.Dirent) bool {
		total++
		if d.Name > after {
			found = append(found, child{d.Name, d.Inode.Ino()})
		}
		return true
	})
	if errno != 0 {
		return nil, 0, s.l.pathError("list", fmt.Errorf("%q: %w: it is no directory", path, ErrPath))
	}
	slices.SortFunc(found, func(a, b child) int { return strings.Compare(a.name, b.name) })
	for _, c := range found[:min(n, len(found))] {
		e, err := c.entry(t, at)
		if err != nil {
			return nil, 0, s.l.pathError("list", err)
		}
		page = append(page, e)
	}
	return page, total, nil
}

// child is a name in a directory.
type child struct {
	name string
	ino  uint64
}

// entry describes the child of the directory at a clean path.
func (c child) entry(t *fs.Tree, dir string) (Entry, error) {
	n, errno := t.Find(c.ino)
	if errno != 0 {
		return Entry{}, fmt.Errorf("%q: %w", c.name, errno)
	}
	defer t.Unref(n, 1)
	path := c.name
	if dir != "" {
		path = dir + "/" + c.name
	}
	return entryOf(t, path, n, t.Attr(n))
}

// ReadFile reads a part of a regular file into p, from byte off, and returns the number of
// bytes read; io.EOF at the end, as io.ReaderAt. The bytes are verified. It follows symbolic
// links within the workspace.
//
// Errors: ErrPath; those of the store and of the archive.
func (s *Snapshot) ReadFile(path string, p []byte, off int64) (int, error) {
	e, err := s.l.findFile(path)
	if err != nil {
		return 0, s.l.pathError("read", err)
	}
	if off >= e.Size {
		return 0, io.EOF
	}
	f, err := s.l.file(&e)
	defer f.release()
	if err == nil {
		p = p[:min(int64(len(p)), e.Size-off)]
		err = f.fill(p, off)
	}
	if err != nil {
		return 0, s.l.pathError("read", err)
	}
	if off+int64(len(p)) == e.Size {
		return len(p), io.EOF
	}
	return len(p), nil
}

// WriteFile writes a regular file of the snapshot to w, as Cat does.
func (s *Snapshot) WriteFile(ctx context.Context, w io.Writer, path string) error {
	e, err := s.l.findFile(path)
	if err == nil {
		err = s.l.writeContent(ctx, w, &e)
	}
	if err != nil {
		return s.l.pathError("read", err)
	}
	return nil
}
