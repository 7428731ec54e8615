package activity_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sdk "go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	wdactivity "github.com/workdir/workdir/activity"
	"github.com/workdir/workdir/mount"
	"github.com/workdir/workdir/store"
)

// build is an activity that knows nothing of workspaces but how it starts its
// tools.
func build(ctx context.Context, what string) (string, error) {
	out, err := wdactivity.Command(ctx, "sh", "-c", `cat "$WORKDIR_CONFIG/flags" && echo "$0" >built && pwd`, what).CombinedOutput()
	return string(out), err
}

// rules are those of a worker: build has a workspace for writing and a read-only
// one, nobuild has none, and everything else is not named.
func (b *bench) rules() *wdactivity.PluginOptions {
	return &wdactivity.PluginOptions{RunDir: b.runDir, Rules: []wdactivity.Rule{
		{Activity: "nobuild"},
		{Activity: "*build", Workspaces: []wdactivity.RuleWorkspace{
			{URL: b.url("ws"), Options: wdactivity.Options{AutoCommit: true}},
			{URL: b.url("config"), Options: wdactivity.Options{Name: "config", ReadOnly: true}},
		}},
	}}
}

// activityEnv is the SDK's environment for one activity, with interceptors.
func activityEnv(t *testing.T, name string, fn any, opts *wdactivity.PluginOptions, around ...interceptor.WorkerInterceptor) *testsuite.TestActivityEnvironment {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(quiet)
	env := suite.NewTestActivityEnvironment()
	env.SetWorkerOptions(worker.Options{Interceptors: around, Plugins: plugins(t, opts)})
	env.SetTestTimeout(time.Minute)
	env.RegisterActivityWithOptions(fn, sdk.RegisterOptions{Name: name})
	return env
}

func TestInterceptorMountsByActivityType(t *testing.T) {
	for _, plain := range []bool{false, true} {
		t.Run(fmt.Sprintf("plain=%v", plain), func(t *testing.T) {
			b := newBench(t)
			seed(t, b, "config", "flags", "-O2\n")
			rules := b.rules()
			rules.Plain = plain
			env := activityEnv(t, "build", build, rules)
			value, err := env.ExecuteActivity("build", "all")
			require.NoError(t, err)
			var out string
			require.NoError(t, value.Get(&out))
			require.True(t, strings.HasPrefix(out, "-O2\n"+b.runDir), "output %q", out)
			b.noMounts()
			b.wantStored("ws", "built", "all\n")
			b.wantStored("config", "flags", "-O2\n")
		})
	}
}

func TestInterceptorLeavesOtherActivitiesAlone(t *testing.T) {
	for _, name := range []string{"nobuild", "other"} {
		b := newBench(t)
		env := activityEnv(t, name, func(ctx context.Context) error {
			if _, ok := wdactivity.Workspace(ctx); ok {
				return errors.New("there is a workspace")
			}
			return nil
		}, b.rules())
		_, err := env.ExecuteActivity(name)
		require.NoError(t, err)
	}
}

func TestInterceptorGivesWorkspacesByName(t *testing.T) {
	b := newBench(t)
	seed(t, b, "config", "flags", "-O2\n")
	env := activityEnv(t, "build", func(ctx context.Context) error {
		main, ok := wdactivity.Workspace(ctx)
		config, ok2 := wdactivity.WorkspaceNamed(ctx, "config")
		if !ok || !ok2 || main == config {
			return fmt.Errorf("workspaces %v, %v", main, config)
		}
		if _, ok := wdactivity.WorkspaceNamed(ctx, ""); ok {
			return errors.New("a workspace without a name was found by name")
		}
		if err := os.WriteFile(config.Path("flags"), nil, 0o644); err == nil {
			return errors.New("a write to a read-only workspace worked")
		}
		want := []string{
			"WORKDIR=" + main.Path(), "WORKDIR_URL=" + b.url("ws"),
			"WORKDIR_CONFIG=" + config.Path(), "WORKDIR_CONFIG_URL=" + b.url("config"),
		}
		env := strings.Join(wdactivity.Environ(ctx), "\n") + "\n"
		for _, v := range want {
			if !strings.Contains(env, v+"\n") {
				return fmt.Errorf("no %s in the environment", v)
			}
		}
		return nil
	}, b.rules())
	_, err := env.ExecuteActivity("build")
	require.NoError(t, err)
}

