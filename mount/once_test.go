package mount

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/fs"
	"github.com/workdir/workdir/store"
)

// stepOptions are the options of one attempt of a step.
func stepOptions(execution, step string, attempt int32) *Options {
	return &Options{
		Origin: archive.Origin{Execution: execution, Step: step, Attempt: attempt, WorkflowType: "Orders"},
		Grace:  time.Minute,
	}
}

// refused returns the error of an Open; if there is none it closes the mount again.
func (f *fixture) refused(key string, opts *Options) error {
	f.t.Helper()
	m, err := f.tryOpen(key, opts)
	if err == nil {
		f.close(m, false)
	}
	return err
}

// work writes one file, sets a result and marks.
func (f *fixture) work(m *Mount, content, result string) {
	f.t.Helper()
	f.write(m, "name", content)
	if err := m.SetResult([]byte(result)); err != nil {
		f.t.Fatal(err)
	}
	if err := m.Commit(); err != nil {
		f.t.Fatal(err)
	}
}

// step does a step whole.
func (f *fixture) step(key string, opts *Options, result string) Result {
	f.t.Helper()
	m := f.open(key, opts)
	f.work(m, result, result)
	return f.close(m, false)
}

// A read-only mount stores nothing, and is no step.
func TestReadOnlyIsNoStep(t *testing.T) {
	f := newFixture(t)
	f.step("k", stepOptions("run", "1", 1), "one")
	opts := stepOptions("run", "1", 2)
	opts.ReadOnly = true
	f.close(f.open("k", opts), false)
}

// An id may be used again once its execution has ended: the work of the second execution is
// not done yet. A commit by an earlier release, without the time at which its execution was
// scheduled, counts if it was made since that time; shortly before, nobody can know.
func TestStepsOfOneNameByTheTimeScheduled(t *testing.T) {
	scheduled := time.Date(2026, 5, 17, 12, 0, 0, 0, time.UTC)
	tests := []struct {
		name      string
		recorded  time.Time // when the execution of the commit was scheduled
		committed time.Time
		since     time.Time
		want      error
	}{
		{"the same", scheduled, scheduled.Add(time.Hour), scheduled, ErrAlreadyCommitted},
		{"the same, of less than a millisecond more", scheduled.Add(time.Microsecond), scheduled, scheduled, ErrAlreadyCommitted},
		{"an earlier one", scheduled.Add(-time.Millisecond), scheduled, scheduled, nil},
		{"not recorded, committed since", time.Time{}, scheduled, scheduled, ErrAlreadyCommitted},
		{"not recorded, committed before", time.Time{}, scheduled.Add(-store.ClockSkew - time.Second), scheduled, nil},
		{"not recorded, committed at about that time", time.Time{}, scheduled.Add(-store.ClockSkew), scheduled, store.ErrUnknown},
		{"not recorded, and nothing can be committed", time.Time{}, scheduled, time.Time{}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t)
			f.past("k", 2, tt.committed, func(_ int, rec *archive.Record) {
				rec.Origin = stepOptions("run", "1", 1).Origin
				rec.Origin.Workspace, rec.Origin.Scheduled = "file://"+strings.TrimSuffix(f.archive("k"), ".tar.gz"), tt.recorded
			})
			opts := stepOptions("run", "1", 2)
			opts.Origin.Scheduled, opts.Since = scheduled, tt.since
			err := f.refused("k", opts)
			if !errors.Is(err, tt.want) {
				t.Fatalf("Open = %v, want %v", err, tt.want)
			}
			if errors.Is(err, store.ErrUnknown) && !strings.Contains(err.Error(), "workdir-mount log") {
				t.Errorf("Open = %v, want what to do", err)
			}
		})
	}
}

