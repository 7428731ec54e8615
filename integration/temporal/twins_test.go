package temporal

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/workdir/workdir/mount"
)

// The program "twin" has an activity that appends the name of its worker to a file,
// and returns that name. It notes "opened-NAME", waits for "go-NAME", whatever becomes
// of its context, and notes "ended-NAME" when all is over.
func init() {
	programs["twin"] = func(w worker.Worker, c *config) {
		work := wrap(c.url("job"), func(ctx context.Context, ws *mount.Mount, _ string) (string, error) {
			if err := c.note("opened-" + c.Name); err != nil {
				return "", err
			}
			if err := c.await(context.Background(), "go-"+c.Name); err != nil {
				return "", err
			}
			if _, err := appendLine(ctx, ws, c.Name); err != nil {
				return "", err
			}
			_ = ws.Commit() // a mount that was revoked says so; the activity goes on, as a bad one would
			return c.Name, nil
		}, nil)
		w.RegisterActivityWithOptions(func(ctx context.Context) (string, error) {
			name, err := work(ctx, "")
			_ = c.note("ended-" + c.Name) // the test misses it
			return name, err
		}, activity.RegisterOptions{Name: "twin"})
	}
}

// twins are two attempts of one activity after an operator's reset, which gives the
// number 1 out again.
type twins struct {
	e            *env
	work         *run[string]
	older, newer *twin
}

// twin is one of them, on a worker of its own.
type twin struct {
	*workerProcess
	hold    atomic.Bool // its completion waits, and then for
	release chan struct{}
	current atomic.Bool // Temporal has accepted a heartbeat since it was cleared
}

func (w *twins) newTwin() *twin {
	t := &twin{release: make(chan struct{})}
	t.workerProcess = w.e.newWorker(workerOptions{Program: "twin", Concurrent: 1, Intercept: t.intercept})
	return t
}

func (t *twin) intercept(c *call, forward func() error) error {
	if c.Method == "RespondActivityTaskCompleted" && t.hold.Load() {
		<-t.release
	}
	err := forward()
	if c.Method == "RecordActivityTaskHeartbeat" && err == nil {
		t.current.Store(true)
	}
	return err
}

// newTwins starts an activity, stops its worker once it has opened its workspace, and
// waits until Temporal has given the attempt up. The next one is due after backoff.
func newTwins(t *testing.T, backoff time.Duration) *twins {
	w := &twins{e: newEnv(t)}
	w.older = w.newTwin()
	w.work = startWorkflow(w.e, func(ctx workflow.Context) (string, error) {
		opts := options(w.e.queue)
		opts.HeartbeatTimeout = 4 * time.Second
		opts.RetryPolicy.InitialInterval = backoff
		opts.ScheduleToCloseTimeout = backoff + waitLimit // the server tries no attempt again that would come after it
		return execute[string](workflow.WithActivityOptions(ctx, opts), "twin")
	})
	w.e.awaitNote("opened-" + w.older.name)
	w.older.Stop(both)
	w.work.awaitAttempt(2)
	return w
}

// inBackoff starts the newer twin by a reset while the activity waits for its next
// attempt, and wakes the older one: to Temporal both are current.
func (w *twins) inBackoff(reset func(*twins)) {
	reset(w)
	w.newer = w.newTwin()
	w.e.awaitNote("opened-" + w.newer.name)
	w.work.awaitPending("attempt 1 again", func(a *workflowpb.PendingActivityInfo) bool {
		return a.GetAttempt() == 1 && a.GetState() == enumspb.PENDING_ACTIVITY_STATE_STARTED
	})
	w.newer.current.Store(false)
	w.older.current.Store(false)
	w.older.Cont()
	waitFor(w.e.t, "heartbeats of both twins", func() bool { return w.older.current.Load() && w.newer.current.Load() })
}

// pauseAndReset is an operator's pause, and the end of it with a reset.
func (w *twins) pauseAndReset() {
	w.e.t.Helper()
	w.work.pause()
	_, err := server.client.WorkflowService().UnpauseActivity(w.e.t.Context(), &workflowservice.UnpauseActivityRequest{
		Namespace: namespace, Execution: w.work.execution(), ResetAttempts: true,
		Activity: &workflowservice.UnpauseActivityRequest_Id{Id: w.work.pending()[0].GetActivityId()},
	})
	noError(w.e.t, err)
}

