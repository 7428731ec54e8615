package cloud

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync"

	"github.com/workdir/workdir/store"
)

// Open implements store.Store. Its one request brings the first part and tells of
// the whole.
func (s *cloudStore) Open(ctx context.Context, key string) (store.Object, error) {
	ctx = s.counted(ctx)
	o, err := s.open(ctx, key)
	if err != nil {
		return nil, s.fail(ctx, "open", key, err)
	}
	return o, nil
}

// OpenTail implements store.TailOpener: by one request that brings no bytes. Each ReadAt
// then asks for its range, of the revision that was found.
func (s *cloudStore) OpenTail(ctx context.Context, key string, _ int64) (store.Object, error) {
	ctx = s.counted(ctx)
	a, err := s.head(ctx, key)
	if err != nil {
		return nil, s.fail(ctx, "open", key, err)
	}
	own, cancel := context.WithCancelCause(ctx)
	return &object{s: s, ctx: own, cancel: cancel, caller: ctx, key: key, name: s.prefix + key + suffix, info: info(key, a)}, nil
}

// openTries is how often Open looks again at an object that was empty by the first
// request and is not by the second.
const openTries = 5

func (s *cloudStore) open(ctx context.Context, key string) (*object, error) {
	name, err := s.name(key)
	if err != nil {
		return nil, err
	}
	if err := store.ContextError(ctx); err != nil {
		return nil, err
	}
	own, cancel := context.WithCancelCause(ctx)
	o := &object{s: s, ctx: own, cancel: cancel, caller: ctx, key: key, name: name}
	for range openTries {
		var body Body
		err = s.again(own, "get", func(ctx context.Context) error {
			body, err = s.backend.Get(ctx, name, 0, partSize, "")
			return err
		})
		if err == nil {
			o.begin(body)
			return o, nil
		}
		if s.refusal(err).Meaning != OutOfRange {
			break
		}
		var a Attributes
		if a, err = s.head(own, key); err == nil && a.Size == 0 {
			o.begin(Body{Attributes: a, ReadCloser: io.NopCloser(eof{})})
			return o, nil
		}
	}
	defer cancel(nil)
	return nil, s.believe(own, name, err)
}

// eof is empty.
type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

// partSize is how many bytes a reader asks for at once.
const partSize = smallPart

// object is an archive that is being read. Read goes through parts that are fetched
// ahead, ReadAt asks for what it is asked for; only an archive of one part is kept
// whole, and serves both.
type object struct {
	s      *cloudStore
	ctx    context.Context // of all requests
	cancel context.CancelCauseFunc
	caller context.Context // that of Open
	key    string
	name   string
	info   store.Info
	whole  *part // the archive, if it is of one part

	// The fields below belong to Read and to Close.
	mu     sync.Mutex
	first  *Body   // the answer to the first request, while nobody reads it
	parts  []*part // fetched ahead, in order
	next   int64   // offset of the part to be fetched next
	pos    int64   // of Read
	closed bool
	free   [][]byte // buffers of parts that were read

	fetches sync.WaitGroup
}

// errClosed is the cause of the end of a reader's requests.
var errClosed = fmt.Errorf("the archive: %w", fs.ErrClosed)

// begin takes the answer to the first request. A small archive is fetched at once;
// a large one may be read from its end only.
func (o *object) begin(body Body) {
	o.info = info(o.key, body.Attributes)
	if body.Size > partSize {
		o.first = &body
		return
	}
	o.whole = newPart(0, make([]byte, body.Size))
	o.fetch(o.whole, &body)
}

// Info implements store.Object.
func (o *object) Info() store.Info { return o.info }

// Close implements store.Object.
func (o *object) Close() error {
	o.cancel(errClosed) // also ends a Read that waits
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return nil
	}
	o.closed = true
	if o.first != nil {
		_ = o.first.Close() // what is thrown away may be broken
	}
	o.fetches.Wait()
	return nil
}

