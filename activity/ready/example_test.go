package ready_test

import (
	"log"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	wdactivity "github.com/workdir/workdir/activity"
	"github.com/workdir/workdir/activity/ready"
	"github.com/workdir/workdir/mount"
)

// A workflow runs a command in a workspace by a ready-made activity.
func ExampleRegister() {
	mount.Init() // first line of main
	build := func(ctx workflow.Context) (string, error) {
		ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Hour, HeartbeatTimeout: 30 * time.Second})
		var res ready.ExecResult
		err := workflow.ExecuteActivity(ctx, ready.Exec, ready.ExecInput{
			Workspace: "file:///srv/builds/{workflow_id}", Argv: []string{"make", "all"},
		}).Get(ctx, &res)
		return res.Stdout, err
	}
	plugin, err := wdactivity.NewPlugin(nil)
	if err != nil {
		log.Fatal(err)
	}
	c, err := client.Dial(client.Options{Plugins: []client.Plugin{plugin}})
	if err != nil {
		log.Fatal(err)
	}
	w := worker.New(c, "builds", worker.Options{})
	w.RegisterWorkflowWithOptions(build, workflow.RegisterOptions{Name: "build"})
	if err := ready.Register(w, &ready.Options{Allow: []string{"file:///srv/builds"}}); err != nil {
		log.Fatal(err)
	}
	if err := w.Run(worker.InterruptCh()); err != nil {
		log.Fatal(err)
	}
}
