package activity_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	enumspb "go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/serviceerror"
	"google.golang.org/protobuf/types/known/timestamppb"

	wdactivity "github.com/workdir/workdir/activity"
	"github.com/workdir/workdir/activity/errtype"
	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/mount"
	"github.com/workdir/workdir/store"
)

// The ids that the SDK's test environment gives to all workflows.
const (
	testWorkflow = "default-test-workflow-id"
	testRun      = "default-test-run-id"
)

// history is one of a run, and the server that has it.
type history struct {
	began   time.Time
	events  []*historypb.HistoryEvent
	perPage int

	mu     sync.Mutex
	asked  int     // guarded by mu
	errors []error // guarded by mu; of the next answers
}

// newHistory is a server with the history of the test environment's run, which begins as the run
// original did.
func newHistory(t *testing.T, original string) *history {
	h := &history{began: time.Now().Add(-time.Hour).Truncate(time.Millisecond), perPage: 2}
	e := h.add(enumspb.EVENT_TYPE_WORKFLOW_EXECUTION_STARTED)
	e.Attributes = &historypb.HistoryEvent_WorkflowExecutionStartedEventAttributes{
		WorkflowExecutionStartedEventAttributes: &historypb.WorkflowExecutionStartedEventAttributes{OriginalExecutionRunId: original},
	}
	t.Cleanup(wdactivity.SetHistory(h.ask))
	return h
}

func (h *history) ask(_ context.Context, req *wdactivity.HistoryRequest) (*wdactivity.HistoryResponse, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked++
	if len(h.errors) > 0 {
		err := h.errors[0]
		h.errors = h.errors[1:]
		return nil, err
	}
	if req.Execution.WorkflowId != testWorkflow || req.Execution.RunId != testRun || req.Namespace != "default-test-namespace" {
		return nil, fmt.Errorf("asked for %v", req.Execution)
	}
	from, n := 0, h.perPage
	if len(req.NextPageToken) > 0 {
		from = int(req.NextPageToken[0])
	} else if req.MaximumPageSize > 0 {
		n = int(req.MaximumPageSize)
	}
	end := min(len(h.events), from+n)
	page := &wdactivity.HistoryResponse{History: &historypb.History{Events: h.events[from:end]}}
	if end < len(h.events) {
		page.NextPageToken = []byte{byte(end)}
	}
	return page, nil
}

func (h *history) add(kind enumspb.EventType) *historypb.HistoryEvent {
	e := &historypb.HistoryEvent{EventId: int64(len(h.events) + 1), EventType: kind, EventTime: timestamppb.New(h.began.Add(time.Duration(len(h.events)) * time.Second))}
	h.events = append(h.events, e)
	return e
}

// activity adds one that was scheduled and, if end is an event, has ended so. It returns when
// it was scheduled.
func (h *history) activity(id string, end enumspb.EventType) time.Time {
	e := h.add(enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED)
	e.Attributes = &historypb.HistoryEvent_ActivityTaskScheduledEventAttributes{
		ActivityTaskScheduledEventAttributes: &historypb.ActivityTaskScheduledEventAttributes{ActivityId: id},
	}
	if end == 0 {
		return e.EventTime.AsTime()
	}
	last := h.add(end)
	switch end {
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
		last.Attributes = &historypb.HistoryEvent_ActivityTaskCompletedEventAttributes{
			ActivityTaskCompletedEventAttributes: &historypb.ActivityTaskCompletedEventAttributes{ScheduledEventId: e.EventId},
		}
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_FAILED:
		last.Attributes = &historypb.HistoryEvent_ActivityTaskFailedEventAttributes{
			ActivityTaskFailedEventAttributes: &historypb.ActivityTaskFailedEventAttributes{ScheduledEventId: e.EventId},
		}
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT:
		last.Attributes = &historypb.HistoryEvent_ActivityTaskTimedOutEventAttributes{
			ActivityTaskTimedOutEventAttributes: &historypb.ActivityTaskTimedOutEventAttributes{ScheduledEventId: e.EventId},
		}
	case enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCELED:
		last.Attributes = &historypb.HistoryEvent_ActivityTaskCanceledEventAttributes{
			ActivityTaskCanceledEventAttributes: &historypb.ActivityTaskCanceledEventAttributes{ScheduledEventId: e.EventId},
		}
	}
	return e.EventTime.AsTime()
}

