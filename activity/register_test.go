package activity_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	wdactivity "github.com/workdir/workdir/activity"
	"github.com/workdir/workdir/mount"
	"github.com/workdir/workdir/store"
)

type order struct{ Customer, Text string }

func writeOrder(_ context.Context, m *mount.Mount, in order) (int, error) {
	return len(in.Text), errors.Join(write(m, "order", in.Text), m.Commit())
}

// wrapped is set by TestExecuteByReference: Build is what a user writes.
var wrapped func(context.Context, order) (int, error)

func Build(ctx context.Context, in order) (int, error) { return wrapped(ctx, in) }

// A workflow executes registered activities by name, and by reference those that
// have a function of their own.
func TestExecuteByNameAndByReference(t *testing.T) {
	for _, by := range []string{"name", "reference"} {
		t.Run(by, func(t *testing.T) {
			b := newBench(t)
			opts := b.options()
			opts.Vars = wdactivity.Vars(func(in order) map[string]string { return map[string]string{"customer": in.Customer} })
			url := b.url("{customer}")
			wrapped = wdactivity.Wrap(url, writeOrder, opts)
			var suite testsuite.WorkflowTestSuite
			suite.SetLogger(quiet)
			env := suite.NewTestWorkflowEnvironment()
			env.RegisterActivity(Build)
			wdactivity.Register(env, "write", url, writeOrder, opts)
			wdactivity.Register(env, "another", url, func(context.Context, *mount.Mount, order) (int, error) { return 0, errWork }, opts)
			env.RegisterWorkflowWithOptions(func(ctx workflow.Context) (int, error) {
				ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute})
				var n int
				var act any = "write"
				if by == "reference" {
					act = Build
				}
				err := workflow.ExecuteActivity(ctx, act, order{"c7", "text"}).Get(ctx, &n)
				return n, err
			}, workflow.RegisterOptions{Name: "wf"})
			env.ExecuteWorkflow("wf")
			require.NoError(t, env.GetWorkflowError())
			var n int
			require.NoError(t, env.GetWorkflowResult(&n))
			require.Equal(t, 4, n)
			b.wantStored("c7", "order", "text")
		})
	}
}

func TestWrapPanicsOnWhatCanNeverWork(t *testing.T) {
	fn := func(context.Context, *mount.Mount, string) (string, error) { return "", nil }
	tests := []struct {
		name, url string
		opts      *wdactivity.Options
		want      string // "" for none
	}{
		{"unknown variable", "s3://b/{workflow}", nil, "{workflow}"},
		{"bad URL", "s3://b", nil, "no key"},
		{"bad step", "s3://b/k", &wdactivity.Options{Step: "1"}, "number"},
		{"variables of the argument are not known yet", "s3://b/{workflow}", &wdactivity.Options{Vars: wdactivity.Vars(func(string) map[string]string { return nil })}, ""},
		{"good", "s3://b/{workflow_id}", nil, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			wrap := func() { wdactivity.Wrap(test.url, fn, test.opts) }
			if test.want == "" {
				require.NotPanics(t, wrap)
				return
			}
			defer func() { require.Contains(t, recover(), test.want) }()
			wrap()
			t.Error("no panic")
		})
	}
}

func TestBadVariablesAreNotRetried(t *testing.T) {
	b := newBench(t)
	vars := func(m map[string]string, err error) *wdactivity.Options {
		o := b.options()
		o.Vars = func([]any) (map[string]string, error) { return m, err }
		return o
	}
	tests := []struct {
		name string
		opts *wdactivity.Options
		want string
	}{
		{"no Vars", b.options(), "unknown variable {customer}"},
		{"another variable", vars(map[string]string{"client": "x"}, nil), "unknown variable {customer}"},
		{"climbing", vars(map[string]string{"customer": "../up"}, nil), `{customer} is "../up"`},
		{"empty", vars(map[string]string{"customer": ""}, nil), `{customer} is ""`},
		{"their own error", vars(nil, errWork), errWork.Error()},
		{"no argument", func() *wdactivity.Options {
			o := b.options()
			o.Vars = wdactivity.Vars(func(order) map[string]string { return nil })
			return o
		}(), "0 arguments"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := run(t, context.Background(), func(ctx context.Context) (int, error) {
				return wdactivity.Do(ctx, b.url("{customer}"), test.opts, func(context.Context, *mount.Mount) (int, error) {
					return 0, errors.New("it ran")
				})
			})
			app := wantType(t, err, wdactivity.TypeURL, false)
			require.Contains(t, app.Message(), test.want)
		})
	}
	_, err := wdactivity.Do(context.Background(), b.url("{customer}"), b.options(), func(context.Context, *mount.Mount) (int, error) { return 0, nil })
	require.ErrorIs(t, err, store.ErrURL)
}

func TestPath(t *testing.T) {
	b := newBench(t)
	_, ok := wdactivity.Path(context.Background())
	require.False(t, ok)
	_, err := wdactivity.Do(context.Background(), b.url("ws"), b.options(), func(ctx context.Context, m *mount.Mount) (int, error) {
		path, ok := wdactivity.Path(ctx, "a", "b")
		require.True(t, ok)
		require.Equal(t, m.Path("a", "b"), path)
		return 0, nil
	})
	require.NoError(t, err)
}