func TestInterceptorStoresNothingOfAnActivityThatFails(t *testing.T) {
	b := newBench(t)
	seed(t, b, "config", "flags", "-O2\n")
	env := activityEnv(t, "build", func(ctx context.Context) error {
		if _, err := build(ctx, "half"); err != nil {
			return err
		}
		return errWork
	}, b.rules())
	_, err := env.ExecuteActivity("build")
	require.ErrorContains(t, err, errWork.Error())
	b.noMounts()
	b.wantNoArchive("ws")
}

// A nested Do is the innermost workspace, for tools as well.
func TestEnvironInDo(t *testing.T) {
	b := newBench(t)
	seed(t, b, "config", "flags", "-O2\n")
	env := activityEnv(t, "build", func(ctx context.Context) (string, error) {
		return wdactivity.Do(ctx, b.url("inner"), b.options(), func(ctx context.Context, m *mount.Mount) (string, error) {
			out, err := wdactivity.Command(ctx, "sh", "-c", `echo "$PWD $WORKDIR"`).Output()
			if want := m.Path() + " " + m.Path() + "\n"; string(out) != want {
				return "", fmt.Errorf("paths of tools are %q, want %q", out, want)
			}
			return "", err
		})
	}, b.rules())
	_, err := env.ExecuteActivity("build")
	require.NoError(t, err)
}

// Tools see the innermost workspace where Options.At says, and those around it where the
// activity itself sees them.
func TestCommandAt(t *testing.T) {
	b := newBench(t)
	seed(t, b, "config", "flags", "-O2\n")
	env := activityEnv(t, "build", func(ctx context.Context) (string, error) {
		outer := wdactivity.Path(ctx)
		opts := b.options()
		opts.At, opts.Env = "/workdir-test", "INNER"
		return wdactivity.Do(ctx, b.url("inner"), opts, func(ctx context.Context, m *mount.Mount) (string, error) {
			out, err := wdactivity.Command(ctx, "sh", "-c", `echo "$PWD $INNER $WORKDIR" && ls -d "$WORKDIR/." && cat "$WORKDIR_CONFIG/flags"`).Output()
			if want := "/workdir-test /workdir-test " + outer + "\n" + outer + "/.\n-O2\n"; string(out) != want {
				return "", fmt.Errorf("paths of tools are %q, want %q", out, want)
			}
			return "", err
		})
	}, b.rules())
	_, err := env.ExecuteActivity("build")
	require.NoError(t, err)
}

func TestCommandWithoutAWorkspace(t *testing.T) {
	err := wdactivity.Command(t.Context(), "true").Run()
	require.ErrorContains(t, err, "no workspace in the context")
}

// buildWorkflow runs build as an activity or as a local one.
func buildWorkflow(ctx workflow.Context, local bool) (string, error) {
	var out string
	if local {
		ctx = workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{StartToCloseTimeout: time.Minute})
		return out, workflow.ExecuteLocalActivity(ctx, "build", "in a workflow").Get(ctx, &out)
	}
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute})
	return out, workflow.ExecuteActivity(ctx, "build", "in a workflow").Get(ctx, &out)
}

func TestInterceptorInAWorkflow(t *testing.T) {
	for _, local := range []bool{false, true} {
		t.Run(fmt.Sprintf("local=%v", local), func(t *testing.T) {
			b := newBench(t)
			seed(t, b, "config", "flags", "-O2\n")
			var suite testsuite.WorkflowTestSuite
			suite.SetLogger(quiet)
			env := suite.NewTestWorkflowEnvironment()
			env.SetTestTimeout(time.Minute)
			env.SetWorkerOptions(worker.Options{Plugins: plugins(t, b.rules())})
			env.RegisterActivityWithOptions(build, sdk.RegisterOptions{Name: "build"})
			env.ExecuteWorkflow(buildWorkflow, local)
			require.True(t, env.IsWorkflowCompleted())
			require.NoError(t, env.GetWorkflowError())
			b.noMounts()
			b.wantStored("ws", "built", "in a workflow\n")
		})
	}
}

