package temporal

import (
	"context"
	"os"
	"testing"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/workdir/workdir/mount"
)

// The program "hold" has an activity of that name which makes a file NAME in the
// workspace, notes "opened-NAME" and waits for "go-NAME", then marks the workspace
// and returns its attempt. "stubborn" is the same and does not care what becomes of
// its context.
func init() {
	programs["hold"] = func(w worker.Worker, c *config) {
		hold := func(ctx, wait context.Context, ws *mount.Mount, name string) (int, error) {
			if err := os.WriteFile(ws.Path(name), []byte("here\n"), 0o644); err != nil {
				return 0, err
			}
			if err := c.note("opened-" + name); err != nil {
				return 0, err
			}
			if err := c.await(wait, "go-"+name); err != nil {
				return 0, err
			}
			return int(activity.GetInfo(ctx).Attempt), ws.Commit()
		}
		registerIn(w, "hold", c.url("job"), func(ctx context.Context, ws *mount.Mount, name string) (int, error) {
			return hold(ctx, ctx, ws, name)
		}, nil)
		registerIn(w, "stubborn", c.url("job"), func(ctx context.Context, ws *mount.Mount, name string) (int, error) {
			return hold(ctx, context.Background(), ws, name)
		}, nil)
	}
}

// one is a workflow of one activity, which takes a string.
func one[T any](e *env, name, arg string) func(workflow.Context) (T, error) {
	return func(ctx workflow.Context) (T, error) { return execute[T](e.activities(ctx), name, arg) }
}

// An attempt whose worker or mount server is killed while it works has no effect,
// and the next one does the work.
func TestKilledWhileItWorks(t *testing.T) {
	for name, who := range map[string]target{"worker": workerOnly, "mount server": mountServer, "both": both} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t)
			w := e.newWorker(workerOptions{Program: "hold"})
			r := startWorkflow(e, one[int](e, "hold", "file"))
			e.awaitNote("opened-file")
			if !w.Kill(who) {
				t.Fatal("there was nothing to kill")
			}
			if e.exists("job") {
				t.Error("the workspace is stored")
			}
			if who&workerOnly != 0 {
				noError(t, w.Start())
			}
			e.note("go-file")
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

// A worker that is stopped long enough to be replaced has no effect either.
func TestStoppedWhileItWorks(t *testing.T) {
	e := newEnv(t)
	first := e.newWorker(workerOptions{Program: "hold"})
	r := startWorkflow(e, one[int](e, "hold", "file"))
	e.awaitNote("opened-file")
	first.Stop(both)
	e.newWorker(workerOptions{Program: "hold"})
	r.awaitAttempt(2)
	e.note("go-file")
	attempt, err := r.result()
	noError(t, err)
	if attempt < 2 {
		t.Errorf("attempt %d gave the result, want a later one than the first", attempt)
	}
	before := e.log("job")
	first.Cont()
	noError(t, first.Shutdown())
	if after := e.log("job"); len(after) != len(before) {
		t.Errorf("the stopped worker committed: %d commits, were %d", len(after), len(before))
	}
}
