package mount

import (
	"context"
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	"github.com/workdir/workdir/mount/internal/wire"
)

// slowHandler is a log that handles with fn.
type slowHandler struct {
	slog.Handler
	fn func()
}

func (h slowHandler) Handle(context.Context, slog.Record) error {
	h.fn()
	return nil
}

func (h slowHandler) Enabled(context.Context, slog.Level) bool { return true }

// logNow has the session log something as if the server had said it.
func (f *fixture) logNow(m *Mount) {
	f.t.Helper()
	body, err := json.Marshal(wire.LogNote{ID: m.id, Level: slog.LevelWarn, Message: "said"})
	if err == nil {
		_, err = m.session.handle(f.t.Context(), nil, wire.NoteLog, body)
	}
	if err != nil {
		f.t.Error(err)
	}
}

// Progress and Logger were once called by the goroutine that reads what the server says:
// one that asked the mount anything waited for itself, until the watchdog killed the
// server.
func TestCallbacksMayCallTheMount(t *testing.T) {
	defer func(d time.Duration) { pingInterval = d }(pingInterval)
	pingInterval = 100 * time.Millisecond
	f := newFixture(t)
	f.commit("k", "name", "content")
	other := f.open("other", nil)
	answers := make(chan error, 10)
	ask := func() {
		_, err := other.Status(context.Background())
		answers <- err
	}
	m := f.open("k", &Options{Progress: func(Progress) { ask() }, Logger: slog.New(slowHandler{fn: ask})})
	if err := <-answers; err != nil {
		t.Errorf("Status in Progress: %v", err)
	}
	f.logNow(m)
	if err := <-answers; err != nil {
		t.Errorf("Status in Logger: %v", err)
	}
	f.close(m, false)
}

// A callback that does not return keeps nobody: not the mount, and not the server, which
// was once killed for it with all its mounts.
func TestStuckCallbacks(t *testing.T) {
	defer func(d time.Duration) { pingInterval = d }(pingInterval)
	pingInterval = 100 * time.Millisecond
	f := newFixture(t)
	f.commit("k", "name", "content")
	other := f.open("other", nil)
	stuck, entered := make(chan struct{}), make(chan struct{}, 10)
	defer close(stuck)
	block := func() {
		entered <- struct{}{}
		<-stuck
	}
	m := f.open("k", &Options{Progress: func(Progress) { block() }, Logger: slog.New(slowHandler{fn: block})})
	<-entered
	for range 2 * maxCallbacks {
		f.logNow(m)
	}
	f.write(m, "name", "changed")
	if res := f.close(m, true); !res.Stored {
		t.Errorf("result = %+v, want it stored", res)
	}
	f.write(other, "name", "content")
	if res := f.close(other, true); !res.Stored {
		t.Errorf("the other's result = %+v, want it stored", res)
	}
}

// A callback that closes the mount whose Close it reports to waits for that Close, and
// that one for it no longer than a moment.
func TestCallbackClosesTheMount(t *testing.T) {
	f := newFixture(t)
	var m *Mount
	closed := make(chan error, 10)
	m = f.open("k", &Options{Progress: func(Progress) {
		_, err := m.Close(context.Background())
		closed <- err
	}})
	f.write(m, "name", "content")
	if res := f.close(m, true); !res.Stored {
		t.Errorf("result = %+v, want it stored", res)
	}
	if err := <-closed; err != nil {
		t.Errorf("Close in Progress = %v, want the same result", err)
	}
}

// Of progress that nobody took in time the last one counts.
func TestLatestProgress(t *testing.T) {
	var c callbacks
	stuck, got := make(chan struct{}), make(chan int, 10)
	c.run(func() { <-stuck })
	for i := range 3 {
		c.runLatest(func() { got <- i })
	}
	close(stuck)
	c.flush()
	if n := <-got; n != 2 || len(got) > 0 {
		t.Errorf("told of %d, and of %d more; want 2 alone", n, len(got))
	}
}