// Read implements io.Reader.
func (o *object) Read(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	switch {
	case o.closed:
		return 0, o.fail(errClosed)
	case len(p) == 0:
		return 0, nil
	case o.pos >= o.info.Size:
		return 0, io.EOF
	}
	current := o.whole
	if current == nil {
		o.fetchAhead()
		current = o.parts[0]
	}
	n, err := current.read(p, o.pos)
	o.pos += int64(n)
	if o.whole == nil && o.pos == current.end() {
		o.parts = o.parts[1:]
		o.free = append(o.free, current.buf)
	}
	return n, o.fail(err)
}

// fail gives err the shape of the errors of package store.
func (o *object) fail(err error) error {
	switch {
	case err == nil, err == io.EOF:
		return err
	case errors.Is(err, errClosed), errors.Is(context.Cause(o.ctx), errClosed):
		return &store.Error{Op: "read", Object: o.s.object(o.key), Cause: errClosed}
	}
	return o.s.fail(o.caller, "read", o.key, err)
}

// fetchAhead sees that ReadParts parts are there or on their way.
func (o *object) fetchAhead() {
	for len(o.parts) < ReadParts && o.next < o.info.Size {
		size := min(partSize, o.info.Size-o.next)
		p := newPart(o.next, o.buffer(int(size)))
		o.next += size
		o.parts = append(o.parts, p)
		o.fetch(p, o.first)
		o.first = nil
	}
}

// buffer gives room for a part.
func (o *object) buffer(size int) []byte {
	if n := len(o.free); n > 0 {
		buf := o.free[n-1]
		o.free = o.free[:n-1]
		return buf[:size]
	}
	return make([]byte, size)
}

// fetch fills a part, in a goroutine of its own. body, if there is one, is the
// answer to a request that was made already.
func (o *object) fetch(p *part, body *Body) {
	o.fetches.Go(func() {
		p.finish(o.fill(p.off, p.buf, body, p.arrived))
	})
}

// fill fetches len(buf) bytes from off, pinned to the revision that was opened. It
// resumes where the connection broke, as long as there is progress. arrived is told
// of each piece.
func (o *object) fill(off int64, buf []byte, body *Body, arrived func(n int)) error {
	ctx := Operation(o.ctx, "get")
	b := o.s.backoff()
	for failures := 0; ; {
		n, err := o.fillOnce(ctx, off, buf, body, arrived)
		off, buf, body = off+int64(n), buf[n:], nil
		if len(buf) == 0 {
			return nil
		}
		if n > 0 {
			failures, b = 0, o.s.backoff()
		}
		failures++
		if failures == tries || !o.s.refusal(err).Meaning.Again() || !b.wait(ctx) {
			return o.gone(err)
		}
	}
}

// fillOnce makes one request, and reads what comes.
func (o *object) fillOnce(ctx context.Context, off int64, buf []byte, body *Body, arrived func(n int)) (n int, err error) {
	if body == nil {
		got, err := o.s.backend.Get(ctx, o.name, off, int64(len(buf)), o.info.Revision)
		if err != nil {
			return 0, err
		}
		body = &got
	}
	defer body.Close()
	if body.Revision != o.info.Revision {
		return 0, replaced(o.info.Revision, fmt.Errorf("revision %s came", body.Revision))
	}
	for n < len(buf) {
		m, err := body.Read(buf[n:])
		n += m
		arrived(m)
		if n < len(buf) && err != nil {
			return n, cutOff(err)
		}
	}
	return n, nil
}

// cutOff makes an early end what it is.
func cutOff(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// gone tells an archive that is not there any more from other refusals.
func (o *object) gone(err error) error {
	switch o.s.refusal(err).Meaning {
	case Changed, NotFound, OutOfRange:
		return replaced(o.info.Revision, err)
	}
	return err
}

// ReadAt implements io.ReaderAt.
func (o *object) ReadAt(p []byte, off int64) (int, error) {
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
	if o.whole != nil {
		n, err := o.whole.readFull(p, off)
		return n, o.orEOF(err, eof)
	}
	n := 0
	err := o.fill(off, p, nil, func(m int) { n += m })
	return n, o.orEOF(err, eof)
}

func (o *object) orEOF(err, eof error) error {
	if err != nil {
		return o.fail(err)
	}
	return eof
}
