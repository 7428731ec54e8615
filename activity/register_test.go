package activity_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sdk "go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	wdactivity "github.com/workdir/workdir/activity"
	"github.com/workdir/workdir/activity/errtype"
	"github.com/workdir/workdir/mount"
	"github.com/workdir/workdir/store"
)

type order struct{ Customer, Text string }

// Activities are as in the SDK's samples: methods, with any arguments and results.
type Activities struct{ prefix string }

func write1(ctx context.Context, content string) error {
	m, ok := wdactivity.Workspace(ctx)
	if !ok {
		return errors.New("no workspace")
	}
	return errors.Join(write(m, "f", content), wdactivity.Commit(ctx))
}

func (a *Activities) Two(ctx context.Context, o order, again int) (int, error) {
	return again + len(o.Text), write1(ctx, a.prefix+o.Text)
}
func (a *Activities) None(ctx context.Context) (string, error) {
	return "none", write1(ctx, a.prefix)
}
func (a Activities) OnlyAnError(ctx context.Context, o order) error {
	return write1(ctx, a.prefix+o.Text)
}

// Embedding has the methods of what it embeds, and one of its own in the place of theirs.
type Embedding struct{ inner }

type inner struct{ *Activities }

func (*Embedding) OnlyAnError(context.Context, order) error { return nil }

func Plain(ctx context.Context, o *order) (*order, error) { return o, write1(ctx, o.Text) }

// other has an activity of the same name as Activities has.
type other struct{}

func (*other) Two(ctx context.Context) error {
	if _, ok := wdactivity.Workspace(ctx); ok {
		return errors.New("there is a workspace")
	}
	return nil
}

// Rules name activities by reference, whatever their signature, and workflows execute
// them by reference.
func TestRulesByReference(t *testing.T) {
	var a *Activities
	embedding := &Embedding{inner{&Activities{prefix: "of a:"}}}
	tests := []struct {
		name     string
		rule     any
		register func(worker.ActivityRegistry)
		execute  func(workflow.Context) workflow.Future
		want     string // the content of f
	}{
		{"method, many arguments", (*Activities).Two, nil,
			func(ctx workflow.Context) workflow.Future {
				return workflow.ExecuteActivity(ctx, a.Two, order{"c7", "text"}, 3)
			}, "of a:text"},
		{"method value", a.Two, nil,
			func(ctx workflow.Context) workflow.Future {
				return workflow.ExecuteActivity(ctx, a.Two, order{"c7", "text"}, 3)
			}, "of a:text"},
		{"no arguments", (*Activities).None, nil,
			func(ctx workflow.Context) workflow.Future { return workflow.ExecuteActivity(ctx, a.None) }, "of a:"},
		{"an error alone, of a value", Activities.OnlyAnError, nil,
			func(ctx workflow.Context) workflow.Future {
				return workflow.ExecuteActivity(ctx, "OnlyAnError", order{"c7", "text"})
			}, "of a:text"},
		{"under a prefix", (*Activities).None,
			func(w worker.ActivityRegistry) {
				w.RegisterActivityWithOptions(&Activities{prefix: "of a:"}, sdk.RegisterOptions{Name: "pre_"})
			},
			func(ctx workflow.Context) workflow.Future { return workflow.ExecuteActivity(ctx, "pre_None") }, "of a:"},
		{"method value of an embedded type", embedding.None,
			func(w worker.ActivityRegistry) { w.RegisterActivity(embedding) },
			func(ctx workflow.Context) workflow.Future { return workflow.ExecuteActivity(ctx, embedding.None) }, "of a:"},
		{"method of an embedded type", (*Activities).None,
			func(w worker.ActivityRegistry) { w.RegisterActivity(embedding) },
			func(ctx workflow.Context) workflow.Future { return workflow.ExecuteActivity(ctx, (*Embedding).None) }, "of a:"},
		{"method by the type that embeds it", (*Embedding).None,
			func(w worker.ActivityRegistry) { w.RegisterActivity(embedding) },
			func(ctx workflow.Context) workflow.Future { return workflow.ExecuteActivity(ctx, a.None) }, "of a:"},
		{"function", Plain, func(w worker.ActivityRegistry) { w.RegisterActivity(Plain) },
			func(ctx workflow.Context) workflow.Future {
				return workflow.ExecuteActivity(ctx, Plain, &order{"c7", "text"})
			}, "text"},
		{"function under another name", Plain,
			func(w worker.ActivityRegistry) {
				w.RegisterActivityWithOptions(Plain, sdk.RegisterOptions{Name: "renamed"})
			},
			func(ctx workflow.Context) workflow.Future {
				return workflow.ExecuteActivity(ctx, "renamed", &order{"c7", "text"})
			}, "text"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			var suite testsuite.WorkflowTestSuite
			suite.SetLogger(quiet)
			env := suite.NewTestWorkflowEnvironment()
			env.SetWorkerOptions(worker.Options{Plugins: plugins(t, &wdactivity.PluginOptions{
				RunDir: b.runDir, Plain: true, Rules: []wdactivity.Rule{{Activity: test.rule, URL: b.url("ws")}},
			})})
			if test.register == nil {
				env.RegisterActivity(&Activities{prefix: "of a:"})
			} else {
				test.register(env)
			}
			executeOnce(t, env, test.execute)
			b.wantPlain("ws", "f", test.want)
		})
	}
}

