package temporal

import (
	"context"
	"path/filepath"
	"testing"
	"time"

	"github.com/nexus-rpc/sdk-go/nexus"
	enumspb "go.temporal.io/api/enums/v1"
	nexuspb "go.temporal.io/api/nexus/v1"
	"go.temporal.io/api/operatorservice/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/temporalnexus"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	wdactivity "github.com/workdir/workdir/activity"
)

// The program "nexus" has a service of two operations whose handlers run the activity
// "greet": one starts it alone and waits for it, the other one by a workflow.
func init() {
	programs["nexus"] = func(w worker.Worker, c *config) {
		w.RegisterActivityWithOptions((&greeter{c}).Greet, activity.RegisterOptions{Name: "greet"})
		byWorkflow := func(ctx workflow.Context, name string) (string, error) {
			return execute[string](workflow.WithActivityOptions(ctx, options(c.Queue)), "greet", name)
		}
		w.RegisterWorkflowWithOptions(byWorkflow, workflow.RegisterOptions{Name: "byWorkflow"})
		service := nexus.NewService("greetings")
		err := service.Register(
			nexus.NewSyncOperation("alone", func(ctx context.Context, name string, o nexus.StartOperationOptions) (string, error) {
				return greetAlone(ctx, c.Queue, o.RequestID, name)
			}),
			temporalnexus.NewWorkflowRunOperation("workflow", byWorkflow, func(_ context.Context, _ string, o nexus.StartOperationOptions) (client.StartWorkflowOptions, error) {
				return client.StartWorkflowOptions{ID: o.RequestID, WorkflowTaskTimeout: taskTimeout}, nil
			}),
		)
		if err != nil {
			panic(err) // two operations of one name
		}
		w.RegisterNexusService(service)
	}
	pluginSetup["nexus"] = func(o *wdactivity.PluginOptions, c *config) {
		o.Rules = []wdactivity.Rule{{Activity: (*greeter).Greet, URL: c.url("{activity_type}")}}
	}
}

// greetAlone executes the activity without a workflow. A request that is sent again has
// the same id, and finds the activity that it has started.
func greetAlone(ctx context.Context, queue, id, name string) (string, error) {
	h, err := temporalnexus.GetClient(ctx).ExecuteActivity(ctx, client.StartActivityOptions{
		ID: id, TaskQueue: queue, StartToCloseTimeout: time.Minute, HeartbeatTimeout: 2 * time.Second,
		ActivityIDConflictPolicy: enumspb.ACTIVITY_ID_CONFLICT_POLICY_USE_EXISTING,
		RetryPolicy:              &temporal.RetryPolicy{InitialInterval: 20 * time.Millisecond, BackoffCoefficient: 1},
	}, "greet", name)
	if err != nil {
		return "", err
	}
	var out string
	err = h.Get(ctx, &out)
	return out, err
}

// An activity that a handler of a Nexus operation runs is done once as well: the worker,
// which is the handler too, is killed after the commit.
func TestNexusOperation(t *testing.T) {
	for _, operation := range []string{"alone", "workflow"} {
		t.Run(operation, func(t *testing.T) {
			e := newEnv(t)
			e.newWorker(workerOptions{Program: "nexus", Workflows: true}).killBefore("RespondActivityTaskCompleted")
			endpoint := e.nexusEndpoint()
			result := runWorkflow(e, func(ctx workflow.Context) (string, error) {
				var out string
				err := workflow.NewNexusClient(endpoint, "greetings").
					ExecuteOperation(ctx, operation, "you", workflow.NexusOperationOptions{ScheduleToCloseTimeout: time.Minute}).Get(ctx, &out)
				return out, err
			})
			e.checkGreeted("greet", result)
		})
	}
}

// nexusEndpoint makes an endpoint that leads to the env's workers.
func (e *env) nexusEndpoint() string {
	e.t.Helper()
	name := "nexus-" + filepath.Base(e.root)
	_, err := server.client.OperatorService().CreateNexusEndpoint(e.t.Context(), &operatorservice.CreateNexusEndpointRequest{Spec: &nexuspb.EndpointSpec{
		Name: name,
		Target: &nexuspb.EndpointTarget{Variant: &nexuspb.EndpointTarget_Worker_{
			Worker: &nexuspb.EndpointTarget_Worker{Namespace: namespace, TaskQueue: e.queue},
		}},
	}})
	noError(e.t, err)
	return name
}
