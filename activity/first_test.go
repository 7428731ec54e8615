package activity

import (
	"reflect"
	"testing"
	"time"

	failurepb "go.temporal.io/api/failure/v1"
	workflowpb "go.temporal.io/api/workflow/v1"
	sdk "go.temporal.io/sdk/activity"
)

// An attempt is the first one of its execution only if nothing that the server has
// under way says otherwise; the number 1 alone comes back after a reset.
func TestIsFirst(t *testing.T) {
	scheduled := time.Date(2026, 5, 17, 12, 0, 0, 123456789, time.UTC)
	later := scheduled.Add(time.Millisecond)
	for _, c := range []struct {
		name   string
		change func(*workflowpb.PendingActivityInfo)
		want   bool
	}{
		{"the first", func(*workflowpb.PendingActivityInfo) {}, true},
		{"another activity", func(p *workflowpb.PendingActivityInfo) { p.ActivityId = "6" }, false},
		{"another attempt", func(p *workflowpb.PendingActivityInfo) { p.Attempt = 2 }, false},
		{"scheduled again, by a reset", func(p *workflowpb.PendingActivityInfo) { setTime(&p.ScheduledTime, later) }, false},
		{"after a failure", func(p *workflowpb.PendingActivityInfo) { p.LastFailure = &failurepb.Failure{} }, false},
		{"after an attempt", func(p *workflowpb.PendingActivityInfo) { setTime(&p.LastAttemptCompleteTime, later) }, false},
		{"without a time", func(p *workflowpb.PendingActivityInfo) { p.ScheduledTime = nil }, false},
	} {
		p := &workflowpb.PendingActivityInfo{ActivityId: "5", Attempt: 1}
		setTime(&p.ScheduledTime, scheduled)
		c.change(p)
		if got := isFirst([]*workflowpb.PendingActivityInfo{{ActivityId: "4"}, p}, &sdk.Info{ActivityID: "5", ScheduledTime: scheduled}); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	if isFirst(nil, &sdk.Info{ActivityID: "5"}) {
		t.Error("an activity that is not under way is the first")
	}
}

// setTime sets a field of the type Timestamp, whose package comes with Temporal's and
// is not ours to import.
func setTime[T any](field **T, at time.Time) {
	*field = new(T)
	v := reflect.ValueOf(*field).Elem()
	v.FieldByName("Seconds").SetInt(at.Unix())
	v.FieldByName("Nanos").SetInt(int64(at.Nanosecond()))
}
