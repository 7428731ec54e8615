package temporal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	wdactivity "github.com/workdir/workdir/activity"
	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/store/storetest"
)

func init() { storetest.RegisterCounted("counted") }

// countedURL names a workspace of a file store by the scheme that counts.
func (c *config) countedURL(key string) string {
	return strings.Replace(c.url(key), "file://", "counted://bucket", 1)
}

// sharers is how many activities share a configuration.
const sharers = 20

// sharing is what one of them saw.
type sharing struct {
	Server   int   // the process that serves its mounts
	Gets     int64 // of the configuration, for this mount
	Received int64 // bytes
	Bytes    int   // read by the activity
}

// The program "shared" has an activity that copies a configuration, which is mounted
// read-only, into a workspace of its own, once all sharers are under way.
func init() {
	programs["shared"] = func(w worker.Worker, c *config) {
		all := c.gate("go")
		w.RegisterActivityWithOptions(func(ctx context.Context) (s sharing, err error) {
			own, _ := wdactivity.Workspace(ctx)
			shared, ok := wdactivity.WorkspaceNamed(ctx, "config")
			if !ok {
				return s, errors.New("there is no configuration")
			}
			if err := c.note("opened-" + activity.GetInfo(ctx).ActivityID); err != nil {
				return s, err
			}
			if err := all(ctx); err != nil {
				return s, err
			}
			b, err := os.ReadFile(shared.Path("file"))
			if err != nil {
				return s, err
			}
			status, err := shared.Status(ctx)
			s = sharing{Server: status.ServerPID, Gets: status.Traffic["get"].Count, Received: status.Traffic["get"].Received, Bytes: len(b)}
			return s, errors.Join(err, os.WriteFile(own.Path("copy"), b, 0o644), own.Commit())
		}, activity.RegisterOptions{Name: "share"})
	}
	pluginSetup["shared"] = func(o *wdactivity.PluginOptions, c *config) {
		o.Rules = []wdactivity.Rule{{Activity: "share", URL: c.url("own-{activity_id}"), Workspaces: []wdactivity.RuleWorkspace{
			{URL: c.countedURL("job"), Options: wdactivity.Options{Name: "config", ReadOnly: true}},
		}}}
	}
}

// Activities of one worker that share a configuration have it fetched once, by one
// server process: its end to open it, and then what is in it.
func TestSharedConfiguration(t *testing.T) {
	e := newEnv(t)
	e.newWorker(workerOptions{Program: "small"})
	const size = smallMemory / 2
	runWorkflow(e, once[string](e, "fill", size))
	e.newWorker(workerOptions{Program: "shared", Queue: e.queue + "-shared"})
	r := startWorkflow(e, func(ctx workflow.Context) ([]sharing, error) {
		return allAtOnce[sharing](workflow.WithActivityOptions(ctx, patient(e.queue+"-shared")), "share", sharers)
	})
	e.awaitNotes("opened-*", sharers)
	e.note("go")
	seen, err := r.result()
	noError(t, err)
	head, err := store.Stat(t.Context(), e.url("job"))
	noError(t, err)
	servers := map[int]bool{}
	var gets, received int64
	for i, s := range seen {
		servers[s.Server] = true
		gets, received = gets+s.Gets, received+s.Received
		if s.Bytes != size || len(e.file(fmt.Sprint("own-", i), "copy")) != size {
			t.Errorf("activity %d read %d bytes", i, s.Bytes)
		}
	}
	if len(servers) != 1 || gets != 1 || received > 2*head.Size {
		t.Errorf("%d servers opened the archive %d times and read %d bytes of its %d; want one, once, each byte of the end twice", len(servers), gets, received, head.Size)
	}
}
