package cloud

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/workdir/workdir/store"
)

// sharer opens stores of one URL, and counts how many backends that took.
type sharer struct {
	t         *testing.T
	url       store.URL
	m         *memory
	transport *Transport
	address   string
	opened    int
}

func newSharer(t *testing.T) *sharer {
	transport, address := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "four") })
	return &sharer{t: t, url: store.URL{Scheme: "memory", Bucket: rand.Text()}, m: newMemory(), transport: transport, address: address}
}

func (h *sharer) open() store.Store {
	h.t.Helper()
	s, err := Shared(h.url, func() (Backend, *Transport, error) {
		h.opened++
		return h.m, h.transport, nil
	})
	if err != nil {
		h.t.Fatal(err)
	}
	return s
}

// overNetwork makes the next request of a kind one that the transport sees.
func (h *sharer) overNetwork(kind string) {
	h.m.fails(kind, func(ctx context.Context, do func() error) error {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, h.address, strings.NewReader("seven.."))
		if err != nil {
			return err
		}
		resp, err := h.transport.RoundTrip(r)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			return err
		}
		return do()
	})
}

func (h *sharer) wantOpened(n int) {
	h.t.Helper()
	if h.opened != n {
		h.t.Errorf("%d backends were opened, want %d", h.opened, n)
	}
}

// Stores of one bucket share its backend, one after the other and at once, and each
// counts what went over the network for itself.
func TestShared(t *testing.T) {
	h := newSharer(t)
	first, second := h.open(), h.open()
	h.overNetwork("head")
	if _, err := first.Stat(t.Context(), "key"); !errors.Is(err, store.ErrNotExist) {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	third := h.open()
	h.wantOpened(1)
	if got, want := store.TrafficOf(first)["head"], (store.Requests{Count: 1, Sent: 7, Received: 4}); got != want {
		t.Errorf("the traffic of the first store is %v, want %v", got, want)
	}
	for name, s := range map[string]store.Store{"second": second, "third": third} {
		if got := store.TrafficOf(s); len(got) > 0 {
			t.Errorf("the traffic of the %s store is %v, want none", name, got)
		}
	}
}

// A backend is another one where options, bucket or environment are.
func TestSharedByAllThatCounts(t *testing.T) {
	h := newSharer(t)
	h.open()
	h.url.Key = "another key"
	h.open()
	h.wantOpened(1)
	h.url.Query = "region=there"
	h.open()
	h.wantOpened(2)
	t.Setenv("AWS_PROFILE", "another")
	h.open()
	h.wantOpened(3)
}

// After refused credentials have been fixed the process need not be restarted.
func TestSharedUntilRefused(t *testing.T) {
	h := newSharer(t)
	s := h.open()
	h.m.fails("head", refuse(Unidentified))
	if _, err := s.Stat(t.Context(), "key"); !errors.Is(err, store.ErrNotAllowed) {
		t.Fatal(err)
	}
	h.open()
	h.wantOpened(2)
}

// What could not be opened is tried again by the next store.
func TestSharedOpenFails(t *testing.T) {
	h := newSharer(t)
	if _, err := Shared(h.url, func() (Backend, *Transport, error) { return nil, nil, errors.ErrUnsupported }); !errors.Is(err, errors.ErrUnsupported) {
		t.Fatalf("the error is %v", err)
	}
	h.open()
	h.wantOpened(1)
}
