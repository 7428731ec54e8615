package activity_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sdk "go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	wdactivity "github.com/workdir/workdir/activity"
	"github.com/workdir/workdir/activity/errtype"
	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/mount"
	"github.com/workdir/workdir/store"
)

// add appends a line to a file of the workspace, and marks it.
func add(m *mount.Mount, line string) error {
	f, err := os.OpenFile(m.Path("lines"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(f, line)
	return errors.Join(err, f.Close(), m.Commit())
}

// adder returns a function for Do that adds a line and counts its runs.
func adder(line string, runs *atomic.Int32) func(context.Context, *mount.Mount) (string, error) {
	return func(_ context.Context, m *mount.Mount) (string, error) {
		n := runs.Add(1)
		return fmt.Sprintf("%s, run %d", line, n), add(m, line)
	}
}

// A crash between the commit and the report of completion: the next attempt gives
// the result of the one that committed, and does nothing twice.
func TestCommittedStepIsNotRunAgain(t *testing.T) {
	b := newBench(t)
	var runs, attempts atomic.Int32
	out, err := runInWorkflow(t, suiteOptions{attempts: 3, activity: func(ctx context.Context) (string, error) {
		first, err := wdactivity.Do(ctx, b.url("{workflow_id}"), b.options(), adder("one", &runs))
		if err != nil {
			return "", err
		}
		second, err := wdactivity.Do(ctx, b.url("{workflow_id}"), b.options(), adder("two", &runs))
		if err != nil {
			return "", err
		}
		if attempts.Add(1) < 3 {
			return "", errWork
		}
		return first + "; " + second, nil
	}})
	require.NoError(t, err)
	require.Equal(t, "one, run 1; two, run 2", out)
	require.EqualValues(t, 3, attempts.Load())
	b.wantStored("default-test-workflow-id", "lines", "one\ntwo\n")
}

func TestStepsAreCountedByWorkspace(t *testing.T) {
	b := newBench(t)
	var runs, attempts atomic.Int32
	out, err := runInWorkflow(t, suiteOptions{attempts: 2, activity: func(ctx context.Context) (string, error) {
		var results []string
		for _, name := range []string{"a", "b", "a"} {
			r, err := wdactivity.Do(ctx, b.url(name), b.options(), adder(name, &runs))
			if err != nil {
				return "", err
			}
			results = append(results, r)
		}
		if attempts.Add(1) < 2 {
			return "", errWork
		}
		return strings.Join(results, "; "), nil
	}})
	require.NoError(t, err)
	require.Equal(t, "a, run 1; b, run 2; a, run 3", out)
	b.wantStored("a", "lines", "a\na\n")
	b.wantStored("b", "lines", "b\n")
}

// A workflow may use an activity id again once the activity has closed: the second one
// did not run, and had the first one's result.
func TestActivityIDThatIsUsedAgain(t *testing.T) {
	b := newBench(t)
	var runs atomic.Int32
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(quiet)
	env := suite.NewTestWorkflowEnvironment()
	env.SetTestTimeout(time.Minute)
	env.SetWorkerOptions(worker.Options{Plugins: plugins(t, nil)})
	env.RegisterActivityWithOptions(func(ctx context.Context, line string) (string, error) {
		return wdactivity.Do(ctx, b.url("ws"), b.options(), adder(line, &runs))
	}, sdk.RegisterOptions{Name: "append"})
	env.RegisterWorkflowWithOptions(func(ctx workflow.Context) (results []string, err error) {
		ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{ActivityID: "append", StartToCloseTimeout: time.Minute})
		for _, line := range []string{"monday", "tuesday"} {
			var result string
			if err := workflow.ExecuteActivity(ctx, "append", line).Get(ctx, &result); err != nil {
				return nil, err
			}
			results = append(results, result)
		}
		return results, nil
	}, workflow.RegisterOptions{Name: "wf"})
	env.ExecuteWorkflow("wf")
	require.NoError(t, env.GetWorkflowError())
	var results []string
	require.NoError(t, env.GetWorkflowResult(&results))
	require.Equal(t, []string{"monday, run 1", "tuesday, run 2"}, results)
	b.wantStored("ws", "lines", "monday\ntuesday\n")
}

// A conflict gives the number of the step back: the activity that tries again by
// itself is at the same step.
func TestStepThatConflictedIsTheSameStepAgain(t *testing.T) {
	b := newBench(t)
	var runs, attempts, disturbed atomic.Int32
	out, err := runInWorkflow(t, suiteOptions{attempts: 2, activity: func(ctx context.Context) (string, error) {
		var out string
		err := store.ErrConflict
		for errors.Is(err, store.ErrConflict) {
			out, err = wdactivity.Do(ctx, b.url("ws"), b.options(), func(ctx context.Context, m *mount.Mount) (string, error) {
				if disturbed.Add(1) == 1 {
					seed(t, b, "ws", "other", "text")
				}
				return adder("mine", &runs)(ctx, m)
			})
		}
		if err == nil && attempts.Add(1) < 2 {
			return "", errWork
		}
		return out, err
	}})
	require.NoError(t, err)
	require.Equal(t, "mine, run 2", out)
	b.wantStored("ws", "lines", "mine\n")
}

// After an error of the function itself the next call may be another piece of work,
// so it has another number.
func TestStepAfterAFailedFunctionIsAnother(t *testing.T) {
	b := newBench(t)
	var runs, attempts atomic.Int32
	out, err := runInWorkflow(t, suiteOptions{attempts: 2, activity: func(ctx context.Context) (string, error) {
		_, err := wdactivity.Do(ctx, b.url("ws"), b.options(), func(context.Context, *mount.Mount) (string, error) { return "", errWork })
		require.ErrorIs(t, err, errWork)
		out, err := wdactivity.Do(ctx, b.url("ws"), b.options(), adder("instead", &runs))
		if err == nil && attempts.Add(1) < 2 {
			return "", errWork
		}
		return out, err
	}})
	require.NoError(t, err)
	require.Equal(t, "instead, run 1", out)
	b.wantStored("ws", "lines", "instead\n")
}

func TestNamedSteps(t *testing.T) {
	b := newBench(t)
	var runs, attempts atomic.Int32
	named := func(step string) *wdactivity.Options {
		o := b.options()
		o.Step = step
		return o
	}
	out, err := runInWorkflow(t, suiteOptions{attempts: 2, activity: func(ctx context.Context) (string, error) {
		order := []string{"left", "right"}
		if sdk.GetInfo(ctx).Attempt > 1 {
			order = []string{"right", "left"}
		}
		results := map[string]string{}
		for _, step := range order {
			r, err := wdactivity.Do(ctx, b.url("ws"), named(step), adder(step, &runs))
			if err != nil {
				return "", err
			}
			results[step] = r
		}
		if attempts.Add(1) < 2 {
			return "", errWork
		}
		return results["left"] + "; " + results["right"], nil
	}})
	require.NoError(t, err)
	require.Equal(t, "left, run 1; right, run 2", out)
	b.wantStored("ws", "lines", "left\nright\n")
}

func TestBadSteps(t *testing.T) {
	b := newBench(t)
	var runs atomic.Int32
	named := func(step string) *wdactivity.Options {
		o := b.options()
		o.Step = step
		return o
	}
	tests := []struct {
		name string
		act  func(ctx context.Context) (string, error)
		want string
	}{
		{"a number", func(ctx context.Context) (string, error) {
			return wdactivity.Do(ctx, b.url("a"), named("2"), adder("x", &runs))
		}, "is a number"},
		{"done already", func(ctx context.Context) (string, error) {
			if _, err := wdactivity.Do(ctx, b.url("b"), named("s"), adder("x", &runs)); err != nil {
				return "", err
			}
			return wdactivity.Do(ctx, b.url("b"), named("s"), adder("y", &runs))
		}, `"s" on file://`},
		{"running", func(ctx context.Context) (string, error) {
			return wdactivity.Do(ctx, b.url("c"), named("s"), func(ctx context.Context, _ *mount.Mount) (string, error) {
				return wdactivity.Do(ctx, b.url("c"), named("s"), adder("y", &runs))
			})
		}, "already running"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := run(t, context.Background(), test.act)
			app := wantType(t, err, errtype.Step, false)
			require.Contains(t, app.Message(), test.want)
		})
	}
}

