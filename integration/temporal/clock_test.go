package temporal

import (
	"slices"
	"testing"
	"time"

	"go.temporal.io/sdk/workflow"

	"github.com/workdir/workdir/activity/errtype"
	"github.com/workdir/workdir/archive"
)

// A worker whose clock is an hour off commits and is killed before its completion:
// the next attempt finds the commit all the same. Times in the log do not go back, and
// one that is far ahead is the time at which the archive was stored.
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
			wrong := !records[1].Time.Equal(skewed.Time)
			if off > 0 {
				wrong = !records[1].Time.Before(skewed.Time) || records[0].Time.After(skewed.Time)
			}
			if wrong || records[0].Time.Before(records[1].Time) {
				t.Errorf("times of the log = %v, %v, by a clock that said %v", records[1].Time, records[0].Time, skewed.Time)
			}
		})
	}
}

// Where a full log begins after the activity was scheduled, by the clocks of those
// who committed, an attempt that is the first one has nothing to find there, and works.
func TestFullLogAndTheFirstAttempt(t *testing.T) {
	e := newEnv(t)
	e.newWorker(workerOptions{Program: "tally"})
	for key, oldest := range map[string]time.Time{"past": time.Now().Add(-time.Hour), "future": time.Now().Add(time.Hour)} {
		e.tally("add", tally{key, "base-of-" + key})
		e.rewrite(key, func(log *archive.Log) *archive.Log { return fullLog(log.Record, oldest) })
		e.checkOnce(key, e.tally("add", tally{key, key}))
	}
}

// Any other attempt is refused there for good, and no function runs: it can be one
// before that has committed, as here it has. The number 1 after a reset is no proof.
func TestFullLogAndALaterAttempt(t *testing.T) {
	for name, reset := range map[string]bool{"attempt 2": false, "attempt 1 after a reset": true} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			w := e.newWorker(workerOptions{Program: "tally"})
			awaitKill := w.killBeforeCompletion()
			r := startWorkflow(e, func(ctx workflow.Context) (outcome, error) {
				_, err := execute[int32](e.activities(ctx), "add", tally{"job", "first"})
				return outcomeOf(err), nil
			})
			awaitKill()
			e.rewrite("job", func(log *archive.Log) *archive.Log {
				return fullLog(archive.Record{ID: archive.NewCommitID()}, time.Now().Add(time.Hour))
			})
			attempt := r.awaitAttempt(2).GetAttempt()
			if reset {
				r.reset()
				attempt = 1
			}
			noError(t, w.Start())
			o, err := r.result()
			noError(t, err)
			if o.Type != errtype.Unknown || !o.Final {
				t.Errorf("error = %+v, want a final one of type %s", o, errtype.Unknown)
			}
			if got := r.attempts(); !slices.Equal(got, []int32{attempt}) {
				t.Errorf("attempts in the history = %v, want %d", got, attempt)
			}
			if ran := e.ranIn("first"); len(ran) != 1 {
				t.Errorf("ran in attempts %v, want the first alone", ran)
			}
			if n := len(e.log("job")); n != archive.MaxLog+1 {
				t.Errorf("%d commits are in the log: the workspace was stored", n)
			}
		})
	}
}

// fullLog returns a log that has forgotten a commit. What it has left is of one moment,
// and its last commit is last.
func fullLog(last archive.Record, at time.Time) *archive.Log {
	var log *archive.Log
	for range archive.MaxLog + 1 {
		log = log.Next(archive.Record{ID: archive.NewCommitID(), Time: at})
	}
	last.Time = at
	return log.Next(last)
}
