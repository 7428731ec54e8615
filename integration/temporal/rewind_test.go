package temporal

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	wdactivity "github.com/workdir/workdir/activity"
	"github.com/workdir/workdir/activity/errtype"
	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/mount"
	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/workspace"
)

// files are the files of a workspace, with their content.
type files map[string]string

func filesOf(ws *mount.Mount) (files, error) {
	list, err := os.ReadDir(ws.Path())
	if err != nil {
		return nil, err
	}
	found := files{}
	for _, e := range list {
		b, err := os.ReadFile(ws.Path(e.Name()))
		if err != nil {
			return nil, err
		}
		found[e.Name()] = string(b)
	}
	return found, nil
}

// stepFile is the file that step n leaves.
func stepFile(n int) string { return fmt.Sprintf("%02d", n) }

// The program "rewind" has an activity "step", which returns the files that it finds and adds
// one that has the id of its run. "slow" is the same, and waits for the note "go-RUN".
func init() {
	programs["rewind"] = func(w worker.Worker, c *config) {
		opts := &wdactivity.Options{Rewind: true, Keep: wdactivity.Keep{Last: 1000}}
		step := func(ctx context.Context, ws *mount.Mount, n int) (files, error) {
			found, err := filesOf(ws)
			if err == nil {
				err = os.WriteFile(ws.Path(stepFile(n)), []byte(activity.GetInfo(ctx).WorkflowExecution.RunID), 0o644)
			}
			return found, errors.Join(err, ws.Commit())
		}
		registerIn(w, "step", c.url("job"), step, opts)
		registerIn(w, "slow", c.url("job"), func(ctx context.Context, ws *mount.Mount, n int) (files, error) {
			run := activity.GetInfo(ctx).WorkflowExecution.RunID
			if err := c.note("at-" + run); err != nil {
				return nil, err
			}
			if err := c.await(context.Background(), "go-"+run); err != nil {
				return nil, err
			}
			return step(ctx, ws, n)
		}, opts)
	}
}

// steps is a workflow of so many steps, one after the other, and what they have found.
func steps(e *env, name string, n int) func(workflow.Context) ([]files, error) {
	return func(ctx workflow.Context) ([]files, error) {
		ctx = e.activities(ctx)
		var found []files
		for i := range n {
			one, err := execute[files](ctx, name, i+1)
			if err != nil {
				return nil, err
			}
			found = append(found, one)
		}
		return found, nil
	}
}

// resetTo resets a run to the moment at which it was about to schedule its nth activity, and
// returns the run that goes on from there.
func (r *run[T]) resetTo(n int) *run[T] {
	r.env.t.Helper()
	var task int64 // the last workflow task that had completed by then
	scheduled := 0
	for _, event := range r.history() {
		switch event.GetEventType() {
		case enumspb.EVENT_TYPE_WORKFLOW_TASK_COMPLETED:
			task = event.GetEventId()
		case enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
			scheduled++
		}
		if scheduled == n {
			break
		}
	}
	answer, err := server.client.ResetWorkflowExecution(r.env.t.Context(), &workflowservice.ResetWorkflowExecutionRequest{
		Namespace:                 namespace,
		WorkflowExecution:         &commonpb.WorkflowExecution{WorkflowId: r.GetID(), RunId: r.GetRunID()},
		Reason:                    "a test",
		WorkflowTaskFinishEventId: task,
		RequestId:                 fmt.Sprintf("%s-%d", r.GetRunID(), workflows.Add(1)),
	})
	noError(r.env.t, err)
	return &run[T]{WorkflowRun: server.client.GetWorkflow(r.env.t.Context(), r.GetID(), answer.GetRunId()), env: r.env}
}

// stepsWanted is what the steps of a run find: base has what the run before left in the steps
// before the nth, where it was reset to.
func stepsWanted(base files, run string, n, of int) (found []files, left files) {
	left = files{}
	for i := 1; i <= of; i++ {
		found = append(found, maps.Clone(left))
		left[stepFile(i)] = run
		if i < n {
			left[stepFile(i)] = base[stepFile(i)]
		}
	}
	return found, left
}

// checkSteps waits for a run that was reset to its nth step, and holds what its steps found
// against what was there then. It returns what the run has left.
func checkSteps(r *run[[]files], base files, n, of int) files {
	r.env.t.Helper()
	got, err := r.result()
	noError(r.env.t, err)
	want, left := stepsWanted(base, r.GetRunID(), n, of)
	for i := range want {
		if !maps.Equal(got[i], want[i]) {
			r.env.t.Errorf("run %s, reset to step %d: step %d found %v, want %v", r.GetRunID(), n, i+1, got[i], want[i])
		}
	}
	return left
}

// checkDetours holds the log against the runs: every commit is there, and so many are rewound.
func checkDetours(e *env, commits, rewound int) {
	e.t.Helper()
	n := 0
	records := e.log("job")
	for _, r := range records {
		if r.RewoundTo() != "" {
			n++
		}
	}
	if len(records) != commits || n != rewound {
		e.t.Errorf("the log has %d commits, %d of them rewound; want %d, %d", len(records), n, commits, rewound)
	}
}

const manySteps = 10

