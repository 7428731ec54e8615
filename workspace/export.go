package workspace

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/fs/fsdir"
	"github.com/workdir/workdir/store"
)

// ExportOptions are the options of the exports. Nil stands for the zero value.
type ExportOptions struct {
	Options
	// KeepOwner sets the owners in the archive, and set-user-ID bits; for root. By default the
	// exported files belong to this user.
	KeepOwner bool
	// Devices creates device nodes, for root; by default an archive with one is refused.
	Devices bool
	// Path is the directory of the workspace that Export exports; "" is all of it. Symbolic
	// links on the way to it are followed.
	Path string
	// Replace lets ExportFile replace an existing file.
	Replace bool
	// Plain makes ExportArchive and ExportFile repack the tree and its commit log into one
	// compressed stream without an index (archive.WriterOptions.Plain). A log that cannot be
	// read is then an error.
	Plain bool
}

func (o *ExportOptions) orDefault() *ExportOptions {
	if o == nil {
		o = &ExportOptions{}
	}
	return o
}

// Exported describes an export.
type Exported struct {
	Info    store.Info // of the archive
	Entries int64      // names created; 0 for an export to an archive
	Bytes   int64      // of content, or of the archive
}

// Export creates the files of a workspace in a directory that does not exist yet or is empty:
// content with its holes, permission bits, times in nanoseconds, hard links, symbolic links,
// FIFOs, and extended attributes user.*. On error none of them remain.
//
// Errors: ErrTarget if the directory is not empty; ErrPath, also if opts.Path is not a
// directory; those of Tree; those of the file system.
func Export(ctx context.Context, url, dir string, opts *ExportOptions) (Exported, error) {
	opts = opts.orDefault()
	if err := checkEmpty(dir); err != nil {
		return Exported{}, err
	}
	l, err := load(ctx, url, loadOptions{Options: &opts.Options, content: true, devices: opts.Devices})
	if err != nil {
		return Exported{}, err
	}
	defer l.close()
	at, err := l.findDir(opts.Path)
	if err != nil {
		return Exported{}, l.pathError("export", err)
	}
	open, made, err := openEmpty(dir)
	if err != nil {
		return Exported{}, err
	}
	defer open.Close()
	rootIsKnown := at != "" || l.log != nil && l.log.Record.Root.Mode != 0
	all, err := list(l.tree, at)
	if err != nil {
		return Exported{}, err
	}
	total := contentOf(all)
	entries, err := open.Unpack(ctx, l.tree, &fsdir.UnpackOptions{
		From:      at,
		KeepOwner: opts.KeepOwner,
		Suid:      opts.KeepOwner, // without keeping the owner, a suid program must not run with this user's rights
		Root:      rootIsKnown && made,
		RootTime:  rootIsKnown,
		Warn:      opts.warn,
		Progress:  func(done int64) { opts.progress(Writing, done, total) },
	})
	if err != nil {
		discard(open, dir, made)
		return Exported{}, fmt.Errorf("export %s to %s: %w", l.url.Redacted(), dir, l.because(err))
	}
	return Exported{Info: l.info, Entries: entries, Bytes: total}, nil
}

// findDir returns the clean path of a directory of the workspace.
func (l *loaded) findDir(path string) (string, error) {
	n, at, err := find(l.tree, path)
	if err != nil {
		return "", err
	}
	defer l.tree.Unref(n, 1)
	if kind := kindOf(l.tree.Attr(n).Mode); kind != Directory {
		return "", fmt.Errorf("%q: %w: it is a %s, which cat writes", path, ErrPath, kind)
	}
	return at, nil
}

// checkEmpty checks that a directory does not exist or is empty.
func checkEmpty(dir string) error {
	open, err := fsdir.OpenDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		defer open.Close()
		err = refuseFull(open)
	}
	return targetError(dir, err)
}

// errNotEmpty: a directory is not empty.
var errNotEmpty = errors.New("not empty")

func refuseFull(open *fsdir.Dir) error {
	empty, err := open.IsEmpty()
	if err == nil && !empty {
		err = errNotEmpty
	}
	return err
}

// targetError returns err as an error about the target of an export; nil for nil.
func targetError(dir string, err error) error {
	switch {
	case errors.Is(err, errNotEmpty):
		return fmt.Errorf("export to %s: %w: the directory is not empty; name another", dir, ErrTarget)
	case errors.Is(err, unix.ENOTDIR):
		return fmt.Errorf("export to %s: %w: it is a file and no directory; name another, or one that ends in .tar.gz", dir, ErrTarget)
	}
	return err
}

