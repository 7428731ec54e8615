package cloud

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"
	"sync/atomic"

	"github.com/workdir/workdir/store"
)

// Open implements store.Store. Its one request fetches the first part, and the attributes of
// the whole.
func (s *cloudStore) Open(ctx context.Context, key string) (store.Object, error) {
	return s.open(ctx, key, 0)
}

// OpenTail implements store.TailOpener: by one request that fetches the end, if the cloud
// supports that, or else by one without content. Each ReadAt then requests its range, of the
// opened revision.
func (s *cloudStore) OpenTail(ctx context.Context, key string, n int64) (store.Object, error) {
	if n > 0 && s.backend.HasTail() {
		return s.open(ctx, key, -min(n, smallPart))
	}
	ctx = s.counted(ctx)
	a, err := s.head(ctx, key)
	if err != nil {
		return nil, s.fail(ctx, "open", key, err)
	}
	return s.newObject(ctx, key, a), nil
}

func (s *cloudStore) newObject(ctx context.Context, key string, a Attributes) *object {
	o := &object{s: s, caller: ctx, name: s.prefix + key + suffix, info: info(key, a)}
	o.ctx, o.cancel = context.WithCancelCause(ctx)
	return o
}

// open opens an archive by a request for the bytes at off; a negative off counts from the end.
func (s *cloudStore) open(ctx context.Context, key string, off int64) (*object, error) {
	ctx = s.counted(ctx)
	o := s.newObject(ctx, key, Attributes{})
	if err := o.first(off); err != nil {
		o.cancel(nil)
		return nil, s.fail(ctx, "open", key, err)
	}
	return o, nil
}

// openTries is how often Open retries for an object that is empty in the first request but not
// in the second.
const openTries = 5

// first makes the first request, and starts fetching its answer.
func (o *object) first(off int64) error {
	_, err := o.s.name(o.info.Key)
	if err == nil {
		err = store.ContextError(o.ctx)
	}
	if err != nil {
		return err
	}
	for range openTries {
		var body Body
		body, err = repeatFor(o.s, o.ctx, "get", func(ctx context.Context) (Body, error) {
			return o.s.backend.Get(ctx, o.name, off, smallPart, "")
		})
		if err == nil {
			o.info = info(o.info.Key, body.Attributes)
			o.keep(off, &body)
			return nil
		}
		if o.s.refusal(err).Meaning != OutOfRange {
			break
		}
		var a Attributes
		if a, err = o.s.head(o.ctx, o.info.Key); err == nil && a.Size == 0 {
			o.info = info(o.info.Key, a)
			return nil
		}
	}
	return o.s.believe(o.ctx, o.name, err)
}

// object is an archive being read, by requests for ranges.
type object struct {
	s      *cloudStore
	ctx    context.Context // of all requests
	cancel context.CancelCauseFunc
	caller context.Context // of Open
	name   string
	info   store.Info
	kept   atomic.Pointer[part] // the part of the first request, until it was read once; kept if it is the whole archive
	fetch  sync.WaitGroup       // of kept

	mu     sync.Mutex
	ahead  io.ReadCloser // of Read; guarded by mu
	closed bool          // guarded by mu
}

// errClosed is the cause of the end of a reader's requests.
var errClosed = fmt.Errorf("the archive: %w", fs.ErrClosed)

// keep fetches the body of the answer to the first request.
func (o *object) keep(off int64, body *Body) {
	end := min(off+smallPart, o.info.Size)
	if off < 0 {
		off, end = max(0, o.info.Size+off), o.info.Size
	}
	p := &part{off: off, buf: make([]byte, end-off), done: make(chan struct{})}
	o.kept.Store(p)
	o.fetch.Go(func() {
		p.n, p.err = o.fill(p.off, p.buf, body)
		close(p.done)
	})
}

// Info implements store.Object.
func (o *object) Info() store.Info { return o.info }

// Close implements store.Object.
func (o *object) Close() error {
	o.cancel(errClosed) // also ends a waiting Read
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ahead != nil && !o.closed {
		_ = o.ahead.Close() // returns nil
	}
	o.closed = true
	o.fetch.Wait()
	return nil
}