// around notes what is stored when an activity begins and when it has ended, as
// the span of a tracing interceptor would be long.
type around struct {
	interceptor.WorkerInterceptorBase
	look func() bool
	seen []bool
}

func (a *around) InterceptActivity(_ context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	i := &aroundActivity{outer: a}
	i.Next = next
	return i
}

type aroundActivity struct {
	interceptor.ActivityInboundInterceptorBase
	outer *around
}

func (i *aroundActivity) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (any, error) {
	i.outer.seen = append(i.outer.seen, i.outer.look())
	defer func() { i.outer.seen = append(i.outer.seen, i.outer.look()) }()
	return i.Next.ExecuteActivity(ctx, in)
}

// An interceptor that comes before ours, such as one for tracing, is around the
// open and the commit.
func TestInterceptorBeforeOursIsAroundTheCommit(t *testing.T) {
	b := newBench(t)
	seed(t, b, "config", "flags", "-O2\n")
	stored := func() bool {
		_, err := store.Stat(context.Background(), b.url("ws"))
		return err == nil
	}
	span := &around{look: stored}
	var beneath bool
	env := activityEnv(t, "build", func(ctx context.Context) error {
		beneath = len(span.seen) == 1
		_, err := build(ctx, "x")
		return err
	}, b.rules(), span)
	_, err := env.ExecuteActivity("build")
	require.NoError(t, err)
	require.True(t, beneath)
	require.Equal(t, []bool{false, true}, span.seen)
}

