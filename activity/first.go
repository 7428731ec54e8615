package activity

import (
	"context"
	"time"

	workflowpb "go.temporal.io/api/workflow/v1"
	sdk "go.temporal.io/sdk/activity"
)

// neverTried reports whether the step cannot have been committed yet: this attempt has not
// tried it, and Temporal says that it is the first. If that is unknown it returns false.
//
// The attempt's number is not sufficient, since a reset restarts at 1. So Temporal is asked
// for its pending activities. Every later attempt, also after a reset, is scheduled at a
// different time than the activity, as is one that replaced this one: while the time is still
// the activity's, this is the only attempt. Source: UpdateActivityInfoForRetries and
// RegenerateActivityRetryTask in the server's service/history/workflow.
//
// A local activity restarts at 1 after the timeout of a workflow task, and the server does not
// know of it. Standalone activities are not looked up.
func (v *visit) neverTried() bool {
	i := &v.attempt.info
	switch {
	case v.step == "" || v.retried || !v.attempt.remote() || i.Attempt != 1 || i.WorkflowExecution.ID == "":
		return false
	case v.attempt.tested:
		return true // a test environment never restarts the numbers
	}
	for {
		pending, err := v.pending()
		switch {
		case err == nil:
			return isFirst(pending, i)
		case v.ctx.Err() != nil || !isTransient(err):
			v.attempt.log.Warn("it is unknown whether this is the first attempt, since Temporal does not list the pending activities", "cause", err)
			return false
		}
		select {
		case <-v.ctx.Done():
		case <-time.After(fencePause):
		}
	}
}

// pending asks Temporal for the workflow's pending activities.
func (v *visit) pending() ([]*workflowpb.PendingActivityInfo, error) {
	ctx, cancel := context.WithTimeout(v.ctx, fenceCall)
	defer cancel()
	e := v.attempt.info.WorkflowExecution
	d, err := sdk.GetClient(v.ctx).DescribeWorkflow(ctx, e.ID, e.RunID)
	if err != nil {
		return nil, err
	}
	return d.RawResponse.GetPendingActivities(), nil
}

// isFirst reports whether one of the activities is the one of i, in its first attempt.
func isFirst(pending []*workflowpb.PendingActivityInfo, i *sdk.Info) bool {
	for _, p := range pending {
		if p.GetActivityId() == i.ActivityID {
			return p.GetAttempt() == 1 && p.GetScheduledTime().AsTime().Equal(i.ScheduledTime) &&
				p.GetLastFailure() == nil && p.GetLastAttemptCompleteTime() == nil
		}
	}
	return false
}
