package cloud

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/workdir/workdir/store"
)

// lines is a log, line by line.
type lines chan string

func (l lines) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}

// logged returns a context whose log is read from the channel.
func logged(ctx context.Context) (context.Context, lines) {
	l := make(lines, 100)
	h := slog.NewTextHandler(l, &slog.HandlerOptions{Level: store.LevelWaiting})
	return store.WithLogger(ctx, slog.New(h)), l
}

// A request without an answer is named in the log with what is known of the reason, after two
// seconds and then every ten; requests of the same store at the same time have one line.
func TestSilentServerIsLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMemory()
		m.endpoint = "store.example:9000"
		s := newMemoryStore(t, m)
		ctx, log := logged(t.Context())
		const answer = 25 * time.Second
		slow := func(ctx context.Context, do func() error) error {
			operationOf(ctx).pulse.fail(syscall.ECONNREFUSED)
			time.Sleep(answer)
			return do()
		}
		m.fails("head", slow, slow)
		done := make(chan error)
		for range 2 {
			go func() {
				_, err := s.Stat(ctx, "job")
				done <- err
			}()
		}
		start := time.Now()
		for _, at := range []time.Duration{2 * time.Second, 12 * time.Second, 22 * time.Second} {
			line := <-log
			if got := time.Since(start); got != at {
				t.Errorf("logged after %v, want %v: %s", got, at, line)
			}
			for _, part := range []string{"waiting for the store to answer", "bucket=memory://bucket", "endpoint=store.example:9000", "request=head", "connection refused"} {
				if !strings.Contains(line, part) {
					t.Errorf("no %q in: %s", part, line)
				}
			}
		}
		for range 2 {
			<-done
		}
		if len(log) > 0 {
			t.Errorf("logged too often: %s", <-log)
		}
	})
}

// An operation of which a byte moves every second is not mentioned, and nothing is logged of
// one that has ended.
func TestMovingOperationIsNotLogged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newMemoryStore(t, newMemory())
		ctx, log := logged(t.Context())
		ctx = Operation(ctx, "get")
		stop := s.watch(ctx)
		for range 20 {
			time.Sleep(time.Second)
			NewTransport(nil).count(operationOf(Operation(ctx, "head")), store.Requests{Received: 1})
		}
		stop()
		time.Sleep(time.Minute)
		if len(log) > 0 {
			t.Errorf("logged: %s", <-log)
		}
	})
}

// clientAsBase is a transport whose errors have the URL, as that of the AWS SDK.
type clientAsBase struct{}

func (clientAsBase) RoundTrip(r *http.Request) (*http.Response, error) {
	return http.DefaultClient.Do(r.Clone(r.Context()))
}

// What goes over the network is a sign of life, and a failed request says why there is none.
func TestPulseOfRequests(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "content")
	}))
	defer server.Close()
	tr := NewTransport(nil)
	client := &http.Client{Transport: tr}
	tr.base = clientAsBase{}
	defer tr.CloseIdleConnections()
	ctx := Operation(t.Context(), "get")
	p := operationOf(ctx).pulse
	get := func() error {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/?sig=secret", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(r)
		if err != nil {
			return err
		}
		_, _ = io.Copy(io.Discard, resp.Body)
		return resp.Body.Close()
	}
	p.moved.Store(0)
	if err := get(); err != nil || p.moved.Load() == 0 || p.failed.Load() != nil {
		t.Errorf("after an answer: %v, moved %d, failed %v", err, p.moved.Load(), p.failed.Load())
	}
	server.Close()
	p.moved.Store(0)
	err := get()
	if cause, ok := p.failed.Load().(failure); err == nil || !ok || !strings.Contains(cause.Error(), "refused") || strings.Contains(cause.Error(), "secret") || p.moved.Load() != 0 {
		t.Errorf("after a refused connection: %v, moved %d, failed %v", err, p.moved.Load(), p.failed.Load())
	}
}
