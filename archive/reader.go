package archive

import (
	"context"
	"errors"
	"io"

	"github.com/workdir/workdir/fs"
)

// ReaderOptions say how an archive is read. The zero value is good.
type ReaderOptions struct {
	Limits *Limits // nil for the defaults
	// Owner becomes the owner of everything, without suid rights granted by other owners. Nil
	// keeps the archive's numbers.
	Owner     *fs.Owner
	Devices   bool // accept device nodes
	AllXattrs bool // keep security.*, trusted.* and system.* too, where the tree accepts them
	// LostLog accepts an archive whose commit log cannot be read: Load warns and returns
	// LostLog(). A caller that must know what was committed leaves it false.
	LostLog bool
	Warn    func(Warning)
	// Progress is called now and then with the count of compressed bytes read,
	// from the goroutine that called Load.
	Progress func(bytesRead int64)
}

// Reader reads one archive.
type Reader struct {
	src  io.Reader
	opts ReaderOptions
}

// NewReader returns a reader of the archive in r. opts may be nil.
func NewReader(r io.Reader, opts *ReaderOptions) *Reader {
	rd := &Reader{src: r}
	if opts != nil {
		rd.opts = *opts
	}
	return rd
}

// Load fills t, which must be empty, with the archive's content, and returns its log, or nil
// without one. It reads to the end and returns no error only if every byte is accounted for.
// It does not call Seal. When it returns, nothing reads from the reader's source any more; the
// source itself must end a Read that hangs.
//
// Load can be called once. Errors: *FormatError for anything but a valid archive, *LimitError,
// the tree's errno (ENOSPC if it is full), the source's own error, the context's. After an
// error the tree holds a part of the archive and must be discarded.
func (r *Reader) Load(ctx context.Context, t *fs.Tree) (*Log, error) {
	if !t.Empty() {
		return nil, formatErr("", "the tree to load into is not empty")
	}
	lim := r.opts.Limits.withDefaults()
	src := newGunzip(ctx, r.src, lim.LogBytes)
	defer src.close()
	warn := &warner{fn: r.opts.Warn}
	l := &unpacker{
		policy: policy{opts: &r.opts, warn: warn}, tree: t,
		tar:   newTarReader(src, lim, warn),
		meter: meter{lim: lim},
		dirs:  map[*fs.Inode]*dirState{},
	}
	defer l.release()
	if err := l.load(); err != nil {
		return nil, err
	}
	log, err := src.tail.log()
	if err != nil && r.opts.LostLog && errors.Is(err, ErrFormat) && !errors.Is(err, errNewer) {
		warn.warn("", "the commits that made it are not known: "+err.Error())
		log, err = LostLog(), nil
	}
	if err != nil {
		return nil, err
	}
	if err := l.finish(log); err != nil {
		return nil, err
	}
	return log, nil
}
