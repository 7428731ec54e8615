package temporal

import (
	"path/filepath"
	"testing"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	wdactivity "github.com/workdir/workdir/activity"
)

// The program "versioned" is a version of a deployment: it runs the workflow
// "versioned", and its activity "greet".
func init() {
	programs["versioned"] = func(w worker.Worker, c *config) {
		w.RegisterActivityWithOptions((&greeter{c}).Greet, activity.RegisterOptions{Name: "greet"})
		w.RegisterWorkflowWithOptions(func(ctx workflow.Context, name string) (string, error) {
			return execute[string](workflow.WithActivityOptions(ctx, options(c.Queue)), "greet", name)
		}, workflow.RegisterOptions{Name: "versioned"})
	}
	pluginSetup["versioned"] = func(o *wdactivity.PluginOptions, c *config) {
		o.Rules = []wdactivity.Rule{{Activity: (*greeter).Greet, URL: c.url("{activity_type}")}}
	}
	workerSetup["versioned"] = func(o *worker.Options, c *config) {
		o.DeploymentOptions = worker.DeploymentOptions{
			UseVersioning:             true,
			Version:                   worker.WorkerDeploymentVersion{DeploymentName: c.Args["deployment"], BuildID: c.Args["build"]},
			DefaultVersioningBehavior: workflow.VersioningBehaviorAutoUpgrade,
		}
	}
}

// An activity whose worker dies after the commit is done, also where the workers that
// are left are of another version: the new one returns the result of the old one.
func TestWorkerOfAnotherVersion(t *testing.T) {
	e := newEnv(t)
	deployment := "deployment-" + filepath.Base(e.root)
	version := func(build string) *workerProcess {
		return e.newWorker(workerOptions{Program: "versioned", Workflows: true, Args: map[string]string{"deployment": deployment, "build": build}})
	}
	first := version("1")
	e.makeCurrent(deployment, "1")
	second := version("2")
	awaitKill := first.killBeforeCompletion()
	r := startNamed[string](e, e.queue, "versioned", "you")
	awaitKill()
	e.makeCurrent(deployment, "2")
	result, err := r.result()
	noError(t, err)
	e.checkGreeted("greet", result)
	for _, event := range r.history() {
		if event.GetEventType() != enumspb.EVENT_TYPE_ACTIVITY_TASK_STARTED {
			continue
		}
		if by := event.GetActivityTaskStartedEventAttributes().GetIdentity(); by != second.name {
			t.Errorf("the result is of worker %s, want %s", by, second.name)
		}
	}
}

// makeCurrent makes a version of a deployment the one to which activities go, once the
// server knows it.
func (e *env) makeCurrent(deployment, build string) {
	e.t.Helper()
	h := server.client.WorkerDeploymentClient().GetHandle(deployment)
	waitFor(e.t, "version "+build+" to be current", func() bool {
		_, err := h.SetCurrentVersion(e.t.Context(), client.WorkerDeploymentSetCurrentVersionOptions{BuildID: build})
		return err == nil
	})
}
