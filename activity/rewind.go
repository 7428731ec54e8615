package activity

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	commonpb "go.temporal.io/api/common/v1"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/workflowservice/v1"
	sdk "go.temporal.io/sdk/activity"

	"github.com/workdir/workdir/store"
)

// past returns the history that the run of the visit's activity shares with earlier runs, for
// Options.Rewind; nil if the run was not created by a reset. The server is asked once per run,
// since the beginning of a run never changes: one request for a run without a reset, otherwise
// one more for each page of the history up to the reset.
func (v *visit) past() (*store.Past, error) {
	i := &v.attempt.info
	switch {
	case !v.opts.Rewind || i.WorkflowExecution.ID == "":
		return nil, nil
	case i.IsLocalActivity:
		return nil, &store.Error{
			Op: "rewind", Object: v.url.Redacted(), Kind: store.ErrRewind,
			Cause: errors.New("a local activity's commits cannot be found in the history of its workflow"), Todo: "execute it as an activity",
		}
	}
	known := &v.attempt.worker.pasts
	if past, ok := known.of(i.WorkflowExecution.RunID); ok {
		return past, nil
	}
	past, err := v.readPast()
	if err != nil {
		return nil, fmt.Errorf("rewind %s: read the history of the workflow: %w", v.url.Redacted(), err)
	}
	known.add(i.WorkflowExecution.RunID, past)
	return past, nil
}

// readPast reads the part of the run's history that came from other runs.
func (v *visit) readPast() (*store.Past, error) {
	i := &v.attempt.info
	r := pastReader{run: i.WorkflowExecution.RunID}
	req := &workflowservice.GetWorkflowExecutionHistoryRequest{
		Namespace:       i.Namespace,
		Execution:       &commonpb.WorkflowExecution{WorkflowId: i.WorkflowExecution.ID, RunId: i.WorkflowExecution.RunID},
		MaximumPageSize: 1, // the first event shows whether more must be read
	}
	for {
		page, err := v.askHistory(req)
		if err != nil || page == nil {
			return nil, err
		}
		for _, e := range page.GetHistory().GetEvents() {
			if r.read(e); r.done {
				return r.past, nil
			}
		}
		req.MaximumPageSize, req.NextPageToken = 0, page.GetNextPageToken()
		if len(req.NextPageToken) == 0 {
			return nil, errors.New("it says that the run was made by a reset, and not by which")
		}
	}
}

// askHistory requests a page of a history, and retries while the server is unavailable.
func (v *visit) askHistory(req *workflowservice.GetWorkflowExecutionHistoryRequest) (*workflowservice.GetWorkflowExecutionHistoryResponse, error) {
	for {
		ctx, cancel := context.WithTimeout(v.ctx, fenceCall)
		page, err := askForHistory(ctx, v, req)
		cancel()
		if err == nil || v.ctx.Err() != nil || !isTransient(err) {
			return page, err
		}
		select {
		case <-v.ctx.Done():
		case <-time.After(fencePause):
		}
	}
}

// askForHistory asks by the client of a visit's activity. In a test environment of the SDK
// there is no history, and it returns nil. Our tests substitute a server.
var askForHistory = func(ctx context.Context, v *visit, req *workflowservice.GetWorkflowExecutionHistoryRequest) (*workflowservice.GetWorkflowExecutionHistoryResponse, error) {
	if v.attempt.tested {
		return nil, nil
	}
	return sdk.GetClient(v.ctx).WorkflowService().GetWorkflowExecutionHistory(ctx, req)
}

// pastReader reads the events of a run, in order, up to the last that came from another run.
//
// A reset copies the first events of a run unchanged, and then adds a WorkflowTaskFailed that
// names the new run. So the events before the first of these happened in the original run, and
// those after one in the run that it names. Source: the server's
// service/history/ndc/workflow_resetter.go.
type pastReader struct {
	run  string      // whose history it is
	past *store.Past // nil if the run was not created by a reset
	done bool        // reading is complete

	from      string                       // the run in which the current events happened
	scheduled map[int64]store.PastActivity // by the number of the event
}

func (r *pastReader) read(e *historypb.HistoryEvent) {
	switch e.GetEventType() {
	case enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED:
		r.from = e.GetWorkflowExecutionStartedEventAttributes().GetOriginalExecutionRunId()
		if r.done = r.from == r.run || r.from == ""; !r.done {
			r.past = &store.Past{Began: e.GetEventTime().AsTime()}
			r.scheduled = map[int64]store.PastActivity{}
		}
	case enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED:
		if a := e.GetWorkflowTaskFailedEventAttributes(); a.GetCause() == enumspb.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW {
			r.from = a.GetNewRunId()
			r.done = r.from == r.run
		}
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
		r.scheduled[e.GetEventId()] = store.PastActivity{
			ActivityID: e.GetActivityTaskScheduledEventAttributes().GetActivityId(), Scheduled: e.GetEventTime().AsTime(),
		}
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
		r.ended(e.GetActivityTaskCompletedEventAttributes().GetScheduledEventId())
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_FAILED:
		r.ended(e.GetActivityTaskFailedEventAttributes().GetScheduledEventId())
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT:
		r.ended(e.GetActivityTaskTimedOutEventAttributes().GetScheduledEventId())
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCELED:
		r.ended(e.GetActivityTaskCanceledEventAttributes().GetScheduledEventId())
	}
}

// ended records that an activity has ended, in the current run.
func (r *pastReader) ended(scheduled int64) {
	a := r.scheduled[scheduled]
	a.RunID = r.from
	r.past.Ended = append(r.past.Ended, a)
}

// pasts caches the pasts of runs.
type pasts struct {
	mu     sync.Mutex
	known  map[string]*store.Past // guarded by mu; by run id; nil for runs not created by a reset
	weight int                    // guarded by mu; of all entries, see weightOf
}

// maxPasts bounds the weight of the cache: some MiB.
const maxPasts = 50_000

func weightOf(p *store.Past) int {
	if p == nil {
		return 1
	}
	return 1 + len(p.Ended)
}

func (p *pasts) of(run string) (past *store.Past, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	past, ok = p.known[run]
	return past, ok
}

// add caches the past of a run, and drops others if the cache is full.
func (p *pasts) add(run string, past *store.Past) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.known[run]; ok || weightOf(past) > maxPasts {
		return
	}
	if p.known == nil {
		p.known = map[string]*store.Past{}
	}
	for other, o := range p.known { // in no order
		if p.weight+weightOf(past) <= maxPasts {
			break
		}
		delete(p.known, other)
		p.weight -= weightOf(o)
	}
	p.known[run] = past
	p.weight += weightOf(past)
}
