package mount

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/store"
)

func TestAStepIsDoneOnce(t *testing.T) {
	f := newFixture(t)
	first := f.step("k", stepOptions("run", "1", 1), "one")
	f.step("k", stepOptions("run", "2", 1), "two")
	f.step("k", stepOptions("other run", "1", 1), "three")
	stored := f.bytes("k")
	err := f.refused("k", stepOptions("run", "1", 2))
	e := wantCommitted(t, err, 1, "one")
	if e.Record.ID != first.CommitID || e.Record.Origin.WorkflowType != "Orders" || e.Record.Origin.Workspace != f.url("k") || e.URL != f.url("k") {
		t.Errorf("error has %+v, want the whole record of the first commit", e)
	}
	if e.Record.Root.Mode != 0 {
		t.Error("the record has the attributes of the root directory, which nobody asked for")
	}
	f.noMountLeftNow()
	if string(f.bytes("k")) != string(stored) {
		t.Error("the archive changed")
	}
	f.step("k", stepOptions("run", "3", 2), "four")
}

// Work without an Execution is no step, whatever else its Origin says.
func TestNoExecutionNoStep(t *testing.T) {
	f := newFixture(t)
	f.step("k", stepOptions("", "1", 1), "one")
	f.step("k", stepOptions("", "1", 2), "two")
	_, log := f.log("k")
	if log.Record.Origin.Attempt != 2 || log.Record.Result != nil {
		t.Errorf("record = %+v, want attempt 2 without a result that nobody can ask for", log.Record)
	}
}

// Both attempts have opened the same revision. The one that is late gets the result
// of the one that was first, though it has done other work.
func TestOverlappingAttempts(t *testing.T) {
	for _, mem := range []bool{false, true} {
		t.Run(fmt.Sprintf("mem %v", mem), func(t *testing.T) {
			f := newFixture(t)
			open := func(opts *Options) *Mount {
				t.Helper()
				if !mem {
					return f.open("k", opts)
				}
				opts.RunDir, opts.View = f.runDir, f.view
				m, err := Open(t.Context(), "mem://bucket/overlapping", opts)
				if err != nil {
					t.Fatal(err)
				}
				return m
			}
			f.close(f.wrote(open(patient()), "0"), true)
			slow, fast := open(stepOptions("run", "1", 1)), open(stepOptions("run", "1", 2))
			f.work(slow, "slow", "result of the slow one")
			f.work(fast, "fast", "result of the fast one")
			won := f.close(fast, false)
			f.close(f.wrote(open(patient()), "and another commit on top"), true)
			_, err := slow.Close(t.Context())
			if e := wantCommitted(t, err, 2, "result of the fast one"); e.Record.ID != won.CommitID || e.Revision == won.Revision {
				t.Errorf("error has %+v, want commit %s in the log of a later revision", e, won.CommitID)
			}
			if _, again := slow.Close(t.Context()); again != err {
				t.Errorf("Close again = %v, want the same", again)
			}
		})
	}
	if err := store.RemoveMem(); err != nil {
		t.Error(err)
	}
}

// patient waits for the ends of others' tools.
func patient() *Options { return &Options{Grace: time.Minute} }

// wrote writes into a mount and returns it.
func (f *fixture) wrote(m *Mount, content string) *Mount {
	f.t.Helper()
	f.write(m, "name", content)
	return m
}

// A copy's records name the workspace that was copied, so its steps are its own.
func TestACopyHasDoneNothing(t *testing.T) {
	f := newFixture(t)
	f.step("k", stepOptions("run", "1", 1), "one")
	if err := os.WriteFile(f.archive("copy"), f.bytes("k"), 0o644); err != nil {
		t.Fatal(err)
	}
	f.step("copy", stepOptions("run", "1", 2), "one in the copy")
	err := f.refused("copy", stepOptions("run", "1", 3))
	wantCommitted(t, err, 2, "one in the copy")
}

