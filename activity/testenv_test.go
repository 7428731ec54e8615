package activity_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sdk "go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	wdactivity "github.com/workdir/workdir/activity"
)

// suiteOptions are of one run of one activity in a workflow of the test suite.
type suiteOptions struct {
	activity  any // function of the shape func(context.Context) (string, error)
	heartbeat time.Duration
	attempts  int32
	local     bool
	listener  func(details any) // of heartbeats
	converter converter.DataConverter

	interceptors []interceptor.WorkerInterceptor
	plugins      []worker.Plugin
}

// beat is the heartbeat timeout of tests. The SDK sends at 80 % of it, and its test
// environment has no mercy, so a fifth of it is what a busy machine may lose.
const beat = 3 * time.Second

// runInWorkflow executes an activity, with its attempts, as a workflow does.
func runInWorkflow(t *testing.T, o suiteOptions) (string, error) {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(quiet)
	env := suite.NewTestWorkflowEnvironment()
	env.SetTestTimeout(time.Minute)
	if o.converter != nil {
		env.SetDataConverter(o.converter)
	}
	if o.plugins == nil {
		o.plugins = plugins(t, nil)
	}
	env.SetWorkerOptions(worker.Options{Interceptors: o.interceptors, Plugins: o.plugins})
	if o.listener != nil {
		env.SetOnActivityHeartbeatListener(func(_ *sdk.Info, details converter.EncodedValues) {
			var v any
			if details.HasValues() {
				require.NoError(t, details.Get(&v))
			}
			o.listener(v)
		})
	}
	env.RegisterActivityWithOptions(o.activity, sdk.RegisterOptions{Name: "act"})
	env.RegisterWorkflowWithOptions(func(ctx workflow.Context) (string, error) {
		var out string
		retry := &temporal.RetryPolicy{InitialInterval: time.Millisecond, MaximumAttempts: max(o.attempts, 1)}
		if o.local {
			ctx = workflow.WithLocalActivityOptions(ctx, workflow.LocalActivityOptions{StartToCloseTimeout: time.Minute, RetryPolicy: retry})
			return out, workflow.ExecuteLocalActivity(ctx, o.activity).Get(ctx, &out)
		}
		ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute, HeartbeatTimeout: o.heartbeat, RetryPolicy: retry})
		err := workflow.ExecuteActivity(ctx, "act").Get(ctx, &out)
		return out, err
	}, workflow.RegisterOptions{Name: "wf"})
	env.ExecuteWorkflow("wf")
	require.True(t, env.IsWorkflowCompleted())
	var out string
	if err := env.GetWorkflowError(); err != nil {
		return "", err
	}
	return out, env.GetWorkflowResult(&out)
}

// server answers the fence, as a Temporal server does.
type server struct {
	mu      sync.Mutex
	answers []error // guarded by mu; one for each call, then nil
	asked   []client.RecordActivityHeartbeatOptions
	onAsk   func(n int) // called with each question, from 1
}

// newServer is asked until the test ends.
func newServer(t *testing.T, answers ...error) *server {
	s := &server{answers: answers}
	t.Cleanup(wdactivity.SetServer(s.ask))
	return s
}

func (s *server) ask(_ context.Context, o client.RecordActivityHeartbeatOptions) error {
	s.mu.Lock()
	s.asked = append(s.asked, o)
	n := len(s.asked)
	var err error
	if len(s.answers) > 0 {
		err, s.answers = s.answers[0], s.answers[1:]
	}
	s.mu.Unlock()
	if s.onAsk != nil {
		s.onAsk(n)
	}
	return err
}

func (s *server) questions() []client.RecordActivityHeartbeatOptions {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// wantType fails unless err is an application error of this type.
func wantType(t *testing.T, err error, typ string, retryable bool) *temporal.ApplicationError {
	t.Helper()
	var app *temporal.ApplicationError
	if !errors.As(err, &app) || app.Type() != typ || app.NonRetryable() == retryable {
		t.Fatalf("error is %v, want %s, retryable %v", err, typ, retryable)
	}
	return app
}
