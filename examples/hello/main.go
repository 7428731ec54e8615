// Hello is the smallest workflow whose activities share a directory: each adds a
// line to a file that follows them from worker to worker.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"log/slog"
	"os"
	"time"

	"go.temporal.io/sdk/client"
	sdklog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	wdactivity "github.com/workdir/workdir/activity"
	"github.com/workdir/workdir/mount"
)

// Greet adds a line to a file of its workspace, and returns the whole file.
func Greet(ctx context.Context, name string) (string, error) {
	all, err := wdactivity.Command(ctx, "sh", "-c", `echo "hello, $0" >>greetings.txt && cat greetings.txt`, name).Output()
	if err != nil {
		return "", err // nothing is stored
	}
	return string(all), wdactivity.Commit(ctx) // stored once the activity has returned
}

// Hello greets two, one after the other.
func Hello(ctx workflow.Context) (all string, err error) {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute, HeartbeatTimeout: 10 * time.Second})
	for _, name := range []string{"world", "workspace"} {
		if err := workflow.ExecuteActivity(ctx, Greet, name).Get(ctx, &all); err != nil {
			return "", err
		}
	}
	return all, nil
}

func main() {
	mount.Init() // first line: the server of the mounts is this program, run again
	store := flag.String("store", "file:///tmp/workdir-examples", "`URL` under which workspaces are kept")
	flag.Parse()
	plugin, err := wdactivity.NewPlugin(&wdactivity.PluginOptions{Rules: []wdactivity.Rule{
		{Activity: Greet, URL: *store + "/{workflow_id}"},
	}})
	check(err)
	c, err := client.Dial(client.Options{
		HostPort: os.Getenv("TEMPORAL_ADDRESS"),
		Logger:   sdklog.NewStructuredLogger(slog.Default()),
		Plugins:  []client.Plugin{plugin},
	})
	check(err)
	w := worker.New(c, "hello", worker.Options{})
	w.RegisterWorkflow(Hello)
	w.RegisterActivity(Greet)
	check(w.Start())

	ctx, all := context.Background(), ""
	hello, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{ID: "hello-1", TaskQueue: "hello"}, Hello)
	check(err)
	check(hello.Get(ctx, &all))
	w.Stop()
	fmt.Print(all)
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