// openEmpty opens an empty directory, which it creates if need be. All work uses the opened
// directory, since others may change the path meanwhile.
func openEmpty(dir string) (open *fsdir.Dir, made bool, err error) {
	err = os.Mkdir(dir, 0o700)
	if made = err == nil; !made && !errors.Is(err, os.ErrExist) {
		return nil, false, err
	}
	if open, err = fsdir.OpenDir(dir); err != nil {
		return nil, false, targetError(dir, err)
	}
	if err := refuseFull(open); err != nil {
		open.Close()
		return nil, false, targetError(dir, err)
	}
	return open, made, nil
}

// discard removes the files created by a failed export.
func discard(open *fsdir.Dir, dir string, made bool) {
	if open.Clear() == nil && made { // leftovers are noticed: the next export refuses the directory
		_ = os.Remove(dir)
	}
}

// ExportArchive writes the archive of a workspace to w as stored, including the commit log,
// and checks it on the way: after an error, such as archive.ErrFormat, bytes may already have
// been written, which must not be used. With opts.Plain it writes a repacked archive of the
// same files and log.
func ExportArchive(ctx context.Context, url string, w io.Writer, opts *ExportOptions) (Exported, error) {
	opts = opts.orDefault()
	if opts.Plain {
		return exportPlain(ctx, url, w, opts)
	}
	o, err := open(ctx, url, 0)
	if err != nil {
		return Exported{}, err
	}
	defer o.close()
	done, out := Exported{Info: o.object.Info()}, &countingWriter{w: w}
	l, err := loadFrom(ctx, io.TeeReader(o.object, out), done.Info.Size, loadOptions{Options: &opts.Options, devices: true})
	if out.err != nil {
		return done, out.err
	}
	if err != nil {
		return done, fmt.Errorf("export %s: %w", o.url.Redacted(), err)
	}
	l.close()
	if done.Bytes = out.n; out.n != done.Info.Size {
		err = fmt.Errorf("export %s: read %d bytes of %d: %w", o.url.Redacted(), out.n, done.Info.Size, io.ErrUnexpectedEOF)
	}
	return done, err
}

// exportPlain is ExportArchive for opts.Plain.
func exportPlain(ctx context.Context, url string, w io.Writer, opts *ExportOptions) (Exported, error) {
	l, err := load(ctx, url, loadOptions{Options: &opts.Options, content: true, devices: true, needLog: true})
	if err != nil {
		return Exported{}, err
	}
	defer l.close()
	all, err := list(l.tree, "")
	if err != nil {
		return Exported{}, err
	}
	total, out := contentOf(all), &countingWriter{w: w}
	_, err = archive.NewWriter(out, &archive.WriterOptions{
		Plain: true, Devices: true, Warn: opts.Warn,
		Progress: func(done int64) { opts.progress(Writing, done, total) },
	}).WriteTree(ctx, l.tree, l.log)
	done := Exported{Info: l.info, Bytes: out.n}
	switch {
	case out.err != nil:
		return done, out.err
	case err != nil:
		return done, fmt.Errorf("export %s: %w", l.url.Redacted(), l.because(err))
	}
	return done, nil
}

// countingWriter counts the bytes written and keeps the first error.
type countingWriter struct {
	w   io.Writer
	n   int64
	err error
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	if c.err == nil {
		c.err = err
	}
	return n, err
}

// ExportFile stores the archive of a workspace, checked, as a file, which is complete and
// durable or does not exist. Errors: ErrTarget if the file exists, unless opts.Replace; those
// of ExportArchive.
func ExportFile(ctx context.Context, url, path string, opts *ExportOptions) (Exported, error) {
	opts = opts.orDefault()
	exists := fmt.Errorf("export to %s: %w: ask for it to be replaced (--replace), or name another file", path, ErrTarget)
	if _, err := os.Lstat(path); err == nil && !opts.Replace {
		return Exported{}, exists
	}
	name := filepath.Join(filepath.Dir(path), ".workdir-export-"+rand.Text())
	temp, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return Exported{}, err
	}
	defer func() {
		temp.Close()
		os.Remove(name) // on success it has been renamed
	}()
	done, err := ExportArchive(ctx, url, temp, opts)
	if err != nil {
		return Exported{}, err
	}
	if err := temp.Sync(); err != nil {
		return Exported{}, err
	}
	if err := publish(name, path, opts.Replace); errors.Is(err, os.ErrExist) {
		return Exported{}, exists
	} else if err != nil {
		return Exported{}, err
	}
	return done, syncDir(filepath.Dir(path))
}

// publish renames a file to its final name. Not every file system can rename without
// replacing, or has hard links.
func publish(from, to string, replace bool) error {
	if replace {
		return os.Rename(from, to)
	}
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		return os.Link(from, to)
	}
	if err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

func syncDir(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