// resetTo adds what a reset adds, which has made the run to.
func (h *history) resetTo(to string) {
	e := h.add(enumspb.EVENT_TYPE_WORKFLOW_TASK_FAILED)
	e.Attributes = &historypb.HistoryEvent_WorkflowTaskFailedEventAttributes{
		WorkflowTaskFailedEventAttributes: &historypb.WorkflowTaskFailedEventAttributes{
			Cause: enumspb.WORKFLOW_TASK_FAILED_CAUSE_RESET_WORKFLOW, NewRunId: to,
		},
	}
}

// done is what a run's activity has committed to "ws": a line.
func (h *history) done(b *bench, run, id string, scheduled time.Time, line string) {
	b.t.Helper()
	m, err := mount.Open(b.t.Context(), b.url("ws"), &mount.Options{
		Plain: true, RunDir: b.runDir, Keep: store.Keep{Last: 100},
		Origin: archive.Origin{
			Execution: run + id, Step: "1", Namespace: "default-test-namespace", WorkflowID: testWorkflow, RunID: run, ActivityID: id, Scheduled: scheduled,
		},
	})
	require.NoError(b.t, err)
	require.NoError(b.t, add(m, line))
	_, err = m.Close(b.t.Context())
	require.NoError(b.t, err)
}

// rewinding are the options of a workspace that is rewound.
func (b *bench) rewinding() *wdactivity.Options {
	o := b.options()
	o.Rewind, o.Keep = true, wdactivity.Keep{Last: 100}
	return o
}

// lines is an activity that returns the lines which it finds, and adds one for each step.
func (b *bench) lines(opts *wdactivity.Options, steps ...string) func(context.Context) (string, error) {
	return func(ctx context.Context) (found string, err error) {
		for i, step := range steps {
			_, err := wdactivity.Do(ctx, b.url("ws"), opts, func(_ context.Context, m *mount.Mount) (bool, error) {
				text, err := os.ReadFile(m.Path("lines"))
				if i == 0 {
					found = string(text)
				}
				if errors.Is(err, os.ErrNotExist) {
					err = nil
				}
				return true, errors.Join(err, add(m, step))
			})
			if err != nil {
				return found, err
			}
		}
		return found, nil
	}
}

// Each kind of end of an activity counts, in the run in which it happened; what had not ended
// at the reset is undone. The steps of the activity itself follow each other.
func TestRewindByHistory(t *testing.T) {
	const completed = enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED
	ends := []enumspb.EventType{completed, enumspb.EVENT_TYPE_ACTIVITY_TASK_FAILED, enumspb.EVENT_TYPE_ACTIVITY_TASK_TIMED_OUT, enumspb.EVENT_TYPE_ACTIVITY_TASK_CANCELED}
	for _, end := range ends {
		t.Run(end.String(), func(t *testing.T) {
			b, h := newBench(t), newHistory(t, "A")
			h.done(b, "A", "1", h.activity("1", completed), "a1")
			h.resetTo("B")
			h.done(b, "B", "2", h.activity("2", end), "b2")
			pending := h.activity("3", 0)
			h.done(b, "A", "2", h.began.Add(100*time.Second), "late a2")
			h.done(b, "B", "3", pending, "b3")
			h.resetTo(testRun)
			h.activity("4", completed) // of the run itself, and not read
			out, err := runInWorkflow(t, suiteOptions{activity: b.lines(b.rewinding(), "c4", "c5")})
			require.NoError(t, err)
			require.Equal(t, "a1\nb2\n", out)
			b.wantStored("ws", "lines", "a1\nb2\nc4\nc5\n")
			log := b.log("ws")
			require.Equal(t, 6, log.Len())
			require.Empty(t, log.Record.RewoundTo())
		})
	}
}

