package cloud

import (
	"context"
	"math/rand/v2"
	"time"
)

// tries is how often a request that is safe to repeat is sent, in addition to the SDK's own
// retries; firstPause is the pause after the first try, which doubles each time.
const (
	tries      = 5
	firstPause = 200 * time.Millisecond
)

// repeat makes a repeatable request, until it has a definite answer or was sent n times.
func (s *cloudStore) repeat(ctx context.Context, kind string, n int, send func(context.Context) error) error {
	ctx = Operation(ctx, kind)
	defer s.watch(ctx)()
	for b := s.backoff(); ; {
		err := guarded(ctx, send)
		n--
		if err == nil || n <= 0 || !s.refusal(err).Meaning.Retryable() || !b.wait(ctx) {
			return err
		}
	}
}

// guarded sends a request and turns a panic, which would end the process, into an error.
func guarded(ctx context.Context, send func(context.Context) error) (err error) {
	defer Guard(&err)
	return send(ctx)
}

// repeatFor is repeat for a request that returns a value.
func repeatFor[T any](s *cloudStore, ctx context.Context, kind string, send func(context.Context) (T, error)) (got T, err error) {
	err = s.repeat(ctx, kind, tries, func(ctx context.Context) (err error) {
		got, err = send(ctx)
		return err
	})
	return got, err
}

// backoff waits longer each time.
type backoff struct{ pause time.Duration }

func (s *cloudStore) backoff() *backoff { return &backoff{s.pause} }

// wait waits, and reports whether the context still lives.
func (b *backoff) wait(ctx context.Context) bool {
	jittered := b.pause/2 + rand.N(b.pause/2+1) // so that many refused clients do not retry at the same time
	b.pause *= 2
	return pause(ctx, jittered)
}

// pause waits for d, and reports whether the context still lives.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
