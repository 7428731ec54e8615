package temporal

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/workdir/workdir/activity/errtype"
	"github.com/workdir/workdir/mount"
)

// Two activities on one workspace at the same time: one of them conflicts and is
// tried again on what the other one has stored, and both effects are there.
func TestTwoActivitiesOnOneWorkspace(t *testing.T) {
	e := newEnv(t)
	e.newWorker(workerOptions{Program: "hold"})
	r := startWorkflow(e, func(ctx workflow.Context) ([]int, error) {
		ctx = e.activities(ctx)
		a, b := workflow.ExecuteActivity(ctx, "hold", "a"), workflow.ExecuteActivity(ctx, "hold", "b")
		attempts := make([]int, 2)
		return attempts, errors.Join(a.Get(ctx, &attempts[0]), b.Get(ctx, &attempts[1]))
	})
	for _, name := range []string{"a", "b"} {
		e.awaitNote("opened-" + name)
	}
	e.note("go-a")
	e.note("go-b")
	attempts, err := r.result()
	noError(t, err)
	slices.Sort(attempts)
	if !slices.Equal(attempts, []int{1, 2}) {
		t.Errorf("attempts = %v, want one of each", attempts)
	}
	if got, want := r.failures(), []string{errtype.Conflict}; !slices.Equal(got, want) {
		t.Errorf("failures of attempts = %q, want %q", got, want)
	}
	for _, name := range []string{"a", "b"} {
		if got := e.file("job", name); got != "here\n" {
			t.Errorf("file %s = %q", name, got)
		}
	}
	if n := len(e.log("job")); n != 2 {
		t.Errorf("%d commits, want 2", n)
	}
}

// failures returns the types of the errors after which activities were tried again.
func (r *run[T]) failures() []string {
	r.env.t.Helper()
	var types []string
	for _, event := range r.history() {
		if f := event.GetActivityTaskStartedEventAttributes().GetLastFailure(); f != nil {
			types = append(types, f.GetApplicationFailureInfo().GetType())
		}
	}
	return types
}

// An activity that is cancelled stores nothing, whether it ends by itself or does
// as if nothing had happened, and leaves nothing while its worker lives on. It
// hears of it by the heartbeats that are sent for it.
func TestCancelled(t *testing.T) {
	for _, name := range []string{"hold", "stubborn"} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			e.newWorker(workerOptions{Program: "hold"})
			r := startWorkflow(e, func(ctx workflow.Context) (int, error) {
				opts := options(e.queue)
				opts.WaitForCancellation = true
				return execute[int](workflow.WithActivityOptions(ctx, opts), name, "file")
			})
			e.awaitNote("opened-file")
			r.cancel()
			waitFor(t, "the request", func() bool { return r.count(enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED) == 1 })
			if name == "stubborn" {
				e.note("go-file")
			}
			_, err := r.result()
			var canceled *temporal.CanceledError
			if !errors.As(err, &canceled) {
				t.Errorf("error = %v, want a cancellation", err)
			}
			e.checkNoEffect()
		})
	}
}

// checkNoEffect holds that nothing was stored, and that nothing stays mounted though
// the workers live.
func (e *env) checkNoEffect() {
	e.t.Helper()
	waitFor(e.t, "unmounting", func() bool { return len(e.mounts()) == 0 })
	if e.exists("job") {
		e.t.Error("the workspace is stored")
	}
}

// An activity that goes on after its time has run out stores nothing.
func TestTimedOut(t *testing.T) {
	e := newEnv(t)
	w := e.newWorker(workerOptions{Program: "hold"})
	r := startWorkflow(e, func(ctx workflow.Context) (int, error) {
		opts := options(e.queue)
		opts.StartToCloseTimeout = 2 * time.Second
		opts.RetryPolicy.MaximumAttempts = 1
		return execute[int](workflow.WithActivityOptions(ctx, opts), "stubborn", "file")
	})
	e.awaitNote("opened-file")
	_, err := r.result()
	var timeout *temporal.TimeoutError
	if !errors.As(err, &timeout) || timeout.TimeoutType() != enumspb.TIMEOUT_TYPE_START_TO_CLOSE {
		t.Errorf("error = %v, want a timeout", err)
	}
	e.note("go-file")
	noError(t, w.Shutdown())
	e.checkNoEffect()
}

// A worker that is asked to stop ends its activities: they store nothing, and
// another worker does the work.
func TestWorkerStops(t *testing.T) {
	e := newEnv(t)
	first := e.newWorker(workerOptions{Program: "hold"})
	r := startWorkflow(e, one[int](e, "hold", "file"))
	e.awaitNote("opened-file")
	noError(t, first.Shutdown())
	e.checkNoEffect()
	e.newWorker(workerOptions{Program: "hold"})
	e.note("go-file")
	attempt, err := r.result()
	noError(t, err)
	if attempt < 2 {
		t.Errorf("attempt %d gave the result, want a later one than the first", attempt)
	}
	if n := len(e.log("job")); n != 1 {
		t.Errorf("%d commits, want 1", n)
	}
}

// The program "remember" has an activity which sends details once, in its first
// attempt, waits for "enough", and returns the details of the attempt before.
func init() {
	programs["remember"] = func(w worker.Worker, c *config) {
		remember := func(ctx context.Context, _ *mount.Mount, detail string) (string, error) {
			if activity.GetInfo(ctx).Attempt == 1 {
				activity.RecordHeartbeat(ctx, detail)
			}
			if err := c.await(ctx, "enough"); err != nil {
				return "", err
			}
			var before string
			return before, activity.GetHeartbeatDetails(ctx, &before)
		}
		registerIn(w, "remember", c.url("job"), remember, nil)
	}
}

// An activity that works for 10 s and sends one heartbeat stays alive with a
// heartbeat timeout of 2 s. The next attempt sends none, and the one after it still
// has the details.
func TestKeepAlive(t *testing.T) {
	e := newEnv(t)
	w := e.newWorker(workerOptions{Program: "remember"})
	r := startWorkflow(e, one[string](e, "remember", "half done"))
	first := r.awaitAlive(1, 10*time.Second)
	if first != 1 {
		t.Errorf("after 10 s it is attempt %d, want 1", first)
	}
	w.Kill(both)
	noError(t, w.Start())
	second := r.awaitAlive(2, 3*time.Second)
	w.Kill(both)
	e.note("enough")
	noError(t, w.Start())
	got, err := r.result()
	noError(t, err)
	if got != "half done" {
		t.Errorf("details after attempt %d = %q", second, got)
	}
}

// awaitAlive waits until an attempt, the nth or a later one, has been alive so long
// by its heartbeats, and returns its number.
func (r *run[T]) awaitAlive(n int32, d time.Duration) int32 {
	r.env.t.Helper()
	return r.awaitPending(fmt.Sprintf("heartbeats of attempt %d for %v", n, d), func(a *workflowpb.PendingActivityInfo) bool {
		return a.GetAttempt() >= n && a.GetLastHeartbeatTime().AsTime().Sub(a.GetLastStartedTime().AsTime()) > d
	}).GetAttempt()
}
