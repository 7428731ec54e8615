package activity_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sdk "go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/interceptor"

	wdactivity "github.com/workdir/workdir/activity"
	"github.com/workdir/workdir/mount"
)

// beats is what a listener has heard, "" for a heartbeat without details.
type beats struct {
	mu    sync.Mutex
	heard []any
	more  chan struct{} // gets something after each
}

func newBeats() *beats { return &beats{more: make(chan struct{}, 1)} }

func (b *beats) listen(details any) {
	b.mu.Lock()
	b.heard = append(b.heard, details)
	b.mu.Unlock()
	select {
	case b.more <- struct{}{}:
	default:
	}
}

func (b *beats) all() []any {
	b.mu.Lock()
	defer b.mu.Unlock()
	return append([]any(nil), b.heard...)
}

// wait waits until n heartbeats have been heard.
func (b *beats) wait(n int) {
	for len(b.all()) < n {
		<-b.more
	}
}

// A heartbeat without details erases those of the one before, so those that keep
// an activity alive carry the user's, as they were when the user sent them.
func TestKeepAliveSendsTheUsersDetails(t *testing.T) {
	b, heard := newBench(t), newBeats()
	_, err := runInWorkflow(t, suiteOptions{heartbeat: beat, listener: heard.listen, activity: func(ctx context.Context) (string, error) {
		return wdactivity.Do(ctx, b.url("ws"), b.options(), func(ctx context.Context, _ *mount.Mount) (string, error) {
			progress := []int{1}
			sdk.RecordHeartbeat(ctx, progress)
			progress[0] = 99 // not sent by the user
			heard.wait(3)
			return "", nil
		})
	}})
	require.NoError(t, err)
	for _, details := range heard.all() {
		require.Equal(t, []any{1.0}, details)
	}
}

// Also a function that derives its own context is heard.
func TestDetailsSentThroughADerivedContext(t *testing.T) {
	b, heard := newBench(t), newBeats()
	type key struct{}
	_, err := runInWorkflow(t, suiteOptions{heartbeat: beat, listener: heard.listen, activity: func(ctx context.Context) (string, error) {
		return wdactivity.Do(ctx, b.url("a"), b.options(), func(ctx context.Context, _ *mount.Mount) (string, error) {
			return wdactivity.Do(ctx, b.url("b"), b.options(), func(ctx context.Context, _ *mount.Mount) (string, error) {
				derived, cancel := context.WithTimeout(context.WithValue(ctx, key{}, 1), time.Minute)
				defer cancel()
				sdk.RecordHeartbeat(derived, "mine")
				heard.wait(3)
				return "", nil
			})
		})
	}})
	require.NoError(t, err)
	for _, details := range heard.all() {
		require.Equal(t, "mine", details)
	}
}

// A deadline of the caller's for one Do ended the heartbeats of the whole attempt, and
// Temporal gave a living activity up.
func TestKeepAliveAfterTheCallersDeadline(t *testing.T) {
	for _, cause := range []error{context.DeadlineExceeded, context.Canceled} {
		t.Run(cause.Error(), func(t *testing.T) {
			b, heard := newBench(t), newBeats()
			_, err := runInWorkflow(t, suiteOptions{heartbeat: beat, listener: heard.listen, activity: func(ctx context.Context) (string, error) {
				part, end := context.WithCancelCause(ctx)
				return wdactivity.Do(part, b.url("ws"), b.options(), func(ctx context.Context, _ *mount.Mount) (string, error) {
					end(cause)
					<-ctx.Done()
					heard.wait(len(heard.all()) + 2)
					return "", nil
				})
			}})
			require.NoError(t, err)
		})
	}
}

func TestKeepAliveSendsTheDetailsOfTheAttemptBefore(t *testing.T) {
	b, heard := newBench(t), newBeats()
	_, err := runInWorkflow(t, suiteOptions{heartbeat: beat, attempts: 2, listener: heard.listen, activity: func(ctx context.Context) (string, error) {
		if sdk.GetInfo(ctx).Attempt == 1 {
			sdk.RecordHeartbeat(ctx, "of attempt 1")
			return "", errWork
		}
		before := len(heard.all())
		return wdactivity.Do(ctx, b.url("ws"), b.options(), func(ctx context.Context, _ *mount.Mount) (string, error) {
			var got string
			err := sdk.GetHeartbeatDetails(ctx, &got)
			heard.wait(before + 1)
			return "", errors.Join(err, equal(got, "of attempt 1"))
		})
	}})
	require.NoError(t, err)
	for _, details := range heard.all() {
		require.Equal(t, "of attempt 1", details)
	}
}

func equal[T comparable](got, want T) error {
	if got != want {
		return errors.New("not equal")
	}
	return nil
}

func TestKeepAliveInventsNoDetails(t *testing.T) {
	b, heard := newBench(t), newBeats()
	_, err := runInWorkflow(t, suiteOptions{heartbeat: beat, listener: heard.listen, activity: func(ctx context.Context) (string, error) {
		return wdactivity.Do(ctx, b.url("ws"), b.options(), func(context.Context, *mount.Mount) (string, error) {
			heard.wait(1)
			return "", nil
		})
	}})
	require.NoError(t, err)
	for _, details := range heard.all() {
		require.Nil(t, details)
	}
}

