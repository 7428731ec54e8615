package temporal

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/workdir/workdir/internal/testenv"
	"github.com/workdir/workdir/workspace"
)

// Figures of TestAncestorUnderKills, from the environment.
const (
	ancestorAppendsVariable = "WORKDIR_TEMPORAL_ANCESTOR_APPENDS"
	ancestorKillsVariable   = "WORKDIR_TEMPORAL_ANCESTOR_KILLS"
)

// ancestorPython is the Python that has temporal-workdir.
const ancestorPython = "../../build/_venv/bin/python"

func init() {
	programs["ancestor"] = func(_ worker.Worker, c *config) {
		python, err := filepath.Abs(ancestorPython)
		if err == nil {
			err = os.MkdirAll(c.RunDir, 0o700)
		}
		if err == nil {
			place, query, _ := strings.Cut(c.url("job"), "?")
			options, _ := url.ParseQuery(query) // as the harness wrote it
			args := []string{python, "testdata/ancestor_worker.py", c.Address, c.Queue, c.Name, place}
			err = syscall.Exec(python, args, append(os.Environ(), "TMPDIR="+c.RunDir, "AWS_ENDPOINT_URL_S3="+options.Get("endpoint"), "AWS_DEFAULT_REGION="+options.Get("region")))
		}
		panic(fmt.Sprintf("%s: %v: run scripts/deps.sh test", ancestorPython, err))
	}
}

// The Python temporal-workdir, under the kills of TestExactlyOnce: what it loses
// and what it does twice stands in docs/migrate.md. Without kills, which is what
// is run unless other figures are asked for, it loses nothing.
func TestAncestorUnderKills(t *testing.T) {
	for name, newEnv := range map[string]func(*testing.T) *env{"file": newEnv, "s3": newS3Env} {
		t.Run(name, func(t *testing.T) { ancestorUnderKills(newEnv(t)) })
	}
}

func ancestorUnderKills(e *env) {
	e.t.Helper()
	appends, kills := testenv.Number(e.t, ancestorAppendsVariable, 10), testenv.Number(e.t, ancestorKillsVariable, 0)
	seed := testenv.Number(e.t, seedVariable, int(time.Now().UnixNano()&0xffffffff))
	k := newKiller(e, appends, kills, rand.New(rand.NewPCG(uint64(seed), 0)))
	for range 3 {
		k.add(workerOptions{Program: "ancestor"})
	}
	k.begin()
	timeout := time.Minute // a slow machine alone doubles nothing
	if kills > 0 {
		timeout = 2 * time.Second
	}
	reached := runWorkflow(e, appendWhilePossible(e, appends, timeout))
	k.going.Wait()

	var lines bytes.Buffer
	_, damage := workspace.Cat(e.t.Context(), e.url("job"), []string{"lines"}, &lines, nil)
	times := map[string]int{}
	for line := range strings.Lines(lines.String()) {
		times[line]++
	}
	lost, doubled := 0, 0
	for i := range reached {
		switch n := times[fmt.Sprintf("line %d\n", i)]; {
		case n == 0:
			lost++
		case n > 1:
			doubled++
		}
	}
	e.t.Logf("%s=%d: of %d appends %d were done until one failed in every attempt; of these %d are lost and %d are there more than once; the archive: %v\n%s",
		seedVariable, seed, appends, reached, lost, doubled, damage, k.summary())
	if kills == 0 && (reached != appends || lost+doubled > 0) {
		e.t.Errorf("without kills %d of %d appends were done, with %d lost and %d doubled", reached, appends, lost, doubled)
	}
}

// appendWhilePossible is a workflow of appends, one after the other, until one
// fails in every attempt. It returns how many were done. An attempt is lost after timeout.
func appendWhilePossible(e *env, appends int, timeout time.Duration) func(workflow.Context) (int, error) {
	return func(ctx workflow.Context) (int, error) {
		limited := options(e.queue)
		limited.HeartbeatTimeout = 0 // it sends none
		limited.StartToCloseTimeout = timeout
		limited.RetryPolicy = &temporal.RetryPolicy{InitialInterval: 20 * time.Millisecond, BackoffCoefficient: 1, MaximumAttempts: 20}
		ctx = workflow.WithActivityOptions(ctx, limited)
		for i := range appends {
			if _, err := execute[int](ctx, "append", fmt.Sprint("line ", i)); err != nil {
				return i, nil
			}
		}
		return appends, nil
	}
}
