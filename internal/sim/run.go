package sim

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Break is a fault injected into the code, to test that the rules detect it.
type Break int

// What can be broken.
const (
	BreakNothing   Break = iota
	BreakOnce            // an attempt does not ask the log when it opens
	BreakUnknown         // "may have been stored" is reported as "was not"
	BreakCondition       // the bucket ignores the conditions of writes
)

// Rules say what may happen in a schedule.
type Rules struct {
	Break  Break
	Faults int // one request in that many meets a fault; 0 means none

	deletes, foreign, bursts bool // chosen by the schedule
}

// Report is the outcome of a schedule.
type Report struct {
	Err     error // the broken rule, or nil
	Trace   []string
	Choices []uint32
	Commits int // archives stored
	Unknown int // unknown outcomes
	Clients int
}

// run runs one schedule, in a bubble.
func run(c *choices, rules Rules) Report {
	w := &world{choices: c, rules: &rules}
	w.bucket.broken = rules.Break == BreakCondition
	rules.deletes, rules.foreign, rules.bursts = c.of(8, 1) > 0, c.of(8, 1) > 0, c.of(200, 1) > 0
	w.server.began = time.Now()
	w.server.events = c.next(4)
	for i := range 1 + c.next(3) {
		w.server.activities = append(w.server.activities, &activity{
			name: fmt.Sprintf("activity %d", i+1), current: map[int]time.Time{},
			scheduled: time.Now().Add(time.Duration(c.next(4)) * 2 * time.Second), resets: c.of(3, 2),
		})
	}
	for _, a := range w.server.activities {
		a.starts = a.scheduled
	}
	err := w.run()
	if err == nil {
		err = w.check()
	}
	r := Report{Err: err, Trace: w.trace, Choices: c.taken, Commits: len(w.bucket.history), Clients: w.server.clients}
	for _, o := range w.done {
		if o.err != nil {
			r.Unknown++
		}
	}
	return r
}

// bubbleSize is how many schedules one bubble runs.
const bubbleSize = 100

// Seeds runs the schedules of the seeds from first to last, and returns the first one that
// breaks a rule, shrunk; else the sum of their reports.
func Seeds(t *testing.T, first, last uint64, rules Rules) (sum Report, failed bool) {
	for from := first; from <= last && !failed; from += bubbleSize {
		synctest.Test(t, func(*testing.T) {
			for seed := from; seed <= min(last, from+bubbleSize-1); seed++ {
				r := run(fromSeed(seed), rules)
				if r.Err != nil {
					sum, failed = smallest(seed, r, rules), true
					return
				}
				sum.Commits += r.Commits
				sum.Unknown += r.Unknown
				sum.Clients += r.Clients
			}
		})
	}
	return sum, failed
}

// smallest shrinks a schedule that has broken a rule.
func smallest(seed uint64, r Report, rules Rules) Report {
	list := shrink(r.Choices, func(list []uint32) bool { return run(fromList(list), rules).Err != nil })
	small := run(fromList(list), rules)
	small.Err = fmt.Errorf("seed %d: %w\n%s", seed, small.Err, strings.Join(small.Trace, "\n"))
	return small
}
