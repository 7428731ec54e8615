package store

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/workdir/workdir/archive"
)

// began is when the workflow of these tests was started.
var began = time.Date(2026, 5, 17, 12, 0, 0, 123456789, time.UTC)

// at is so many seconds after that.
func at(seconds int) time.Time { return began.Add(time.Duration(seconds) * time.Second) }

// commitOf makes a record: "run/activity" at a second, of the workflow "wf"; or by somebody
// else if run is "".
func commitOf(id, run, activity string, second int) archive.Record {
	r := archive.Record{ID: idOf(id), Time: at(second)}
	if run != "" {
		r.Origin = archive.Origin{Namespace: "ns", WorkflowID: "wf", RunID: run, ActivityID: activity, Scheduled: at(second)}
	}
	return r
}

// idOf makes a commit's id of a short name.
func idOf(name string) archive.CommitID {
	return archive.CommitID(fmt.Sprintf("%0*x", wholeID, name))
}

// logOf is a log of commits, oldest first.
func logOf(records ...archive.Record) (log *archive.Log) {
	for _, r := range records {
		if log == nil && r.Opened == "" {
			r.Opened = archive.NoArchive
		}
		log = log.Next(r)
	}
	return log
}

// pastOf is the past of a run: the activities that had ended, as "run/activity".
func pastOf(records ...archive.Record) *Past {
	p := &Past{Began: began}
	for _, r := range records {
		p.Ended = append(p.Ended, PastActivity{r.Origin.RunID, r.Origin.ActivityID, r.Origin.Scheduled})
	}
	return p
}

func TestRewindTarget(t *testing.T) {
	a1, a2, a3, a4 := commitOf("a1", "A", "1", 1), commitOf("a2", "A", "2", 2), commitOf("a3", "A", "3", 3), commitOf("a4", "A", "4", 4)
	b2, b3 := commitOf("b2", "B", "2b", 12), commitOf("b3", "B", "3b", 13)
	c9 := commitOf("c9", "C", "9", 30)
	theirs, theirs2 := commitOf("t1", "", "", 5), commitOf("t2", "", "", 6)
	earlier := commitOf("e1", "E", "1", -5)
	local, oldLocal := commitOf("l1", "A", "1", 4), commitOf("l0", "E", "1", -60)
	local.Origin.Scheduled, oldLocal.Origin.Scheduled = time.Time{}, time.Time{}
	foreign := a1
	foreign.Opened = "ffffffff000000000000000000000000"
	unknownBase := a1
	unknownBase.Opened = "-"
	rollback := func(to archive.Record) archive.Record {
		r := commitOf("r1", "", "", 20)
		r.Restored = string(to.ID)
		return r
	}
	otherNamespace := a3
	otherNamespace.Origin.Namespace = "elsewhere"
	type R = []archive.Record
	tests := []struct {
		name string
		past *Past
		log  R
		want archive.CommitID // "" for the newest
		why  string           // of ErrRewind
	}{
		{"an empty log", pastOf(), nil, "", ""},
		{"nothing is undone", pastOf(a1, a2), R{a1, a2}, "", ""},
		{"undone at the end", pastOf(a1, a2), R{a1, a2, a3, a4}, a2.ID, ""},
		{"all is undone", pastOf(), R{a1, a2}, archive.NoArchive, ""},
		{"all is undone, on an earlier workflow's", pastOf(), R{earlier, a1, a2}, earlier.ID, ""},
		{"all is undone, on another program's", pastOf(), R{foreign, a2}, foreign.Opened, ""},
		{"on what is not known", pastOf(), R{unknownBase, a2}, "", "is not known"},
		{"made by this run", pastOf(a1), R{a1, a2, c9}, "", ""},
		{"late, by the run that was reset", pastOf(a1), R{a1, c9, a2}, c9.ID, ""},
		{"a detour of a detour", pastOf(a1), R{a1, a2, a3, b2, b3}, a1.ID, ""},
		{"reset of the first run again, beyond what the second went back to", pastOf(a1, a2, a3), R{a1, a2, a3, a4, b2, b3}, a3.ID, ""},
		{"reset of the second run", pastOf(a1, b2), R{a1, a2, a3, b2, b3}, b2.ID, ""},
		{"the same activity and time in another run", pastOf(a1, commitOf("", "B", "2", 2)), R{a1, a2}, a1.ID, ""},
		{"the same id at another time", pastOf(a1, commitOf("", "A", "2", 7)), R{a1, a2}, a1.ID, ""},
		{"others before what is undone stay", pastOf(a1), R{a1, theirs, a2}, theirs.ID, ""},
		{"others alone come after", pastOf(a1), R{a1, theirs, theirs2}, "", ""},
		{"others after what is undone", pastOf(a1), R{a1, a2, theirs}, "", "would be undone with it"},
		{"others in what is undone", pastOf(a1), R{a1, a2, theirs, a3}, "", "would be undone with it"},
		{"another namespace's workflow of the same id", pastOf(a1), R{a1, a2, otherNamespace}, "", "would be undone with it"},
		{"rolled back by hand", pastOf(a1), R{a1, a2, theirs, rollback(a1), theirs2}, "", ""},
		{"rolled back by hand elsewhere", pastOf(a1, a2), R{a1, a2, a3, rollback(a1)}, "", "would be undone with it"},
		{"rolled back by hand, and gone on", pastOf(a1), R{a1, a2, rollback(a1), a3}, "", "would be undone with it"},
		{"a local activity's", pastOf(a1), R{a1, local}, "", "does not say when"},
		{"a local activity's of long ago", pastOf(), R{oldLocal, a1}, oldLocal.ID, ""},
		{"a local activity's beneath", pastOf(a2), R{local, a2, a3}, a2.ID, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			log := logOf(test.log...)
			if log != nil && test.name == "on what is not known" {
				log = (*archive.Log)(nil).Next(withoutBase(test.log[0])).Next(test.log[1])
			}
			got, err := test.past.Target(&c9.Origin, URL{Key: "k"}, log)
			switch {
			case test.why != "" && (!errors.Is(err, ErrRewind) || !strings.Contains(err.Error(), test.why)):
				t.Errorf("got %q, %v; want an error with %q", got, err, test.why)
			case test.why == "" && (err != nil || got != test.want):
				t.Errorf("got %q, %v; want %q", got, err, test.want)
			}
		})
	}
}

