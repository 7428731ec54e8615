package cloud

import (
	"context"
	"errors"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	"github.com/workdir/workdir/store"
)

const (
	silenceTime = 2 * time.Second  // without a byte from or to the server before it is logged
	repeatTime  = 10 * time.Second // between two messages of one store
)

// waiting logs that a server does not answer.
type waiting struct {
	silence time.Duration // immutable

	mu   sync.Mutex
	last time.Time // of the last message; guarded by mu
}

// pulse is the last sign of life in an operation.
type pulse struct {
	moved  atomic.Int64 // when the last byte was sent or received, or the operation began; Unix time, ns
	failed atomic.Value // of failure: why the last HTTP request had no answer
}

// failure is the error of an HTTP request.
type failure struct{ error }

// beat records that a byte was sent or received.
func (p *pulse) beat() {
	if p != nil {
		p.moved.Store(time.Now().UnixNano())
	}
}

// fail records why an HTTP request had no answer, without its URL, which may contain a
// signature.
func (p *pulse) fail(err error) {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	if p != nil {
		p.failed.Store(failure{err})
	}
}

// silent returns how long no byte has moved.
func (p *pulse) silent() time.Duration { return time.Since(time.Unix(0, p.moved.Load())) }

// watch logs at store.LevelWaiting while no byte of the operation of ctx moves, until ctx ends
// or stop is called.
func (s *cloudStore) watch(ctx context.Context) (stop func()) {
	ctx, stop = context.WithCancel(ctx)
	op := operationOf(ctx)
	op.pulse.beat()
	go func() {
		for wait := s.waiting.silence; pause(ctx, wait); {
			if wait = s.waiting.silence - op.pulse.silent(); wait <= 0 {
				s.logWaiting(ctx, op)
				wait = repeatTime
			}
		}
	}()
	return stop
}

// logWaiting writes the message, unless another operation of the store has just done so.
func (s *cloudStore) logWaiting(ctx context.Context, op *operation) {
	s.waiting.mu.Lock()
	defer s.waiting.mu.Unlock()
	if !s.waiting.last.IsZero() && time.Since(s.waiting.last) < repeatTime {
		return
	}
	s.waiting.last = time.Now()
	attrs := []any{"bucket", s.backend.Bucket(), "request", op.kind}
	if e := s.backend.Endpoint(); e != "" {
		attrs = append(attrs, "endpoint", e)
	}
	if cause, ok := op.pulse.failed.Load().(failure); ok {
		attrs = append(attrs, "cause", cause.error)
	}
	store.Logger(ctx).Log(ctx, store.LevelWaiting, "waiting for the store to answer", attrs...)
}
