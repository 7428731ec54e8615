package cloud

import (
	"context"
	"math/rand/v2"
	"time"
)

// tries is how often a request is sent that is safe to repeat, beyond what the SDK repeats by
// itself; firstPause is how long the store waits after the first, and the pause doubles.
const (
	tries      = 5
	firstPause = 200 * time.Millisecond
)

// repeat makes a request that may be repeated, until it is answered definitely or was sent
// n times.
func (s *cloudStore) repeat(ctx context.Context, kind string, n int, send func(context.Context) error) error {
	ctx = Operation(ctx, kind)
	defer s.watch(ctx)()
	for b := s.backoff(); ; {
		err := guarded(ctx, send)
		n--
		if err == nil || n <= 0 || !s.refusal(err).Meaning.Again() || !b.wait(ctx) {
			return err
		}
	}
}

// guarded sends a request, in a goroutine whose panic would end the process.
func guarded(ctx context.Context, send func(context.Context) error) (err error) {
	defer Guard(&err)
	return send(ctx)
}

// again is repeat for a request that returns something.
func again[T any](s *cloudStore, ctx context.Context, kind string, send func(context.Context) (T, error)) (got T, err error) {
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
	jittered := b.pause/2 + rand.N(b.pause/2+1) // so that many that were refused do not all come back at once
	b.pause *= 2
	return pause(ctx, jittered)
}

// pause waits for d, and says whether the context still lives.
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
