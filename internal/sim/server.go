package sim

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/workdir/workdir/archive"
)

// server schedules the attempts at activities as Temporal's does, and reports whether an
// attempt is a current one. Only the scheduler touches it.
type server struct {
	began      time.Time
	activities []*activity
	clients    int // numbers given out
	events     int // remaining events of the bucket's other users
}

// activity is one execution: a step of a workflow, with all its attempts.
type activity struct {
	name      string
	scheduled time.Time
	starts    time.Time // when the next attempt begins
	attempts  int
	resets    int               // resets that an operator may still make
	current   map[int]time.Time // attempts that may complete it, and their deadlines
	closed    bool
	result    []byte // of the attempt that completed it, or nil
}

const (
	activityTimeout = 30 * time.Second // start to close
	retryAfter      = time.Second
	maxAttempts     = 8
)

// errNotCurrent is the answer to an attempt that may no longer complete its activity.
var errNotCurrent = errors.New("the attempt is not a current one")

// over reports whether no further events are pending.
func (s *server) over() bool { return s.idle() && s.events == 0 }

// act does one due thing; false if nothing is due.
func (s *server) act(w *world) bool {
	now := time.Now()
	for _, a := range s.activities {
		for number, deadline := range a.current {
			if !deadline.After(now) {
				a.fail(number)
				return true
			}
		}
		if a.due(now) {
			s.attempt(w, a)
			return true
		}
		if a.resets > 0 && len(a.current) > 0 && w.choices.next(8) == 1 {
			a.resets--
			s.attempt(w, a) // in addition to the running one
			w.note("%s is reset", a.name)
			return true
		}
	}
	if s.events > 0 && (s.idle() || w.choices.next(6) == 1) {
		s.events--
		w.others()
		return true
	}
	return false
}

// idle reports whether all activities are closed.
func (s *server) idle() bool {
	return !slices.ContainsFunc(s.activities, func(a *activity) bool { return !a.closed })
}

func (a *activity) due(now time.Time) bool {
	return !a.closed && len(a.current) == 0 && !a.starts.After(now)
}

// attempt starts the next attempt.
func (s *server) attempt(w *world, a *activity) {
	a.attempts++
	number, deadline := a.attempts, time.Now().Add(activityTimeout)
	a.current[number] = deadline
	s.clients++
	t := &attempt{
		client: client{world: w, name: s.clients}, activity: a, number: number,
		skew: time.Duration(w.choices.next(7)) * time.Second, ranged: w.choices.next(2) == 1,
		works: time.Duration(w.choices.of(4, 40)) * time.Second,
	}
	w.note("client %d: attempt %d at %s", t.name, number, a.name)
	w.start(func() { t.do(deadline) })
}

// fail ends an attempt without a result, and schedules another one.
func (a *activity) fail(number int) {
	delete(a.current, number)
	a.starts = time.Now().Add(retryAfter)
	if len(a.current) == 0 && a.attempts >= maxAttempts {
		a.closed = true
	}
}

// complete accepts an attempt's result.
func (a *activity) complete(number int, result []byte) error {
	if _, ok := a.current[number]; !ok || a.closed {
		return errNotCurrent
	}
	a.closed, a.result = true, result
	clear(a.current)
	return nil
}

// heartbeat reports whether an attempt is a current one.
func (a *activity) heartbeat(number int) error {
	if _, ok := a.current[number]; !ok || a.closed {
		return errNotCurrent
	}
	return nil
}

// origin identifies the activity's step, for one of its attempts.
func (a *activity) origin(number int) archive.Origin {
	return archive.Origin{
		Workspace: workspace.Identity(), Execution: a.name, Scheduled: a.scheduled.UTC(), Step: "1", Attempt: int32(number),
	}
}

// others lets another user act on the bucket: a command without a step, one that empties the
// workspace, another program, or a burst of commits.
func (w *world) others() {
	c := &client{world: w}
	w.server.clients++
	c.name = w.server.clients
	kinds := []func(){func() { w.start(func() { (&command{client: *c}).do() }) }}
	if w.rules.deletes {
		kinds = append(kinds, func() { w.start(func() { (&command{client: *c, empties: true}).do() }) })
	}
	if w.rules.foreign {
		kinds = append(kinds, func() { w.bucket.set(workspace.Key, pack(nil), w.events); w.note("another program writes") })
	}
	if w.rules.bursts {
		kinds = append(kinds, w.burst)
	}
	kinds[w.choices.next(len(kinds))]()
}

// burst makes more commits than a log can hold.
func (w *world) burst() {
	log := w.bucket.now.log
	for i := range archive.MaxLog + 2 {
		log = log.Next(archive.Record{ID: archive.NewCommitID(), Time: time.Now().UTC(), Host: fmt.Sprintf("host %d", i)})
	}
	w.bucket.set(workspace.Key, pack(log), w.events)
	w.note("%d commits by others", archive.MaxLog+2)
}
