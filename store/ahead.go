package store

import (
	"context"
	"io"
	"sync"
)

// Bounds of the reads of an archive that are in flight or buffered: a bucket may be far away.
const (
	AheadSize  = 8 << 20 // bytes of each
	AheadReads = 4       // at most, including the one being consumed
)

// ReadAhead returns the bytes of the ranges of a plan, one after another, with several reads
// in flight. The error of a failed read follows the bytes before it. ctx ends the waiting, and
// Close returns once nothing reads r any more.
func ReadAhead(ctx context.Context, r io.ReaderAt, plan []Piece) io.ReadCloser {
	a := &ahead{ctx: ctx, queue: make(chan *aheadRead, AheadReads-1), free: make(chan []byte, AheadReads), ended: make(chan struct{})}
	a.reads.Go(func() {
		defer close(a.queue)
		for _, p := range plan {
			for off, end := p.Off, p.Off+p.Len; p.Write == nil && off < end; off += AheadSize {
				if !a.start(r, off, min(end-off, AheadSize)) {
					return
				}
			}
		}
	})
	return a
}

type ahead struct {
	ctx   context.Context
	queue chan *aheadRead // in their order
	free  chan []byte     // of consumed reads
	ended chan struct{}
	reads sync.WaitGroup
	now   *aheadRead // owned by Read; nil before the first and between two
	err   error      // of Read; sticky
}

// aheadRead is one read. Its fields but done belong to Read once done is closed.
type aheadRead struct {
	buf  []byte
	left []byte // the unread rest of buf
	err  error
	done chan struct{}
}

// start starts a read once there is room in the queue. It returns false after Close.
func (a *ahead) start(r io.ReaderAt, off, n int64) bool {
	next := &aheadRead{done: make(chan struct{})}
	select {
	case a.queue <- next:
	case <-a.ended:
		return false
	}
	a.reads.Go(func() {
		defer close(next.done)
		select {
		case next.buf = <-a.free:
		default:
			next.buf = make([]byte, min(n, AheadSize))
		}
		if int64(len(next.buf)) < n {
			next.buf = make([]byte, n)
		}
		m, err := r.ReadAt(next.buf[:n], off)
		next.left = next.buf[:m]
		if int64(m) < n {
			next.err = cutOff(err)
		}
	})
	return true
}

// cutOff turns a premature EOF into io.ErrUnexpectedEOF.
func cutOff(err error) error {
	if err == nil || err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Read implements io.Reader.
func (a *ahead) Read(p []byte) (int, error) {
	for a.err == nil && (a.now == nil || len(a.now.left) == 0) {
		a.err = a.next()
	}
	if a.err != nil {
		return 0, a.err
	}
	n := copy(p, a.now.left)
	a.now.left = a.now.left[n:]
	return n, nil
}

// next waits for the next read, once the previous one is consumed.
func (a *ahead) next() error {
	if a.now != nil {
		if a.now.err != nil {
			return a.now.err
		}
		a.free <- a.now.buf
		a.now = nil
	}
	var next *aheadRead
	select {
	case next = <-a.queue:
	case <-a.ctx.Done():
		return ContextError(a.ctx)
	}
	if next == nil {
		return io.EOF
	}
	select {
	case <-next.done:
	case <-a.ctx.Done():
		return ContextError(a.ctx)
	}
	a.now = next
	return nil
}

// Close implements io.Closer.
func (a *ahead) Close() error {
	close(a.ended)
	a.reads.Wait()
	return nil
}
