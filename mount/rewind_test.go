package mount

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/store"
)

// flow is a workflow whose steps commit to the workspace "k". Its runs are named by resets:
// "A", "B".
type flow struct {
	*fixture
	began time.Time
	done  []store.PastActivity // oldest first
}

func newFlow(t *testing.T) *flow {
	return &flow{fixture: newFixture(t), began: time.Now().Truncate(time.Millisecond)}
}

// options are those of step n of a run. shared is how many of the flow's steps had ended before
// the reset that has made the run; less than zero: none has.
func (f *flow) options(run string, n, shared int) *Options {
	o := &Options{
		Keep: store.Keep{Last: 100}, KeepEmpty: true, Grace: time.Minute,
		Origin: archive.Origin{
			Execution: fmt.Sprint("ns wf ", run, n), Step: "1", Attempt: 1,
			Namespace: "ns", WorkflowID: "wf", RunID: run, ActivityID: fmt.Sprint(n), Scheduled: f.began.Add(time.Duration(len(f.done)) * time.Millisecond),
		},
	}
	if shared >= 0 {
		o.Rewind = &store.Past{Began: f.began, Ended: f.done[:shared]}
	}
	return o
}

// step does step n of a run: it adds a file of its name.
func (f *flow) step(run string, n, shared int) Result {
	f.t.Helper()
	o := f.options(run, n, shared)
	m := f.open("k", o)
	f.write(m, fmt.Sprint(run, n), run)
	f.done = append(f.done, store.PastActivity{RunID: run, ActivityID: o.Origin.ActivityID, Scheduled: o.Origin.Scheduled})
	return f.close(m, true)
}

