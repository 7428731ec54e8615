package activity

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"time"

	sdk "go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/worker"
)

// attempt is one attempt of an activity, shared by all its visits, nested or one
// after the other. It must not lead to the context of the activity, see byObject.
//
// Locks: mu before a visit's mu; memory.mu is held by itself.
type attempt struct {
	info      *sdk.Info // immutable; a copy; nil outside of Temporal
	execution string    // immutable; "" outside of Temporal
	tested    bool      // immutable; it runs in a test environment of the SDK
	countable bool      // immutable; every visit of the attempt comes to this object

	mu     sync.Mutex
	visits map[*visit]bool                 // guarded by mu; those under way
	steps  map[string]map[string]stepState // guarded by mu; by workspace and step
	lost   error                           // guarded by mu; why the attempt is not current any more
	pulse  *pulse                          // guarded by mu; nil without visits or without a heartbeat timeout

	memory memory
}

// stepState is what became of a step in this attempt.
type stepState int

const (
	stepRunning stepState = iota + 1
	stepSpent
	stepOpen // it was tried, and can be begun again
)

func newAttempt(info *sdk.Info) *attempt {
	return &attempt{info: info, visits: map[*visit]bool{}, steps: map[string]map[string]stepState{}}
}

// remote tells whether the server knows the attempt and can be asked about it.
func (a *attempt) remote() bool {
	return a.info != nil && !a.info.IsLocalActivity
}

// beginStep returns the name of the next step on a workspace: name, or the smallest
// number that no step of this attempt has, or has to try again. again says that it was
// tried before. outer is the visit around it. ErrStep.
func (a *attempt) beginStep(workspace, name string, outer *visit) (step string, again bool, err error) {
	if a.execution == "" {
		return name, false, nil
	}
	if name == "" && !a.countable {
		return "", false, fmt.Errorf("%w: the steps of this activity cannot be counted, since an interceptor gives it other information each time; name each by Options.Step", ErrStep)
	}
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
// the visit; "" if there is none. steps are those of the workspace.
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

// endStep says whether a step is spent. Otherwise it can be begun again.
func (a *attempt) endStep(workspace, step string, spent bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if spent {
		a.steps[workspace][step] = stepSpent
	} else {
		a.steps[workspace][step] = stepOpen
	}
}

// enter begins a visit: from now on the attempt is kept alive.
func (a *attempt) enter(v *visit) {
	if a.remote() {
		a.memory.load(v.ctx, v.log)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.visits[v] = true
	if a.pulse == nil && a.remote() && a.info.HeartbeatTimeout > 0 {
		a.pulse = a.startPulse(context.WithoutCancel(v.ctx))
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

// lose ends the right of every visit to commit, at once.
func (a *attempt) lose(cause error) {
	a.mu.Lock()
	if a.lost == nil {
		a.lost = cause
	}
	visits := make([]*visit, 0, len(a.visits))
	for v := range a.visits {
		visits = append(visits, v)
	}
	a.mu.Unlock()
	for _, v := range visits {
		v.lose(cause)
	}
}

// ended is why a visit may not commit; nil while it may.
func (a *attempt) ended(ctx context.Context) error {
	if ctx.Err() != nil {
		return contextError(ctx)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.lost
}

// endedBy reports whether ctx, or one around it, has ended with the activity: the SDK
// gives the reason, or the activity's own time is over. Otherwise the caller has
// ended a context of its own.
func (a *attempt) endedBy(ctx context.Context) bool {
	if ctx.Err() == nil {
		return false
	}
	cause := context.Cause(ctx)
	if errors.Is(cause, context.DeadlineExceeded) {
		return !time.Now().Before(a.info.Deadline)
	}
	return isLoss(cause) || errors.Is(cause, worker.ErrWorkerShutdown)
}

// contextError gives the end of a context with its cause: the SDK reports an
// activity as cancelled if it finds one of both.
func contextError(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(cause, err) {
		return cause
	}
	return &endError{err: err, cause: cause}
}

// endError is the end of a context, told by its cause.
type endError struct{ err, cause error }

func (e *endError) Error() string   { return e.cause.Error() }
func (e *endError) Unwrap() []error { return []error{e.cause, e.err} }