func TestEmptiedWorkspaceForgetsItsSteps(t *testing.T) {
	for _, keep := range []bool{false, true} {
		f := newFixture(t)
		f.step("k", stepOptions("run", "1", 1), "one")
		m := f.open("k", &Options{KeepEmpty: keep})
		if err := os.Remove(m.Path("name")); err != nil {
			t.Fatal(err)
		}
		f.close(m, true)
		err := f.refused("k", stepOptions("run", "1", 2))
		if keep {
			wantCommitted(t, err, 1, "one")
		} else if err != nil {
			t.Errorf("Open = %v, want it open: the log went with the archive", err)
		}
	}
}

// The largest result goes there and back.
func TestLargestResult(t *testing.T) {
	f := newFixture(t)
	result := strings.Repeat("\x00\xffr", archive.MaxResult/3)
	m := f.open("k", stepOptions("run", "1", 1))
	f.work(m, "content", result)
	f.close(m, false)
	err := f.refused("k", stepOptions("run", "1", 2))
	wantCommitted(t, err, 1, result)
}

// A step whose result was dropped is known as done, and as one without a result.
func TestDroppedResult(t *testing.T) {
	f := newFixture(t)
	u, err := store.ParseURL(f.url("k"))
	if err != nil {
		t.Fatal(err)
	}
	f.past("k", 4, time.Now(), func(i int, rec *archive.Record) {
		rec.Origin = archive.Origin{Workspace: u.Identity(), Execution: "run", Step: fmt.Sprint(i), Attempt: 1}
		rec.Result = make([]byte, archive.MaxResults/3)
	})
	err = f.refused("k", stepOptions("run", "0", 2))
	if e := wantCommitted(t, err, 1, ""); !e.Record.Dropped || !strings.Contains(err.Error(), "not kept any more") {
		t.Errorf("Open = %v, want to hear that the result was dropped", err)
	}
	err = f.refused("k", stepOptions("run", "3", 2))
	wantCommitted(t, err, 1, string(make([]byte, archive.MaxResults/3)))
}

// The server dies in a commit that another attempt was faster with.
func TestServerKilledByConflict(t *testing.T) {
	f := newFixture(t)
	f.commit("k", "name", "0")
	opts := stepOptions("run", "1", 1)
	var m *Mount
	opts.BeforeStore = func(ctx context.Context) error {
		st, err := m.Status(ctx)
		if err == nil {
			err = syscall.Kill(st.ServerPID, syscall.SIGKILL)
		}
		<-m.session.lost
		return err
	}
	m = f.open("k", opts)
	f.work(m, "mine", "mine")
	f.step("k", stepOptions("run", "1", 2), "of the other")
	_, err := m.Close(t.Context())
	if !errors.Is(err, ErrServerLost) || !strings.Contains(err.Error(), "nothing was stored") {
		t.Errorf("Close = %v, want ErrServerLost, and that nothing was stored", err)
	}
	wantCommitted(t, err, 2, "of the other")
}

// wantCommitted checks that err says that a step was committed by an attempt.
func wantCommitted(t *testing.T, err error, attempt int32, result string) *CommittedError {
	t.Helper()
	var e *CommittedError
	if !errors.Is(err, ErrAlreadyCommitted) || !errors.As(err, &e) {
		t.Fatalf("error = %v, want a *CommittedError", err)
	}
	if e.Record.Origin.Attempt != attempt || string(e.Record.Result) != result || errors.Is(err, store.ErrConflict) {
		t.Fatalf("error = %v with %+v, want the commit of attempt %d with the result %q, and no conflict", err, e, attempt, result)
	}
	return e
}

// log reads the stored log.
func (f *fixture) log(key string) (store.Info, *archive.Log) {
	f.t.Helper()
	u, err := store.ParseURL(f.url(key))
	if err != nil {
		f.t.Fatal(err)
	}
	st, err := store.OpenBucket(f.t.Context(), u)
	if err != nil {
		f.t.Fatal(err)
	}
	defer st.Close()
	info, log, err := store.ReadLog(f.t.Context(), st, u.Key)
	if err != nil {
		f.t.Fatal(err)
	}
	return info, log
}
