package wdtest_test

import (
	"context"
	"errors"
	"maps"
	"os"
	"testing"
	"time"

	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/workflow"

	wdactivity "github.com/workdir/workdir/activity"
	"github.com/workdir/workdir/activity/wdtest"
	"github.com/workdir/workdir/mount"
)

type activities struct{ store string }

// Double appends the file to itself.
func (*activities) Double(ctx context.Context, name string) (int, error) {
	b, err := os.ReadFile(wdactivity.Path(ctx, name))
	if err == nil {
		err = os.WriteFile(wdactivity.Path(ctx, name), append(b, b...), 0o644)
	}
	return 2 * len(b), errors.Join(err, wdactivity.Commit(ctx))
}

// Fail changes the workspace and fails.
func (*activities) Fail(ctx context.Context) error {
	return errors.Join(os.WriteFile(wdactivity.Path(ctx, "new"), nil, 0o644), wdactivity.Commit(ctx), errors.New("no"))
}

// Copy copies from a workspace that it opens itself.
func (a *activities) Copy(ctx context.Context, name string) error {
	_, err := wdactivity.Do(ctx, a.store+"/from", &wdactivity.Options{ReadOnly: true}, func(ctx context.Context, from *mount.Mount) (string, error) {
		return wdactivity.Do(ctx, a.store+"/to", nil, func(_ context.Context, to *mount.Mount) (string, error) {
			return "", errors.Join(os.CopyFS(to.Path(), os.DirFS(from.Path())), to.Commit())
		})
	})
	return err
}

func rules(store string) *wdactivity.PluginOptions {
	return &wdactivity.PluginOptions{Rules: []wdactivity.Rule{
		{Activity: (*activities).Double, URL: store + "/{workflow_id}"},
		{Activity: (*activities).Fail, URL: store + "/{workflow_id}"},
	}}
}

const id = "/default-test-workflow-id"

func TestEnv(t *testing.T) {
	store := wdtest.NewStore(t)
	wdtest.Put(t, store+id, map[string]string{"f": "ab", "other": "x"})
	a := &activities{store}
	env := wdtest.NewEnv(t, rules(store))
	env.RegisterActivity(a)
	var n int
	value, err := env.ExecuteActivity(a.Double, "f")
	if err == nil {
		err = value.Get(&n)
	}
	if err != nil || n != 4 {
		t.Fatalf("%d, %v", n, err)
	}
	if _, err := env.ExecuteActivity(a.Fail); err == nil {
		t.Error("the activity does not fail")
	}
	if got := wdtest.Get(t, store+id); !maps.Equal(got, map[string]string{"f": "abab", "other": "x"}) {
		t.Errorf("stored: %v", got)
	}
}

func TestEnvWithoutRules(t *testing.T) {
	store := wdtest.NewStore(t)
	wdtest.Put(t, store+"/from", map[string]string{"f": "ab"})
	a := &activities{store}
	env := wdtest.NewEnv(t, nil)
	env.RegisterActivity(a)
	if _, err := env.ExecuteActivity(a.Copy, "f"); err != nil {
		t.Fatal(err)
	}
	if got := wdtest.Get(t, store+"/to"); got["f"] != "ab" {
		t.Errorf("stored: %v", got)
	}
}

func TestWorkflowEnv(t *testing.T) {
	store := wdtest.NewStore(t)
	wdtest.Put(t, store+id, map[string]string{"f": "ab"})
	a := &activities{store}
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestWorkflowEnvironment()
	env.SetWorkerOptions(wdtest.WorkerOptions(t, rules(store)))
	env.RegisterActivity(a)
	env.ExecuteWorkflow(func(ctx workflow.Context) error {
		ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute})
		for range 2 {
			if err := workflow.ExecuteActivity(ctx, a.Double, "f").Get(ctx, nil); err != nil {
				return err
			}
		}
		return nil
	})
	if err := env.GetWorkflowError(); err != nil {
		t.Fatal(err)
	}
	if got := wdtest.Get(t, store+id); got["f"] != "abababab" {
		t.Errorf("stored: %v", got)
	}
}

// A rule that can never work ends the test rather than each activity.
func TestEnvOfABadRule(t *testing.T) {
	f := &failing{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		wdtest.NewEnv(f, &wdactivity.PluginOptions{Rules: []wdactivity.Rule{{Activity: "a", URL: "mem://b/{nobody}"}}})
	}()
	<-done
	if f.text == "" {
		t.Error("the environment is set up")
	}
}
