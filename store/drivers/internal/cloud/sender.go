package cloud

import (
	"context"
	"sync"
	"time"

	"github.com/workdir/workdir/store"
)

// Sizes of transfers, in bytes. S3 allows at most 10,000 parts of at least 5 MiB (except the
// last), Azure 50,000 blocks.
const (
	smallPart   = store.AheadSize // 8 MiB
	largePart   = 24 << 20
	smallParts  = 2_000  // number of small ones
	maxParts    = 10_000 // the lowest limit of all clouds
	UploadParts = 4      // parts of an upload in flight; half as many large ones, to bound the memory of any upload

	// MaxSize is the largest archive that can be stored: 203.1 GiB.
	MaxSize = smallParts*smallPart + (maxParts-smallParts)*largePart
)

// PartSize is the size of part n of an upload, from 1 on; the last one, and those in front of
// a copied part, may be smaller.
func PartSize(n int) int {
	if n <= smallParts {
		return smallPart
	}
	return largePart
}

const (
	// lingerTime is how long parts in flight may continue when an upload is abandoned. The
	// cloud may store an interrupted part after the upload was aborted, and then charges for
	// it until somebody finds it.
	lingerTime = 5 * time.Second
	// abortTime is how long aborting an upload may take. It is independent of the caller's
	// context, whose end is often the reason.
	abortTime = 30 * time.Second
)

// sender sends the parts of one upload, several concurrently.
type sender struct {
	s      *cloudStore
	u      Upload
	src    *Source         // of copied parts; may be nil
	caller context.Context // of the write
	ctx    context.Context // no part is started or retried once it has ended; the cause is the first error
	cancel context.CancelCauseFunc
	slots  chan struct{} // one element for each small part in flight, two for a large one
	free   chan []byte   // buffers of sent parts
	parts  sync.WaitGroup
}

func newSender(ctx context.Context, s *cloudStore, u Upload, src *Source) *sender {
	parallel := max(1, min(u.MaxParts(), UploadParts))
	t := &sender{s: s, u: u, src: src, caller: ctx, slots: make(chan struct{}, parallel), free: make(chan []byte, parallel+1)}
	t.ctx, t.cancel = context.WithCancelCause(ctx)
	return t
}

// send starts sending part n, once there is a free slot. It takes ownership of p. The error
// may be that of an earlier part.
func (t *sender) send(n int, p []byte) error {
	places := 1
	if PartSize(n) == largePart {
		places = min(2, cap(t.slots))
	}
	return t.start(places, "part", func(ctx context.Context) error {
		ctx, cancel := outlive(ctx, t.s.linger)
		defer cancel()
		return t.u.Part(ctx, n, p)
	}, func(err error) error {
		if err == nil {
			select {
			case t.free <- p[:0]:
			default:
			}
		}
		return err
	})
}

// copy starts a copy of a range of the source as part n, by the cloud.
func (t *sender) copy(n int, off, end int64) error {
	return t.start(1, "copy", func(ctx context.Context) error { return t.u.Copy(ctx, n, off, end) }, t.copied)
}

// copied returns the error of a copy: another archive is in the source's place, or
// errors.ErrUnsupported. After a definite refusal this process does not try copies there any
// more.
func (t *sender) copied(err error) error {
	if err == nil || store.ContextError(t.caller) != nil {
		return err
	}
	switch m := t.s.refusal(err).Meaning; {
	case m != Changed && m != NotFound && m != OutOfRange:
		if !m.Retryable() {
			t.s.lacks(KindCopy)
		}
		return uncopied(err)
	case t.src.Backend == t.s.backend:
		return Means(Changed, "", err)
	}
	return replaced("copied", t.src.Revision, err)
}

// start starts a request in its own goroutine, once that many slots are free. ended may
// replace the request's error.
func (t *sender) start(places int, kind string, send func(context.Context) error, ended func(error) error) error {
	for range places {
		select {
		case <-t.ctx.Done():
			return t.err()
		case t.slots <- struct{}{}:
		}
	}
	n := tries
	if cap(t.slots) == 1 {
		n = 1 // the driver does all possible retries
	}
	t.parts.Go(func() {
		if err := ended(t.s.repeat(t.ctx, kind, n, send)); err != nil {
			t.cancel(err)
		}
		for range places {
			<-t.slots
		}
	})
	return nil
}

// buffer returns an empty buffer for part n.
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

// wait waits until all parts have been sent.
func (t *sender) wait() error {
	t.parts.Wait()
	return t.err()
}

// err returns why no more parts can be sent, or nil.
func (t *sender) err() error {
	if err := store.ContextError(t.caller); err != nil {
		return err
	}
	return context.Cause(t.ctx)
}

// abort ends the upload. Anything that cannot be removed now is left to a lifecycle rule.
func (t *sender) abort() {
	t.cancel(context.Canceled)
	t.parts.Wait()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.caller), abortTime)
	defer cancel()
	_ = t.s.repeat(ctx, "abort", tries, t.u.Abort)
}