// A read-only visit is no step: it takes no number, and is never left out.
func TestReadOnlyVisitIsNoStep(t *testing.T) {
	b := newBench(t)
	b.put("ws", "base", "")
	var runs, reads, attempts atomic.Int32
	readOnly := b.options()
	readOnly.ReadOnly = true
	_, err := runInWorkflow(t, suiteOptions{attempts: 2, activity: func(ctx context.Context) (string, error) {
		if sdk.GetInfo(ctx).Attempt == 1 { // so that numbers would differ if it had one
			_, err := wdactivity.Do(ctx, b.url("ws"), readOnly, func(context.Context, *mount.Mount) (int, error) { reads.Add(1); return 0, nil })
			require.NoError(t, err)
		}
		if _, err := wdactivity.Do(ctx, b.url("ws"), b.options(), adder("x", &runs)); err != nil {
			return "", err
		}
		_, err := wdactivity.Do(ctx, b.url("ws"), readOnly, func(context.Context, *mount.Mount) (int, error) { reads.Add(1); return 0, nil })
		if err == nil && attempts.Add(1) < 2 {
			return "", errWork
		}
		return "", err
	}})
	require.NoError(t, err)
	require.EqualValues(t, 1, runs.Load())
	require.EqualValues(t, 3, reads.Load())
	b.wantStored("ws", "lines", "x\n")
}

// Two test environments have the same ids, and are not the same execution.
func TestTestEnvironmentsAreApart(t *testing.T) {
	b := newBench(t)
	var runs atomic.Int32
	act := func(ctx context.Context) (string, error) {
		return wdactivity.Do(ctx, b.url("ws"), b.options(), adder("x", &runs))
	}
	for range 2 {
		_, err := run(t, context.Background(), act)
		require.NoError(t, err)
	}
	for range 2 {
		_, err := runInWorkflow(t, suiteOptions{activity: act})
		require.NoError(t, err)
	}
	b.wantStored("ws", "lines", "x\nx\nx\nx\n")
}