// files lists a mount.
func (f *flow) files(m *Mount) string {
	f.t.Helper()
	list, err := os.ReadDir(m.Path())
	if err != nil {
		f.t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	return strings.Join(names, " ")
}

// A run that was reset to a step finds the files as they were then, in every view and for
// reading too, and what it stores is on top of what it has left.
func TestRewind(t *testing.T) {
	f := newFlow(t)
	var ids []archive.CommitID
	for n := 1; n <= 4; n++ {
		ids = append(ids, f.step("A", n, -1).CommitID)
	}
	want := []string{"", "A1", "A1 A2", "A1 A2 A3", "A1 A2 A3 A4"}
	for shared := range 5 {
		for _, readOnly := range []bool{false, true} {
			o := f.options("B", 9, shared)
			o.ReadOnly = readOnly
			if readOnly {
				o.Presence, o.Keep = MayBeAbsent, store.Keep{}
			}
			m := f.open("k", o)
			rewound := archive.NoArchive
			switch {
			case shared == 4:
				rewound = ""
			case shared > 0:
				rewound = ids[shared-1]
			}
			if got := f.files(m); got != want[shared] || m.Rewound() != rewound {
				t.Errorf("reset after %d steps, read-only %v: %q, rewound to %q, want %q, %q", shared, readOnly, got, m.Rewound(), want[shared], rewound)
			}
			f.close(m, false)
		}
	}
	res := f.step("B", 3, 2)
	m := f.open("k", f.options("B", 4, 2))
	if got := f.files(m); got != "A1 A2 B3" || m.Rewound() != "" {
		t.Errorf("the next step finds %q, rewound to %q", got, m.Rewound())
	}
	f.close(m, false)
	_, log := f.log("k")
	if r := log.Record; r.ID != res.CommitID || r.Parent != ids[3] || r.RewoundTo() != ids[1] || log.Len() != 5 {
		t.Errorf("the log has %d commits, the last one %+v; want it to be %s, rewound from %s to %s", log.Len(), r, res.CommitID, ids[3], ids[1])
	}
}

// A first step goes back to before there was an archive.
func TestRewindToNothing(t *testing.T) {
	f := newFlow(t)
	f.step("A", 1, -1)
	o := f.options("B", 1, 0)
	o.Presence = MustExist
	if _, err := f.tryOpen("k", o); !errors.Is(err, store.ErrNotExist) {
		t.Errorf("must exist: %v", err)
	}
	o.Presence = MustBeNew
	m := f.open("k", o)
	f.write(m, "B1", "")
	f.close(m, true)
	_, log := f.log("k")
	if log.Record.RewoundTo() != archive.NoArchive || log.Len() != 2 {
		t.Errorf("rewound to %q, %d commits", log.Record.RewoundTo(), log.Len())
	}
	m = f.open("k", f.options("B", 2, 0))
	if got := f.files(m); got != "B1" {
		t.Errorf("the next step finds %q", got)
	}
}

// An archive of another program is a version like any other.
func TestRewindToAnotherProgramsArchive(t *testing.T) {
	f := newFlow(t)
	dir := t.TempDir()
	if out, err := exec.Command("sh", "-ec", `touch "$0/theirs"; tar -C "$0" -czf "$1" theirs`, dir, f.archive("k")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	f.step("A", 1, -1)
	m := f.open("k", f.options("B", 1, 0))
	if got := f.files(m); got != "theirs" {
		t.Errorf("it finds %q, rewound to %q", got, m.Rewound())
	}
}

// A marked mount that was rewound is stored though nothing was changed in it: what the reset
// has undone would stay.
func TestRewindThatChangesNothing(t *testing.T) { rewindThatChangesNothing(newFlow(t)) }

func TestOverlayThatWasRewoundChangesNothing(t *testing.T) {
	f := newFlow(t)
	f.view = ViewOverlay
	rewindThatChangesNothing(f)
}

func rewindThatChangesNothing(f *flow) {
	t := f.t
	f.step("A", 1, -1)
	f.step("A", 2, -1)
	m := f.open("k", f.options("B", 2, 1))
	if res := f.close(m, true); !res.Stored || res.Changes.Total() != 0 {
		t.Errorf("result: %+v", res)
	}
	m = f.open("k", nil)
	if got := f.files(m); got != "A1" {
		t.Errorf("the workspace has %q", got)
	}
	f.close(m, false)
	f.step("B", 3, 1)
	m = f.open("k", f.options("C", 2, 1)) // the mark counts, not the rewinding
	if res := f.close(m, false); res.Stored {
		t.Error("it is stored without a mark")
	}
}

// The next attempt finds the step done, on top of what was rewound. Steps of the run that was
// reset are not done for the new one.
func TestRewoundStepIsDoneOnce(t *testing.T) {
	f := newFlow(t)
	f.step("A", 1, -1)
	f.step("A", 2, -1)
	o := f.options("B", 2, 1)
	m := f.open("k", o)
	f.write(m, "B2", "")
	f.close(m, true)
	again := *o
	again.Origin.Attempt = 2
	var done *CommittedError
	if _, err := f.tryOpen("k", &again); !errors.As(err, &done) || done.Record.Origin.RunID != "B" {
		t.Errorf("the next attempt: %v", err)
	}
}

// What another attempt, or a late one of the run that was reset, has stored meanwhile is a
// conflict, with Merge too: the newest archive has what the reset has undone.
func TestRewoundConflicts(t *testing.T) {
	f := newFlow(t)
	f.step("A", 1, -1)
	late := f.open("k", f.options("A", 2, -1))
	f.write(late, "A2", "")
	f.step("A", 3, -1)
	o := f.options("B", 2, 1)
	o.OnConflict = Merge
	m := f.open("k", o)
	f.write(m, "B2", "")
	f.step("A", 4, -1)
	if err := m.Commit(); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Close(t.Context()); !errors.Is(err, store.ErrConflict) {
		t.Errorf("close: %v", err)
	}
	m = f.open("k", o)
	if got := f.files(m); got != "A1" {
		t.Errorf("the next attempt finds %q", got)
	}
	f.write(m, "B2", "")
	f.close(m, true)
	if err := late.Commit(); err != nil {
		t.Fatal(err)
	}
	if _, err := late.Close(t.Context()); !errors.Is(err, store.ErrConflict) {
		t.Errorf("close of one that was late: %v", err)
	}
}

// A version that is needed and gone, and work of others on top, are errors and no guess.
func TestRewindThatCannotBe(t *testing.T) {
	f := newFlow(t)
	f.step("A", 1, -1)
	f.step("A", 2, -1)
	if n, err := store.DeleteVersions(t.Context(), f.url("k")); err != nil || n != 1 {
		t.Fatalf("%d versions deleted, %v", n, err)
	}
	if _, err := f.tryOpen("k", f.options("B", 2, 1)); !errors.Is(err, store.ErrNoVersion) || !strings.Contains(err.Error(), "the workflow was reset") {
		t.Errorf("the version is gone: %v", err)
	}
	f.commit("k", "theirs", "")
	if _, err := f.tryOpen("k", f.options("B", 2, 1)); !errors.Is(err, store.ErrRewind) || !strings.Contains(err.Error(), "rollback URL") {
		t.Errorf("others have committed: %v", err)
	}
	f.noMountLeftNow()
}

// What a rewound mount cannot store is saved as it is there.
func TestRewoundIsSaved(t *testing.T) {
	f := newFlow(t)
	f.step("A", 1, -1)
	f.step("A", 2, -1)
	o := f.options("B", 2, 1)
	o.SaveFailed = f.url("saved")
	m := f.open("k", o)
	f.write(m, "B2", "")
	m.Fail("no use")
	f.close(m, false)
	saved := f.open("saved", nil)
	if got := f.files(saved); got != "A1 B2" {
		t.Errorf("saved: %q", got)
	}
}
