package temporal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	wdactivity "github.com/workdir/workdir/activity"
	"github.com/workdir/workdir/mount"
)

// The program "ends" has the activity "ends", which marks its workspace and then
// ends, the first time that it runs, as its argument says; and the activity "lost",
// which waits, the first time, until its context ends and its mount has turned
// read-only, and notes "readonly".
func init() {
	programs["ends"] = func(w worker.Worker, c *config) {
		opts := &wdactivity.Options{AutoCommit: true}
		registerIn(w, "ends", c.url("job"), func(_ context.Context, ws *mount.Mount, how string) (string, error) {
			first, err := c.begin(ws)
			if err != nil {
				return "", err
			}
			if err := ws.Commit(); err != nil {
				return "", err
			}
			if first {
				return "", endBy(how)
			}
			return "done", nil
		}, opts)
		registerIn(w, "lost", c.url("job"), func(ctx context.Context, ws *mount.Mount, _ string) (string, error) {
			first, err := c.begin(ws)
			if err != nil || !first {
				return "done", err
			}
			<-ctx.Done()
			if err := eventually("the mount to be read-only", func() bool {
				return errors.Is(os.WriteFile(ws.Path("late"), nil, 0o644), syscall.EROFS)
			}); err != nil {
				return "", err
			}
			return "", errors.Join(context.Cause(ctx), c.note("readonly"))
		}, opts)
	}
}

// begin creates a file in the workspace, and reports whether it is the first.
func (c *config) begin(ws *mount.Mount) (first bool, err error) {
	first = !c.noted("opened")
	if err := os.WriteFile(ws.Path("file"), []byte(fmt.Sprint(first)), 0o644); err != nil {
		return false, err
	}
	return first, c.note("opened")
}

// endBy ends an activity unsuccessfully.
func endBy(how string) error {
	switch how {
	case "panic":
		panic("the work panicked")
	case "goexit":
		runtime.Goexit()
	case "pending":
		return activity.ErrResultPending
	}
	return errors.New("the work failed")
}

// checkSecond holds that the workspace is that of the second time, stored once.
func (e *env) checkSecond(result string, err error) {
	e.t.Helper()
	noError(e.t, err)
	if got := e.file("job", "file"); got != "false" || result != "done" {
		e.t.Errorf("result = %q, file = %q", result, got)
	}
	if n := len(e.log("job")); n != 1 {
		e.t.Errorf("%d commits, want 1", n)
	}
	if w := e.mounts(); len(w) > 0 {
		e.t.Errorf("still mounted: %q", w)
	}
}

// An activity that marks its workspace and then ends by an error, a panic or
// runtime.Goexit stores nothing, and the next attempt does the work.
func TestEndsAfterTheMark(t *testing.T) {
	for _, how := range []string{"error", "panic", "goexit"} {
		t.Run(how, func(t *testing.T) {
			e := newEnv(t)
			e.newWorker(workerOptions{Program: "ends"})
			r := startWorkflow(e, one[string](e, "ends", how))
			result, err := r.result()
			e.checkSecond(result, err)
		})
	}
}

// An activity that somebody else will complete is unmounted, and stores nothing.
func TestResultPending(t *testing.T) {
	e := newEnv(t)
	e.newWorker(workerOptions{Program: "ends"})
	r := startWorkflow(e, func(ctx workflow.Context) (string, error) {
		opts := options(e.queue)
		opts.HeartbeatTimeout = 0 // it gets no heartbeats afterwards
		return execute[string](workflow.WithActivityOptions(ctx, opts), "ends", "pending")
	})
	e.awaitNote("opened")
	e.checkNoEffect()
	id := r.awaitAttempt(1).GetActivityId()
	noError(t, server.client.CompleteActivityByID(t.Context(), namespace, r.GetID(), r.GetRunID(), id, "from outside", nil))
	result, err := r.result()
	noError(t, err)
	if result != "from outside" {
		t.Errorf("result = %q", result)
	}
	e.checkNoEffect()
}

