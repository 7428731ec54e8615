package activity_test

import (
	"errors"
	"strings"
	"testing"

	sdk "go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"

	wdactivity "github.com/workdir/workdir/activity"
	"github.com/workdir/workdir/store"

	// The drivers that templates in tests name; the one of gs is left out, to be missed.
	_ "github.com/workdir/workdir/store/drivers/azure"
	_ "github.com/workdir/workdir/store/drivers/s3"
)

// A program without the driver of its cloud once started its worker, and failed in every
// attempt.
func TestDriverIsMissedAtTheStart(t *testing.T) {
	const missing = "gs://bucket/{workflow_id}"
	_, ofRule := wdactivity.NewPlugin(&wdactivity.PluginOptions{Rules: []wdactivity.Rule{{Activity: "Build", URL: missing}}})
	_, ofFurther := wdactivity.NewPlugin(&wdactivity.PluginOptions{Rules: []wdactivity.Rule{{Activity: "Build", Workspaces: []wdactivity.RuleWorkspace{{URL: missing}}}}})
	for name, err := range map[string]error{
		"rule": ofRule, "workspace of a rule": ofFurther,
		"preflight of a template": startError(t, &wdactivity.PreflightOptions{Templates: []string{missing}}),
		"preflight of a store":    startError(t, &wdactivity.PreflightOptions{Stores: []string{"gs://bucket/jobs/"}}),
		"template":                wdactivity.CheckTemplate(missing),
	} {
		if !errors.Is(err, store.ErrURL) || !strings.Contains(err.Error(), `import _ "github.com/workdir/workdir/store/drivers/gs"`) {
			t.Errorf("%s: %v, want the import", name, err)
		}
	}
}

// startError is what a worker's start says of a preflight.
func startError(t *testing.T, preflight *wdactivity.PreflightOptions) error {
	t.Helper()
	plugin, err := wdactivity.NewPlugin(&wdactivity.PluginOptions{Plain: true, RunDir: t.TempDir() + "/run", Preflight: preflight})
	if err != nil {
		t.Fatal(err)
	}
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(quiet)
	env := suite.NewTestActivityEnvironment()
	env.SetWorkerOptions(worker.Options{Plugins: []worker.Plugin{plugin}})
	env.RegisterActivityWithOptions(func() error { return nil }, sdk.RegisterOptions{Name: "none"})
	_, err = env.ExecuteActivity("none") // the environment starts a worker for it
	return err
}
