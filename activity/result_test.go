package activity_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	commonpb "go.temporal.io/api/common/v1"
	sdk "go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/worker"

	wdactivity "github.com/workdir/workdir/activity"
	"github.com/workdir/workdir/activity/errtype"
	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/mount"
)

func TestResultTooLarge(t *testing.T) {
	b := newBench(t)
	_, err := run(t, context.Background(), func(ctx context.Context) (int, error) {
		_, err := wdactivity.Do(ctx, b.url("ws"), b.options(), func(_ context.Context, m *mount.Mount) (string, error) {
			return strings.Repeat("x", archive.MaxResult), add(m, "x")
		})
		return 0, err
	})
	wantType(t, err, errtype.Limit, false)
	b.noMounts()
	b.wantNoArchive("ws")
}

// A result that is gone is never made up.
func TestReplayOfAnotherKindOfResult(t *testing.T) {
	b := newBench(t)
	var runs, attempts atomic.Int32
	_, err := runInWorkflow(t, suiteOptions{attempts: 3, activity: func(ctx context.Context) (string, error) {
		if attempts.Add(1) == 1 {
			_, err := wdactivity.Do(ctx, b.url("ws"), b.options(), adder("x", &runs))
			return "", errors.Join(err, errWork)
		}
		_, err := wdactivity.Do(ctx, b.url("ws"), b.options(), func(context.Context, *mount.Mount) (int, error) { runs.Add(1); return 0, nil })
		return "", err
	}})
	wantType(t, err, errtype.AlreadyCommitted, false)
	require.EqualValues(t, 1, runs.Load())
	require.EqualValues(t, 2, attempts.Load())
}

// What is kept of a result is what the data converter makes of it: with a codec
// that encrypts, the archive has no plain text.
func TestResultGoesThroughTheDataConverter(t *testing.T) {
	b := newBench(t)
	secret := plugins(t, &wdactivity.PluginOptions{DataConverter: converter.NewCodecDataConverter(converter.GetDefaultDataConverter(), secretCodec{})})
	var got string
	_, err := runInWorkflow(t, suiteOptions{attempts: 2, plugins: secret, activity: func(ctx context.Context) (string, error) {
		var err error
		got, err = wdactivity.Do(ctx, b.url("ws"), b.options(), func(_ context.Context, m *mount.Mount) (string, error) {
			return "plain text", add(m, "x")
		})
		if err == nil && sdk.GetInfo(ctx).Attempt == 1 {
			return "", errWork
		}
		return "", err
	}})
	require.NoError(t, err)
	require.Equal(t, "plain text", got)
	kept := b.log("ws").Record.Result
	require.NotEmpty(t, kept)
	require.NotContains(t, string(kept), "plain text")
}

// The converter of a client that encrypts had to be given again, or results stood in
// clear in the archive: a plugin of the client takes it over, as it is in the end.
func TestResultGoesThroughTheConverterOfTheClient(t *testing.T) {
	b := newBench(t)
	plugin := plugins(t, nil)[0]
	clients := map[string]*client.Options{"encrypts": {}, "plain": {}}
	for _, c := range clients { // one plugin, two clients
		require.NoError(t, plugin.(client.Plugin).ConfigureClient(t.Context(), client.PluginConfigureClientOptions{ClientOptions: c}))
	}
	clients["encrypts"].DataConverter = converter.NewCodecDataConverter(converter.GetDefaultDataConverter(), secretCodec{}) // by a later plugin
	for name, c := range clients {
		var got string
		_, err := runInWorkflow(t, suiteOptions{attempts: 2, plugins: []worker.Plugin{plugin}, interceptors: []interceptor.WorkerInterceptor{c.Interceptors[0].(interceptor.WorkerInterceptor)}, activity: func(ctx context.Context) (string, error) {
			var err error
			got, err = wdactivity.Do(ctx, b.url(name), b.options(), func(_ context.Context, m *mount.Mount) (string, error) {
				return "a result", add(m, "x")
			})
			if err == nil && sdk.GetInfo(ctx).Attempt == 1 {
				return "", errWork
			}
			return "", err
		}})
		require.NoError(t, err)
		require.Equal(t, "a result", got)
		require.Equal(t, name == "plain", strings.Contains(string(b.log(name).Record.Result), "a result"), name)
	}
}

// secretCodec flips all bits.
type secretCodec struct{}

func (secretCodec) Encode(payloads []*commonpb.Payload) ([]*commonpb.Payload, error) {
	var flipped []*commonpb.Payload
	for _, p := range payloads {
		data := make([]byte, len(p.GetData()))
		for i, c := range p.GetData() {
			data[i] = ^c
		}
		flipped = append(flipped, &commonpb.Payload{Metadata: p.GetMetadata(), Data: data})
	}
	return flipped, nil
}

func (c secretCodec) Decode(payloads []*commonpb.Payload) ([]*commonpb.Payload, error) {
	return c.Encode(payloads)
}

func TestResultsOfEveryShape(t *testing.T) {
	type report struct {
		Name string
		Size int
	}
	t.Run("struct", func(t *testing.T) { replays(t, report{"a", 3}) })
	t.Run("pointer", func(t *testing.T) { replays(t, &report{"a", 3}) })
	t.Run("nil pointer", func(t *testing.T) { replays(t, (*report)(nil)) })
	t.Run("nil interface", func(t *testing.T) { replays[any](t, nil) })
	t.Run("bytes", func(t *testing.T) { replays(t, []byte("text")) })
	t.Run("map", func(t *testing.T) { replays(t, map[string]int{"a": 1}) })
	t.Run("empty struct", func(t *testing.T) { replays(t, struct{}{}) })
}

// replays commits a step with a result, and wants it back from the second attempt.
func replays[Out any](t *testing.T, want Out) {
	b := newBench(t)
	var got Out
	var runs atomic.Int32
	_, err := runInWorkflow(t, suiteOptions{attempts: 2, activity: func(ctx context.Context) (string, error) {
		var err error
		got, err = wdactivity.Do(ctx, b.url("ws"), b.options(), func(_ context.Context, m *mount.Mount) (Out, error) {
			runs.Add(1)
			return want, add(m, "x")
		})
		if err == nil && sdk.GetInfo(ctx).Attempt == 1 {
			return "", errWork
		}
		return "", err
	}})
	require.NoError(t, err)
	require.EqualValues(t, 1, runs.Load())
	require.Equal(t, want, got)
}