func TestOriginIsRecorded(t *testing.T) {
	b := newBench(t)
	var runs atomic.Int32
	_, err := runInWorkflow(t, suiteOptions{activity: func(ctx context.Context) (string, error) {
		return wdactivity.Do(ctx, b.url("ws"), b.options(), adder("x", &runs))
	}})
	require.NoError(t, err)
	o := b.log("ws").Record.Origin
	require.True(t, strings.HasPrefix(o.Execution, `temporal:["default-test-namespace","default-test-workflow-id","default-test-run-id",`), o.Execution)
	require.WithinDuration(t, time.Now(), o.Scheduled, time.Hour)
	o.Execution, o.Worker, o.ActivityID, o.TaskQueue, o.Scheduled = "", "", "", "", time.Time{}
	require.Equal(t, archive.Origin{
		Workspace: b.url("ws"), Step: "1", Attempt: 1, Namespace: "default-test-namespace",
		WorkflowID: "default-test-workflow-id", RunID: "default-test-run-id", WorkflowType: "wf", ActivityType: "act",
	}, o)
}

func TestStandaloneActivity(t *testing.T) {
	b := newBench(t)
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(quiet)
	env := suite.NewTestActivityEnvironment()
	env.SetWorkerOptions(worker.Options{Plugins: plugins(t, nil)})
	env.SetExecuteActivitiesInWorkflow(false)
	var runs atomic.Int32
	env.RegisterActivityWithOptions(func(ctx context.Context) (string, error) {
		for range 2 { // two steps, although there is nothing but the token to know the attempt by
			if _, err := wdactivity.Do(ctx, b.url("{activity_id}-{activity_run_id}-{workflow_id}"), b.options(), adder("x", &runs)); err != nil {
				return "", err
			}
		}
		info := sdk.GetInfo(ctx)
		return info.ActivityID + "-" + info.ActivityRunID + "-", nil
	}, sdk.RegisterOptions{Name: "act"})
	value, err := env.ExecuteActivity("act")
	require.NoError(t, err)
	var name string
	require.NoError(t, value.Get(&name))
	b.wantStored(name, "lines", "x\nx\n")
	o := b.log(name).Record.Origin
	require.Equal(t, "2", o.Step)
	require.NotEmpty(t, o.RunID)
	require.Empty(t, o.WorkflowID)
}

func TestLocalActivity(t *testing.T) {
	b := newBench(t)
	var runs atomic.Int32
	_, err := runInWorkflow(t, suiteOptions{local: true, activity: func(ctx context.Context) (string, error) {
		for range 2 {
			if _, err := wdactivity.Do(ctx, b.url("ws"), b.options(), adder("x", &runs)); err != nil {
				return "", err
			}
		}
		return "", nil
	}})
	require.NoError(t, err)
	b.wantStored("ws", "lines", "x\nx\n")
	require.Equal(t, "2", b.log("ws").Record.Origin.Step)

	_, err = runInWorkflow(t, suiteOptions{local: true, activity: b.lines(b.rewinding(), "y")})
	wantType(t, err, errtype.Rewind, false)
}

// Two steps without a name at once: chance decided which was the first, and after a
// crash each could get the other's result while one was never run.
func TestUnnamedStepsAtOnce(t *testing.T) {
	b := newBench(t)
	var runs atomic.Int32
	_, err := run(t, context.Background(), func(ctx context.Context) (string, error) {
		return wdactivity.Do(ctx, b.url("ws"), b.options(), func(_ context.Context, m *mount.Mount) (string, error) {
			beside := make(chan error)
			go func() {
				_, err := wdactivity.Do(ctx, b.url("ws"), b.options(), adder("beside", &runs))
				beside <- err
			}()
			err := <-beside
			app := wantType(t, err, errtype.Step, false)
			require.Contains(t, app.Message(), "Options.Step")
			return "", add(m, "first")
		})
	})
	require.NoError(t, err)
	require.Zero(t, runs.Load())
	b.wantStored("ws", "lines", "first\n")
}

// Steps that are inside each other have an order, and need no names.
func TestUnnamedStepsInsideEachOther(t *testing.T) {
	b := newBench(t)
	var runs, attempts atomic.Int32
	out, err := runInWorkflow(t, suiteOptions{attempts: 2, activity: func(ctx context.Context) (string, error) {
		out, err := wdactivity.Do(ctx, b.url("ws"), b.options(), func(ctx context.Context, _ *mount.Mount) (string, error) {
			return wdactivity.Do(ctx, b.url("other"), b.options(), func(ctx context.Context, _ *mount.Mount) (string, error) {
				return wdactivity.Do(ctx, b.url("ws"), b.options(), adder("inside", &runs))
			})
		})
		if err == nil && attempts.Add(1) < 2 {
			return "", errWork
		}
		return out, err
	}})
	require.NoError(t, err)
	require.Equal(t, "inside, run 1", out)
	b.wantStored("ws", "lines", "inside\n")
	require.Equal(t, "2", b.log("ws").Record.Origin.Step)
}