// A pause and a reset reach an activity that never asks, by the heartbeats that are
// sent for it: its mount turns read-only, nothing is stored, everything is unmounted.
// When it may go on, the work is done.
func TestPausedAndReset(t *testing.T) {
	for _, way := range []string{"pause", "reset"} {
		t.Run(way, func(t *testing.T) {
			e := newEnv(t)
			w := e.newWorker(workerOptions{Program: "ends"})
			r := startWorkflow(e, one[string](e, "lost", ""))
			e.awaitNote("opened")
			if way == "pause" {
				r.pause()
				e.awaitNote("readonly")
				r.awaitPending("the pause", func(a *workflowpb.PendingActivityInfo) bool {
					return a.GetState() == enumspb.PENDING_ACTIVITY_STATE_PAUSED
				})
				e.checkNoEffect()
				r.unpause()
			} else {
				r.reset()
				e.awaitNote("readonly")
			}
			result, err := r.result()
			e.checkSecond(result, err)
			if !strings.Contains(w.log(), way) {
				t.Errorf("the worker's log does not speak of the %s", way)
			}
		})
	}
}

func (r *run[T]) execution() *commonpb.WorkflowExecution {
	return &commonpb.WorkflowExecution{WorkflowId: r.GetID(), RunId: r.GetRunID()}
}

// pause pauses the activity that is under way.
func (r *run[T]) pause() {
	r.env.t.Helper()
	id := r.awaitAttempt(1).GetActivityId()
	_, err := server.client.WorkflowService().PauseActivity(r.env.t.Context(), &workflowservice.PauseActivityRequest{
		Namespace: namespace, Execution: r.execution(), Activity: &workflowservice.PauseActivityRequest_Id{Id: id},
	})
	noError(r.env.t, err)
}

// unpause takes a pause back.
func (r *run[T]) unpause() {
	r.env.t.Helper()
	id := r.awaitAttempt(1).GetActivityId()
	_, err := server.client.WorkflowService().UnpauseActivity(r.env.t.Context(), &workflowservice.UnpauseActivityRequest{
		Namespace: namespace, Execution: r.execution(), Activity: &workflowservice.UnpauseActivityRequest_Id{Id: id},
	})
	noError(r.env.t, err)
}

// reset lets the activity that is under way begin from its first attempt.
func (r *run[T]) reset() {
	r.env.t.Helper()
	id := r.awaitAttempt(1).GetActivityId()
	_, err := server.client.WorkflowService().ResetActivity(r.env.t.Context(), &workflowservice.ResetActivityRequest{
		Namespace: namespace, Execution: r.execution(), Activity: &workflowservice.ResetActivityRequest_Id{Id: id},
	})
	noError(r.env.t, err)
}

// A cancellation and the end of the activity's time turn the mount read-only, and
// nothing is stored.
func TestEndOfTheTime(t *testing.T) {
	for name, limit := range map[string]func(*workflow.ActivityOptions){
		"cancel":            func(o *workflow.ActivityOptions) { o.WaitForCancellation = true },
		"start to close":    func(o *workflow.ActivityOptions) { o.StartToCloseTimeout = 3 * time.Second },
		"schedule to close": func(o *workflow.ActivityOptions) { o.ScheduleToCloseTimeout = 3 * time.Second },
	} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			e.newWorker(workerOptions{Program: "ends"})
			r := startWorkflow(e, func(ctx workflow.Context) (string, error) {
				opts := options(e.queue)
				opts.RetryPolicy.MaximumAttempts = 1
				limit(&opts)
				return execute[string](workflow.WithActivityOptions(ctx, opts), "lost", "")
			})
			e.awaitNote("opened")
			if name == "cancel" {
				r.cancel()
			}
			e.awaitNote("readonly")
			var canceled *temporal.CanceledError
			var timeout *temporal.TimeoutError
			if _, err := r.result(); !errors.As(err, &canceled) && !errors.As(err, &timeout) {
				t.Errorf("error = %v, want the end of the activity", err)
			}
			e.checkNoEffect()
		})
	}
}