func withoutBase(r archive.Record) archive.Record {
	r.Opened = ""
	return r
}

// A log that has forgotten commits since the workflow was started cannot tell which of them
// happened for the run, unless a later one did.
func TestRewindTargetOfAFullLog(t *testing.T) {
	records := []archive.Record{commitOf("first", "A", "first", 1)}
	for i := range archive.MaxLog + 1 {
		records = append(records, commitOf(fmt.Sprint("c", i), "A", fmt.Sprint(i), 100+i))
	}
	log, run := logOf(records...), commitOf("", "C", "", 0)
	if _, err := pastOf(records[0]).Target(&run.Origin, URL{Key: "k"}, log); !errors.Is(err, ErrRewind) || !strings.Contains(err.Error(), "forgotten") {
		t.Errorf("the one that happened is forgotten: %v", err)
	}
	if got, err := pastOf(records[:3]...).Target(&run.Origin, URL{Key: "k"}, log); err != nil || got != records[2].ID {
		t.Errorf("it is there: %q, %v, want %q", got, err, records[2].ID)
	}
}

// modelRun is a run of a workflow: what has ended in it, and the files that it has then.
type modelRun struct {
	id    string
	ended []modelStep
	past  *Past
}

type modelStep struct {
	done  PastActivity
	files string // after it
}

func (r *modelRun) files() string {
	if len(r.ended) == 0 {
		return ""
	}
	return r.ended[len(r.ended)-1].files
}

// However often whichever run is reset to whichever point, each step finds the files as its
// own history has left them.
func TestRewindModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var log *archive.Log
		filesOf := map[archive.CommitID]string{archive.NoArchive: ""}
		runs := []*modelRun{{id: "0", past: &Past{Began: began}}}
		for second := 1; second < 40; second++ {
			run := runs[len(runs)-1]
			if rapid.IntRange(0, 3).Draw(t, "what") == 0 {
				base := rapid.SampledFrom(runs).Draw(t, "base")
				n := rapid.IntRange(0, len(base.ended)).Draw(t, "point")
				next := &modelRun{id: fmt.Sprint(len(runs)), ended: slices.Clone(base.ended[:n]), past: &Past{Began: began}}
				for _, s := range next.ended {
					next.past.Ended = append(next.past.Ended, s.done)
				}
				runs = append(runs, next)
				continue
			}
			rec := commitOf(fmt.Sprint("c", second), run.id, fmt.Sprint(second), second)
			to, err := run.past.Target(&rec.Origin, URL{Key: "k"}, log)
			if err != nil {
				t.Fatal(err)
			}
			if to == "" && log != nil {
				to = log.Record.ID
			}
			if got := filesOf[to]; got != run.files() {
				t.Fatalf("step %d of run %s finds %q, want %q", second, run.id, got, run.files())
			}
			files := run.files()
			if rapid.Bool().Draw(t, "commits") {
				if log == nil {
					rec.Opened = archive.NoArchive
				}
				files += string(rune('A' + second))
				log = log.Next(rec)
				filesOf[rec.ID] = files
			}
			run.ended = append(run.ended, modelStep{PastActivity{run.id, rec.Origin.ActivityID, rec.Origin.Scheduled}, files})
		}
	})
}
