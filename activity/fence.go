package activity

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/api/serviceerror"
	sdk "go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/workdir/workdir/activity/internal/template"
)

// Times of the fence.
const (
	fenceCall  = 10 * time.Second       // one question, or less if the heartbeat timeout is shorter
	fenceLeast = time.Second            // minimum for one question: the SDK never waits less for an answer
	fencePause = 200 * time.Millisecond // between two questions

	// The SDK delays heartbeats by 80 % of the heartbeat timeout, by sdkPause without one, and
	// at most by the constant below, unless the worker's options say otherwise
	// (getHeartbeatThrottleInterval in internal_task_handlers.go).
	sdkPause    = 30 * time.Second
	sdkPauseMax = 60 * time.Second
)

// mayStore is mount.Options.BeforeStore: it asks whether this attempt is still the current
// one. Any answer other than yes ends the visit for good. ctx ends with the commit.
func (v *visit) mayStore(ctx context.Context) error {
	err := v.current(ctx)
	if err == nil {
		return nil
	}
	if isLoss(err) {
		v.attempt.lose(err)
	}
	v.cancel(err)
	v.obs.fenced(v.url.Redacted(), err)
	return err
}

// current returns nil while the attempt is the current one. Only its own worker knows of a
// local activity, so its context decides.
func (v *visit) current(ctx context.Context) error {
	if err := v.ended(); err != nil || !v.attempt.remote() {
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(v.ctx, func() { cancel(contextError(v.ctx)) })()
	for {
		err := v.ask(ctx)
		switch {
		case err == nil:
			return v.ended()
		case isLoss(err):
			return err
		case ctx.Err() != nil:
			return fmt.Errorf("it is unknown whether this attempt is current: %w (last answer: %w)", context.Cause(ctx), err)
		case !isTransient(err):
			return fmt.Errorf("it is unknown whether this attempt is current: %w", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(fencePause):
		}
	}
}

// ask sends one heartbeat with the task token and waits for the answer, which the
// SDK's RecordHeartbeat does not. It carries the last details, like every one.
func (v *visit) ask(ctx context.Context) error {
	info, d := &v.attempt.info, &v.attempt.details
	timeout := fenceCall
	if t := info.HeartbeatTimeout; t > 0 {
		timeout = max(min(timeout, t/3), fenceLeast)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	d.mu.Lock()
	defer d.mu.Unlock()
	return askServer(ctx, v, client.RecordActivityHeartbeatOptions{
		TaskToken: info.TaskToken, Details: d.list, Namespace: info.Namespace,
		WorkflowID: info.WorkflowExecution.ID, WorkflowType: template.WorkflowType(info),
		ActivityType: info.ActivityType.Name, TaskQueue: info.TaskQueue,
	})
}

// askServer sends a heartbeat by the client of a visit's activity. It does nothing in a test
// environment of the SDK: no attempt can be replaced there, the environment's listener counts
// the activity's own heartbeats, and this call would end the test. Our tests substitute a
// server.
var askServer = func(ctx context.Context, v *visit, o client.RecordActivityHeartbeatOptions) error {
	if v.attempt.tested {
		return nil
	}
	return sdk.GetClient(v.ctx).RecordActivityHeartbeatWithOptions(ctx, o)
}

// shareCancellation lets the SDK learn of a cancellation that the fence has learnt of first,
// and waits until that has ended ctx, the SDK's own: only then does the SDK report an activity
// as cancelled rather than as failed (Execute in internal_task_handlers.go). It takes no
// longer than the SDK alone would have taken. It does nothing in a test environment.
func (a *attempt) shareCancellation(ctx context.Context) {
	if !temporal.IsCanceledError(context.Cause(a.ctx)) || a.tested || ctx.Err() != nil {
		return
	}
	patience := sdkPause
	if t := a.info.HeartbeatTimeout; t > 0 {
		patience = min(t, sdkPauseMax)
	}
	a.resend(true) // a cancelled activity is not retried
	timer := time.NewTimer(patience + fenceCall)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

// isLoss reports whether an answer of the server means that the attempt is not the current
// one, or must end. Source: recordActivityHeartbeat and temporalInvoker.internalHeartBeat in
// the SDK's internal_task_handlers.go.
func isLoss(err error) bool {
	var notFound *serviceerror.NotFound
	var noNamespace *serviceerror.NamespaceNotFound
	var notActive *serviceerror.NamespaceNotActive
	return temporal.IsCanceledError(err) || errors.Is(err, sdk.ErrActivityPaused) || errors.Is(err, sdk.ErrActivityReset) ||
		errors.As(err, &notFound) || errors.As(err, &noNamespace) || errors.As(err, &notActive)
}

// isTransient reports whether the question may be retried after an error.
func isTransient(err error) bool {
	var unavailable *serviceerror.Unavailable
	var exhausted *serviceerror.ResourceExhausted
	var internal *serviceerror.Internal
	var deadline *serviceerror.DeadlineExceeded
	var aborted *serviceerror.Aborted
	var canceled *serviceerror.Canceled
	return errors.As(err, &unavailable) || errors.As(err, &exhausted) || errors.As(err, &internal) ||
		errors.As(err, &deadline) || errors.As(err, &aborted) || errors.As(err, &canceled) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}
