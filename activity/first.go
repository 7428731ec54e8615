package activity

import (
	"context"
	"time"

	workflowpb "go.temporal.io/api/workflow/v1"
	sdk "go.temporal.io/sdk/activity"
)

// neverTried reports whether the step cannot have been committed yet: this attempt
// has not tried it, and Temporal says that no attempt came before. If that is not known
// it returns false.
//
// The number of the attempt is not enough: a reset begins again at 1. So Temporal is
// asked for its pending activities. Each further attempt is scheduled at another time than
// the activity was, after a reset too, and so is the one that took the place of this
// one: while the time is still the activity's, there is no other attempt. Source:
// UpdateActivityInfoForRetries and RegenerateActivityRetryTask in the server's
// service/history/workflow.
//
// A local activity begins again at 1 after the timeout of a workflow task, and the
// server does not know it. A standalone activity is not looked up.
func (v *visit) neverTried() bool {
	i := &v.attempt.info
	switch {
	case v.step == "" || v.again || !v.attempt.remote() || i.Attempt != 1 || i.WorkflowExecution.ID == "":
		return false
	case v.attempt.tested:
		return true // attempts of a test environment are counted on
	}
	for {
		pending, err := v.pending()
		switch {
		case err == nil:
			return isFirst(pending, i)
		case v.ctx.Err() != nil || !isTransient(err):
			v.attempt.log.Warn("whether this is the first attempt is not known, since Temporal does not say what is under way", "cause", err)
			return false
		}
		select {
		case <-v.ctx.Done():
		case <-time.After(fencePause):
		}
	}
}

// pending asks Temporal for the activities of the workflow that are under way.
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
