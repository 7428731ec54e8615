package cloud

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/workdir/workdir/store"
)

// Put implements store.Store.
func (s *cloudStore) Put(ctx context.Context, key string, write func(io.Writer) error, opts *store.PutOptions) (store.Info, error) {
	if opts == nil {
		opts = &store.PutOptions{}
	}
	ctx = s.counted(ctx)
	a, err := s.put(ctx, key, write, opts)
	if err != nil {
		return store.Info{}, s.fail(ctx, "put", key, err)
	}
	return info(key, a), nil
}

func (s *cloudStore) put(ctx context.Context, key string, write func(io.Writer) error, opts *store.PutOptions) (Attributes, error) {
	name, err := s.name(key)
	if err != nil {
		return Attributes{}, err
	}
	if err := store.ContextError(ctx); err != nil {
		return Attributes{}, err
	}
	if err := s.probe(ctx, probePut, name); err != nil {
		return Attributes{}, err
	}
	w := &partWriter{ctx: ctx, s: s, name: name, cond: Condition{Replace: opts.Replace}, n: 1}
	defer w.giveUp()
	f := &final{s: s, key: key, cond: w.cond, before: opts.Before, look: opts.Lost, kind: "put", send: w.put}
	if err := w.fill(write); err != nil {
		return Attributes{}, f.early(ctx, err)
	}
	if w.upload != nil {
		f.kind, f.send = "complete", w.complete
	}
	a, err := f.do(ctx)
	w.done = err == nil
	return a, err
}

// partWriter cuts an archive into parts, the first of which waits until it is
// certain that there is a second.
type partWriter struct {
	ctx  context.Context
	s    *cloudStore
	name string
	cond Condition

	buf    []byte // of the part that is being filled
	n      int    // its number
	size   int64  // of all before it, bytes
	upload *sender
	failed error // what a Write has returned; it does not write on
	done   bool  // the object is visible: nothing is to be given up
}

// fill lets write write, and sends all parts of an archive that has several.
func (w *partWriter) fill(write func(io.Writer) error) error {
	err := write(w)
	switch {
	case w.failed != nil:
		return w.failed
	case err != nil:
		w.failed = errors.New("written to after the end")
		return &callerError{err}
	}
	w.failed = errors.New("written to after the end")
	if err := store.ContextError(w.ctx); err != nil {
		return err
	}
	if w.upload == nil {
		return nil
	}
	if err := w.sendPart(); err != nil { // the last one, which is never empty
		return err
	}
	return w.upload.wait()
}

// Write implements io.Writer.
func (w *partWriter) Write(p []byte) (int, error) {
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
		written += n
	}
	return written, w.failed
}

// grow makes room for n more bytes: twice the room at a time, but never more than
// limit, since a small archive should cost no whole part.
func grow(buf []byte, n, limit int) []byte {
	const least = 64 << 10
	need := len(buf) + n
	if need <= cap(buf) {
		return buf
	}
	bigger := make([]byte, len(buf), min(limit, max(need, 2*cap(buf), least)))
	copy(bigger, buf)
	return bigger
}

// next sends the full part and begins another.
func (w *partWriter) next() error {
	if w.size+int64(len(w.buf)) >= MaxSize {
		return &store.Error{Kind: store.ErrFull, Cause: fmt.Errorf("the archive is larger than %d bytes, the most that a cloud takes in parts", int64(MaxSize)), Todo: "keep less in the workspace"}
	}
	if w.upload == nil {
		if err := w.begin(); err != nil {
			return err
		}
	}
	if err := w.sendPart(); err != nil {
		return err
	}
	w.buf = w.upload.buffer(w.n)
	return nil
}

// begin begins an upload of several parts.
func (w *partWriter) begin() error {
	if err := w.s.probe(w.ctx, probeComplete, w.name); err != nil {
		return err
	}
	var u Upload
	err := w.s.again(w.ctx, "upload", func(ctx context.Context) (err error) {
		u, err = w.s.backend.Upload(ctx, w.name, w.cond)
		return err
	})
	if err != nil {
		return err
	}
	w.upload = newSender(w.ctx, w.s, u)
	return nil
}

func (w *partWriter) sendPart() error {
	w.size += int64(len(w.buf))
	err := w.upload.send(w.n, w.buf)
	w.buf = nil
	w.n++
	return err
}

// put stores an archive of one part.
func (w *partWriter) put(ctx context.Context) (Attributes, error) {
	a, err := w.s.backend.Put(ctx, w.name, w.buf, w.cond)
	return w.stored(a, int64(len(w.buf))), err
}

// complete makes an archive of several parts visible.
func (w *partWriter) complete(ctx context.Context) (Attributes, error) {
	a, err := w.upload.u.Complete(ctx, w.cond)
	return w.stored(a, w.size), err
}

// stored fills in what the cloud did not tell.
func (w *partWriter) stored(a Attributes, size int64) Attributes {
	a.Size = size
	if a.ModTime.IsZero() {
		a.ModTime = time.Now()
	}
	return a
}

// giveUp leaves nothing of an upload that was not completed.
func (w *partWriter) giveUp() {
	if w.upload != nil && !w.done {
		w.upload.abort()
	}
}
