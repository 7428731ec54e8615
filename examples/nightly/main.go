// Nightly is a build that workers can be killed in: a source tree from an archive,
// go build, go test, a report in SQLite, a plot, each an activity on whatever
// worker is there, in one workspace. scripts/demo-temporal.sh kills them.
//
//	nightly -store URL -run-dir DIR -identity NAME worker
//	nightly -store URL run SOURCE.zip PLOT.svg
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"time"

	"go.temporal.io/api/enums/v1"
	"go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"

	wdactivity "github.com/workdir/workdir/activity"
	"github.com/workdir/workdir/mount"
)

const (
	queue      = "nightly"
	workflowID = "nightly-1"
)

var (
	store    = flag.String("store", "file:///tmp/workdir-examples", "`URL` under which workspaces are kept")
	runDir   = flag.String("run-dir", "", "`directory` for the mounts of this worker")
	identity = flag.String("identity", "", "the worker's `name`")
)

func main() {
	mount.Init()
	flag.Parse()
	if err := run(flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "nightly:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	url := *store + "/{workflow_id}"
	plugin, err := wdactivity.NewPlugin(&wdactivity.PluginOptions{RunDir: *runDir, Rules: []wdactivity.Rule{
		{Activity: (*Steps).Deliver, URL: url, Options: wdactivity.Options{ReadOnly: true}},
		{Activity: "*", URL: url, Options: wdactivity.Options{AutoCommit: true}},
	}})
	if err != nil {
		return err
	}
	c, err := client.Dial(client.Options{
		HostPort: os.Getenv("TEMPORAL_ADDRESS"), Identity: *identity, Plugins: []client.Plugin{plugin},
		Logger: log.NewStructuredLogger(slog.Default()),
	})
	if err != nil {
		return err
	}
	defer c.Close()
	switch {
	case len(args) == 1 && args[0] == "worker":
		return work(c)
	case len(args) == 3 && args[0] == "run":
		return start(c, args[1], args[2])
	}
	return errors.New("usage: nightly [flags] worker | run SOURCE.zip PLOT.svg")
}

// work serves activities until the worker is told to stop.
func work(c client.Client) error {
	w := worker.New(c, queue, worker.Options{MaxConcurrentActivityExecutionSize: 1})
	w.RegisterWorkflow(Nightly)
	w.RegisterActivity(&Steps{})
	return w.Run(worker.InterruptCh())
}

// start runs the workflow, and reports how it went.
func start(c client.Client, source, plot string) error {
	ctx := context.Background()
	run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: workflowID, TaskQueue: queue}, Nightly, source, plot)
	if err != nil {
		return err
	}
	var slowest string
	if err := run.Get(ctx, &slowest); err != nil {
		return err
	}
	fmt.Print("  The slowest tests:\n", slowest, "  The activities:\n")
	return attempts(ctx, c)
}

// attempts prints which attempt of each activity came through, and what the one
// before it died of.
func attempts(ctx context.Context, c client.Client) error {
	scheduled := map[int64]string{}
	started := map[int64]*history.ActivityTaskStartedEventAttributes{}
	for events := c.GetWorkflowHistory(ctx, workflowID, "", false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT); events.HasNext(); {
		e, err := events.Next()
		if err != nil {
			return err
		}
		if a := e.GetActivityTaskScheduledEventAttributes(); a != nil {
			scheduled[e.EventId] = a.ActivityType.Name
		}
		if a := e.GetActivityTaskStartedEventAttributes(); a != nil {
			started[e.EventId] = a
		}
		if a := e.GetActivityTaskCompletedEventAttributes(); a != nil {
			s := started[a.StartedEventId]
			fmt.Printf("  %s  %-8s attempt %d on %s", e.EventTime.AsTime().Format(time.TimeOnly), scheduled[a.ScheduledEventId], s.Attempt, s.Identity)
			if s.LastFailure != nil {
				fmt.Printf("; attempt %d: %s", s.Attempt-1, s.LastFailure.Message)
			}
			fmt.Println()
		}
	}
	return nil
}