// The first run of a workflow is reset to every point: each step finds the files as they were
// then.
func TestResetToEveryPoint(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.newWorker(workerOptions{Program: "rewind"})
	first := startWorkflow(e, steps(e, "step", manySteps))
	base := checkSteps(first, nil, 1, manySteps)
	commits := manySteps
	for n := manySteps; n > 0; n-- {
		checkSteps(first.resetTo(n), base, n, manySteps)
		commits += manySteps - n + 1
	}
	checkDetours(e, commits, manySteps)
}

// Each run is a reset of the one before, to earlier and to later points.
func TestResetOfAReset(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.newWorker(workerOptions{Program: "rewind"})
	r := startWorkflow(e, steps(e, "step", manySteps))
	left := checkSteps(r, nil, 1, manySteps)
	commits := manySteps
	points := []int{7, 3, 8, 1, 10, 5, 5}
	for _, n := range points {
		r = r.resetTo(n)
		left = checkSteps(r, left, n, manySteps)
		commits += manySteps - n + 1
	}
	checkDetours(e, commits, len(points))
}

// The workflow is reset at the moment at which an attempt's commit is made visible, which the
// attempt does not know yet: it is undone like any other.
func TestResetWhileAnAttemptCommits(t *testing.T) {
	t.Parallel()
	const count, at = 5, 3
	e := newEnv(t)
	e.newWorker(workerOptions{Program: "rewind"})
	first := startWorkflow(e, steps(e, "step", count))
	stored, resets := 0, make(chan *run[[]files], 1)
	var once sync.Mutex
	e.onStored(func() {
		once.Lock()
		defer once.Unlock()
		if stored++; stored == at {
			resets <- first.resetTo(at)
		}
	})
	r := <-resets
	left, err := r.result()
	noError(t, err)
	base := files{}
	for i := 1; i < at; i++ {
		base[stepFile(i)] = first.GetRunID()
	}
	want, _ := stepsWanted(base, r.GetRunID(), at, count)
	if !slices.EqualFunc(left, want, maps.Equal) {
		t.Errorf("the steps found %v, want %v", left, want)
	}
	checkDetours(e, count+1, 1)
}

// An attempt that works while its run is reset stores nothing; the activity of the new run
// works beside it.
func TestResetWhileAnAttemptWorks(t *testing.T) {
	t.Parallel()
	e := newEnv(t)
	e.newWorker(workerOptions{Program: "rewind"})
	first := startWorkflow(e, steps(e, "slow", 1))
	e.awaitNote("at-" + first.GetRunID())
	r := first.resetTo(1)
	e.note("go-" + r.GetRunID())
	checkSteps(r, nil, 1, 1)
	e.note("go-" + first.GetRunID())
	waitFor(t, "the end of the other attempt", func() bool { return len(e.mounts()) == 0 })
	checkDetours(e, 1, 0)
}

// threeSteps runs a workflow of three steps to its end, and returns what they have stored.
func threeSteps(t *testing.T) (e *env, first *run[[]files], base files) {
	t.Helper()
	e = newEnv(t)
	e.newWorker(workerOptions{Program: "rewind"})
	first = startWorkflow(e, steps(e, "step", 3))
	return e, first, checkSteps(first, nil, 1, 3)
}

// Work of others on top of what is undone ends the activity, which is not tried again; a
// rollback by hand is the way on.
func TestResetThatCannotRewind(t *testing.T) {
	t.Parallel()
	e, first, base := threeSteps(t)
	e.commitByHand("job", "theirs")
	r := first.resetTo(3)
	wantApplicationError(t, r, errtype.Rewind)
	records := e.log("job")
	e.rollback("job", records[2].ID)
	checkSteps(first.resetTo(3), base, 3, 3)
	checkDetours(e, 6, 0)
}

// So does a version that is needed and was pruned.
func TestResetThatNeedsAPrunedVersion(t *testing.T) {
	t.Parallel()
	e, first, base := threeSteps(t)
	checkSteps(first.resetTo(3), base, 3, 3)
	_, err := store.DeleteVersions(t.Context(), e.url("job"))
	noError(t, err)
	wantApplicationError(t, first.resetTo(2), errtype.NoVersion)
	checkDetours(e, 4, 1)
}

// wantApplicationError waits for a workflow that an activity's error has ended, which was not
// tried again.
func wantApplicationError[T any](t *testing.T, r *run[T], typ string) {
	t.Helper()
	_, err := r.result()
	var app *temporal.ApplicationError
	if !errors.As(err, &app) || app.Type() != typ || !app.NonRetryable() {
		t.Errorf("the workflow ended with %v, want %s, not retried", err, typ)
	}
}

// commitByHand replaces what is in a workspace by a file, as a person does.
func (e *env) commitByHand(key, name string) {
	e.t.Helper()
	dir := e.t.TempDir()
	noError(e.t, os.WriteFile(filepath.Join(dir, name), nil, 0o644))
	there, err := store.Stat(e.t.Context(), e.url(key))
	noError(e.t, err)
	_, err = workspace.Import(e.t.Context(), dir, e.url(key), &workspace.ImportOptions{Replace: there.Revision, Keep: store.Keep{Last: 1000}})
	noError(e.t, err)
}

// rollback makes the workspace what a commit made it.
func (e *env) rollback(key string, to archive.CommitID) {
	e.t.Helper()
	_, err := workspace.Rollback(e.t.Context(), e.url(key), string(to), nil)
	noError(e.t, err)
}
