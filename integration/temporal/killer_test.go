package temporal

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"go.temporal.io/api/workflowservice/v1"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// moment is when a worker is killed.
type moment string

// Moments. All but the first are met to the instruction, by a proxy or by a watch.
const (
	working    moment = "while the activity runs"
	asking     moment = "while it asks whether the attempt is current"
	stored     moment = "right after the archive was replaced"
	completing moment = "before its completion arrives"
	completed  moment = "after its completion has arrived"
)

// moments are drawn with their weight.
var moments = []moment{working, working, working, asking, stored, stored, completing, completing, completed}

// fates are the processes to kill, in order.
var fates = [][]target{{workerOnly}, {mountServer}, {workerOnly, mountServer}, {mountServer, workerOnly}}

// killer kills workers while they work, and starts them again.
type killer struct {
	env     *env
	workers []*victim
	appends int // in all
	kills   int // in all

	going sync.WaitGroup // kills under way

	mu     sync.Mutex // guards all below
	rand   *rand.Rand
	done   int            // activities that have completed
	armed  int            // kills that were planned
	next   *kill          // planned; nil: none
	active *victim        // whose activity began last
	since  time.Time      // when that was
	took   time.Duration  // by an activity, about
	met    map[string]int // kills that met a living process, by what they were
}

// victim is a worker that will be killed.
type victim struct {
	*workerProcess

	dying sync.Mutex // held from its kill until it is ready again
}

// kill is a kill that is planned.
type kill struct {
	moment moment
	fate   []target
	at     float64 // of the time that an activity takes, for working
	other  bool    // another worker than the active one
}

func newKiller(e *env, appends, kills int, r *rand.Rand) *killer {
	return &killer{env: e, appends: appends, kills: kills, rand: r, took: 50 * time.Millisecond, met: map[string]int{}}
}

// add starts a worker that will be killed.
func (k *killer) add(opts workerOptions) {
	w := &victim{workerProcess: k.env.newWorker(opts)}
	w.set(func(c *call, forward func() error) error { return k.intercept(w, c, forward) })
	k.workers = append(k.workers, w)
}

// begin begins to kill. The kills are spread evenly over the appends.
func (k *killer) begin() {
	k.env.onStored(func() { k.meet(stored, nil) })
}

// finish waits until the last kill is done.
func (k *killer) finish() {
	k.env.t.Helper()
	k.going.Wait()
	k.mu.Lock()
	defer k.mu.Unlock()
	n := 0
	for _, times := range k.met {
		n += times
	}
	if n < k.kills {
		k.env.t.Errorf("%d kills met a living process, want %d", n, k.kills)
	}
}

// errKilled is what a dead worker would be told.
var errKilled = status.Error(codes.Unavailable, "the worker is killed")

// intercept follows what a worker says to the server.
func (k *killer) intercept(w *victim, c *call, forward func() error) error {
	switch c.Method {
	case "PollActivityTaskQueue":
		err := forward()
		var task workflowservice.PollActivityTaskQueueResponse
		if err == nil && c.Reply(&task) == nil && len(task.GetTaskToken()) > 0 {
			k.began(w)
		}
		return err
	case "RecordActivityTaskHeartbeat":
		if k.meet(asking, w) {
			return errKilled
		}
	case "RespondActivityTaskCompleted":
		if k.meet(completing, w) {
			return errKilled
		}
		err := forward()
		if err == nil {
			k.ended()
			k.meet(completed, w)
		}
		return err
	}
	return forward()
}

// began notes who works.
func (k *killer) began(w *victim) {
	k.mu.Lock()
	k.active, k.since = w, time.Now()
	k.mu.Unlock()
	k.meet(working, w)
}

// ended notes that an activity is done, and plans the next kill if it is its turn.
// One that waits in vain for its moment becomes one that comes surely.
func (k *killer) ended() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.done++
	k.took = (3*k.took + min(time.Since(k.since), 4*k.took)) / 4
	// The last tenth is for kills that met nobody, and for completions whose answer
	// got lost, which are not counted.
	if k.armed == k.kills || 10*k.done*(k.kills+1) < 9*(k.armed+1)*k.appends {
		return
	}
	if k.next != nil {
		k.next.moment = completing
		return
	}
	k.armed++
	k.next = &kill{
		moment: moments[k.rand.IntN(len(moments))],
		fate:   fates[k.rand.IntN(len(fates))],
		at:     1.2 * k.rand.Float64(),
		other:  k.rand.IntN(5) == 0,
	}
}

// meet does the kill that is planned if its moment has come for w, nil for the
// active worker. It reports whether it has killed; the worker is started again.
func (k *killer) meet(now moment, w *victim) bool {
	k.mu.Lock()
	plan := k.next
	if plan == nil || plan.moment != now {
		k.mu.Unlock()
		return false
	}
	k.next = nil
	if w == nil {
		w = k.active
	}
	if now == working && plan.other {
		w = k.workers[k.rand.IntN(len(k.workers))]
	}
	delay := time.Duration(plan.at * float64(k.took))
	k.mu.Unlock()

	k.going.Add(1)
	if now == working { // the worker has to get its task first
		time.AfterFunc(delay, func() { k.kill(w, plan) })
	} else {
		k.kill(w, plan)
	}
	return true
}

func (k *killer) kill(w *victim, plan *kill) {
	defer k.going.Done()
	w.dying.Lock()
	defer w.dying.Unlock()
	hit := false
	for _, who := range plan.fate {
		hit = w.Kill(who) || hit
	}
	k.mu.Lock()
	if hit {
		k.met[fmt.Sprintf("%-15s %s", names(plan.fate), plan.moment)]++
	} else {
		k.armed-- // once more
	}
	k.mu.Unlock()
	if !slices.Contains(plan.fate, workerOnly) {
		return
	}
	if err := w.Start(); err != nil {
		k.env.t.Error(err)
	}
}

func names(fate []target) string {
	s := make([]string, len(fate))
	for i, who := range fate {
		s[i] = map[target]string{workerOnly: "worker", mountServer: "server"}[who]
	}
	return strings.Join(s, "+")
}

// summary reports which kills met a living process.
func (k *killer) summary() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	lines := []string{"kills that met a living process:"}
	for what, times := range k.met {
		lines = append(lines, fmt.Sprintf("%4d %s", times, what))
	}
	slices.Sort(lines[1:])
	return strings.Join(lines, "\n")
}
