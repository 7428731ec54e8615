package temporal

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"go.temporal.io/sdk/workflow"
)

// gate returns a function that waits until something has happened, or ctx has ended:
// as await, for many activities at once.
func (c *config) gate(name string) func(ctx context.Context) error {
	opened := make(chan struct{})
	var watch sync.Once
	return func(ctx context.Context) error {
		watch.Do(func() {
			go func() {
				if c.await(context.Background(), name) == nil {
					close(opened)
				}
			}()
		})
		select {
		case <-opened:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// awaitNotes waits until so many things have happened whose names match a pattern.
func (e *env) awaitNotes(pattern string, n int) {
	e.t.Helper()
	waitFor(e.t, fmt.Sprintf("%d notes %s", n, pattern), func() bool {
		found, _ := filepath.Glob(filepath.Join(e.notes(), pattern)) // fails on a bad pattern only
		return len(found) == n
	})
}

// patient are the options of activities that come in crowds, on machines with few
// processors.
func patient(queue string) workflow.ActivityOptions {
	opts := options(queue)
	opts.StartToCloseTimeout, opts.HeartbeatTimeout = 10*time.Minute, time.Minute
	return opts
}

// allAtOnce runs an activity n times at once, by the activity ids 0, 1, …, and returns the
// results.
func allAtOnce[T any](ctx workflow.Context, activity string, n int) ([]T, error) {
	futures := make([]workflow.Future, n)
	for i := range futures {
		opts := workflow.GetActivityOptions(ctx)
		opts.ActivityID = fmt.Sprint(i)
		futures[i] = workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, opts), activity)
	}
	results := make([]T, n)
	for i, f := range futures {
		if err := f.Get(ctx, &results[i]); err != nil {
			return nil, err
		}
	}
	return results, nil
}
