package cloud

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/workdir/workdir/store"
)

// serve starts a server and returns a client whose transport gives up early.
func serve(t *testing.T, handler http.HandlerFunc) (*Transport, string) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	transport := NewTransport(nil)
	t.Cleanup(transport.CloseIdleConnections)
	return transport, server.URL
}

// get sends a request of a kind.
func get(t *testing.T, transport *Transport, method, url, kind, body string) (string, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(Operation(t.Context(), kind), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	resp, err := transport.RoundTrip(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	return string(got), err
}

// A server that says nothing more is not awaited for ever, be it before its answer
// or within.
func TestStalled(t *testing.T) {
	for name, first := range map[string]string{"before the answer": "", "in the answer": "some bytes"} {
		t.Run(name, func(t *testing.T) {
			done := make(chan struct{})
			transport, url := serve(t, func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.WriteString(w, first)
				if first != "" {
					_ = http.NewResponseController(w).Flush()
				}
				<-done
			})
			defer close(done)
			transport.stall = 50 * time.Millisecond
			got, err := get(t, transport, http.MethodGet, url, "get", "")
			if !errors.As(err, new(stalledError)) || err.Error() != "stalled: no byte for 50ms" || got != first {
				t.Fatalf("%q came, and %v", got, err)
			}
			if m := Connection(err).Meaning; m != Broken {
				t.Errorf("to be stalled means %d", m)
			}
		})
	}
}

// A reader may take its time: only while it waits for bytes the network is watched.
func TestSlowReaderIsNotStalled(t *testing.T) {
	transport, url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, strings.Repeat("x", 1<<20))
	})
	resp, err := transport.RoundTrip(httptest.NewRequest(http.MethodGet, url, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, ok := resp.Body.(*body)
	if !ok {
		t.Fatal("the body is another")
	}
	for range 3 {
		if body.x.timer.Stop() {
			t.Fatal("the reader is watched")
		}
		if _, err := io.CopyN(io.Discard, resp.Body, 1<<18); err != nil {
			t.Fatal(err)
		}
	}
}

func TestTraffic(t *testing.T) {
	transport, url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, "four")
	})
	ctx := Operation(t.Context(), "put")
	for range 3 { // one operation, tried three times
		r, err := http.NewRequestWithContext(ctx, http.MethodPut, url, strings.NewReader("seven.."))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	if _, err := get(t, transport, http.MethodGet, url, "get", ""); err != nil {
		t.Fatal(err)
	}
	want := store.Traffic{"put": {Count: 3, Retries: 2, Sent: 21, Received: 12}, "get": {Count: 1, Received: 4}}
	got := transport.Traffic()
	if len(got) != len(want) || got["put"] != want["put"] || got["get"] != want["get"] {
		t.Errorf("the traffic is %v, want %v", got, want)
	}
	if got := store.TrafficOf(NewStore(newMemory(), "", nil)); got != nil {
		t.Errorf("a store without a transport counts %v", got)
	}
}

// What comes before the first byte is definite: nothing was sent.
func TestNoConnection(t *testing.T) {
	transport, url := serve(t, nil)
	for name, address := range map[string]string{
		"nobody listens": "http://127.0.0.1:1/",
		"no such host":   "http://host.invalid/",
		"not TLS":        strings.Replace(url, "http", "https", 1),
	} {
		_, err := get(t, transport, http.MethodPut, address, "put", "body")
		m := Connection(err).Meaning
		if m == Other || m == Broken {
			t.Errorf("%s: %v means %d", name, err, m)
		}
	}
}
