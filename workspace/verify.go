package workspace

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/store"
)

// Report describes an archive that was found to be intact.
type Report struct {
	Info        store.Info
	Log         *archive.Log // nil if another tool wrote the archive
	Quick       bool         // content was not read
	Files       int64        // regular files, each inode once
	Directories int64        // without the root
	Symlinks    int64
	Others      int64    // FIFOs and device nodes
	Names       int64    // of all of them, without the root
	Bytes       int64    // content of the files
	NotPortable []string // paths for which the Python temporal-workdir refuses the archive
	Warnings    []string
}

// Verify reads all of a workspace's archive and checks every checksum, name and number in it,
// and the index against the tar. It does not keep content. With opts.Quick it reads only the
// end of an archive with an index: it checks the index, the log and their consistency, but no
// content.
//
// Errors: archive.ErrFormat for a damaged or refused archive; archive.ErrLimit; those of
// store.Store.Open.
func Verify(ctx context.Context, url string, opts *VerifyOptions) (*Report, error) {
	if opts == nil {
		opts = &VerifyOptions{}
	}
	o, err := open(ctx, url, archive.OpenRead)
	if err != nil {
		return nil, err
	}
	defer o.close()
	r, err := verify(ctx, o, opts)
	if err != nil {
		return nil, fmt.Errorf("verify %s: %w", o.url.Redacted(), err)
	}
	return r, nil
}

// VerifyOptions are the options of Verify. Nil stands for the zero value.
type VerifyOptions struct {
	Options
	Quick bool
}

func verify(ctx context.Context, o *opened, opts *VerifyOptions) (*Report, error) {
	r := &Report{Info: o.object.Info()}
	own := opts.Options
	own.Warn = func(w archive.Warning) { r.Warnings = append(r.Warnings, w.String()) }
	lo := loadOptions{Options: &own, devices: true, needLog: true}
	a, err := archive.Open(ctx, o.object, r.Info.Size, lo.reader(r.Info.Size))
	if err != nil {
		return nil, err
	}
	l := &loaded{}
	if a.Indexed() {
		r.Quick = opts.Quick
		if !opts.Quick {
			err = a.Verify(ctx, func(done int64) { own.progress(Reading, done, r.Info.Size) })
		}
		if err == nil {
			err = l.stand(a, lo.reader(r.Info.Size))
		}
	} else {
		l, err = loadCounted(ctx, o, lo)
	}
	if err != nil {
		return nil, err
	}
	defer l.close()
	r.Log = l.log
	return r, r.inspect(ctx, l)
}

// loadCounted loads an archive, and finds out whether all of it was read.
func loadCounted(ctx context.Context, o *opened, opts loadOptions) (*loaded, error) {
	size := o.object.Info().Size
	counted := &countingReader{r: o.object}
	l, err := loadFrom(ctx, counted, size, opts)
	if err == nil && counted.n != size {
		l.close()
		err = &archive.FormatError{Reason: fmt.Sprintf("%d bytes were read, but %s has %d", counted.n, o.url.Redacted(), size)}
	}
	return l, err
}

// countingReader counts the bytes read.
type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// inspect counts the contents of the tree.
func (r *Report) inspect(ctx context.Context, l *loaded) error {
	all, err := list(l.tree, "")
	if err != nil {
		return err
	}
	seen := map[uint64]bool{}
	for _, e := range all {
		r.Names++
		switch e.Kind {
		case Directory:
			r.Directories++
		case Symlink:
			r.Symlinks++
		case File:
			if e.Links == 1 || !seen[e.ino] {
				r.Files++
				r.Bytes += e.Size
			}
			if e.Links > 1 {
				seen[e.ino] = true
			}
		default:
			r.Others++
		}
	}
	var portable *archive.PortableError
	err = archive.Check(ctx, l.tree, &archive.WriterOptions{Portable: true, Devices: true})
	if errors.As(err, &portable) {
		r.NotPortable = portable.Paths
		return nil
	}
	return err
}
