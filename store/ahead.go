package store

import (
	"context"
	"io"
	"sync"
)

// Reads of an archive that are under way or wait for the reader: a bucket may be far.
const (
	AheadSize  = 8 << 20 // bytes of each
	AheadReads = 4       // at most, the one that is being read included
)

// ReadAhead returns the bytes of the ranges of a plan, one after another, several reads ahead.
// Where one fails its error comes after the bytes that came before it. ctx ends the waiting, and
// Close returns when nothing reads r any more.
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
	free  chan []byte     // of reads that were read
	ended chan struct{}
	reads sync.WaitGroup
	now   *aheadRead // belongs to Read; nil before the first and between two
	err   error      // of Read; it stays
}

// aheadRead is one read. Its fields but done belong to Read once done is closed.
type aheadRead struct {
	buf  []byte
	left []byte // of buf, what was not read yet
	err  error
	done chan struct{}
}

// start starts a read once there is room in the queue. False means that nobody wants it.
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

// cutOff turns a premature end into io.ErrUnexpectedEOF.
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

// next waits for the next read, once all of the one before was read.
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