func TestPluginOptionsCheck(t *testing.T) {
	type W = []wdactivity.RuleWorkspace
	type O = wdactivity.Options
	tests := []struct {
		name  string
		rules []wdactivity.Rule
		want  string // part of the error; "" for none
	}{
		{"good", []wdactivity.Rule{{Activity: "a", Workspaces: W{{URL: "mem://b/{workflow_id}"}, {URL: "mem://b/c", Options: O{Name: "c", ReadOnly: true}}}}}, ""},
		{"no activity", []wdactivity.Rule{{}}, "rule 1 (<nil>): activity: write a function"},
		{"function literal", []wdactivity.Rule{{Activity: func() error { return nil }, URL: "mem://b/k"}}, "function literals"},
		{"a number", []wdactivity.Rule{{Activity: 7, URL: "mem://b/k"}}, "rule 1 (int): activity: write a function"},
		{"twice by reference", []wdactivity.Rule{{Activity: Plain}, {Activity: Plain}}, "rule 1 is for the same"},
		{"flat", []wdactivity.Rule{{Activity: "a", URL: "mem://b/k", Options: O{AutoCommit: true}, Workspaces: W{{URL: "mem://b/c", Options: O{Name: "c", ReadOnly: true}}}}}, ""},
		{"options without a workspace", []wdactivity.Rule{{Activity: "a", Options: O{AutoCommit: true}}}, "url: there are options"},
		{"twice", []wdactivity.Rule{{Activity: "a"}, {Activity: "a"}}, "rule 2 (a): rule 1 is for the same"},
		{"no url", []wdactivity.Rule{{Activity: "a", Workspaces: W{{}}}}, "workspace 1:"},
		{"variable", []wdactivity.Rule{{Activity: "a", Workspaces: W{{URL: "mem://b/{order}"}}}}, "unknown variable {order}"},
		{"variable from the arguments", []wdactivity.Rule{{Activity: "a", Workspaces: W{{URL: "mem://b/{order}", Options: O{Vars: func([]any) (map[string]string, error) { return nil, nil }}}}}}, ""},
		{"two for writing", []wdactivity.Rule{{Activity: "a", Workspaces: W{{URL: "mem://b/1"}, {URL: "mem://b/2", Options: O{Name: "two"}}}}}, "workspace 2: a second writable one"},
		{"read-only commit", []wdactivity.Rule{{Activity: "a", Workspaces: W{{URL: "mem://b/1", Options: O{ReadOnly: true, AutoCommit: true}}}}}, "autoCommit: a read-only"},
		{"no name", []wdactivity.Rule{{Activity: "a", Workspaces: W{{URL: "mem://b/1"}, {URL: "mem://b/2", Options: O{ReadOnly: true}}}}}, "workspace 2: name: every workspace"},
		{"bad name", []wdactivity.Rule{{Activity: "a", Workspaces: W{{URL: "mem://b/1", Options: O{Name: "a b"}}}}}, "name: \"a b\""},
		{"same name", []wdactivity.Rule{{Activity: "a", Workspaces: W{{URL: "mem://b/1", Options: O{Name: "x"}}, {URL: "mem://b/2", Options: O{Name: "x", ReadOnly: true}}}}}, "name: x is already used"},
		{"same url", []wdactivity.Rule{{Activity: "a", Workspaces: W{{URL: "mem://b/1"}, {URL: "mem://b/1", Options: O{Name: "x", ReadOnly: true}}}}}, "url: mem://b/1 is already used"},
		{"same variable", []wdactivity.Rule{{Activity: "a", Workspaces: W{{URL: "mem://b/1"}, {URL: "mem://b/2", Options: O{Name: "url", ReadOnly: true}}}}}, "env: WORKDIR_URL is already used"},
		{"relative directory", []wdactivity.Rule{{Activity: "a", Workspaces: W{{URL: "mem://b/1", Options: O{Dir: "here"}}}}}, "dir: \"here\" is not an absolute path"},
		{"same directory", []wdactivity.Rule{{Activity: "a", Workspaces: W{{URL: "mem://b/1", Options: O{Dir: "/x"}}, {URL: "mem://b/2", Options: O{Name: "x", ReadOnly: true, Dir: "/x/"}}}}}, "dir: /x is already used"},
		{"bad variable", []wdactivity.Rule{{Activity: "a", Workspaces: W{{URL: "mem://b/1", Options: O{Env: "A=B"}}}}}, "env: \"A=B\""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := wdactivity.NewPlugin(&wdactivity.PluginOptions{Rules: test.rules})
			if test.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, test.want)
		})
	}
}

func TestPluginOptionsFromJSON(t *testing.T) {
	var got wdactivity.PluginOptions
	err := json.Unmarshal([]byte(`{"plain": true, "rules": [{"activity": "build*", "workspaces": [
		{"name": "src", "url": "s3://b/{workflow_id}", "env": "SRC", "autoCommit": true, "grace": "3s", "maxBytes": 1024}
	]}]}`), &got)
	require.NoError(t, err)
	want := wdactivity.PluginOptions{Plain: true, Rules: []wdactivity.Rule{{Activity: "build*", Workspaces: []wdactivity.RuleWorkspace{{
		URL: "s3://b/{workflow_id}", Options: wdactivity.Options{Name: "src", Env: "SRC", AutoCommit: true, Grace: wdactivity.Duration(3 * time.Second), MaxBytes: 1024},
	}}}}}
	require.Equal(t, want, got)
	text, err := json.Marshal(got)
	require.NoError(t, err)
	require.Contains(t, string(text), `"grace":"3s"`)
}

// The activity's own workspace is written flat, and further ones in a list.
func TestRuleFromFlatJSON(t *testing.T) {
	var got wdactivity.PluginOptions
	require.NoError(t, json.Unmarshal([]byte(`{"rules": [{"activity": "build", "url": "mem://b/k", "autoCommit": true, "closeTimeout": "1h",
		"workspaces": [{"name": "src", "url": "mem://b/src", "readOnly": true}]}]}`), &got))
	require.Equal(t, wdactivity.PluginOptions{Rules: []wdactivity.Rule{{
		Activity: "build", URL: "mem://b/k", Options: wdactivity.Options{AutoCommit: true, CloseTimeout: wdactivity.Duration(time.Hour)},
		Workspaces: []wdactivity.RuleWorkspace{{URL: "mem://b/src", Options: wdactivity.Options{Name: "src", ReadOnly: true}}},
	}}}, got)
}