// executeOnce executes a workflow of one activity, which must not fail.
func executeOnce(t *testing.T, env *testsuite.TestWorkflowEnvironment, execute func(workflow.Context) workflow.Future) {
	t.Helper()
	env.SetTestTimeout(time.Minute)
	env.RegisterWorkflowWithOptions(func(ctx workflow.Context) error {
		ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute, RetryPolicy: &temporal.RetryPolicy{MaximumAttempts: 1}})
		return execute(ctx).Get(ctx, nil)
	}, workflow.RegisterOptions{Name: "wf"})
	env.ExecuteWorkflow("wf")
	require.NoError(t, env.GetWorkflowError())
}

// A rule for a method is not one for a method of that name of another type, nor for the
// one that takes its place in a type that embeds it.
func TestRuleByReferenceIsForItsFunctionAlone(t *testing.T) {
	tests := []struct {
		name             string
		rule, registered any
		execute          func(workflow.Context) workflow.Future
	}{
		{"another type", (*Activities).Two, &other{},
			func(ctx workflow.Context) workflow.Future { return workflow.ExecuteActivity(ctx, (*other).Two) }},
		{"a type that embeds it", Activities.OnlyAnError, &Embedding{},
			func(ctx workflow.Context) workflow.Future {
				return workflow.ExecuteActivity(ctx, (*Embedding).OnlyAnError, order{})
			}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			var suite testsuite.WorkflowTestSuite
			suite.SetLogger(quiet)
			env := suite.NewTestWorkflowEnvironment()
			env.SetWorkerOptions(worker.Options{Plugins: plugins(t, &wdactivity.PluginOptions{
				RunDir: b.runDir, Plain: true, Rules: []wdactivity.Rule{{Activity: test.rule, URL: b.url("ws"), Options: wdactivity.Options{Presence: mount.MustExist}}},
			})})
			env.RegisterActivity(test.registered)
			executeOnce(t, env, test.execute)
			b.wantNoArchive("ws")
		})
	}
}

// The SDK's own activities for sessions have no workspaces, also where a rule is for all.
func TestRuleForAllInASession(t *testing.T) {
	b := newBench(t)
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(quiet)
	env := suite.NewTestWorkflowEnvironment()
	var opened []string
	vars := func([]any) (map[string]string, error) {
		opened = append(opened, "one")
		return nil, nil
	}
	env.SetWorkerOptions(worker.Options{EnableSessionWorker: true, Plugins: plugins(t, &wdactivity.PluginOptions{
		RunDir: b.runDir, Plain: true, Rules: []wdactivity.Rule{{Activity: "*", URL: b.url("ws"), Options: wdactivity.Options{Vars: vars}}},
	})})
	env.RegisterActivity(Plain)
	executeOnce(t, env, func(ctx workflow.Context) workflow.Future {
		ctx, err := workflow.CreateSession(ctx, &workflow.SessionOptions{CreationTimeout: time.Minute, ExecutionTimeout: time.Minute})
		require.NoError(t, err)
		defer workflow.CompleteSession(ctx)
		done := workflow.ExecuteActivity(ctx, Plain, &order{"c7", "text"})
		_ = done.Get(ctx, nil) // executeOnce looks at the error
		return done
	})
	b.wantPlain("ws", "f", "text")
	require.Len(t, opened, 1)
}

// In a test environment the plugin may come after the activities; then the SDK's default
// names count.
func TestPluginAfterTheRegistration(t *testing.T) {
	b := newBench(t)
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(quiet)
	env := suite.NewTestWorkflowEnvironment()
	env.RegisterActivity(Plain)
	env.SetWorkerOptions(worker.Options{Plugins: plugins(t, &wdactivity.PluginOptions{
		RunDir: b.runDir, Plain: true, Rules: []wdactivity.Rule{{Activity: Plain, URL: b.url("ws")}},
	})})
	executeOnce(t, env, func(ctx workflow.Context) workflow.Future {
		return workflow.ExecuteActivity(ctx, Plain, &order{"c7", "text"})
	})
	b.wantPlain("ws", "f", "text")
}

