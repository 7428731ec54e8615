package wdtest

import (
	"context"
	"errors"
	"os"
	"testing"

	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"

	wdactivity "github.com/workdir/workdir/activity"
	"github.com/workdir/workdir/mount"
)

// NewEnv returns the SDK's environment for tests of activities, set up with the plugin:
// activities find the workspaces of their rules, and [wdactivity.Do] works. Nil options
// have no rules.
func NewEnv(t testing.TB, opts *wdactivity.PluginOptions) *testsuite.TestActivityEnvironment {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	env := suite.NewTestActivityEnvironment()
	env.SetWorkerOptions(WorkerOptions(t, opts))
	return env
}

// WorkerOptions returns the argument for SetWorkerOptions of the SDK's environments, including
// its TestWorkflowEnvironment, whose activities run with their retries. Call it before
// activities are registered.
//
// Workspaces are plain directories in the test's directory, whatever opts say, and the host is
// not tested: such tests need neither FUSE nor root nor a second process.
func WorkerOptions(t testing.TB, opts *wdactivity.PluginOptions) worker.Options {
	t.Helper()
	var o wdactivity.PluginOptions
	if opts != nil {
		o = *opts
	}
	o.Plain, o.RunDir, o.NoPreflight = true, newRunDir(t), true
	plugin, err := wdactivity.NewPlugin(&o)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return worker.Options{Plugins: []worker.Plugin{plugin}}
}

// newRunDir makes a run directory for a test. A path of t.TempDir has the test's name
// in it, and can be too long for a socket.
func newRunDir(t testing.TB) string {
	dir, err := os.MkdirTemp("", "wdtest-") // mode 0700
	if err != nil {
		t.Fatalf("%v", err)
	}
	t.Cleanup(func() {
		err := mount.Stop(context.Background())
		if err := errors.Join(err, os.RemoveAll(dir)); err != nil {
			t.Errorf("end the workspaces of the test: %v", err)
		}
	})
	return dir
}
