package testenv

import (
	"testing"
	"time"
)

// WaitFor polls a condition, for a minute.
func WaitFor(t testing.TB, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(time.Minute)
	defer limit.Stop()
	for !cond() {
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatalf("waited in vain for %s", what)
		}
	}
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
