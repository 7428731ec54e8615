package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
)

// Piece is one run of the bytes of an archive that is composed.
type Piece struct {
	// Off and Len are a range of the base, where Write is nil.
	Off, Len int64
	// Write writes new bytes. It is as the function that Store.Put calls: it may be
	// called several times, and must write the same bytes each time.
	Write func(io.Writer) error
}

// Written returns the plan of an archive that is all new: what write writes.
func Written(write func(io.Writer) error) []Piece { return []Piece{{Write: write}} }

// Composer is what a Store can be besides: one that makes an archive of ranges of
// another one without their bytes passing through this process.
type Composer interface {
	// Compose is as the function Compose, which has held the plan against base. An
	// error that is errors.ErrUnsupported means that this cannot be done with this
	// base or plan, and nothing was.
	Compose(ctx context.Context, key string, base Object, plan []Piece, opts *PutOptions) (Info, error)
}

// Compose stores, as the successor of the archive base of key, what the pieces of a plan
// give one after another. opts.Replace is the revision of base; a plan without ranges
// needs no base, which may then be nil. In all else it is as Store.Put. Where the store
// cannot compose, the ranges are read and sent.
//
// A base that is replaced meanwhile is ErrConflict; there is never a successor with bytes
// of two revisions.
func Compose(ctx context.Context, s Store, key string, base Object, plan []Piece, opts *PutOptions) (Info, error) {
	if opts == nil {
		opts = &PutOptions{}
	}
	plan, err := checkPlan(key, base, plan, opts.Replace)
	if err != nil {
		return Info{}, err
	}
	if c, ok := s.(Composer); ok && hasRange(plan) {
		info, err := c.Compose(ctx, key, base, plan, opts)
		if !errors.Is(err, errors.ErrUnsupported) {
			return info, err
		}
	}
	return s.Put(ctx, key, func(w io.Writer) error { return WritePlan(ctx, w, base, plan) }, opts)
}

// checkPlan holds a plan against its base. The plan that it returns has no empty ranges,
// and those that touch are one.
func checkPlan(key string, base Object, plan []Piece, replace Revision) ([]Piece, error) {
	var size int64
	if base != nil {
		info := base.Info()
		if info.Revision != replace {
			return nil, &Error{Op: "compose", Object: key, Cause: &ConflictError{Key: key, Want: replace, Have: info.Revision}}
		}
		size = info.Size
	}
	var checked []Piece
	for _, p := range plan {
		if p.Write != nil {
			checked = append(checked, Piece{Write: p.Write})
			continue
		}
		if p.Off < 0 || p.Len < 0 || p.Off > size || p.Len > size-p.Off {
			return nil, fmt.Errorf("compose %s: the range of %d bytes from %d is not in a base of %d bytes", key, p.Len, p.Off, size)
		}
		if p.Len == 0 {
			continue
		}
		if n := len(checked) - 1; n >= 0 && checked[n].Write == nil && checked[n].Off+checked[n].Len == p.Off {
			checked[n].Len += p.Len
			continue
		}
		checked = append(checked, p)
	}
	return checked, nil
}

func hasRange(plan []Piece) bool {
	return slices.ContainsFunc(plan, func(p Piece) bool { return p.Write == nil })
}

const (
	// fetchSize is how many bytes of a base are asked for at once, and fetchAhead how many
	// such requests are under way beside the one that is waited for: a bucket may be far.
	fetchSize  = 4 << 20
	fetchAhead = 3
)

// WritePlan writes the bytes of a plan, for stores that cannot compose them. It reads the
// ranges of base ahead of w.
func WritePlan(ctx context.Context, w io.Writer, base Object, plan []Piece) error {
	f := newFetcher(base, plan)
	defer f.stop()
	for _, p := range plan {
		if p.Write != nil {
			if err := p.Write(w); err != nil {
				return err
			}
			continue
		}
		for left := p.Len; left > 0; {
			b, err := f.next(ctx)
			if err != nil {
				return err
			}
			if _, err := w.Write(b); err != nil {
				return err
			}
			left -= int64(len(b))
		}
	}
	return nil
}

// fetcher reads the ranges of a plan ahead, in their order.
type fetcher struct {
	queue chan *fetch
	ended chan struct{}
	reads sync.WaitGroup
}

// fetch is one read. buf and err belong to who receives from done.
type fetch struct {
	buf  []byte
	err  error
	done chan struct{}
}

func newFetcher(base Object, plan []Piece) *fetcher {
	f := &fetcher{queue: make(chan *fetch, fetchAhead), ended: make(chan struct{})}
	f.reads.Go(func() {
		for _, p := range plan {
			for off, left := p.Off, p.Len; p.Write == nil && left > 0; {
				n := min(left, fetchSize)
				if !f.start(base, off, n) {
					return
				}
				off, left = off+n, left-n
			}
		}
	})
	return f
}

// start starts a read once there is room in the queue. False means that nobody wants it.
func (f *fetcher) start(base io.ReaderAt, off, n int64) bool {
	next := &fetch{done: make(chan struct{})}
	select {
	case f.queue <- next:
	case <-f.ended:
		return false
	}
	f.reads.Go(func() {
		defer close(next.done)
		next.buf = make([]byte, n)
		m, err := base.ReadAt(next.buf, off)
		if m < len(next.buf) {
			next.err = cutOff(err)
		}
	})
	return true
}

// cutOff turns a premature end into io.ErrUnexpectedEOF.
func cutOff(err error) error {
	if err == nil || err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// next returns what the next read has brought.
func (f *fetcher) next(ctx context.Context) ([]byte, error) {
	var next *fetch
	select {
	case next = <-f.queue:
	case <-ctx.Done():
		return nil, ContextError(ctx)
	}
	select {
	case <-next.done:
		return next.buf, next.err
	case <-ctx.Done():
		return nil, ContextError(ctx)
	}
}

// stop waits until nothing reads the base any more.
func (f *fetcher) stop() {
	close(f.ended)
	f.reads.Wait()
}
