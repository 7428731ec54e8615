package cloud

import (
	"context"
	"sync"
	"time"

	"github.com/workdir/workdir/store"
)

// sender sends the parts of one upload, several at once.
type sender struct {
	s      *cloudStore
	u      Upload
	ctx    context.Context // no part is begun or tried again once it has ended; the cause is the error of the first that failed
	cancel context.CancelCauseFunc
	caller context.Context
	tries  int
	slots  chan struct{} // holds one for each part under way
	free   chan []byte   // buffers of parts that were sent
	parts  sync.WaitGroup
}

// lingerTime is how long the parts under way may go on when an upload is given up.
// A part that is cut off can be stored by the cloud after the upload was aborted,
// and is then paid for until somebody finds it.
const lingerTime = 5 * time.Second

// abortTime is how long giving an upload up may take. It is not cut short by the
// caller's context, which is often why.
const abortTime = 30 * time.Second

func newSender(ctx context.Context, s *cloudStore, u Upload) *sender {
	parallel := max(1, min(u.MaxParts(), UploadParts))
	t := &sender{s: s, u: u, caller: ctx, tries: tries, slots: make(chan struct{}, parallel), free: make(chan []byte, parallel+1)}
	if u.MaxParts() <= 1 {
		t.tries = 1 // the driver has tried again what can be
	}
	t.ctx, t.cancel = context.WithCancelCause(ctx)
	return t
}

// send begins to send part n, waiting for a free place. p belongs to the sender
// from then on. The error may be that of an earlier part.
func (t *sender) send(n int, p []byte) error {
	for range t.places(n) {
		select {
		case <-t.ctx.Done():
			return t.err()
		case t.slots <- struct{}{}:
		}
	}
	t.parts.Go(func() {
		defer func() { <-t.slots }()
		err := t.s.repeat(t.ctx, "part", t.tries, func(ctx context.Context) error {
			ctx, cancel := outlive(ctx, t.s.linger)
			defer cancel()
			return t.u.Part(ctx, n, p)
		})
		if err != nil {
			t.cancel(err)
			return
		}
		select {
		case t.free <- p[:0]:
		default:
		}
	})
	return nil
}

// places is how many places part n takes: the first large one also takes, for good,
// those that large parts may not have.
func (t *sender) places(n int) int {
	if n == smallParts+1 {
		return 1 + max(0, cap(t.slots)-largeParts)
	}
	return 1
}

// buffer gives room for part n.
func (t *sender) buffer(n int) []byte {
	select {
	case buf := <-t.free:
		if cap(buf) >= PartSize(n) {
			return buf
		}
	default:
	}
	return make([]byte, 0, PartSize(n))
}

// wait waits until all parts are sent.
func (t *sender) wait() error {
	t.parts.Wait()
	return t.err()
}

// err is why no more parts can be sent; nil if they can.
func (t *sender) err() error {
	if err := store.ContextError(t.caller); err != nil {
		return err
	}
	return context.Cause(t.ctx)
}

// abort gives the upload up.
func (t *sender) abort() {
	t.cancel(context.Canceled)
	t.parts.Wait()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.caller), abortTime)
	defer cancel()
	// What cannot be removed now is the store's to remove: a rule of lifecycle for
	// incomplete uploads is what the documents advise.
	_ = t.s.again(ctx, "abort", t.u.Abort)
}
