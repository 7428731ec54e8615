package workspace

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/fs"
	"github.com/workdir/workdir/store"
)

// ImportOptions are the options of the imports. Nil stands for the zero value:
// there must be no archive yet.
type ImportOptions struct {
	Options
	// Replace is the revision that the import replaces; empty for none.
	Replace store.Revision
	// ReplaceAny lets it replace the archive that is there when it begins, if any. Replace is
	// then ignored.
	ReplaceAny bool
	// Portable refuses entries that the Python temporal-workdir cannot read.
	Portable bool
	// Devices accepts device nodes.
	Devices bool
	// Keep says which replaced archives, of imports and other commits, stay as versions.
	Keep store.Keep
	// Message is for the commit's record.
	Message string
	// Tool is the program in the commit's record, with its version; "" is workdir.
	Tool string
}

func (o *ImportOptions) orDefault() *ImportOptions {
	if o == nil {
		o = &ImportOptions{}
	}
	return o
}

// Imported describes an import.
type Imported struct {
	Info     store.Info // of the new archive
	CommitID archive.CommitID
	Entries  int64 // inodes: files, directories and so on
	Bytes    int64 // of content
}

// Import stores a directory with everything beneath it, or a tar.gz by any program, as a
// workspace. It is one commit on top of the archive that it replaces. A directory's content is
// read when it is packed; a file that changes meanwhile is an error. Sockets are dropped, with
// a warning.
//
// Errors: store.ErrConflict if the archive at the URL does not meet the condition; those of
// store.Commit; archive.ErrFormat, ErrLimit and ErrPortable; those of the file system. Except
// with store.ErrUnknown nothing was stored.
func Import(ctx context.Context, path, url string, opts *ImportOptions) (Imported, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return Imported{}, err
	}
	if fi.IsDir() {
		return importing(ctx, url, opts, func(o *ImportOptions) (*loaded, error) { return loadDir(ctx, path, &o.Options) })
	}
	f, err := os.Open(path)
	if err != nil {
		return Imported{}, err
	}
	defer f.Close()
	return importArchive(ctx, f, fi.Size(), path, url, opts)
}

// ImportArchive stores the content of an ordinary tar.gz as a workspace. It reads r to its end
// before anything is stored; a Read of r that hangs when ctx ends, or when the archive is
// refused, is abandoned. Otherwise it is as Import.
func ImportArchive(ctx context.Context, r io.Reader, url string, opts *ImportOptions) (Imported, error) {
	return importArchive(ctx, r, 0, "the archive", url, opts)
}

func importArchive(ctx context.Context, r io.Reader, size int64, name, url string, opts *ImportOptions) (Imported, error) {
	return importing(ctx, url, opts, func(o *ImportOptions) (*loaded, error) {
		r, stop := endingWith(ctx, r)
		defer stop()
		l, err := loadFrom(ctx, r, size, loadOptions{Options: &o.Options, content: true, devices: o.Devices})
		if err != nil {
			return nil, fmt.Errorf("import %s: %w", name, err)
		}
		return l, nil
	})
}

// endingWith returns a reader of r that ends with ctx, even if a read of r hangs, as on a
// terminal or a pipe.
func endingWith(ctx context.Context, r io.Reader) (_ io.Reader, stop func()) {
	pr, pw := io.Pipe()
	go func() {
		_, err := io.Copy(pw, r)
		_ = pw.CloseWithError(err) // never fails
	}()
	after := context.AfterFunc(ctx, func() { _ = pw.CloseWithError(context.Cause(ctx)) })
	return pr, func() {
		after()
		_ = pr.Close() // never fails
	}
}