// What was sent before the first Do is known to it.
func TestDetailsSentBeforeDo(t *testing.T) {
	b, heard := newBench(t), newBeats()
	_, err := runInWorkflow(t, suiteOptions{
		heartbeat: beat, listener: heard.listen,
		activity: func(ctx context.Context) (string, error) {
			sdk.RecordHeartbeat(ctx, "before")
			return wdactivity.Do(ctx, b.url("ws"), b.options(), func(context.Context, *mount.Mount) (string, error) {
				heard.wait(3)
				return "", nil
			})
		},
	})
	require.NoError(t, err)
	for _, details := range heard.all() {
		require.Equal(t, "before", details)
	}
}

// Details go through the codecs of the worker once, however often they are sent.
func TestDetailsWithACodec(t *testing.T) {
	b, heard := newBench(t), newBeats()
	zlib := converter.NewCodecDataConverter(converter.GetDefaultDataConverter(), converter.NewZlibCodec(converter.ZlibCodecOptions{AlwaysEncode: true}))
	for _, known := range []converter.DataConverter{zlib, nil} {
		_, err := runInWorkflow(t, suiteOptions{
			heartbeat: beat, attempts: 2, listener: heard.listen, converter: zlib, plugins: plugins(t, &wdactivity.PluginOptions{DataConverter: known}),
			activity: func(ctx context.Context) (string, error) {
				n := len(heard.all())
				return wdactivity.Do(ctx, b.url("ws"), b.options(), func(ctx context.Context, m *mount.Mount) (string, error) {
					if sdk.GetInfo(ctx).Attempt == 1 {
						sdk.RecordHeartbeat(ctx, "packed")
						heard.wait(n + 2)
						return "", errWork
					}
					heard.wait(n + 1)
					return "", nil
				})
			},
		})
		require.NoError(t, err)
	}
	for _, details := range heard.all() {
		require.Equal(t, "packed", details)
	}
}

// contexts is an interceptor that keeps the contexts of heartbeats.
type contexts struct {
	interceptor.WorkerInterceptorBase
	mu   sync.Mutex
	seen []context.Context // guarded by mu
}

func (c *contexts) InterceptActivity(_ context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	in := &contextsInbound{contexts: c}
	in.Next = next
	return in
}

// take returns the contexts and keeps them no longer: a test environment never goes.
func (c *contexts) take() []context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	seen := c.seen
	c.seen = nil
	return seen
}

type contextsInbound struct {
	interceptor.ActivityInboundInterceptorBase
	contexts *contexts
}

func (i *contextsInbound) Init(out interceptor.ActivityOutboundInterceptor) error {
	o := &contextsOutbound{contexts: i.contexts}
	o.Next = out
	return i.Next.Init(o)
}

type contextsOutbound struct {
	interceptor.ActivityOutboundInterceptorBase
	contexts *contexts
}

func (o *contextsOutbound) RecordHeartbeat(ctx context.Context, details ...any) {
	o.contexts.mu.Lock()
	o.contexts.seen = append(o.contexts.seen, ctx)
	o.contexts.mu.Unlock()
	o.Next.RecordHeartbeat(ctx, details...)
}

// The SDK goes on using the context of a heartbeat, and takes its end for that of
// the activity. So the end of a context that the caller of Do made must not end
// those of our heartbeats.
func TestHeartbeatsOutliveTheCallersContext(t *testing.T) {
	b, heard, c := newBench(t), newBeats(), &contexts{}
	_, err := runInWorkflow(t, suiteOptions{
		heartbeat: beat, listener: heard.listen, interceptors: []interceptor.WorkerInterceptor{c},
		activity: func(ctx context.Context) (string, error) {
			short, cancel := context.WithCancel(ctx)
			defer cancel()
			_, err := wdactivity.Do(short, b.url("ws"), b.options(), func(ctx context.Context, m *mount.Mount) (string, error) {
				heard.wait(1)
				cancel()
				<-ctx.Done()
				return "", nil
			})
			for _, seen := range c.take() {
				if seen.Err() != nil {
					return "", errors.New("the context of a heartbeat has ended")
				}
			}
			return "", err
		},
	})
	require.NoError(t, err)
}

// Without a heartbeat timeout nobody waits for heartbeats, and a unit test hears
// those of its activity alone.
func TestNoHeartbeatOfOursWithoutATimeout(t *testing.T) {
	b, heard := newBench(t), newBeats()
	_, err := runInWorkflow(t, suiteOptions{listener: heard.listen, activity: func(ctx context.Context) (string, error) {
		return wdactivity.Do(ctx, b.url("ws"), b.options(), func(ctx context.Context, m *mount.Mount) (string, error) {
			sdk.RecordHeartbeat(ctx, "mine")
			return "", add(m, "x")
		})
	}})
	require.NoError(t, err)
	require.Equal(t, []any{"mine"}, heard.all())
}
