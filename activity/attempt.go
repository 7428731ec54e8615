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

// attempt is one attempt of an activity, shared by all its visits, nested or one
// after the other. The interceptor makes it, and it is in the activity's context.
//
// Whether the attempt may store anything is the state of its context: it has ended if
// the SDK ended the activity's context, or if Temporal has answered that the attempt
// is not current. The cause of the context is the one reason.
//
// Locks: mu and details.mu are held by themselves.
type attempt struct {
	worker *workerInterceptor                      // immutable
	info   sdk.Info                                // immutable
	out    interceptor.ActivityOutboundInterceptor // the SDK's side; immutable after Init

	// Immutable while the activity's function runs.
	ctx  context.Context         // ends with the attempt
	lose context.CancelCauseFunc // ends it: Temporal has said that the attempt is not current
	args []any                   // of the activity

	// Immutable once the first visit has begun: activities without workspaces pay for none.
	once      sync.Once
	execution string       // names the execution, see executionName
	tested    bool         // it runs in a test environment of the SDK
	log       *slog.Logger // the activity's

	mu     sync.Mutex
	visits map[*visit]bool                 // guarded by mu; those under way
	steps  map[string]map[string]stepState // guarded by mu; by workspace and step
	pulse  *pulse                          // guarded by mu; nil without visits or without a heartbeat timeout

	details details
}

// stepState is what became of a step in this attempt.
type stepState int

const (
	stepRunning stepState = iota + 1
	stepSpent
	stepOpen // it was tried, and can be begun again
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

// begin makes the context of the activity's function, which ends with the attempt.
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

// executionName names the activity's execution. All its attempts have the name and,
// together with [attempt.scheduled], no other execution has. The test environments of
// the SDK all use the same ids, so that the second test of a process would find its work
// done by the first; there the environment's key is a part of the name.
func (a *attempt) executionName() string {
	i := &a.info
	names := []string{i.Namespace, i.WorkflowExecution.ID, i.WorkflowExecution.RunID, i.ActivityID}
	switch {
	case i.WorkflowExecution.ID == "":
		names = []string{i.Namespace, i.ActivityID, i.ActivityRunID}
	case i.IsLocalActivity:
		names = append(names, "local") // these are counted apart
	}
	if a.tested {
		names = append(names, "test environment "+a.worker.key)
	}
	return "temporal:" + jsonList(names)
}

// scheduled is when the execution was scheduled, the same for all its attempts: a
// workflow may use an activity id again once the activity has closed. The ids of
// local and of standalone activities are never used again.
func (a *attempt) scheduled() time.Time {
	if a.info.IsLocalActivity || a.info.WorkflowExecution.ID == "" {
		return time.Time{}
	}
	return a.info.ScheduledTime
}

// remote reports whether the server knows the attempt and can be asked about it.
func (a *attempt) remote() bool { return !a.info.IsLocalActivity }

// jsonList returns a JSON array as most languages write it: package json also escapes
// what has a meaning in HTML.
func jsonList(names []string) string {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(names) // strings always encode
	return strings.TrimSuffix(b.String(), "\n")
}

// inTestEnvironment reports whether no server knows the activity, since it runs in one
// of the SDK's test environments. Those make the task token of the ids alone, which no
// server does: its tokens are encoded messages, and begin with a byte that is in no id.
// A local activity has no token, and only in a test no client. Source: testActivityToken
// and executeLocalActivity in the SDK's internal_workflow_testsuite.go.
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

// beginStep returns the name of the next step on a workspace: name, or the smallest
// number that no step of this attempt has, or has to try again. again says that it was
// tried before. outer is the visit around it. ErrStep.
func (a *attempt) beginStep(workspace, name string, outer *visit) (step string, again bool, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	steps := a.steps[workspace]
	if steps == nil {
		steps = map[string]stepState{}
		a.steps[workspace] = steps
	}
	if name == "" {
		if other := besideOf(steps, workspace, outer); other != "" {
			return "", false, fmt.Errorf("%w: step %s on %s is under way in this attempt already, and without names chance decides which of the two is which; name each by Options.Step, or, where one is inside the other, pass on the context that its function got", ErrStep, other, workspace)
		}
		for n := 1; name == "" || steps[name] == stepRunning || steps[name] == stepSpent; n++ {
			name = strconv.Itoa(n)
		}
	}
	switch steps[name] {
	case stepRunning:
		return "", false, fmt.Errorf("%w: %q on %s is under way in this attempt already; give each step another name", ErrStep, name, workspace)
	case stepSpent:
		return "", false, fmt.Errorf("%w: %q on %s is done in this attempt already; give each step another name", ErrStep, name, workspace)
	}
	again = steps[name] == stepOpen
	steps[name] = stepRunning
	return name, again, nil
}

// besideOf returns a numbered step on a workspace that is under way and is not around
// the visit, or "". steps are those of the workspace.
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

// endStep ends a step. One that is not spent can be begun again.
func (a *attempt) endStep(workspace, step string, spent bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.steps[workspace][step] = stepOpen
	if spent {
		a.steps[workspace][step] = stepSpent
	}
}

// enter begins a visit: from now on the attempt is kept alive by heartbeats.
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

// exit ends a visit. With the last one the heartbeats stop, before it returns.
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

// healthy reports whether the attempt is worth being kept alive: it is current, and no
// mount of it has lost its server process. The end of a context that the activity made
// for a part of its work is the end of that part. A server that hangs counts as lost
// within seconds, since mount kills one that does not answer. Where the attempt is not
// kept alive, Temporal finds out by the timeout, unless the activity ends before or
// sends heartbeats itself.
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
