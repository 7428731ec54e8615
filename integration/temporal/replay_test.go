package temporal

import (
	"errors"
	"testing"

	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	wdactivity "github.com/workdir/workdir/activity"
)

// everyWay are the activities of the program "ways".
var everyWay = []string{"do", "step", "name", "reference"}

// greetings is a workflow that goes every way in.
func greetings(queue string) func(workflow.Context) ([]string, error) {
	return func(ctx workflow.Context) (all []string, err error) {
		ctx = workflow.WithActivityOptions(ctx, options(queue))
		for _, way := range everyWay {
			greeting, err := execute[string](ctx, way, "you")
			if err != nil {
				return nil, err
			}
			all = append(all, greeting)
		}
		return all, nil
	}
}

// What a worker with workspaces has done can be replayed without any, by a replayer
// that is set up like the worker, and by one that knows nothing of them.
func TestReplay(t *testing.T) {
	e := newEnv(t)
	e.newWorker(workerOptions{Program: "ways"})
	r := startWorkflow(e, greetings(e.queue))
	_, err := r.result()
	noError(t, err)
	history := &historypb.History{Events: r.history()}
	name := history.GetEvents()[0].GetWorkflowExecutionStartedEventAttributes().GetWorkflowType().GetName()

	c := &config{Program: "ways", Bucket: e.bucket, RunDir: "/dev/null"} // of no use for mounts
	likeTheWorker, err := c.plugin()
	noError(t, err)
	forAll, err := wdactivity.NewPlugin(&wdactivity.PluginOptions{RunDir: c.RunDir, Rules: []wdactivity.Rule{{Activity: "*", URL: e.url("other")}}})
	noError(t, err)
	for replayer, opts := range map[string]worker.WorkflowReplayerOptions{
		"like the worker":     {Plugins: []worker.Plugin{likeTheWorker}},
		"by itself":           {},
		"with a rule for all": {Plugins: []worker.Plugin{forAll}},
	} {
		t.Run(replayer, func(t *testing.T) {
			noError(t, replay(opts, name, greetings(e.queue), history))
			other := func(workflow.Context) ([]string, error) { return nil, errors.New("no activity at all") }
			if replay(opts, name, other, history) == nil {
				t.Error("another workflow has the same history")
			}
		})
	}
	if e.exists("other") || len(e.mounts()) > 0 {
		t.Error("replaying has opened a workspace")
	}
}

// replay holds a workflow against a history.
func replay(opts worker.WorkflowReplayerOptions, name string, fn any, history *historypb.History) error {
	r, err := worker.NewWorkflowReplayerWithOptions(opts)
	if err != nil {
		return err
	}
	r.RegisterWorkflowWithOptions(fn, workflow.RegisterOptions{Name: name})
	return r.ReplayWorkflowHistory(log.NewStructuredLogger(warnings()), history)
}
