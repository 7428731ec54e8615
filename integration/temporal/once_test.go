package temporal

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	wdactivity "github.com/workdir/workdir/activity"
	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/internal/testenv"
	"github.com/workdir/workdir/mount"
)

// The figures of the test come from the environment, so that a failure can be met
// again and a night can be spent on it.
const (
	seedVariable    = "WORKDIR_INTEGRATION_SEED"
	appendsVariable = "WORKDIR_TEMPORAL_APPENDS"
	killsVariable   = "WORKDIR_TEMPORAL_KILLS"
)

const (
	defaultAppends = 120
	defaultKills   = 30
)

// appendsOfOneRun bounds the history of one workflow.
const appendsOfOneRun = 1000

func init() {
	programs["append"] = func(w worker.Worker, c *config) {
		opts := &wdactivity.Options{AutoCommit: true, Plain: c.Args["plain"] != ""}
		registerIn(w, "append", c.url("job"), appendLine, opts)
	}
}

// appendLine appends a line to a file, regardless of its content, and returns the number of
// lines that are there now.
func appendLine(_ context.Context, ws *mount.Mount, line string) (int, error) {
	f, err := os.OpenFile(ws.Path("lines"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return 0, err
	}
	if _, err := fmt.Fprintln(f, line); err != nil {
		return 0, err
	}
	if err := f.Close(); err != nil {
		return 0, err
	}
	b, err := os.ReadFile(ws.Path("lines"))
	return strings.Count(string(b), "\n"), err
}

// Whichever of three workers is killed, at any instant, every append of a workflow takes
// effect once, in order, and returns its own result.
func TestExactlyOnce(t *testing.T) {
	for _, c := range []struct {
		name     string
		env      func(*testing.T) *env
		parallel bool // newS3Env sets the environment
		opts     workerOptions
	}{
		{name: "s3", env: newS3Env},
		{name: "file", env: newEnv, parallel: true},
		{name: "plain", env: newEnv, parallel: true, opts: workerOptions{Args: map[string]string{"plain": "yes"}, NoFUSE: true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.parallel {
				t.Parallel() // it waits for heartbeats that do not come, mostly
			}
			c.opts.Program = "append"
			exactlyOnce(c.env(t), c.opts, testenv.Number(t, appendsVariable, defaultAppends), testenv.Number(t, killsVariable, defaultKills))
		})
	}
}

func exactlyOnce(e *env, opts workerOptions, appends, kills int) {
	e.t.Helper()
	seed := testenv.Number(e.t, seedVariable, int(time.Now().UnixNano()&0xffffffff))
	e.t.Logf("%s=%d %s=%d %s=%d", seedVariable, seed, appendsVariable, appends, killsVariable, kills)
	k := newKiller(e, appends, kills, rand.New(rand.NewPCG(uint64(seed), 0)))
	for range 3 {
		k.add(opts)
	}
	k.begin()
	for from := 0; from < appends; from += appendsOfOneRun {
		if wrong := runWorkflow(e, appendAll(e, from, min(from+appendsOfOneRun, appends))); len(wrong) > 0 {
			e.t.Errorf("%d appends gave the result of another one: %s", len(wrong), wrong[0])
		}
	}
	k.finish()
	checkLines(e, appends)
	e.t.Log(k.summary())
}

// checkLines holds the file and the archive's log against so many appends.
func checkLines(e *env, appends int) {
	e.t.Helper()
	var want strings.Builder
	for i := range appends {
		fmt.Fprintf(&want, "line %d\n", i)
	}
	if got := e.file("job", "lines"); got != want.String() {
		e.t.Errorf("the file has %d lines, want %d, each once and in order; the first difference is at %s", strings.Count(got, "\n"), appends, firstDifference(got, want.String()))
	}
	records := e.log("job")
	if want := min(appends, 1+archive.MaxLog); len(records) != want {
		e.t.Errorf("the log has %d commits, want %d", len(records), want)
	}
	steps := map[archive.StepID]bool{}
	for _, r := range records {
		step, ok := r.Origin.StepID()
		if !ok || steps[step] {
			e.t.Errorf("commit %s is of step %q, which is none or has another commit", r.ID, r.Origin.Step)
		}
		steps[step] = true
	}
}

// appendAll is a workflow of appends, one after the other. It returns what was wrong
// with their results.
func appendAll(e *env, from, to int) func(workflow.Context) ([]string, error) {
	return func(ctx workflow.Context) ([]string, error) {
		var wrong []string
		ctx = e.activities(ctx)
		for i := from; i < to; i++ {
			lines, err := execute[int](ctx, "append", fmt.Sprint("line ", i))
			if err != nil {
				return wrong, fmt.Errorf("append %d: %w", i, err)
			}
			if lines != i+1 {
				wrong = append(wrong, fmt.Sprintf("append %d gave %d", i, lines))
			}
		}
		return wrong, nil
	}
}

// firstDifference returns the first lines that are not equal.
func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(g), len(w)) {
		if g[i] != w[i] {
			return fmt.Sprintf("line %d: %q, want %q", i, g[i], w[i])
		}
	}
	return "the end"
}
