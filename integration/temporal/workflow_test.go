package temporal

import (
	"fmt"
	"sync/atomic"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"
)

// run is a workflow under way.
type run[T any] struct {
	client.WorkflowRun
	env *env
}

// workflows counts those of all tests.
var workflows atomic.Int64

// startWorkflow runs a function as a workflow, in this process, so that killed
// workers end activities only. Its activities are those of the env's workers, by
// [env.activities].
func startWorkflow[T any](e *env, fn func(workflow.Context) (T, error)) *run[T] {
	e.t.Helper()
	name := fmt.Sprintf("workflow-%d", workflows.Add(1))
	queue := e.queue + "-" + name
	w := worker.New(server.client, queue, worker.Options{LocalActivityWorkerOnly: true, WorkflowPanicPolicy: worker.FailWorkflow})
	w.RegisterWorkflowWithOptions(fn, workflow.RegisterOptions{Name: name})
	noError(e.t, w.Start())
	e.t.Cleanup(w.Stop)
	return startNamed[T](e, queue, name)
}

// taskTimeout is how soon a workflow's task is given to another worker.
const taskTimeout = 2 * time.Second

// startNamed starts a workflow that some worker on a task queue runs. Its id is not
// that of another test's.
func startNamed[T any](e *env, queue, name string, args ...any) *run[T] {
	e.t.Helper()
	r, err := server.client.ExecuteWorkflow(e.t.Context(), client.StartWorkflowOptions{
		ID: fmt.Sprintf("%s-%s-%d", e.queue, name, workflows.Add(1)), TaskQueue: queue, WorkflowTaskTimeout: taskTimeout,
	}, name, args...)
	noError(e.t, err)
	return &run[T]{WorkflowRun: r, env: e}
}

// runWorkflow is startWorkflow of one that must succeed, and its result.
func runWorkflow[T any](e *env, fn func(workflow.Context) (T, error)) T {
	e.t.Helper()
	r := startWorkflow(e, fn)
	out, err := r.result()
	noError(e.t, err)
	return out
}

// result waits for the workflow's end.
func (r *run[T]) result() (T, error) {
	var out T
	err := r.Get(r.env.t.Context(), &out)
	return out, err
}

// options of activities are those of tests that kill workers: an attempt whose
// worker is gone is noticed after the heartbeat timeout and tried again at once,
// for ever.
func options(queue string) workflow.ActivityOptions {
	return workflow.ActivityOptions{
		TaskQueue:           queue,
		StartToCloseTimeout: time.Minute,
		HeartbeatTimeout:    2 * time.Second,
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: 20 * time.Millisecond, BackoffCoefficient: 1},
	}
}

// activities sets in a workflow's context the task queue of the env's workers and
// [options].
func (e *env) activities(ctx workflow.Context) workflow.Context {
	return workflow.WithActivityOptions(ctx, options(e.queue))
}

// execute runs one activity to its end.
func execute[T any](ctx workflow.Context, activity string, args ...any) (T, error) {
	var out T
	err := workflow.ExecuteActivity(ctx, activity, args...).Get(ctx, &out)
	return out, err
}

// history returns all events so far.
func (r *run[T]) history() []*historypb.HistoryEvent {
	r.env.t.Helper()
	var events []*historypb.HistoryEvent
	all := server.client.GetWorkflowHistory(r.env.t.Context(), r.GetID(), r.GetRunID(), false, enumspb.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for all.HasNext() {
		event, err := all.Next()
		noError(r.env.t, err)
		events = append(events, event)
	}
	return events
}

// count reports how often an event is in the history so far. An activity that will
// be tried again leaves none: see pending.
func (r *run[T]) count(kind enumspb.EventType) int {
	r.env.t.Helper()
	n := 0
	for _, event := range r.history() {
		if event.GetEventType() == kind {
			n++
		}
	}
	return n
}

// pending returns the activities that are under way, with their attempts, last
// failures and heartbeat details.
func (r *run[T]) pending() []*workflowpb.PendingActivityInfo {
	r.env.t.Helper()
	d, err := server.client.DescribeWorkflow(r.env.t.Context(), r.GetID(), r.GetRunID())
	noError(r.env.t, err)
	return d.RawResponse.GetPendingActivities()
}

// awaitPending waits until an activity that is under way meets a condition, and
// gives it.
func (r *run[T]) awaitPending(what string, cond func(*workflowpb.PendingActivityInfo) bool) *workflowpb.PendingActivityInfo {
	r.env.t.Helper()
	var found *workflowpb.PendingActivityInfo
	waitFor(r.env.t, what, func() bool {
		for _, a := range r.pending() {
			if cond(a) {
				found = a
				return true
			}
		}
		return false
	})
	return found
}

// awaitAttempt waits until an activity is in its nth attempt or a later one.
func (r *run[T]) awaitAttempt(n int32) *workflowpb.PendingActivityInfo {
	r.env.t.Helper()
	return r.awaitPending(fmt.Sprintf("attempt %d", n), func(a *workflowpb.PendingActivityInfo) bool { return a.GetAttempt() >= n })
}

// cancel asks the workflow to end.
func (r *run[T]) cancel() {
	r.env.t.Helper()
	noError(r.env.t, server.client.CancelWorkflow(r.env.t.Context(), r.GetID(), r.GetRunID()))
}
