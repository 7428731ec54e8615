package activity

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"time"

	sdk "go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/interceptor"
)

// attempt is one attempt of an activity, shared by all its visits, nested or sequential. The
// interceptor creates it and puts it into the activity's context.
//
// Whether the attempt may store anything is the state of its context: it has ended if
// the SDK ended the activity's context, or if Temporal has answered that the attempt
// is not current. The cause of the context is the one reason.
//
// Locks: mu and details.mu are never held together.
type attempt struct {
	worker *workerInterceptor                      // immutable
	info   sdk.Info                                // immutable
	out    interceptor.ActivityOutboundInterceptor // towards the SDK; immutable after Init

	// Immutable while the activity's function runs.
	ctx  context.Context         // ends with the attempt
	lose context.CancelCauseFunc // ends it: Temporal has said that the attempt is not current
	args []any                   // of the activity

	// Immutable once the first visit has begun; not computed for activities without
	// workspaces.
	once      sync.Once
	execution string       // identifies the execution, see executionName
	tested    bool         // it runs in a test environment of the SDK
	log       *slog.Logger // the activity's

	mu     sync.Mutex
	visits map[*visit]bool                 // guarded by mu; the current ones
	steps  map[string]map[string]stepState // guarded by mu; by workspace and step
	pulse  *pulse                          // guarded by mu; nil without visits or without a heartbeat timeout

	details details
}

// stepState is the state of a step in this attempt.
type stepState int

const (
	stepRunning stepState = iota + 1
	stepSpent
	stepOpen // it was tried, and may be retried
)

type attemptKey struct{}

// attemptOf returns the attempt that ctx belongs to; nil outside of activities, and
// without the plugin.
func attemptOf(ctx context.Context) *attempt {
	a, _ := ctx.Value(attemptKey{}).(*attempt)
	if a != nil {
		a.once.Do(a.prepare)
	}
	return a
}

// begin creates the context of the activity's function, which ends with the attempt.
func (a *attempt) begin(ctx context.Context, args []any) {
	a.args = args
	a.ctx, a.lose = context.WithCancelCause(context.WithValue(ctx, attemptKey{}, a))
}

// prepare prepares the attempt for visits.
func (a *attempt) prepare() {
	a.visits, a.steps = map[*visit]bool{}, map[string]map[string]stepState{}
	a.tested = inTestEnvironment(a.ctx, &a.info)
	a.execution, a.log = a.executionName(), logger(a.ctx)
}

// executionName identifies the activity's execution. The name is common to all its attempts
// and, together with [attempt.scheduled], unique to the execution. The SDK's test environments
// all use the same ids, so that the second test of a process would find its work done by the
// first; there the name includes the environment's key.
func (a *attempt) executionName() string {
	i := &a.info
	names := []string{i.Namespace, i.WorkflowExecution.ID, i.WorkflowExecution.RunID, i.ActivityID}
	switch {
	case i.WorkflowExecution.ID == "":
		names = []string{i.Namespace, i.ActivityID, i.ActivityRunID}
	case i.IsLocalActivity:
		names = append(names, "local") // local activities are counted separately
	}
	if a.tested {
		names = append(names, "test environment "+a.worker.key)
	}
	return "temporal:" + jsonList(names)
}

// scheduled is when the execution was scheduled, the same for all its attempts: a
// workflow may use an activity id again once the activity has closed. The ids of local and of
// standalone activities are never reused.
func (a *attempt) scheduled() time.Time {
	if a.info.IsLocalActivity || a.info.WorkflowExecution.ID == "" {
		return time.Time{}
	}
	return a.info.ScheduledTime
}

// remote reports whether the server knows the attempt and can be asked about it.
func (a *attempt) remote() bool { return !a.info.IsLocalActivity }

// jsonList returns a JSON array as most languages write it: unlike package json it does not
// escape for HTML.
func jsonList(names []string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(names) // strings always encode
	return strings.TrimSuffix(b.String(), "\n")
}

