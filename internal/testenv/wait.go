package testenv

import (
	"testing"
	"time"
)

// Patience is how long WaitFor waits: a condition takes that long only if something is wrong.
const Patience = time.Minute

// WaitFor polls a condition, and fails the test if it does not hold within Patience.
func WaitFor(t testing.TB, what string, cond func() bool) {
	t.Helper()
	if !Eventually(Patience, cond) {
		t.Fatalf("waited in vain for %s", what)
	}
}

// Eventually polls a condition until it holds or the limit has passed, and reports whether it
// held.
func Eventually(limit time.Duration, cond func() bool) bool {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	over := time.NewTimer(limit)
	defer over.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-over.C:
			return false
		}
	}
	return true
}

// OverAndOver calls fn in another goroutine until stop is called, which waits for its end.
func OverAndOver(fn func()) (stop func()) {
	over, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-over:
				return
			default:
				fn()
			}
		}
	}()
	return func() {
		close(over)
		<-ended
	}
}