// importing stores the tree that fill makes, on top of the archive at the URL.
func importing(ctx context.Context, url string, opts *ImportOptions, fill func(*ImportOptions) (*loaded, error)) (Imported, error) {
	opts = opts.orDefault()
	u, err := store.ParseURL(url)
	if err == nil {
		err = u.IsVersion("import to")
	}
	if err != nil {
		return Imported{}, err
	}
	s, err := store.OpenBucket(ctx, u)
	if err != nil {
		return Imported{}, err
	}
	defer s.Close()
	replace, log, err := opts.replaced(ctx, s, u)
	if err != nil {
		return Imported{}, err
	}
	l, err := fill(opts)
	if err != nil {
		return Imported{}, err
	}
	defer l.close()
	c := &committing{ctx: ctx, opts: opts, tree: l.tree, replace: replace, log: log}
	done, err := c.commit(s, u.Key)
	if cause := l.failed(); err != nil && cause != nil {
		err = cause
	}
	if err != nil {
		return Imported{}, fmt.Errorf("import to %s: %w", u.Redacted(), err)
	}
	return done, nil
}

// replaced returns the revision that the import replaces and its log, if the current archive
// meets the condition. A log that cannot be read is lost with its archive, which the user
// wants replaced.
func (o *ImportOptions) replaced(ctx context.Context, s store.Store, u store.URL) (store.Revision, *archive.Log, error) {
	obj, err := store.OpenTail(ctx, s, u.Key, store.LogTail)
	if errors.Is(err, store.ErrNotExist) {
		rev, err := store.Expected(u, "", o.Replace, o.ReplaceAny)
		return rev, nil, err
	}
	if err != nil {
		return "", nil, err
	}
	defer obj.Close()
	info := obj.Info()
	rev, err := store.Expected(u, info.Revision, o.Replace, o.ReplaceAny)
	if err != nil {
		return "", nil, err
	}
	log, err := archive.FindLog(ctx, obj, info.Size)
	if errors.Is(err, archive.ErrFormat) || errors.Is(err, archive.ErrLimit) {
		o.warn("", "the archive that is replaced is damaged, and its commit log is lost")
		return rev, archive.LostLog(), nil
	}
	return rev, log.StoredAt(info.ModTime), err
}

// committing is the one commit of an import.
type committing struct {
	ctx     context.Context
	opts    *ImportOptions
	tree    *fs.Tree
	replace store.Revision
	log     *archive.Log // of the replaced archive; nil without one
}

func (c *committing) commit(s store.Store, key string) (Imported, error) {
	// Check warns; the packing, which may be done twice, does not.
	wopts := archive.WriterOptions{Portable: c.opts.Portable, Devices: c.opts.Devices, Warn: c.opts.Warn}
	if err := archive.Check(c.ctx, c.tree, &wopts); err != nil {
		return Imported{}, err
	}
	changes := c.tree.Changes() // it was never sealed, so everything is new,
	changes.Modified = 0        // including the root, which the tree counts as existing
	wopts.Warn = nil
	wopts.Progress = func(done int64) { c.opts.progress(Writing, done, changes.Bytes) }
	id := archive.NewCommitID()
	next := c.log.Next(c.record(id, changes))
	info, err := store.Commit(c.ctx, s, key, &store.CommitRequest{
		Replace: c.replace,
		ID:      id,
		Parent:  next.Record.Parent,
		Keep:    c.opts.Keep,
		Log:     next,
		Plan: store.Written(func(w io.Writer) error {
			_, err := archive.NewWriter(w, &wopts).WriteTree(c.ctx, c.tree, next)
			return err
		}),
	})
	return Imported{Info: info, CommitID: id, Entries: changes.Created, Bytes: changes.Bytes}, err
}

func (c *committing) record(id archive.CommitID, changes fs.Changes) archive.Record {
	rec := newRecord(id, c.opts.Tool, changes)
	rec.Message = c.opts.Message
	return rec
}

// newRecord returns the record of a commit made now by a program on this host.
func newRecord(id archive.CommitID, tool string, changes fs.Changes) archive.Record {
	host, _ := os.Hostname() // a record without a host is valid
	return archive.Record{ID: id, Time: time.Now().UTC(), Tool: cmp.Or(tool, "workdir"), Host: host, Changed: changes}
}
