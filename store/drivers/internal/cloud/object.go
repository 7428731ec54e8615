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

// Open implements store.Store. Its one request brings the first part and tells of the whole.
func (s *cloudStore) Open(ctx context.Context, key string) (store.Object, error) {
	ctx = s.counted(ctx)
	o, err := s.open(ctx, key, func(ctx context.Context, name string) (Body, error) {
		return s.backend.Get(ctx, name, 0, smallPart, "")
	})
	if err != nil {
		return nil, s.fail(ctx, "open", key, err)
	}
	if o.info.Size <= smallPart {
		o.begin(smallPart)
	}
	return o, nil
}

// OpenTail implements store.TailOpener: by one request that brings the end, where the cloud
// can be asked for it, or else by one that brings no bytes. Each ReadAt then asks for its
// range, of the revision that was found.
func (s *cloudStore) OpenTail(ctx context.Context, key string, n int64) (store.Object, error) {
	ctx = s.counted(ctx)
	n = min(n, smallPart)
	if tailer, ok := s.backend.(Tailer); ok && n > 0 && tailer.HasTail() {
		o, err := s.open(ctx, key, func(ctx context.Context, name string) (Body, error) { return tailer.Tail(ctx, name, n) })
		if err != nil {
			return nil, s.fail(ctx, "open", key, err)
		}
		o.begin(n)
		return o, nil
	}
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

// openTries is how often Open looks again at an object that was empty by the first request and
// is not by the second.
const openTries = 5

// open makes the first request, and keeps its answer.
func (s *cloudStore) open(ctx context.Context, key string, get func(ctx context.Context, name string) (Body, error)) (*object, error) {
	name, err := s.name(key)
	if err == nil {
		err = store.ContextError(ctx)
	}
	if err != nil {
		return nil, err
	}
	o := s.newObject(ctx, key, Attributes{})
	for range openTries {
		var body Body
		body, err = again(s, o.ctx, "get", func(ctx context.Context) (Body, error) { return get(ctx, name) })
		if err == nil {
			o.info, o.first = info(key, body.Attributes), &body
			return o, nil
		}
		if s.refusal(err).Meaning != OutOfRange {
			break
		}
		var a Attributes
		if a, err = s.head(o.ctx, key); err == nil && a.Size == 0 {
			o.info = info(key, a)
			return o, nil
		}
	}
	defer o.cancel(nil)
	return nil, s.believe(o.ctx, name, err)
}

// object is an archive that is being read. Read goes through parts that are fetched ahead,
// ReadAt asks for what it is asked for; only an archive of one part is kept whole, and serves
// both.
type object struct {
	s      *cloudStore
	ctx    context.Context // of all requests
	cancel context.CancelCauseFunc
	caller context.Context // that of Open
	name   string
	info   store.Info
	whole  *part                // the archive, if it is of one part
	tail   atomic.Pointer[part] // the end of it, until it was read once; nil where nobody asked for it

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

// begin fetches the last n bytes, which the answer to the first request brings. Where these
// are all, they stay.
func (o *object) begin(n int64) {
	off := max(0, o.info.Size-n)
	end := newPart(off, make([]byte, o.info.Size-off))
	if off == 0 {
		o.whole = end
	} else {
		o.tail.Store(end)
	}
	o.fetch(end, o.first)
	o.first = nil
}

// Info implements store.Object.
func (o *object) Info() store.Info { return o.info }

// Close implements store.Object.
func (o *object) Close() error {
	o.cancel(errClosed) // also ends a Read that waits
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.closed && o.first != nil {
		_ = o.first.Close() // what is thrown away may be broken
	}
	o.closed = true
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
	if o.whole == nil && o.pos == current.off+int64(len(current.buf)) {
		o.parts = o.parts[1:]
		o.free = append(o.free, current.buf)
	}
	return n, o.fail(err)
}

// fail returns err in the shape of the errors of package store.
func (o *object) fail(err error) error {
	switch {
	case err == nil, err == io.EOF:
		return err
	case errors.Is(err, errClosed), errors.Is(context.Cause(o.ctx), errClosed):
		return o.s.fail(o.caller, "read", o.info.Key, &callerError{errClosed})
	}
	return o.s.fail(o.caller, "read", o.info.Key, err)
}

// fetchAhead sees that ReadParts parts are there or on their way.
func (o *object) fetchAhead() {
	for len(o.parts) < ReadParts && o.next < o.info.Size {
		var buf []byte
		if n := len(o.free); n > 0 {
			buf, o.free = o.free[n-1], o.free[:n-1]
		} else {
			buf = make([]byte, smallPart)
		}
		p := newPart(o.next, buf[:min(smallPart, o.info.Size-o.next)])
		o.next += int64(len(p.buf))
		o.parts = append(o.parts, p)
		o.fetch(p, o.first)
		o.first = nil
	}
}

// fetch fills a part, in a goroutine of its own. body, if there is one, is the answer to a
// request that was made already.
func (o *object) fetch(p *part, body *Body) {
	o.fetches.Go(func() { p.came(0, o.fill(p.off, p.buf, body, func(n int) { p.came(n, nil) })) })
}

// fill fetches len(buf) bytes from off, pinned to the revision that was opened. It resumes
// where the connection broke, as long as there is progress. arrived is told of each piece.
func (o *object) fill(off int64, buf []byte, body *Body, arrived func(n int)) error {
	ctx := Operation(o.ctx, "get")
	b := o.s.backoff()
	for failures := 0; len(buf) > 0; {
		n, err := o.fillOnce(ctx, off, buf, body, arrived)
		off, buf, body = off+int64(n), buf[n:], nil
		if len(buf) == 0 {
			break
		}
		if n > 0 {
			failures, b = 0, o.s.backoff()
		}
		failures++
		m := o.s.refusal(err).Meaning
		switch {
		case m == Changed, m == NotFound, m == OutOfRange:
			return replaced("read", o.info.Revision, err)
		case failures == tries || !m.Again() || !b.wait(ctx):
			return err
		}
	}
	return nil
}

// fillOnce makes one request, and reads what comes.
func (o *object) fillOnce(ctx context.Context, off int64, buf []byte, body *Body, arrived func(n int)) (n int, err error) {
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
	for n < len(buf) {
		m, err := body.Read(buf[n:])
		n += m
		arrived(m)
		if n < len(buf) && err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if n < len(buf) && err != nil {
			return n, err
		}
	}
	return n, nil
}

// ReadAt implements io.ReaderAt. Several calls at once are several requests at once.
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
	if there := o.there(off); there != nil {
		n, err = there.readFull(p, off)
		if n == len(p) && len(p) == len(there.buf) {
			o.tail.Store(nil) // who read all of it has it
		}
	} else {
		err = o.fill(off, p, nil, func(m int) { n += m })
	}
	if err != nil {
		return n, o.fail(err)
	}
	return n, eof
}

// there returns the part that has all from an offset on, or will have it; nil for none.
func (o *object) there(off int64) *part {
	if o.whole != nil {
		return o.whole
	}
	if tail := o.tail.Load(); tail != nil && off >= tail.off {
		return tail
	}
	return nil
}

// part is a range of an archive that can be read while it is filled.
type part struct {
	off int64
	buf []byte

	mu      sync.Mutex
	changed sync.Cond // something below has
	filled  int       // bytes of buf; guarded by mu
	err     error     // why there will be no more; guarded by mu
}

func newPart(off int64, buf []byte) *part {
	p := &part{off: off, buf: buf}
	p.changed.L = &p.mu
	return p
}

// came says that n more bytes are there, or why no more will come.
func (p *part) came(n int, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.filled += n
	p.err = err
	p.changed.Broadcast()
}

// readFull fills dst from offset off of the archive.
// Preconditions: all of it lies in the part.
func (p *part) readFull(dst []byte, off int64) (n int, err error) {
	for n < len(dst) && err == nil {
		var m int
		m, err = p.read(dst[n:], off+int64(n))
		n += m
	}
	return n, err
}

// read reads what is there from offset off of the archive, and waits for the first byte.
// Preconditions: off lies in the part.
func (p *part) read(dst []byte, off int64) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	from := int(off - p.off)
	for p.filled <= from && p.err == nil {
		p.changed.Wait()
	}
	if p.filled <= from {
		return 0, p.err
	}
	return copy(dst, p.buf[from:p.filled]), nil
}