// A run that no reset has made costs one question a run, however often it opens; one that a
// reset has made, one more for each page.
func TestRewindAsksOnceARun(t *testing.T) {
	b, h := newBench(t), newHistory(t, testRun)
	h.activity("1", 0)
	_, err := runInWorkflow(t, suiteOptions{activity: b.lines(b.rewinding(), "1", "2", "3")})
	require.NoError(t, err)
	require.Equal(t, 1, h.asked)

	h = newHistory(t, "A")
	for range 3 {
		h.activity("x", enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED)
	}
	h.resetTo(testRun)
	_, err = runInWorkflow(t, suiteOptions{activity: b.lines(b.rewinding(), "4", "5")})
	require.NoError(t, err)
	require.Equal(t, 1+4, h.asked) // 8 events: 1, and then 2 a page

	_, err = runInWorkflow(t, suiteOptions{activity: b.lines(b.options(), "6")})
	require.NoError(t, err)
	require.Equal(t, 5, h.asked) // without Rewind it is not asked
}

// The server is asked again while it is away; any other answer fails the attempt, which is
// tried again.
func TestRewindWithoutAnAnswer(t *testing.T) {
	b, h := newBench(t), newHistory(t, testRun)
	h.errors = []error{serviceerror.NewUnavailable("away"), context.DeadlineExceeded}
	_, err := runInWorkflow(t, suiteOptions{activity: b.lines(b.rewinding(), "1")})
	require.NoError(t, err)
	require.Equal(t, 3, h.asked)

	h.errors = []error{serviceerror.NewPermissionDenied("no", "")}
	_, err = runInWorkflow(t, suiteOptions{activity: b.lines(b.rewinding(), "2")})
	wantType(t, err, errtype.Other, true)
	require.ErrorContains(t, err, "read the history of the workflow")
	b.wantStored("ws", "lines", "1\n")
}

// What cannot be rewound is not tried again, and nothing is stored.
func TestRewindThatCannotBe(t *testing.T) {
	tests := []struct {
		name, typ string
		make      func(b *bench, h *history)
	}{
		{"the version is gone", errtype.NoVersion, func(b *bench, _ *history) {
			_, err := store.DeleteVersions(b.t.Context(), b.url("ws"))
			require.NoError(b.t, err)
		}},
		{"others have committed", errtype.Rewind, func(b *bench, _ *history) { b.put("ws", "theirs", "") }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b, h := newBench(t), newHistory(t, "A")
			h.done(b, "A", "1", h.activity("1", enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED), "a1")
			h.resetTo(testRun)
			h.done(b, "A", "2", h.began.Add(100*time.Second), "a2")
			test.make(b, h)
			before := b.log("ws").Len()
			_, err := runInWorkflow(t, suiteOptions{activity: b.lines(b.rewinding(), "b2"), attempts: 3})
			wantType(t, err, test.typ, false)
			require.Equal(t, before, b.log("ws").Len())
		})
	}
}

// Rewind without Keep could never go back, and is refused when the worker is made. What is only
// read has its versions kept by others.
func TestRewindNeedsKeep(t *testing.T) {
	for name, test := range map[string]struct {
		opts wdactivity.Options
		want string
	}{
		"without":   {wdactivity.Options{Rewind: true}, "rewind: what a reset goes back to must be kept"},
		"with":      {wdactivity.Options{Rewind: true, Keep: wdactivity.Keep{For: wdactivity.Duration(time.Hour)}}, ""},
		"read-only": {wdactivity.Options{Rewind: true, ReadOnly: true}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := wdactivity.NewPlugin(&wdactivity.PluginOptions{Rules: []wdactivity.Rule{{Activity: "a", URL: "mem://b/k", Options: test.opts}}})
			if test.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, test.want)
		})
	}
	b := newBench(t)
	opts := b.options()
	opts.Rewind = true
	_, err := runInWorkflow(t, suiteOptions{activity: b.lines(opts, "1")})
	wantType(t, err, errtype.Input, false)
}

// A worker remembers so many runs and no more.
func TestPastsAreBounded(t *testing.T) {
	var p wdactivity.Pasts
	for i := range 2 * wdactivity.MaxPasts {
		p.Add(fmt.Sprint(i), nil)
	}
	require.Equal(t, wdactivity.MaxPasts, p.Len())
	large := &store.Past{Ended: make([]store.PastActivity, wdactivity.MaxPasts-1)}
	p.Add("large", large)
	require.Equal(t, 1, p.Len())
	got, ok := p.Of("large")
	require.True(t, ok)
	require.Same(t, large, got)
	p.Add("too large", &store.Past{Ended: make([]store.PastActivity, wdactivity.MaxPasts)})
	_, ok = p.Of("too large")
	require.False(t, ok)
}
