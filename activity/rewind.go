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

// past returns what the run of the visit's activity has from the runs before it, for
// Options.Rewind; nil where a reset did not make that run. The server is asked once a run,
// since what a run began with never changes: one request for a run that was not reset, and for
// one that was, one more for each page of the history up to the reset.
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

// readPast reads the history of the run as far as it came from other runs.
func (v *visit) readPast() (*store.Past, error) {
	i := &v.attempt.info
	r := pastReader{run: i.WorkflowExecution.RunID}
	req := &workflowservice.GetWorkflowExecutionHistoryRequest{
		Namespace:       i.Namespace,
		Execution:       &commonpb.WorkflowExecution{WorkflowId: i.WorkflowExecution.ID, RunId: i.WorkflowExecution.RunID},
		MaximumPageSize: 1, // the first event says whether there is anything else to read
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

// askHistory asks for a page of a history, again while the server is away.
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
// there is no history, and it returns nil. Tests of ours put a server here.
var askForHistory = func(ctx context.Context, v *visit, req *workflowservice.GetWorkflowExecutionHistoryRequest) (*workflowservice.GetWorkflowExecutionHistoryResponse, error) {
	if v.attempt.tested {
		return nil, nil
	}
	return sdk.GetClient(v.ctx).WorkflowService().GetWorkflowExecutionHistory(ctx, req)
}

// pastReader reads the events of a run, in their order, until it has all that came from other
// runs.
//
// A reset copies the first events of a run, as they are, and then adds a WorkflowTaskFailed
// that names the new run. So the events before the first of these happened in the original run,
// and those behind one in the run that it names. Source: the server's
// service/history/ndc/workflow_resetter.go.
type pastReader struct {
	run  string      // whose history it is
	past *store.Past // nil where no reset has made the run
	done bool        // nothing else need be read

	from      string                       // the run in which the events that are read now happened
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

// ended notes that an activity has ended, in the run whose events are read.
func (r *pastReader) ended(scheduled int64) {
	a := r.scheduled[scheduled]
	a.RunID = r.from
	r.past.Ended = append(r.past.Ended, a)
}

// pasts remembers what runs began with.
type pasts struct {
	mu     sync.Mutex
	known  map[string]*store.Past // guarded by mu; by run id; nil for runs that no reset has made
	weight int                    // guarded by mu; of all that is known, see weightOf
}

// maxPasts bounds the weight of what is remembered: some MiB.
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

// add remembers the past of a run, and forgets others where there is no room.
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