// A conflict with the work of others, with another step, or with a deletion stays a
// conflict.
func TestOtherConflictsStay(t *testing.T) {
	tests := []struct {
		name  string
		other func(*fixture)
	}{
		{"nobody's work", func(f *fixture) { f.commit("k", "name", "other") }},
		{"another step", func(f *fixture) { f.step("k", stepOptions("run", "2", 1), "other") }},
		{"deleted", func(f *fixture) {
			if err := os.Remove(f.archive("k")); err != nil {
				f.t.Fatal(err)
			}
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t)
			f.commit("k", "name", "0")
			m := f.open("k", stepOptions("run", "1", 1))
			f.work(m, "mine", "mine")
			tt.other(f)
			_, err := m.Close(t.Context())
			var conflict *store.ConflictError
			if !errors.As(err, &conflict) || errors.Is(err, ErrAlreadyCommitted) {
				t.Errorf("Close = %v, want a conflict", err)
			}
		})
	}
}

// Some tools leave zeros behind an archive, and hid its log so: a step was done again.
// What else hides a log is an error for a step.
func TestStepOfAnArchiveThatWasAddedTo(t *testing.T) {
	f := newFixture(t)
	f.step("k", stepOptions("run", "1", 1), "one")
	add := func(more string) {
		if err := os.WriteFile(f.archive("k"), append(f.bytes("k"), more...), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	add("\x00")
	var done *CommittedError
	if err := f.refused("k", stepOptions("run", "1", 2)); !errors.As(err, &done) || string(done.Record.Result) != "one" {
		t.Errorf("with a zero behind the archive Open = %v, want the result of the step", err)
	}
	add("more")
	if err := f.refused("k", stepOptions("run", "1", 2)); !errors.Is(err, archive.ErrFormat) {
		t.Errorf("with more behind the archive Open = %v, want a refusal", err)
	}
	m := f.open("k", nil)
	if !strings.Contains(strings.Join(m.Warnings(), "\n"), "commit log") {
		t.Errorf("the warnings are %q", m.Warnings())
	}
	f.write(m, "name", "by no step")
	f.close(m, true)
	opts := stepOptions("run", "1", 3)
	opts.Since = time.Now().Add(-time.Hour)
	if err := f.refused("k", opts); !errors.Is(err, store.ErrUnknown) {
		t.Errorf("after a commit upon it Open = %v, want that nobody knows", err)
	}
}

// What came in between cannot be read: the conflict stands, and says why nobody
// looked whether it is with another attempt.
func TestConflictWithADamagedArchive(t *testing.T) {
	f := newFixture(t)
	f.step("k", stepOptions("run", "1", 1), "one")
	m := f.open("k", stepOptions("run", "2", 1))
	f.work(m, "mine", "mine")
	damaged := f.bytes("k")
	for i := len(damaged) - 60; i < len(damaged)-30; i++ {
		damaged[i] ^= 0x55
	}
	if err := os.WriteFile(f.archive("k"), damaged, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := m.Close(t.Context())
	if !errors.Is(err, store.ErrConflict) || !strings.Contains(err.Error(), "may have committed this step") || errors.Is(err, archive.ErrFormat) {
		t.Errorf("Close = %v, want a conflict alone, with the reason why the log was not read", err)
	}
}

func TestOriginsThatAreRefused(t *testing.T) {
	f := newFixture(t)
	if _, err := f.tryOpen("k", stepOptions("run\xff", "", 1)); err == nil || !strings.Contains(err.Error(), "not UTF-8") {
		t.Errorf("Open = %v, want a word on UTF-8", err)
	}
	opts := stepOptions("run", "1", 1)
	opts.Origin.Scheduled = time.Date(1969, 12, 31, 0, 0, 0, 0, time.UTC)
	if _, err := f.tryOpen("k", opts); err == nil || !strings.Contains(err.Error(), "1970") {
		t.Errorf("Open = %v, want a word on the time", err)
	}
	opts = stepOptions("run", "1", 1)
	opts.Origin.Worker = strings.Repeat("w", maxOrigin)
	if _, err := f.tryOpen("k", opts); !errors.Is(err, ErrLimit) {
		t.Errorf("Open = %v, want ErrLimit", err)
	}
	m := f.open("k", nil)
	if err := m.SetResult(make([]byte, archive.MaxResult+1)); !errors.Is(err, ErrLimit) {
		t.Errorf("SetResult = %v, want ErrLimit", err)
	}
	f.close(m, false)
	if err := m.SetResult(nil); !errors.Is(err, ErrClosed) {
		t.Errorf("SetResult = %v, want ErrClosed", err)
	}
}

// One host whose clock was ahead, and all commits after its own were in the future: a
// full log then refused every new step, and did not say why.
func TestClockThatIsAhead(t *testing.T) {
	f := newFixture(t)
	year := time.Now().AddDate(1, 0, 0)
	f.past("k", archive.MaxLog+2, year, func(_ int, rec *archive.Record) { rec.Host = "ahead" })
	opts := stepOptions("run", "1", 1)
	opts.Since = time.Now().Add(-time.Hour)
	if err := f.refused("k", opts); !errors.Is(err, store.ErrUnknown) || !strings.Contains(err.Error(), `the clock of host "ahead" was ahead`) {
		t.Errorf("Open = %v, want ErrUnknown and its cause", err)
	}
	// The store knows that the last commit is not of next year.
	opts.Since = time.Now().Add(time.Hour)
	f.step("k", opts, "one")
	opts = stepOptions("run", "2", 1)
	opts.Since = time.Now().Add(time.Hour)
	f.step("k", opts, "two")
	stored := f.bytes("k")
	log, err := archive.ReadLog(bytes.NewReader(stored), int64(len(stored)))
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for r := range log.All() {
		if n++; n <= 3 && r.Time.After(time.Now()) {
			t.Errorf("commit %d before the last is of %v", n-1, r.Time)
		}
	}
}

// store makes an empty archive with a log.
func (f *fixture) store(key string, log *archive.Log) {
	f.t.Helper()
	home, err := fs.NewArenaHome(1 << 20)
	if err != nil {
		f.t.Fatal(err)
	}
	defer home.Close()
	tree, err := fs.New(home, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	defer tree.Close()
	var b bytes.Buffer
	if _, err := archive.NewWriter(&b, nil).WriteTree(f.t.Context(), tree, log); err != nil {
		f.t.Fatal(err)
	}
	if err := os.WriteFile(f.archive(key), b.Bytes(), 0o644); err != nil {
		f.t.Fatal(err)
	}
}

// past stores an archive with a log of n commits, one a second, the last one at the given
// time, with records as change makes them.
func (f *fixture) past(key string, n int, last time.Time, change func(i int, rec *archive.Record)) {
	f.t.Helper()
	var log *archive.Log
	for i := range n {
		rec := archive.Record{ID: archive.NewCommitID(), Time: last.Add(-time.Duration(n-1-i) * time.Second)}
		change(i, &rec)
		log = log.Next(rec)
	}
	f.store(key, log)
}

func TestTheLogReachesBack(t *testing.T) {
	last := time.Date(2026, 5, 17, 12, 0, 0, 0, time.UTC)
	const full = archive.MaxLog + 2 // the first one is forgotten
	oldest := last.Add(-archive.MaxLog * time.Second)
	tests := []struct {
		name    string
		commits int
		since   time.Time
		want    error
	}{
		{"room for more", archive.MaxLog, last.Add(-time.Hour), nil},
		{"since is not known", full, time.Time{}, nil},
		{"long after the oldest", full, last, nil},
		{"just after the oldest", full, oldest.Add(store.ClockSkew + time.Second), nil},
		{"within the clocks' difference", full, oldest.Add(store.ClockSkew), store.ErrUnknown},
		{"long before the oldest", full, oldest.Add(-time.Hour), store.ErrUnknown},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t)
			f.past("k", tt.commits, last, func(int, *archive.Record) {})
			opts := stepOptions("run", "1", 1)
			opts.Since = tt.since
			err := f.refused("k", opts)
			if !errors.Is(err, tt.want) {
				t.Fatalf("Open = %v, want %v", err, tt.want)
			}
			if err != nil && !strings.Contains(err.Error(), "workdir-mount log") {
				t.Errorf("Open = %v, want what to do", err)
			}
			if err := f.refused("k", &Options{Since: tt.since}); err != nil {
				t.Errorf("Open for what is no step = %v", err)
			}
		})
	}
}