// Read implements io.Reader.
func (o *object) Read(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return 0, o.fail(errClosed)
	}
	if o.ahead == nil {
		o.ahead = store.ReadAhead(o.ctx, o, []store.Piece{{Len: o.info.Size}})
	}
	n, err := o.ahead.Read(p)
	return n, o.fail(err)
}

// fail returns err in the form of the errors of package store.
func (o *object) fail(err error) error {
	switch {
	case err == nil, err == io.EOF:
		return err
	case errors.Is(err, errClosed), errors.Is(context.Cause(o.ctx), errClosed):
		return o.s.fail(o.caller, "read", o.info.Key, &callerError{errClosed})
	}
	if done, ok := errors.AsType[*store.Error](err); ok && done.Op != "" {
		return err // of ReadAt
	}
	return o.s.fail(o.caller, "read", o.info.Key, err)
}

// fill fetches len(buf) bytes from off, pinned to the opened revision, and returns the number
// of bytes received. It resumes where the connection broke, as long as there is progress.
// body, if not nil, is the answer to a request already made.
func (o *object) fill(off int64, buf []byte, body *Body) (n int, err error) {
	ctx := Operation(o.ctx, "get")
	defer o.s.watch(ctx)()
	b := o.s.backoff()
	for failures := 0; n < len(buf); {
		m, err := o.fillOnce(ctx, off+int64(n), buf[n:], body)
		n, body = n+m, nil
		if n == len(buf) {
			break
		}
		if m > 0 {
			failures, b = 0, o.s.backoff()
		}
		failures++
		switch why := o.s.refusal(err).Meaning; {
		case why == Changed, why == NotFound, why == OutOfRange:
			return n, replaced("read", o.info.Revision, err)
		case failures == tries || !why.Retryable() || !b.wait(ctx):
			return n, err
		}
	}
	return n, nil
}

// fillOnce makes one request, and reads its answer.
func (o *object) fillOnce(ctx context.Context, off int64, buf []byte, body *Body) (n int, err error) {
	defer Guard(&err)
	if body == nil {
		got, err := o.s.backend.Get(ctx, o.name, off, int64(len(buf)), o.info.Revision)
		if err != nil {
			return 0, err
		}
		body = &got
	}
	defer body.Close()
	if body.Revision != o.info.Revision {
		return 0, replaced("read", o.info.Revision, fmt.Errorf("revision %s came", body.Revision))
	}
	n, err = io.ReadFull(body, buf)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

// ReadAt implements io.ReaderAt. Concurrent calls make concurrent requests.
func (o *object) ReadAt(p []byte, off int64) (n int, err error) {
	switch {
	case off < 0:
		return 0, o.fail(errors.New("a negative offset"))
	case len(p) == 0:
		return 0, nil
	case off >= o.info.Size:
		return 0, io.EOF
	}
	var eof error
	if left := o.info.Size - off; int64(len(p)) > left {
		p, eof = p[:left], io.EOF
	}
	if kept := o.kept.Load(); kept != nil && off >= kept.off && off+int64(len(p)) <= kept.off+int64(len(kept.buf)) {
		if n, err = kept.read(p, off); len(p) == len(kept.buf) && int64(len(p)) < o.info.Size {
			o.kept.Store(nil) // the reader has read all of it
		}
	} else {
		n, err = o.fill(off, p, nil)
	}
	if err != nil {
		return n, o.fail(err)
	}
	return n, eof
}

// part is a range of an archive being fetched.
type part struct {
	off  int64
	buf  []byte
	done chan struct{} // closed when the fields below are set
	n    int           // bytes of buf received
	err  error         // why it is incomplete
}

// read waits for the part, and fills dst from offset off of the archive.
// Preconditions: dst is within the part.
func (p *part) read(dst []byte, off int64) (int, error) {
	<-p.done
	n := copy(dst, p.buf[min(int(off-p.off), p.n):p.n])
	if n < len(dst) {
		return n, p.err
	}
	return n, nil
}