func (w *twins) reset() { w.work.reset() }

// finish lets a twin work and waits for its end.
func (w *twins) finish(t *twin) {
	w.e.t.Helper()
	w.e.note("go-" + t.name)
	w.e.awaitNote("ended-" + t.name)
}

// result waits for the activity's result. A twin that fails would wait for the backoff.
func (w *twins) result() string {
	w.e.t.Helper()
	ctx, cancel := context.WithTimeout(w.e.t.Context(), waitLimit)
	defer cancel()
	var result string
	noError(w.e.t, w.work.Get(ctx, &result))
	return result
}

// check holds the one effect against the one result; want is whose they are, "" for
// either.
func (w *twins) check(want string) {
	t := w.e.t
	t.Helper()
	result := w.result()
	for _, n := range []*twin{w.older, w.newer} {
		w.e.awaitNote("ended-" + n.name)
	}
	if want != "" && result != want {
		t.Errorf("the activity gave the result of %q, want %q", result, want)
	}
	if got := w.e.file("job", "lines"); got != result+"\n" {
		t.Errorf("the workspace has %q; the activity gave the result of %q", got, result)
	}
	if n := len(w.e.log("job")); n != 1 {
		t.Errorf("%d commits, want 1", n)
	}
}

// While an activity waits in its backoff a reset, or the end of a pause with one,
// makes two attempts current at once: the server takes the heartbeats of both, and the
// completion of either. The workspace has the effect of one, whose result is the
// activity's.
func TestTwinsOfAResetInTheBackoff(t *testing.T) {
	resets := map[string]func(*twins){"reset": (*twins).reset, "unpaused with a reset": (*twins).pauseAndReset}
	for name, reset := range resets {
		for _, c := range []struct {
			name  string
			first func(*twins) (first, second *twin)
			late  bool // the completion of the first arrives behind that of the second
		}{
			{"the older one first", func(w *twins) (*twin, *twin) { return w.older, w.newer }, false},
			{"the older one first, its completion late", func(w *twins) (*twin, *twin) { return w.older, w.newer }, true},
			{"the newer one first", func(w *twins) (*twin, *twin) { return w.newer, w.older }, false},
			{"the newer one first, its completion late", func(w *twins) (*twin, *twin) { return w.newer, w.older }, true},
		} {
			t.Run(fmt.Sprintf("%s/%s", name, c.name), func(t *testing.T) {
				t.Parallel()
				w := newTwins(t, time.Hour)
				w.inBackoff(reset)
				first, second := c.first(w)
				first.hold.Store(c.late)
				w.finish(first)
				w.finish(second)
				if c.late {
					w.result()
				}
				close(first.release)
				w.check(first.name)
			})
		}
	}
	t.Run("at once", func(t *testing.T) {
		t.Parallel()
		w := newTwins(t, time.Hour)
		w.inBackoff((*twins).reset)
		w.e.note("go-" + w.older.name)
		w.e.note("go-" + w.newer.name)
		w.check("")
	})
}

// While a second attempt runs, a reset makes the first one current again, which had
// been given up and whose process may live.
func TestResetMakesTheOlderAttemptCurrent(t *testing.T) {
	for _, c := range []struct {
		name  string
		newer bool // the newer one has committed before the reset
	}{{"before a commit", false}, {"after the commit of the newer one", true}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newTwins(t, time.Millisecond)
			w.newer = w.newTwin()
			w.e.awaitNote("opened-" + w.newer.name)
			w.newer.hold.Store(true)
			want := w.older.name
			if c.newer {
				w.finish(w.newer)
				want = w.newer.name
			}
			w.older.current.Store(false)
			w.work.reset()
			w.older.Cont()
			waitFor(t, "a heartbeat of the older one", w.older.current.Load)
			w.finish(w.older)
			close(w.newer.release)
			if !c.newer {
				w.finish(w.newer)
			}
			w.check(want)
		})
	}
}
