package ipc

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"strings"
	"testing"
)

var errSpecial = errors.New("special")

var testCodec = Codec{
	Encode: func(err error) json.RawMessage {
		b, _ := json.Marshal(err.Error()) // a string always encodes
		return b
	},
	Decode: func(raw json.RawMessage) error {
		if strings.Contains(string(raw), "special") {
			return errSpecial
		}
		return errors.New(string(raw))
	},
}

// pair connects two ends over a pipe; both are closed with the test.
func pair(t *testing.T, left, right Handler) (*Conn, *Conn) {
	t.Helper()
	a, b := net.Pipe()
	l, r := New(a, left, testCodec), New(b, right, testCodec)
	t.Cleanup(func() { l.Close(); r.Close() })
	return l, r
}

func refuse(context.Context, *Conn, string, json.RawMessage) (any, error) {
	return nil, errors.New("nobody asked for this")
}

func TestCallBothWays(t *testing.T) {
	double := func(_ context.Context, _ *Conn, _ string, body json.RawMessage) (any, error) {
		var n int
		err := json.Unmarshal(body, &n)
		return 2 * n, err
	}
	// The right side asks back before it answers.
	askBack := func(ctx context.Context, c *Conn, method string, body json.RawMessage) (any, error) {
		var n int
		err := c.Call(ctx, method, body, &n)
		return n + 1, err
	}
	l, _ := pair(t, double, askBack)
	var got int
	if err := l.Call(t.Context(), "m", 20, &got); err != nil || got != 41 {
		t.Fatalf("Call = %d, %v; want 41", got, err)
	}
}

func TestErrorsKeepTheirKind(t *testing.T) {
	l, _ := pair(t, refuse, func(context.Context, *Conn, string, json.RawMessage) (any, error) { return nil, errSpecial })
	if err := l.Call(t.Context(), "m", nil, nil); !errors.Is(err, errSpecial) {
		t.Fatalf("Call = %v, want %v", err, errSpecial)
	}
}

func TestCancelReachesTheHandler(t *testing.T) {
	started, cancelled := make(chan struct{}), make(chan struct{})
	l, _ := pair(t, refuse, func(ctx context.Context, _ *Conn, _ string, _ json.RawMessage) (any, error) {
		close(started)
		<-ctx.Done()
		close(cancelled)
		return nil, ctx.Err()
	})
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-started
		cancel()
	}()
	if err := l.Call(ctx, "m", nil, nil); !errors.Is(err, context.Canceled) {
		t.Fatalf("Call = %v, want context.Canceled", err)
	}
	<-cancelled
}

// A call that was cancelled before it was sent was once answered as if nobody had.
func TestCallToEndWaitsForTheAnswer(t *testing.T) {
	l, _ := pair(t, refuse, func(ctx context.Context, _ *Conn, _ string, _ json.RawMessage) (any, error) {
		<-ctx.Done()
		return "the end", nil
	})
	early, cancel := context.WithCancel(t.Context())
	cancel()
	var got string
	if err := l.CallToEnd(early, "m", nil, &got); err != nil || got != "the end" {
		t.Errorf("CallToEnd = %q, %v; want the end", got, err)
	}
}

func TestTheEndReachesEverybody(t *testing.T) {
	started, cancelled := make(chan struct{}), make(chan struct{})
	l, r := pair(t, refuse, func(ctx context.Context, _ *Conn, _ string, _ json.RawMessage) (any, error) {
		close(started)
		<-ctx.Done()
		close(cancelled)
		return nil, ctx.Err()
	})
	go func() {
		<-started
		l.Close()
	}()
	if err := l.Call(t.Context(), "m", nil, nil); !errors.Is(err, ErrClosed) {
		t.Fatalf("Call = %v, want ErrClosed", err)
	}
	<-cancelled
	<-r.Done()
	if err := r.Call(t.Context(), "m", nil, nil); !errors.Is(err, ErrClosed) {
		t.Fatalf("Call on the other side = %v, want ErrClosed", err)
	}
}

// A peer that reads nothing must not block a caller beyond its context, nor a
// notification at all.
func TestStoppedPeerBlocksNobody(t *testing.T) {
	a, b := net.Pipe()
	defer b.Close()
	c := New(a, refuse, testCodec)
	defer c.Close()
	for range 2 * queueLen {
		c.Notify("n", "x")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := c.Call(ctx, "m", nil, nil); !errors.Is(err, context.Canceled) {
		t.Fatalf("Call = %v, want context.Canceled", err)
	}
}

func TestDrainWaitsForAnswers(t *testing.T) {
	started, release := make(chan struct{}), make(chan struct{})
	l, r := pair(t, refuse, func(context.Context, *Conn, string, json.RawMessage) (any, error) {
		close(started)
		<-release
		return "late", nil
	})
	answer := make(chan string, 1)
	go func() {
		var s string
		_ = l.Call(context.Background(), "m", nil, &s) // an error leaves s empty, which the test sees
		answer <- s
	}()
	<-started
	drained := make(chan struct{})
	go func() {
		r.Drain(context.Background())
		close(drained)
	}()
	close(release)
	<-drained
	r.Close()
	if got := <-answer; got != "late" {
		t.Fatalf("answer = %q, want it to arrive before the end", got)
	}
}

// An answer over the limit was once dropped, and its caller waited for ever.
func TestOversizedAnswersAreErrors(t *testing.T) {
	huge := strings.Repeat("x", maxFrame)
	l, _ := pair(t, refuse, func(_ context.Context, _ *Conn, method string, _ json.RawMessage) (any, error) {
		switch method {
		case "answer":
			return huge, nil
		case "error":
			return nil, errors.New(huge)
		case "none":
			return func() {}, nil // is no JSON
		}
		return "small", nil
	})
	for _, method := range []string{"answer", "error", "none"} {
		if err := l.Call(t.Context(), method, nil, nil); err == nil || len(err.Error()) > 1000 {
			t.Errorf("%s: Call = %.100v, want a short error", method, err)
		}
	}
	var got string
	if err := l.Call(t.Context(), "small", nil, &got); err != nil || got != "small" {
		t.Errorf("Call = %q, %v after them", got, err)
	}
}

func TestOversizedFramesAreRefused(t *testing.T) {
	a, b := net.Pipe()
	c := New(a, refuse, testCodec)
	defer c.Close()
	if _, err := b.Write([]byte{0xff, 0xff, 0xff, 0xff}); err != nil {
		t.Fatal(err)
	}
	<-c.Done()
	l, _ := pair(t, refuse, refuse)
	if err := l.Call(t.Context(), "m", strings.Repeat("x", maxFrame), nil); err == nil {
		t.Fatal("a call of more than a frame was sent")
	}
}
