package activity_test

import (
	"context"
	"encoding/json"
	"log"
	"os"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	wdactivity "github.com/workdir/workdir/activity"
	"github.com/workdir/workdir/mount"
)

// Activities are ordinary activities; Compile runs in the workspace that its rule says.
type Builder struct{}

func (*Builder) Compile(ctx context.Context, target string) error {
	if err := wdactivity.Command(ctx, "make", target).Run(); err != nil {
		return err // nothing is stored
	}
	return wdactivity.Commit(ctx) // stored once the activity has returned
}

func Build(ctx workflow.Context, target string) error {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Hour, HeartbeatTimeout: 30 * time.Second})
	var a *Builder
	return workflow.ExecuteActivity(ctx, a.Compile, target).Get(ctx, nil)
}

// One line in the options of the client, and its workers' activities have workspaces.
func ExampleNewPlugin() {
	mount.Init() // first line of main
	plugin, err := wdactivity.NewPlugin(&wdactivity.PluginOptions{Rules: []wdactivity.Rule{
		{Activity: (*Builder).Compile, URL: "file:///srv/builds/{workflow_id}"},
	}})
	if err != nil {
		log.Fatal(err)
	}
	c, err := client.Dial(client.Options{Plugins: []client.Plugin{plugin}})
	if err != nil {
		log.Fatal(err)
	}
	w := worker.New(c, "builds", worker.Options{WorkerStopTimeout: time.Minute}) // to commit what is under way
	w.RegisterWorkflow(Build)
	w.RegisterActivity(&Builder{})
	if err := w.Run(worker.InterruptCh()); err != nil {
		log.Fatal(err)
	}
}

// The rules come from a file, and name activities by their types.
func ExampleNewPlugin_configuration() {
	text, err := os.ReadFile("workspaces.json") // {"rules": [{"activity": "Compile*", "url": "file:///srv/…", "autoCommit": true}]}
	if err != nil {
		log.Fatal(err)
	}
	var opts wdactivity.PluginOptions
	if err := json.Unmarshal(text, &opts); err != nil {
		log.Fatal(err)
	}
	plugin, err := wdactivity.NewPlugin(&opts)
	if err != nil {
		log.Fatal(err)
	}
	_ = client.Options{Plugins: []client.Plugin{plugin}}
}
