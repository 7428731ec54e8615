package temporal

import (
	"slices"
	"testing"
	"time"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/workflow"
)

// BenchmarkActivity measures how long an activity takes from its schedule to its
// completion, by the clock of the Temporal server: one that does nothing, one that
// does so in a workspace, and one that appends a line to a file there, which is
// stored.
func BenchmarkActivity(b *testing.B) {
	for _, name := range []string{"plain", "touch", "append"} {
		b.Run(name, func(b *testing.B) {
			e := newEnvFor(b)
			e.newWorker(workerOptions{Program: "load"})
			runWorkflow(e, once[int](e, name, "line")) // the server is there from now on
			var took []time.Duration
			b.ResetTimer()
			for from := 0; from < b.N; from += appendsOfOneRun {
				took = append(took, e.timesOf(name, min(appendsOfOneRun, b.N-from))...)
			}
			b.StopTimer()
			slices.Sort(took)
			for _, p := range []struct {
				unit string
				rank int // in percent
			}{{"p50-ms", 50}, {"p99-ms", 99}} {
				b.ReportMetric(float64(took[(len(took)-1)*p.rank/100].Microseconds())/1000, p.unit)
			}
		})
	}
}

// timesOf runs an activity n times, one after the other, and reports how long each
// took.
func (e *env) timesOf(name string, n int) []time.Duration {
	e.t.Helper()
	r := startWorkflow(e, many(e, name, n))
	_, err := r.result()
	noError(e.t, err)
	begun := map[int64]time.Time{} // by the number of the event
	var took []time.Duration
	for _, event := range r.history() {
		switch event.GetEventType() {
		case enumspb.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED:
			begun[event.GetEventId()] = event.GetEventTime().AsTime()
		case enumspb.EVENT_TYPE_ACTIVITY_TASK_COMPLETED:
			scheduled := event.GetActivityTaskCompletedEventAttributes().GetScheduledEventId()
			took = append(took, event.GetEventTime().AsTime().Sub(begun[scheduled]))
		}
	}
	return took
}

// many is a workflow of one activity, n times, one after the other.
func many(e *env, name string, n int) func(workflow.Context) (int, error) {
	return func(ctx workflow.Context) (int, error) {
		ctx = workflow.WithActivityOptions(ctx, patient(e.queue))
		for i := range n {
			if _, err := execute[int](ctx, name, "line"); err != nil {
				return i, err
			}
		}
		return n, nil
	}
}
