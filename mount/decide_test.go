package mount

import (
	"errors"
	"os"
	"testing"
	"time"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/mount/internal/wire"
	"github.com/workdir/workdir/store"
)

// closing begins to close a mount that is busy, and returns when it waits. release lets
// it go on, and returns what became of it.
func (f *fixture) closing(m *Mount) (release func() (Result, error)) {
	f.t.Helper()
	busy, err := os.Create(m.Path("name"))
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { _ = busy.Close() }) // closed already, unless the test failed
	type outcome struct {
		res Result
		err error
	}
	closed := make(chan outcome, 1)
	go func() {
		res, err := m.Close(f.t.Context())
		closed <- outcome{res, err}
	}()
	waitFor(f.t, "Close to wait", func() bool {
		st, err := m.Status(f.t.Context())
		return err == nil && st.State == wire.StateUnmounting
	})
	return func() (Result, error) {
		if err := busy.Close(); err != nil {
			f.t.Error(err)
		}
		o := <-closed
		return o.res, o.err
	}
}

// The mark was once copied when Close began: a commit while it waited for a busy mount
// succeeded, and the work was discarded.
func TestCommitWhileCloseWaits(t *testing.T) {
	f := newFixture(t)
	m := f.open("k", &Options{Grace: time.Minute, Origin: archive.Origin{Execution: "e", Step: "s"}})
	release := f.closing(m)
	r, err := Find(t.Context(), m.Path(), f.runDir)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := m.SetResult([]byte("late")); err != nil {
		t.Fatal(err)
	}
	res, err := release()
	if err != nil || !res.Stored || !res.Marked {
		t.Errorf("Close = %+v, %v; want it stored", res, err)
	}
	if err := m.SetResult([]byte("too late")); !errors.Is(err, ErrClosed) {
		t.Errorf("SetResult after Close = %v, want ErrClosed", err)
	}
	st, err := store.OpenBucket(t.Context(), m.url)
	if err != nil {
		t.Fatal(err)
	}
	defer st.Close()
	_, log, err := store.ReadLog(t.Context(), st, m.url.Key)
	if err != nil || string(log.Record.Result) != "late" {
		t.Errorf("the log has %q, %v; want the result", log.Record.Result, err)
	}
}

// A caller that sets the mark must know what it means: a mark that comes after the question
// is refused.
func TestCommitAfterTheDecision(t *testing.T) {
	f := newFixture(t)
	m := f.open("k", nil)
	if got := m.decide(); got.Commit {
		t.Fatalf("decision = %+v, want no commit", got)
	}
	if err := m.Commit(); !errors.Is(err, ErrClosed) {
		t.Errorf("Commit = %v, want ErrClosed", err)
	}
	if m.Marked() {
		t.Error("it is marked")
	}
}

// A mount that was abandoned while Close waited is not stored.
func TestAbandonWhileCloseWaits(t *testing.T) {
	f := newFixture(t)
	m := f.open("k", &Options{Grace: time.Minute})
	if err := m.Commit(); err != nil {
		t.Fatal(err)
	}
	release := f.closing(m)
	m.Abandon()
	if res, err := release(); err != nil || res.Stored || res.Marked {
		t.Errorf("Close = %+v, %v; want nothing stored", res, err)
	}
}