// inTestEnvironment reports whether the activity runs in one of the SDK's test environments,
// and so is unknown to any server. Those make the task token from the ids alone; a server's
// tokens are encoded messages, which begin with a byte that is in no id. A local activity has
// no token, and only in a test no client. Source: testActivityToken and executeLocalActivity
// in the SDK's internal_workflow_testsuite.go.
func inTestEnvironment(ctx context.Context, i *sdk.Info) bool {
	if i.IsLocalActivity {
		c := reflect.ValueOf(sdk.GetClient(ctx))
		return !c.IsValid() || c.Kind() == reflect.Pointer && c.IsNil()
	}
	run := i.WorkflowExecution.RunID
	if i.WorkflowExecution.ID == "" {
		run = i.ActivityRunID
	}
	return string(i.TaskToken) == run+"#"+i.ActivityID
}

// beginStep returns the name of the next step on a workspace: name, or the smallest number
// that is unused in this attempt or to be retried. retried reports that it was tried before.
// outer is the enclosing visit. Error: ErrStep.
func (a *attempt) beginStep(workspace, name string, outer *visit) (step string, retried bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	steps := a.steps[workspace]
	if steps == nil {
		steps = map[string]stepState{}
		a.steps[workspace] = steps
	}
	if name == "" {
		if other := besideOf(steps, workspace, outer); other != "" {
			return "", false, fmt.Errorf("%w: step %s on %s is already running in this attempt, and concurrent steps without names cannot be distinguished; name each by Options.Step, or, if one is inside the other, pass it the context of the outer one's function", ErrStep, other, workspace)
		}
		for n := 1; name == "" || steps[name] == stepRunning || steps[name] == stepSpent; n++ {
			name = strconv.Itoa(n)
		}
	}
	switch steps[name] {
	case stepRunning:
		return "", false, fmt.Errorf("%w: %q on %s is already running in this attempt; give each step a different name", ErrStep, name, workspace)
	case stepSpent:
		return "", false, fmt.Errorf("%w: %q on %s is already done in this attempt; give each step a different name", ErrStep, name, workspace)
	}
	retried = steps[name] == stepOpen
	steps[name] = stepRunning
	return name, retried, nil
}

// besideOf returns a running numbered step on a workspace that does not enclose the visit, or
// "". steps are those of the workspace.
func besideOf(steps map[string]stepState, workspace string, visit *visit) string {
	around := map[string]bool{}
	for v := visit; v != nil; v = v.outer {
		if v.url.Identity() == workspace {
			around[v.step] = true
		}
	}
	for name, state := range steps {
		if state == stepRunning && isNumber(name) && !around[name] {
			return name
		}
	}
	return ""
}

// endStep ends a step. Unless spent, it may be retried.
func (a *attempt) endStep(workspace, step string, spent bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.steps[workspace][step] = stepOpen
	if spent {
		a.steps[workspace][step] = stepSpent
	}
}

// enter begins a visit: from now on heartbeats keep the attempt alive.
func (a *attempt) enter(v *visit) {
	if a.remote() {
		a.details.load(v.ctx, a.log)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.visits[v] = true
	if a.pulse == nil && a.remote() && a.info.HeartbeatTimeout > 0 {
		a.pulse = a.startPulse()
	}
}

// exit ends a visit. After the last one it stops the heartbeats before it returns.
func (a *attempt) exit(v *visit) {
	a.mu.Lock()
	delete(a.visits, v)
	var last *pulse
	if len(a.visits) == 0 {
		last, a.pulse = a.pulse, nil
	}
	a.mu.Unlock()
	if last != nil {
		last.end()
	}
}

// healthy reports whether to keep the attempt alive: it is current, and none of its mounts has
// lost its server process. The end of a context that the activity made for a part of its work
// ends only that part. A hanging server counts as lost within seconds, since mount kills one
// that does not answer. If the attempt is not kept alive, Temporal notices by the timeout,
// unless the activity ends before or sends heartbeats itself.
func (a *attempt) healthy() bool {
	if a.ctx.Err() != nil {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for v := range a.visits {
		if v.mountLost() {
			return false
		}
	}
	return true
}
