package temporal

import (
	"context"
	"os"
	"testing"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	wdactivity "github.com/workdir/workdir/activity"
	"github.com/workdir/workdir/mount"
)

// The program "hold" has one activity, which makes a file in the workspace, says
// "opened" and then waits for "go", and gives its attempt.
func init() {
	programs["hold"] = func(w worker.Worker, c *config) {
		hold := func(ctx context.Context, ws *mount.Mount, name string) (int, error) {
			if err := os.WriteFile(ws.Path(name), []byte("here\n"), 0o644); err != nil {
				return 0, err
			}
			if err := c.note("opened"); err != nil {
				return 0, err
			}
			if err := c.await(ctx, "go"); err != nil {
				return 0, err
			}
			return int(activity.GetInfo(ctx).Attempt), ws.Commit()
		}
		opts := &wdactivity.Options{RunDir: c.RunDir}
		w.RegisterActivityWithOptions(wdactivity.Wrap(c.url("job"), hold, opts), activity.RegisterOptions{Name: "hold"})
	}
}

// hold is a workflow of the activity of the same name.
func hold(e *env) func(workflow.Context) (int, error) {
	return func(ctx workflow.Context) (int, error) {
		return execute[int](e.activities(ctx), "hold", "file")
	}
}

// An attempt whose worker or mount server is killed while it works has no effect,
// and the next one does the work.
func TestKilledWhileItWorks(t *testing.T) {
	for name, who := range map[string]target{"worker": workerOnly, "mount server": mountServer, "both": both} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			w := e.newWorker(workerOptions{Program: "hold"})
			r := startWorkflow(e, hold(e))
			e.awaitNote("opened")
			if !w.Kill(who) {
				t.Fatal("there was nothing to kill")
			}
			if e.exists("job") {
				t.Error("the workspace is stored")
			}
			if who&workerOnly != 0 {
				noError(t, w.Start())
			}
			e.note("go")
			attempt, err := r.result()
			noError(t, err)
			if attempt < 2 {
				t.Errorf("attempt %d gave the result, want a later one than the first", attempt)
			}
			if got := e.file("job", "file"); got != "here\n" {
				t.Errorf("content = %q", got)
			}
			if n := len(e.log("job")); n != 1 {
				t.Errorf("%d commits, want 1", n)
			}
		})
	}
}
