package workspace

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/store"
)

// Report tells of an archive that was found to be whole.
type Report struct {
	Info        store.Info
	Log         *archive.Log // nil: another tool wrote the archive
	Files       int64        // regular files, each once however many names it has
	Directories int64        // the root left out
	Symlinks    int64
	Others      int64    // FIFOs and device nodes
	Names       int64    // of all of them, the root left out
	Bytes       int64    // content of the files
	NotPortable []string // paths for which the Python temporal-workdir refuses the archive
	Warnings    []string
}

// Verify reads all of a workspace's archive and holds every checksum, every name
// and every number in it against what they must be. It needs no room for content.
//
// Errors: archive.ErrFormat for a damaged archive, and for one that is refused;
// archive.ErrLimit; those of store.Store.Open.
func Verify(ctx context.Context, url string, opts *Options) (*Report, error) {
	var r *Report
	err := withObject(ctx, url, func(u store.URL, o store.Object) (err error) {
		if r, err = verify(ctx, u, o, opts.orDefault()); err != nil {
			return fmt.Errorf("verify %s: %w", u.Redacted(), err)
		}
		return nil
	})
	return r, err
}

func verify(ctx context.Context, u store.URL, o store.Object, opts *Options) (*Report, error) {
	r := &Report{Info: o.Info()}
	own := *opts
	own.Warn = func(w archive.Warning) { r.Warnings = append(r.Warnings, w.String()) }
	counted := &countingReader{r: o}
	l, err := loadFrom(ctx, counted, r.Info.Size, loadOptions{Options: &own, devices: true, needLog: true})
	if err != nil {
		return nil, err
	}
	defer l.close()
	if counted.n != r.Info.Size {
		return nil, &archive.FormatError{Reason: fmt.Sprintf("%d bytes were read, and %s has %d", counted.n, u.Redacted(), r.Info.Size)}
	}
	r.Log = l.log
	return r, r.inspect(ctx, l)
}

// countingReader counts what is read.
type countingReader struct {
	r io.Reader
	n int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

// inspect counts what is in the tree.
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
			if e.Links == 1 || !seen[e.inode.Ino()] {
				r.Files++
				r.Bytes += e.Size
			}
			if e.Links > 1 {
				seen[e.inode.Ino()] = true
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
