package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/workdir/workdir/fs"
)

// OpenRead is how many bytes of an archive's end Open reads at first: enough for a full log,
// its results and the index of some 100,000 files.
const OpenRead = 1 << 20

// wholeRead is the size in bytes up to which an archive that was read whole is kept.
const wholeRead = 256 << 10

// Archive is an open archive: its log, and where everything in it is.
type Archive struct {
	r    io.ReaderAt
	size int64
	opts ReaderOptions
	log  *Log
	foot *footer // nil without one
	idx  *index  // nil without one

	placement func() *placement
	links     func() map[uint32]uint32
}

// Open opens the archive of size bytes in r by one read of its end, or two if log and index
// are long. Content is read and verified on first use, so damage to it is found only then. r
// must stay readable for as long as the archive is used, and allow concurrent reads. opts may
// be nil.
//
// Errors: *FormatError for what cannot be a complete archive of ours; *LimitError; r's own. If
// the archive is not Indexed Open has not checked that it is an archive at all.
func Open(ctx context.Context, r io.ReaderAt, size int64, opts *ReaderOptions) (*Archive, error) {
	a := &Archive{r: r, size: size}
	if opts != nil {
		a.opts = *opts
	}
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	lim := a.opts.Limits.withDefaults()
	end, err := newEndReader(r, size, OpenRead)
	if err != nil {
		return nil, err
	}
	if size <= wholeRead {
		a.r = end
	}
	e := ending{r: end, size: size, maxLog: lim.LogBytes}
	log, foot, err := e.read()
	switch {
	case err != nil && a.opts.LostLog && errors.Is(err, ErrFormat) && !errors.Is(err, errNewer):
		return a, nil // Load reads it without the index, and warns
	case err != nil:
		return nil, err
	case foot == nil:
		return a, nil
	}
	a.log, a.foot = log, foot
	if foot.index.len == 0 {
		return a, nil
	}
	if a.idx, err = foot.readIndex(end, lim); err != nil {
		return nil, err
	}
	a.placement = sync.OnceValue(func() *placement { return newPlacement(a.idx) })
	a.links = sync.OnceValue(a.idx.countLinks)
	return a, nil
}

// Log returns the log of the commits that made the archive; nil if the archive's end shows
// none. Only Load finds out whether an archive that is not Indexed is complete.
func (a *Archive) Log() *Log { return a.log }

// Indexed reports whether the archive can be read lazily. One of another program, or of
// version 1, has to be loaded.
func (a *Archive) Indexed() bool { return a.idx != nil }

// Load fills t, which must be empty, with all of the archive, as Reader.Load does. If Open's r
// is also an io.Reader, Load reads from it, and it must be at its beginning.
func (a *Archive) Load(ctx context.Context, t *fs.Tree) (*Log, error) {
	r, ok := a.r.(io.Reader)
	if !ok {
		r = io.NewSectionReader(a.r, 0, a.size)
	}
	return NewReader(r, &a.opts).Load(ctx, t)
}

// readIndex returns the index that the footer refers to.
func (f *footer) readIndex(r io.ReaderAt, lim Limits) (*index, error) {
	p := make([]byte, f.index.len)
	if err := readFullAt(r, p, f.index.off); err != nil {
		return nil, err
	}
	payload, err := f.index.payload(p)
	if err != nil {
		return nil, err
	}
	x, err := decodeIndex(payload, f.first, lim)
	if err != nil {
		return nil, fmt.Errorf("open archive: %w", err)
	}
	return x, nil
}

// endReader reads an archive whose end is already in memory.
type endReader struct {
	r    io.ReaderAt
	from int64 // where end begins
	end  []byte
}

func newEndReader(r io.ReaderAt, size, n int64) (*endReader, error) {
	e := &endReader{r: r, from: max(0, size-n)}
	e.end = make([]byte, size-e.from)
	return e, readFullAt(r, e.end, e.from)
}

// ReadAt returns bytes of the archive. It reads only those that are not in memory.
func (e *endReader) ReadAt(p []byte, off int64) (int, error) {
	missing := min(max(0, e.from-off), int64(len(p)))
	n, err := int64(0), error(nil)
	if missing > 0 {
		var got int
		if got, err = e.r.ReadAt(p[:missing], off); int64(got) < missing {
			return got, err
		}
		n = missing
	}
	n += int64(copy(p[n:], e.end[min(off+n-e.from, int64(len(e.end))):]))
	if n < int64(len(p)) {
		return int(n), io.EOF
	}
	return int(n), nil
}
