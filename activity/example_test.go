package activity_test

import (
	"context"
	"encoding/json"
	"log"
	"os"
	"time"

	sdk "go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	wdactivity "github.com/workdir/workdir/activity"
	"github.com/workdir/workdir/mount"
)

// An activity that runs a compiler in whatever workspace the rules of its worker
// give it.
func Compile(ctx context.Context, target string) error {
	return wdactivity.Command(ctx, "make", target).Run()
}

// Rules give activities their workspaces by type: the activities are as they were.
func ExampleNewInterceptor() {
	mount.Init() // first line of main
	c, err := client.Dial(client.Options{})
	if err != nil {
		log.Fatal(err)
	}
	rules := &wdactivity.InterceptorOptions{Rules: []wdactivity.Rule{{
		Activity: "Compile",
		Workspaces: []wdactivity.RuleWorkspace{
			{URL: "s3://bucket/builds/{workflow_id}", AutoCommit: true},
			{Name: "toolchain", URL: "s3://bucket/toolchain", ReadOnly: true},
		},
	}}}
	workspaces, err := wdactivity.NewInterceptor(rules)
	if err != nil {
		log.Fatal(err)
	}
	w := worker.New(c, "builds", worker.Options{
		Interceptors:      []interceptor.WorkerInterceptor{workspaces},
		WorkerStopTimeout: time.Minute, // to commit what is under way
	})
	w.RegisterActivityWithOptions(Compile, sdk.RegisterOptions{Name: "Compile"})
	if err := w.Run(worker.InterruptCh()); err != nil {
		log.Fatal(err)
	}
}

// The plugin's rules come from a file, and the worker does not start where mounts
// are not possible.
func ExampleNewPlugin() {
	mount.Init()                                // first line of main
	text, err := os.ReadFile("workspaces.json") // {"rules": [{"activity": "Compile", "workspaces": [{"url": "s3://…", "autoCommit": true}]}]}
	if err != nil {
		log.Fatal(err)
	}
	var rules wdactivity.InterceptorOptions
	if err := json.Unmarshal(text, &rules); err != nil {
		log.Fatal(err)
	}
	plugin, err := wdactivity.NewPlugin(&wdactivity.PluginOptions{Interceptor: &rules})
	if err != nil {
		log.Fatal(err)
	}
	c, err := client.Dial(client.Options{Plugins: []client.Plugin{plugin}}) // for all workers of the client
	if err != nil {
		log.Fatal(err)
	}
	w := worker.New(c, "builds", worker.Options{})
	w.RegisterActivityWithOptions(Compile, sdk.RegisterOptions{Name: "Compile"})
	if err := w.Run(worker.InterruptCh()); err != nil {
		log.Fatal(err)
	}
}

// A workflow runs a command in a workspace by a ready-made activity.
func ExampleRegisterActivities() {
	mount.Init() // first line of main
	build := func(ctx workflow.Context) (string, error) {
		ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Hour, HeartbeatTimeout: 30 * time.Second})
		var res wdactivity.ExecResult
		err := workflow.ExecuteActivity(ctx, wdactivity.ExecActivity, wdactivity.ExecInput{
			Workspace: "s3://bucket/builds/{workflow_id}", Argv: []string{"make", "all"},
		}).Get(ctx, &res)
		return res.Stdout, err
	}
	c, err := client.Dial(client.Options{})
	if err != nil {
		log.Fatal(err)
	}
	w := worker.New(c, "builds", worker.Options{})
	w.RegisterWorkflowWithOptions(build, workflow.RegisterOptions{Name: "build"})
	wdactivity.RegisterActivities(w, &wdactivity.ReadyOptions{Allow: []string{"s3://bucket/builds"}})
	if err := w.Run(worker.InterruptCh()); err != nil {
		log.Fatal(err)
	}
}
