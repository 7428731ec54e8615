package temporal

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/workflowservice/v1"
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

// Prune keeps what belongs to workflows that are open or within retention, and says why; a
// workspace whose workflow Temporal has forgotten goes.
func TestPruneAsksTemporal(t *testing.T) {
	e := newEnv(t)
	e.newWorker(workerOptions{Program: "ready"})
	commit := func(ctx workflow.Context) (ready.ExecResult, error) {
		return execute[ready.ExecResult](e.activities(ctx), "workdir.Exec", execInput{"workspace": e.url("{workflow_id}"), "argv": []string{"touch", "f"}})
	}
	open := startWorkflow(e, func(ctx workflow.Context) (string, error) {
		if _, err := commit(ctx); err != nil {
			return "", err
		}
		return "", workflow.Await(ctx, func() bool { return false })
	})
	waitFor(t, "the first commit", func() bool { return e.exists(open.GetID()) })
	closed, forgotten := startWorkflow(e, commit), startWorkflow(e, commit)
	for _, r := range []*run[ready.ExecResult]{closed, forgotten} {
		_, err := r.result()
		noError(t, err)
	}
	_, err := server.client.WorkflowService().DeleteWorkflowExecution(t.Context(), &workflowservice.DeleteWorkflowExecutionRequest{
		Namespace: namespace, WorkflowExecution: &commonpb.WorkflowExecution{WorkflowId: forgotten.GetID()},
	})
	noError(t, err)
	waitFor(t, "the end of the workflow's retention", func() bool {
		_, err := server.client.DescribeWorkflow(t.Context(), forgotten.GetID(), "")
		return err != nil
	})
	for _, id := range []string{open.GetID(), closed.GetID(), forgotten.GetID()} {
		old := time.Now().Add(-48 * time.Hour)
		noError(t, os.Chtimes(e.archive(id), old, old))
	}
	got := runWorkflow(e, func(ctx workflow.Context) (ready.PruneResult, error) {
		return execute[ready.PruneResult](e.activities(ctx), "workdir.Prune", execInput{"prefix": e.url(""), "olderThanSeconds": 3600})
	})
	why := map[string]string{}
	for _, p := range got.Workspaces {
		why[p.Name] = p.Why
	}
	if got.Judged != 3 || got.Removed != 1 || e.exists(forgotten.GetID()) || !e.exists(open.GetID()) || !e.exists(closed.GetID()) ||
		!strings.Contains(why[open.GetID()], "is open") || !strings.Contains(why[closed.GetID()], "is within retention") {
		t.Errorf("pruned: %+v", got)
	}
	open.cancel()
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
