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
)

// Times of the fence.
const (
	fenceCall  = 10 * time.Second       // one question, where the heartbeat timeout does not say less
	fenceLeast = time.Second            // one question at least: the SDK waits no shorter for an answer
	fencePause = 200 * time.Millisecond // between two questions
)

// mayStore is mount.Options.BeforeStore: it asks whether this attempt is still the
// one that Temporal goes by. ctx ends with the commit.
func (v *visit) mayStore(ctx context.Context) error {
	err := v.current(ctx)
	if err == nil {
		return nil
	}
	v.mu.Lock()
	if v.refusal == nil {
		v.refusal = err
	}
	v.mu.Unlock()
	v.obs.fenced(v.url.Redacted(), err)
	return err
}

// current is nil while the attempt is the current one. A local activity is known
// to its own worker alone, so its context says all there is.
func (v *visit) current(ctx context.Context) error {
	if err := v.attempt.ended(v.ctx); err != nil {
		return err
	}
	if !v.attempt.remote() {
		return nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	for _, end := range []context.Context{v.ctx, v.closingContext()} {
		stop := context.AfterFunc(end, func() { cancel(contextError(end)) })
		defer stop()
	}
	for {
		err := v.ask(ctx)
		switch {
		case err == nil:
			return v.attempt.ended(v.ctx)
		case isLoss(err):
			v.attempt.lose(err)
			return err
		case ctx.Err() != nil:
			return fmt.Errorf("whether this attempt is current is not known: %w (last answer: %w)", context.Cause(ctx), err)
		case !isTransient(err):
			return fmt.Errorf("whether this attempt is current is not known: %w", err)
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
	info := v.attempt.info
	timeout := fenceCall
	if t := info.HeartbeatTimeout; t > 0 {
		timeout = max(min(timeout, t/3), fenceLeast)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	m := &v.attempt.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	return askServer(ctx, v, client.RecordActivityHeartbeatOptions{
		TaskToken: info.TaskToken, Details: m.details, Namespace: info.Namespace,
		WorkflowID: info.WorkflowExecution.ID, WorkflowType: workflowType(info),
		ActivityType: info.ActivityType.Name, TaskQueue: info.TaskQueue,
	})
}

// askServer sends a heartbeat by the client of a visit's activity. In a test
// environment of the SDK nobody can take an attempt's place, its listener counts
// the activity's own heartbeats, and this call would end the test: so it is left
// out. Tests of ours put a server here.
var askServer = func(ctx context.Context, v *visit, o client.RecordActivityHeartbeatOptions) error {
	if v.attempt.tested {
		return nil
	}
	return sdk.GetClient(v.ctx).RecordActivityHeartbeatWithOptions(ctx, o)
}

// isLoss tells the answers by which the server says that the attempt is not the
// current one, or is to end. Source: recordActivityHeartbeat and
// temporalInvoker.internalHeartBeat in the SDK's internal_task_handlers.go.
func isLoss(err error) bool {
	var notFound *serviceerror.NotFound
	var noNamespace *serviceerror.NamespaceNotFound
	var notActive *serviceerror.NamespaceNotActive
	return temporal.IsCanceledError(err) || errors.Is(err, sdk.ErrActivityPaused) || errors.Is(err, sdk.ErrActivityReset) ||
		errors.As(err, &notFound) || errors.As(err, &noNamespace) || errors.As(err, &notActive)
}

// isTransient tells errors after which the same question may get an answer.
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
