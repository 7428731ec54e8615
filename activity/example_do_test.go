package activity_test

import (
	"context"
	"fmt"
	"log"
	"log/slog"
	"os"
	"path/filepath"

	sdklog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"

	wdactivity "github.com/workdir/workdir/activity"
	"github.com/workdir/workdir/mount"
)

// Publish appends a line to a workspace that it opens itself, and returns how many bytes
// there are. Each Do is a step, which takes effect once.
func Publish(ctx context.Context, line string) (int, error) {
	return wdactivity.Do(ctx, "mem://example/published/{workflow_id}", nil, func(_ context.Context, ws *mount.Mount) (int, error) {
		path := ws.Path("lines")
		before, err := os.ReadFile(path)
		if err != nil && !os.IsNotExist(err) {
			return 0, err // nothing is stored
		}
		after := append(before, line+"\n"...)
		if err := os.WriteFile(path, after, 0o644); err != nil {
			return 0, err
		}
		return len(after), ws.Commit() // stored once this function has returned
	})
}

// A worker needs the plugin for Do, if only without rules. Here it is the SDK's test
// environment, with plain directories.
func ExampleDo() {
	runDir, err := os.MkdirTemp("", "example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(runDir)
	plugin, err := wdactivity.NewPlugin(&wdactivity.PluginOptions{Plain: true, RunDir: filepath.Join(runDir, "run"), NoPreflight: true})
	if err != nil {
		log.Fatal(err)
	}
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(sdklog.NewStructuredLogger(slog.New(slog.DiscardHandler))) // it would print to standard output
	env := suite.NewTestActivityEnvironment()
	env.SetWorkerOptions(worker.Options{Plugins: []worker.Plugin{plugin}})
	env.RegisterActivity(Publish)
	for _, line := range []string{"one", "two"} {
		value, err := env.ExecuteActivity(Publish, line)
		if err != nil {
			log.Fatal(err)
		}
		var size int
		if err := value.Get(&size); err != nil {
			log.Fatal(err)
		}
		fmt.Println(size, "bytes")
	}
	if err := mount.Stop(context.Background()); err != nil { // no server process here, but its directory
		log.Fatal(err)
	}
	// Output:
	// 4 bytes
	// 8 bytes
}

// A template is one segment of the key for each variable, unless it says otherwise; and
// the program needs the driver of its store.
func ExampleCheckTemplate() {
	fmt.Println(wdactivity.CheckTemplate("s3://bucket/{tenant}/{workflow_id...}", "tenant"))
	fmt.Println(wdactivity.CheckTemplate("gs://bucket/{workflow_id}"))
	// Output:
	// <nil>
	// open gs://bucket: bad workspace URL: the driver for gs is not linked into this program; import _ "github.com/workdir/workdir/store/drivers/gs"
}

// Variables from an argument of the activity.
func ExampleVars() {
	type Order struct{ Customer string }
	vars := wdactivity.Vars(func(o Order) map[string]string { return map[string]string{"customer": o.Customer} })
	_ = wdactivity.Rule{
		Activity: "Bill", URL: "s3://bucket/customers/{customer}",
		Options: wdactivity.Options{Vars: vars},
	}
	values, err := vars([]any{Order{Customer: "acme"}})
	fmt.Println(values, err)
	// Output:
	// map[customer:acme] <nil>
}
