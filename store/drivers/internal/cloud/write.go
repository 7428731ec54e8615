package cloud

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/workdir/workdir/store"
)

// Every write is a plan: that of Put has only new bytes, that of Compose keeps ranges of the
// archive that it replaces, that of CopyFrom keeps the whole of another archive. New bytes,
// and ranges that the cloud cannot copy, are sent in parts; a single part is sent by one Put.

// Put implements store.Store.
func (s *cloudStore) Put(ctx context.Context, key string, write func(io.Writer) error, opts *store.PutOptions) (store.Info, error) {
	return s.write(ctx, "put", key, opts, func(w *writer) error { return w.new(write) })
}

// A plan is not worth the requests of an upload if its base is smaller than minComposed, or
// less than minKept of it is kept.
const (
	minComposed = 16 << 20 // bytes
	minKept     = 40       // percent
	minRun      = 5 << 20  // bytes of a range that counts
)

// Compose implements store.Composer.
func (s *cloudStore) Compose(ctx context.Context, key string, base store.Object, plan []store.Piece, opts *store.PutOptions) (store.Info, error) {
	var kept int64
	for _, p := range plan {
		if p.Len >= minRun {
			kept += p.Len
		}
	}
	if base == nil || base.Info().Size < minComposed || kept < base.Info().Size/100*minKept {
		return store.Info{}, errors.ErrUnsupported
	}
	of := base.Info()
	return s.write(ctx, "compose", key, opts, func(w *writer) error {
		src := &Source{s.backend, w.name, Attributes{of.Revision, of.Size, of.ModTime}}
		if err := w.begin(src); err != nil {
			return err
		}
		if w.copies(plan) < of.Size/100*minKept {
			return errors.ErrUnsupported
		}
		for _, p := range plan {
			var err error
			if p.Write != nil {
				err = w.new(p.Write)
			} else {
				err = w.keep(base, p.Off, p.Off+p.Len)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// CopyFrom implements store.Copier.
func (s *cloudStore) CopyFrom(ctx context.Context, from store.Store, srcKey string, rev store.Revision, key string, opts *store.PutOptions) (store.Info, error) {
	other, ours := from.(*cloudStore)
	if !ours {
		return store.Info{}, errors.ErrUnsupported
	}
	return s.write(ctx, "copy", key, opts, func(w *writer) error {
		a, err := other.head(w.ctx, srcKey)
		if err != nil && other.refusal(err).Meaning == NotFound || err == nil && a.Revision != rev {
			return replaced("copied", rev, errors.Join(err, fmt.Errorf("there is %q", a.Revision)))
		}
		if err != nil {
			return err
		}
		if a.Size == 0 { // no cloud has empty parts
			return errors.ErrUnsupported
		}
		if err := w.begin(&Source{other.backend, other.prefix + srcKey + suffix, a}); err != nil {
			return err
		}
		return w.keep(nil, 0, a.Size)
	})
}

// write makes an archive from the output of fill, and makes it visible.
func (s *cloudStore) write(ctx context.Context, op, key string, opts *store.PutOptions, fill func(*writer) error) (store.Info, error) {
	if opts == nil {
		opts = &store.PutOptions{}
	}
	ctx = s.counted(ctx)
	a, err := s.writeOnce(ctx, key, opts, fill)
	switch {
	case errors.Is(err, errors.ErrUnsupported) && op != "put":
		return store.Info{}, err
	case err != nil:
		return store.Info{}, s.fail(ctx, op, key, err)
	}
	return info(key, a), nil
}

func (s *cloudStore) writeOnce(ctx context.Context, key string, opts *store.PutOptions, fill func(*writer) error) (a Attributes, err error) {
	name, err := s.name(key)
	if err == nil {
		err = store.ContextError(ctx)
	}
	if err == nil {
		err = s.probe(ctx, KindPut, name)
	}
	if err != nil {
		return a, err
	}
	w := &writer{ctx: ctx, s: s, name: name, cond: Condition{opts.Replace}, n: 1}
	done := false // also false if the caller's function panics
	defer func() {
		if w.upload != nil && !done {
			w.upload.abort()
		}
	}()
	f := &final{s: s, kind: KindPut, key: key, opts: opts, send: func(ctx context.Context) (Attributes, error) {
		return s.backend.Put(ctx, name, w.buf, w.cond)
	}}
	if err = fill(w); err == nil {
		err = w.end()
	}
	if err != nil {
		return a, f.early(ctx, err)
	}
	if w.upload != nil {
		f.kind, f.send = KindComplete, func(ctx context.Context) (Attributes, error) { return w.upload.u.Complete(ctx, w.cond) }
	}
	a, err = f.do(ctx)
	done = err == nil
	if a.Size = w.size; a.ModTime.IsZero() {
		a.ModTime = time.Now()
	}
	return a, err
}

// writer splits an archive into parts; it holds back the first until there is a second.
type writer struct {
	ctx  context.Context
	s    *cloudStore
	name string
	cond Condition

	buf    []byte // of the part being filled
	n      int    // its number
	size   int64  // of all so far, bytes
	upload *sender
	failed error // sticky error of Write
}

// new adds the output of a function of the caller.
func (w *writer) new(write func(io.Writer) error) error {
	own := &struct{ io.Writer }{w}
	err := write(own)
	own.Writer = ended{}
	switch {
	case w.failed != nil:
		return w.failed
	case err != nil:
		return &callerError{err}
	}
	return store.ContextError(w.ctx)
}

// ended replaces a writer after its use: it accepts nothing.
type ended struct{}

func (ended) Write([]byte) (int, error) { return 0, errors.New("written to after the end") }

// Write implements io.Writer.
func (w *writer) Write(p []byte) (int, error) {
	written := 0
	for w.failed == nil && len(p) > 0 {
		if w.failed = store.ContextError(w.ctx); w.failed != nil {
			break
		}
		if len(w.buf) == PartSize(w.n) {
			w.failed = w.next()
			continue
		}
		n := min(len(p), PartSize(w.n)-len(w.buf))
		w.buf = append(grow(w.buf, n, PartSize(w.n)), p[:n]...)
		p = p[n:]
		w.size += int64(n)
		written += n
	}
	return written, w.failed
}

// grow makes room for n more bytes: it doubles the room, since a small archive should not cost
// a whole part, and from 1 MiB on uses all of limit, which leaves less garbage.
func grow(buf []byte, n, limit int) []byte {
	const least, most = 64 << 10, 1 << 20
	need := len(buf) + n
	if need <= cap(buf) {
		return buf
	}
	room := max(need, 2*cap(buf), least)
	if room > most {
		room = limit
	}
	return append(make([]byte, 0, room), buf...)
}

// keep adds a range of the source: the cloud copies as much as it can, the rest is read from
// base, or errors.ErrUnsupported if base is nil.
func (w *writer) keep(base store.Object, off, end int64) error {
	for off < end {
		from, to := w.upload.u.Kept(off, end, int64(len(w.buf)))
		if base == nil && from > off {
			return errors.ErrUnsupported
		}
		if from > off {
			err := w.new(func(own io.Writer) error {
				return store.WritePlan(w.ctx, own, base, []store.Piece{{Off: off, Len: from - off}})
			})
			if errors.Is(err, store.ErrConflict) { // with the archive to be replaced
				err = Means(Changed, "", errors.New(err.Error()))
			}
			if err != nil {
				return err
			}
		}
		if from < to {
			if err := w.copy(from, to); err != nil {
				return err
			}
		}
		off = to
	}
	return nil
}

// copies estimates how many bytes of a plan the cloud would copy.
func (w *writer) copies(plan []store.Piece) (sum int64) {
	for _, p := range plan {
		for off, end := p.Off, p.Off+p.Len; off < end; {
			from, to := w.upload.u.Kept(off, end, 0)
			sum += to - from
			off = to
		}
	}
	return sum
}

// copy makes the cloud copy a range as a part, after the part being filled.
func (w *writer) copy(from, to int64) error {
	if len(w.buf) > 0 {
		if err := w.next(); err != nil {
			return err
		}
	}
	if w.n > maxParts {
		return errors.ErrUnsupported
	}
	w.size += to - from
	w.n++
	return w.upload.copy(w.n-1, from, to)
}

// next sends the part being filled and begins another.
func (w *writer) next() error {
	switch {
	case w.n < maxParts:
	case w.upload != nil && w.upload.src != nil: // it may fit if all parts are full
		return errors.ErrUnsupported
	default:
		return &store.Error{Kind: store.ErrFull, Cause: fmt.Errorf("the archive is larger than %d bytes, the most that a cloud takes in parts", int64(MaxSize)), Todo: "keep less in the workspace"}
	}
	if w.upload == nil {
		if err := w.begin(nil); err != nil {
			return err
		}
	}
	err := w.upload.send(w.n, w.buf)
	w.n++
	w.buf = w.upload.buffer(w.n)
	return err
}

// begin begins an upload of several parts, some of which may be copied from src.
func (w *writer) begin(src *Source) error {
	kind := KindComplete
	if src != nil {
		kind = KindCopy
	}
	if err := w.s.probe(w.ctx, kind, w.name); err != nil {
		return err
	}
	u, err := repeatFor(w.s, w.ctx, "upload", func(ctx context.Context) (Upload, error) {
		return w.s.backend.Upload(ctx, w.name, w.cond, src)
	})
	if err != nil {
		return err
	}
	w.upload = newSender(w.ctx, w.s, u, src)
	return nil
}

// end sends the last part of a multi-part archive, and waits for all.
func (w *writer) end() error {
	if w.upload == nil {
		return nil
	}
	if len(w.buf) > 0 || w.n == 1 {
		if err := w.upload.send(w.n, w.buf); err != nil {
			return err
		}
	}
	return w.upload.wait()
}
