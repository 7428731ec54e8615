package temporal

import (
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"go.temporal.io/sdk/workflow"
)

// An activity id that is used again, once its activity has closed, is another
// execution: the second activity did not run, and had the first one's result. Attempts
// of one activity stay one execution: each first one is killed after its commit.
func TestActivityIDIsUsedAgain(t *testing.T) {
	e := newEnv(t)
	w := e.newWorker(workerOptions{Program: "append"})
	var completions atomic.Int32
	killed := make(chan struct{}, 1)
	w.set(func(c *call, forward func() error) error {
		if c.Method == "RespondActivityTaskCompleted" && completions.Add(1)%2 == 1 {
			w.Kill(both)
			killed <- struct{}{}
			return errKilled
		}
		return forward()
	})
	r := startWorkflow(e, func(ctx workflow.Context) (counts []int, err error) {
		opts := options(e.queue)
		opts.ActivityID = "append"
		ctx = workflow.WithActivityOptions(ctx, opts)
		for i := range 3 {
			n, err := execute[int](ctx, "append", fmt.Sprint("line ", i))
			if err != nil {
				return nil, err
			}
			counts = append(counts, n)
		}
		return counts, nil
	})
	for range 3 {
		select {
		case <-killed:
		case <-time.After(waitLimit):
			t.Fatal("waited in vain for a completion")
		}
		noError(t, w.Start())
	}
	counts, err := r.result()
	noError(t, err)
	if !slices.Equal(counts, []int{1, 2, 3}) {
		t.Errorf("the appends gave %v, want each its own", counts)
	}
	checkLines(e, 3)
}
