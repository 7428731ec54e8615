package temporal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	wdactivity "github.com/workdir/workdir/activity"
	"github.com/workdir/workdir/mount"
)

// The program "ways" has one activity by each way into package activity. All do
// the same, see greet. With workflows it also runs one that executes them as local
// activities.
func init() {
	programs["ways"] = func(w worker.Worker, c *config) {
		greetings := &greeter{c}
		do := func(opts *wdactivity.Options) func(context.Context, string) (string, error) {
			return wrap(c.url(waysKey), func(_ context.Context, ws *mount.Mount, name string) (string, error) { return greet(c, ws, name) }, opts)
		}
		w.RegisterActivityWithOptions(do(nil), activity.RegisterOptions{Name: "do"})
		w.RegisterActivityWithOptions(do(&wdactivity.Options{Step: "greeting"}), activity.RegisterOptions{Name: "step"})
		w.RegisterActivityWithOptions(func(ctx context.Context, name string) (string, error) {
			return greetings.Greet(ctx, name)
		}, activity.RegisterOptions{Name: "name"})
		w.RegisterActivityWithOptions(greetings.Greet, activity.RegisterOptions{Name: "reference"})
		if c.Workflows {
			w.RegisterWorkflowWithOptions(localActivity, workflow.RegisterOptions{Name: "local"})
		}
	}
	pluginSetup["ways"] = func(o *wdactivity.PluginOptions, c *config) {
		o.NoPreflight = false
		o.Rules = []wdactivity.Rule{{Activity: "name", URL: c.url(waysKey)}, {Activity: (*greeter).Greet, URL: c.url(waysKey)}}
	}
}

// waysKey is the key of the workspace of each.
const waysKey = "{activity_type}/{workflow_id...}{activity_id}"

// greeter has an activity that finds its workspace in its context.
type greeter struct{ c *config }

// Greet is greet.
func (g *greeter) Greet(ctx context.Context, name string) (string, error) {
	ws, ok := wdactivity.Workspace(ctx)
	if !ok {
		return "", errors.New("there is no workspace")
	}
	return greet(g.c, ws, name)
}

// greet appends a greeting to a file, marks the workspace, and returns the greeting.
// It leaves a note in which process it ran.
func greet(c *config, ws *mount.Mount, name string) (string, error) {
	if err := c.note(fmt.Sprintf("greeted-%d", os.Getpid())); err != nil {
		return "", err
	}
	greeting := "hello, " + name
	f, err := os.OpenFile(ws.Path("greeting"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return "", err
	}
	if _, err := f.WriteString(greeting); err != nil {
		return "", err
	}
	if err := f.Close(); err != nil {
		return "", err
	}
	return greeting, ws.Commit()
}

// checkGreeted holds that one process greeted, once, and that this is the result.
func (e *env) checkGreeted(key, result string) {
	e.t.Helper()
	if ran, _ := filepath.Glob(filepath.Join(e.notes(), "greeted-*")); len(ran) != 1 { // fails on a bad pattern only
		e.t.Errorf("%d processes ran the function, want 1", len(ran))
	}
	if got := e.file(key, "greeting"); result != "hello, you" || got != result {
		e.t.Errorf("result = %q, file = %q", result, got)
	}
	if n := len(e.log(key)); n != 1 {
		e.t.Errorf("%d commits, want 1", n)
	}
}

// killBefore kills the worker and its mount server the first time that it wants to
// make a call, and starts it again.
func (w *workerProcess) killBefore(method string) {
	killed := false // one worker makes such calls one after the other
	w.set(func(c *call, forward func() error) error {
		if c.Method != method || killed {
			return forward()
		}
		killed = true
		w.Kill(both)
		if err := w.Start(); err != nil {
			w.env.t.Error(err)
		}
		return errKilled
	})
}

// By every way in, an attempt that was killed after its commit and before its
// completion is not done again: the next one gives its result.
func TestEveryWayIn(t *testing.T) {
	for _, way := range everyWay {
		t.Run(way, func(t *testing.T) {
			e := newEnv(t)
			e.newWorker(workerOptions{Program: "ways"}).killBefore("RespondActivityTaskCompleted")
			r := startWorkflow(e, func(ctx workflow.Context) (string, error) {
				opts := options(e.queue)
				opts.ActivityID = "-greeting"
				return execute[string](workflow.WithActivityOptions(ctx, opts), way, "you")
			})
			result, err := r.result()
			noError(t, err)
			e.checkGreeted(way+"/"+r.GetID()+"-greeting", result)
		})
	}
}

// An activity that no workflow started is done once as well.
func TestStandaloneActivity(t *testing.T) {
	for _, way := range []string{"do", "reference"} {
		t.Run(way, func(t *testing.T) {
			e := newEnv(t)
			e.newWorker(workerOptions{Program: "ways"}).killBefore("RespondActivityTaskCompleted")
			id := filepath.Base(e.root) + "-alone"
			h, err := server.client.ExecuteActivity(t.Context(), client.StartActivityOptions{
				ID: id, TaskQueue: e.queue, StartToCloseTimeout: time.Minute, HeartbeatTimeout: 2 * time.Second,
				RetryPolicy: &temporal.RetryPolicy{InitialInterval: 20 * time.Millisecond, BackoffCoefficient: 1},
			}, way, "you")
			noError(t, err)
			var result string
			noError(t, h.Get(t.Context(), &result))
			e.checkGreeted(way+"/"+id, result)
		})
	}
}

// localActivity executes an activity in the worker that runs the workflow.
func localActivity(ctx workflow.Context, way, name string) (string, error) {
	ctx = workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{
		StartToCloseTimeout: time.Minute,
		RetryPolicy:         &temporal.RetryPolicy{InitialInterval: 20 * time.Millisecond, BackoffCoefficient: 1},
	})
	var out string
	err := workflow.ExecuteLocalActivity(ctx, way, name).Get(ctx, &out)
	return out, err
}

// A local activity is done once by every way in, though its worker is killed before
// the server has its result: the workflow's next task, which comes when the first
// one has timed out, runs it again.
func TestLocalActivity(t *testing.T) {
	for _, way := range everyWay {
		t.Run(way, func(t *testing.T) {
			e := newEnv(t)
			e.newWorker(workerOptions{Program: "ways", Workflows: true}).killBefore("RespondWorkflowTaskCompleted")
			r := startNamed[string](e, e.queue, "local", way, "you")
			result, err := r.result()
			noError(t, err)
			keys, err := filepath.Glob(e.archive(way + "/" + r.GetID() + "*"))
			noError(t, err)
			if len(keys) != 1 {
				t.Fatalf("workspaces %q, want one", keys)
			}
			key := strings.TrimSuffix(strings.TrimPrefix(keys[0], e.storeDir+"/"), ".tar.gz")
			e.checkGreeted(key, result)
		})
	}
}
