package temporal

import (
	"fmt"
	"strings"
	"testing"

	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	wdactivity "github.com/workdir/workdir/activity"
	"github.com/workdir/workdir/activity/ready"
)

// The program "ready" has the ready-made activities. Its plugin tries the host first.
func init() {
	programs["ready"] = func(w worker.Worker, c *config) {
		if err := ready.Register(w, &ready.Options{Allow: []string{c.url("")}}); err != nil {
			panic(err)
		}
	}
	pluginSetup["ready"] = func(o *wdactivity.PluginOptions, _ *config) { o.NoPreflight = false }
}

// execInput asks workdir.Exec, as a workflow of any language would.
type execInput map[string]any

// A command whose worker dies after the commit is not run again: the next attempt
// has its output.
func TestExecTakesEffectOnce(t *testing.T) {
	e := newEnv(t)
	e.newWorker(workerOptions{Program: "ready"}).killBefore("RespondActivityTaskCompleted")
	r := startWorkflow(e, func(ctx workflow.Context) (ready.ExecResult, error) {
		return execute[ready.ExecResult](e.activities(ctx), "workdir.Exec", execInput{
			"workspace": e.url("{workflow_id}"), "argv": []string{"sh", "-c", "echo once >>lines; cat lines"},
		})
	})
	got, err := r.result()
	noError(t, err)
	if got.Stdout != "once\n" || !got.Replayed || !got.Stored || got.Commit == "" {
		t.Errorf("result %+v", got)
	}
	if log := e.log(r.GetID()); len(log) != 1 || string(log[0].ID) != got.Commit || log[0].Origin.ActivityType != ready.Exec {
		t.Errorf("log %+v", log)
	}
	if lines := e.file(r.GetID(), "lines"); lines != "once\n" {
		t.Errorf("stored %q", lines)
	}
}

// A workflow that is cancelled takes the command with it, its children too, and
// nothing is stored.
func TestExecIsCancelled(t *testing.T) {
	e := newEnv(t)
	e.newWorker(workerOptions{Program: "ready"})
	r := startWorkflow(e, func(ctx workflow.Context) (ready.ExecResult, error) {
		opts := options(e.queue)
		opts.WaitForCancellation = true
		return execute[ready.ExecResult](workflow.WithActivityOptions(ctx, opts), "workdir.Exec", execInput{
			"workspace": e.url("job"), "argv": []string{"sh", "-c", fmt.Sprintf("touch f %s/running; sleep 1000 & sleep 1000", e.notes())},
		})
	})
	e.awaitNote("running")
	r.cancel()
	if _, err := r.result(); err == nil || !strings.Contains(err.Error(), "canceled") {
		t.Errorf("result %v", err)
	}
	if e.exists("job") {
		t.Error("something is stored")
	}
}