// A field that there is not was ignored: with a misspelt autoCommit nothing was ever
// stored.
func TestPluginOptionsWithUnknownFields(t *testing.T) {
	for _, text := range []string{
		`{"rule": []}`,
		`{"rules": [{"activities": "x"}]}`,
		`{"rules": [{"activity": "x", "url": "mem://b/k", "autocommitt": true}]}`,
		`{"rules": [{"activity": "x", "workspaces": [{"url": "mem://b/k", "auto_commit": true}]}]}`,
	} {
		var got wdactivity.PluginOptions
		require.ErrorContains(t, json.Unmarshal([]byte(text), &got), "unknown field", text)
	}
}

// A rule's directory is where the workspace is mounted, each time.
func TestRuleWithADirectory(t *testing.T) {
	b := newBench(t)
	dir := t.TempDir()
	var rules wdactivity.PluginOptions
	text := fmt.Sprintf(`{"runDir": %q, "rules": [{"activity": "build", "workspaces": [{"url": %q, "dir": %q}]}]}`, b.runDir, b.url("ws"), dir+"/.")
	require.NoError(t, json.Unmarshal([]byte(text), &rules))
	for range 2 {
		env := activityEnv(t, "build", func(ctx context.Context) (string, error) {
			return wdactivity.Path(ctx), nil
		}, &rules)
		value, err := env.ExecuteActivity("build")
		require.NoError(t, err)
		var path string
		require.NoError(t, value.Get(&path))
		require.Equal(t, dir, path)
	}
}

// lostResult is an interceptor around ours that loses the result of the first
// attempt, as a worker does that dies after the commit.
type lostResult struct {
	interceptor.WorkerInterceptorBase
}

func (l *lostResult) InterceptActivity(_ context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	i := &lostActivity{}
	i.Next = next
	return i
}

type lostActivity struct {
	interceptor.ActivityInboundInterceptorBase
}

func (i *lostActivity) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (any, error) {
	out, err := i.Next.ExecuteActivity(ctx, in)
	if err == nil && sdk.GetInfo(ctx).Attempt == 1 {
		return nil, errors.New("the worker died")
	}
	return out, err
}

// twoAttempts runs an activity in a workflow whose first attempt is lost after its
// commit, and returns the result of the second one.
func twoAttempts(t *testing.T, out any, register func(worker.ActivityRegistry), opts *wdactivity.PluginOptions, name string, input any) {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(quiet)
	env := suite.NewTestWorkflowEnvironment()
	env.SetTestTimeout(time.Minute)
	env.SetWorkerOptions(worker.Options{Interceptors: []interceptor.WorkerInterceptor{&lostResult{}}, Plugins: plugins(t, opts)})
	register(env)
	env.ExecuteWorkflow(func(ctx workflow.Context) (json.RawMessage, error) {
		ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute})
		var out json.RawMessage
		return out, workflow.ExecuteActivity(ctx, name, input).Get(ctx, &out)
	})
	require.NoError(t, env.GetWorkflowError())
	require.NoError(t, env.GetWorkflowResult(out))
}

func TestInterceptorGivesTheResultOfAnEarlierAttempt(t *testing.T) {
	b := newBench(t)
	seed(t, b, "config", "flags", "-O2\n")
	runs := 0
	var out string
	twoAttempts(t, &out, func(w worker.ActivityRegistry) {
		w.RegisterActivityWithOptions(func(ctx context.Context, what string) (string, error) {
			runs++
			_, err := build(ctx, what)
			return fmt.Sprint("run ", runs), err
		}, sdk.RegisterOptions{Name: "build"})
	}, b.rules(), "build", "all")
	require.Equal(t, "run 1", out)
	require.Equal(t, 1, runs)
}