// Variables come from the arguments, in a rule and in Do.
func TestVariablesFromArguments(t *testing.T) {
	vars := wdactivity.Vars(func(o order) map[string]string { return map[string]string{"customer": o.Customer} })
	for _, by := range []string{"rule", "do"} {
		t.Run(by, func(t *testing.T) {
			b := newBench(t)
			opts := &wdactivity.PluginOptions{RunDir: b.runDir, Plain: true}
			if by == "rule" {
				opts.Rules = []wdactivity.Rule{{Activity: "act", URL: b.url("{customer}"), Options: wdactivity.Options{Vars: vars}}}
			}
			env := activityEnv(t, "act", func(ctx context.Context, o order, _ int) error {
				if by == "rule" {
					return write1(ctx, o.Text)
				}
				_, err := wdactivity.Do(ctx, b.url("{customer}"), &wdactivity.Options{Vars: vars}, func(ctx context.Context, _ *mount.Mount) (struct{}, error) {
					return struct{}{}, write1(ctx, o.Text)
				})
				return err
			}, opts)
			_, err := env.ExecuteActivity("act", order{"c7", "text"}, 1)
			require.NoError(t, err)
			b.wantPlain("c7", "f", "text")
		})
	}
}

// Without the plugin the first call of Do says what is missing.
func TestDoWithoutThePlugin(t *testing.T) {
	do := func(ctx context.Context) (int, error) {
		return wdactivity.Do(ctx, "mem://b/k", nil, func(context.Context, *mount.Mount) (int, error) { return 1, errors.New("it ran") })
	}
	_, err := do(t.Context())
	require.ErrorIs(t, err, wdactivity.ErrNoPlugin)
	require.ErrorContains(t, err, "wdactivity.NewPlugin")
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(quiet)
	env := suite.NewTestActivityEnvironment()
	env.RegisterActivityWithOptions(do, sdk.RegisterOptions{Name: "act"})
	_, err = env.ExecuteActivity("act")
	app := wantType(t, err, errtype.Plugin, true)
	require.Contains(t, app.Message(), "client.Options.Plugins or worker.Options.Plugins")
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
		}(), "the activity has none"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := direct(t, context.Background(), func(ctx context.Context) (int, error) {
				return wdactivity.Do(ctx, b.url("{customer}"), test.opts, func(context.Context, *mount.Mount) (int, error) {
					return 0, errors.New("it ran")
				})
			})
			require.ErrorIs(t, err, store.ErrURL)
			app := wantType(t, err, errtype.URL, false)
			require.Contains(t, app.Message(), test.want)
		})
	}
}

// What can never work is an error, and is not retried.
func TestBadOptionsOfDo(t *testing.T) {
	for _, opts := range []*wdactivity.Options{{Name: "a b"}, {Env: "A=B"}, {Dir: "here"}} {
		_, err := wdactivity.Do(t.Context(), "mem://b/k", opts, func(context.Context, *mount.Mount) (int, error) { return 0, nil })
		wantType(t, err, errtype.Input, false)
	}
}

func TestPathAndCommit(t *testing.T) {
	require.PanicsWithValue(t, "wdactivity.Path: no workspace in the context; pass the context of an activity named by a rule of the plugin, or of Do's function",
		func() { wdactivity.Path(context.Background()) })
	require.ErrorContains(t, wdactivity.Commit(context.Background()), "no workspace")
	b := newBench(t)
	_, err := run(t, context.Background(), func(ctx context.Context) (int, error) {
		return wdactivity.Do(ctx, b.url("ws"), b.options(), func(ctx context.Context, m *mount.Mount) (int, error) {
			return 0, errors.Join(equal(wdactivity.Path(ctx, "a", "b"), m.Path("a", "b")), write(m, "f", "x"), wdactivity.Commit(ctx))
		})
	})
	require.NoError(t, err)
	b.wantStored("ws", "f", "x")
}

// A Do with a name is found by its name alone, by tools as well.
func TestDoWithAName(t *testing.T) {
	b := newBench(t)
	b.put("fonts", "f", "")
	_, err := run(t, context.Background(), func(ctx context.Context) (int, error) {
		return wdactivity.Do(ctx, b.url("ws"), b.options(), func(ctx context.Context, ws *mount.Mount) (int, error) {
			opts := b.options()
			opts.Name, opts.ReadOnly = "fonts", true
			return wdactivity.Do(ctx, b.url("fonts"), opts, func(ctx context.Context, fonts *mount.Mount) (int, error) {
				m, _ := wdactivity.Workspace(ctx)
				named, _ := wdactivity.WorkspaceNamed(ctx, "fonts")
				out, err := wdactivity.Command(ctx, "sh", "-c", `echo "$PWD $WORKDIR $WORKDIR_FONTS"`).Output()
				return 0, errors.Join(err, equal(m, ws), equal(named, fonts), equal(string(out), ws.Path()+" "+ws.Path()+" "+fonts.Path()+"\n"))
			})
		})
	})
	require.NoError(t, err)
}
