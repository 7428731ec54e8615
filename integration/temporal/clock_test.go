package temporal

import (
	"slices"
	"testing"
	"time"

	"go.temporal.io/sdk/workflow"

	wdactivity "github.com/workdir/workdir/activity"
	"github.com/workdir/workdir/archive"
)

// A worker whose clock is an hour off commits and is killed before its completion:
// the next attempt finds the commit all the same. Times in the log do not go back.
func TestClockOfAnotherWorker(t *testing.T) {
	for name, off := range map[string]time.Duration{"ahead": time.Hour, "behind": -time.Hour} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			w := e.newWorker(workerOptions{Program: "tally"})
			awaitKill := w.killBeforeCompletion()
			r := startTally(e, "add", tally{"job", "first"})
			awaitKill()
			e.rewrite("job", func(log *archive.Log) *archive.Log {
				log.Record.Time = log.Record.Time.Add(off) // what its clock said
				return log
			})
			skewed := e.log("job")[0]
			noError(t, w.Start())
			got, err := r.result()
			noError(t, err)
			e.checkOnce("first", got)
			e.checkOnce("second", e.tally("add", tally{"job", "second"}))
			if got := e.file("job", "lines"); got != "first\nsecond\n" {
				t.Errorf("lines = %q", got)
			}
			records := e.log("job")
			if len(records) != 2 || records[1].ID != skewed.ID || records[0].Parent != skewed.ID {
				t.Fatalf("log = %+v, want a commit on top of %s", records, skewed.ID)
			}
			if records[0].Time.Before(skewed.Time) || !records[1].Time.Equal(skewed.Time) {
				t.Errorf("times of the log = %v, %v, want none before %v", records[1].Time, records[0].Time, skewed.Time)
			}
		})
	}
}

// Where a full log begins after the activity was scheduled, by the clocks of those
// who committed, nobody can tell whether the activity has committed before that. It
// is refused for good, and no function runs.
func TestFullLogAndClocks(t *testing.T) {
	e := newEnv(t)
	e.newWorker(workerOptions{Program: "tally"})
	for key, oldest := range map[string]time.Time{"past": time.Now().Add(-time.Hour), "future": time.Now().Add(time.Hour)} {
		e.tally("add", tally{key, "base-of-" + key})
		e.rewrite(key, func(log *archive.Log) *archive.Log { return fullLog(log.Record, oldest) })
	}
	e.checkOnce("past", e.tally("add", tally{"past", "past"}))

	before := e.log("future")[0].ID
	r := startWorkflow(e, func(ctx workflow.Context) (outcome, error) {
		_, err := execute[int32](e.activities(ctx), "add", tally{"future", "future"})
		return outcomeOf(err), nil
	})
	o, err := r.result()
	noError(t, err)
	if o.Type != wdactivity.TypeUnknown || !o.Final {
		t.Errorf("error = %+v, want a final one of type %s", o, wdactivity.TypeUnknown)
	}
	if got := r.attempts(); !slices.Equal(got, []int32{1}) {
		t.Errorf("attempts = %v, want one", got)
	}
	if ran := e.ranIn("future"); len(ran) > 0 {
		t.Errorf("ran in attempts %v", ran)
	}
	if after := e.log("future")[0].ID; after != before {
		t.Error("the workspace was stored")
	}
}

// fullLog gives a log that has forgotten a commit. What it has left is of one moment,
// and its last commit is last.
func fullLog(last archive.Record, at time.Time) *archive.Log {
	var log *archive.Log
	for range archive.MaxLog + 1 {
		log = log.Next(archive.Record{ID: archive.NewCommitID(), Time: at})
	}
	last.Time = at
	return log.Next(last)
}
