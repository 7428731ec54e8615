package serve

import (
	"context"
	"sync"

	"github.com/workdir/workdir/mount/internal/wire"
)

// ownership regulates who works on a mount. One goroutine at a time owns it, and opens,
// closes or frees it; others may look at it meanwhile, or cancel what the owner does.
type ownership struct {
	token   chan struct{}  // holds one token; the owner takes it
	looking sync.WaitGroup // counts looks; none begins once the state is closed

	mu    sync.Mutex
	state string                  // guarded by mu
	stop  context.CancelCauseFunc // guarded by mu; ends the owner's context; nil until there is an owner
}

func newOwnership() *ownership {
	o := &ownership{token: make(chan struct{}, 1), state: wire.StateOpening}
	o.token <- struct{}{}
	return o
}

// begin makes the caller the owner until it calls end. The context that it returns ends
// with ctx, and by cancel.
func (o *ownership) begin(ctx context.Context) (context.Context, error) {
	select {
	case <-o.token:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	ctx, stop := context.WithCancelCause(ctx)
	o.mu.Lock()
	defer o.mu.Unlock()
	o.stop = stop
	return ctx, nil
}

// end lets the next one begin.
func (o *ownership) end() {
	o.cancel(nil)
	o.token <- struct{}{}
}

// cancel ends the owner's context, if there is an owner.
func (o *ownership) cancel(cause error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.stop != nil {
		o.stop(cause)
	}
}

// cancelIf is cancel if the mount is in a state, and reports whether it is.
func (o *ownership) cancelIf(state string, cause error) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.state != state {
		return false
	}
	o.stop(cause)
	return true
}

// setState sets the state of the mount. Only the owner calls it, and in the end detach.
func (o *ownership) setState(state string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.state = state
}

func (o *ownership) stateNow() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.state
}

// whileOpen calls fn with the mount's state, unless the mount is opening or closed.
// Everything that the mount has stays until fn returns, even if it is closed meanwhile.
func (o *ownership) whileOpen(fn func(state string)) {
	if state, ok := o.look(); ok {
		defer o.looking.Done()
		fn(state)
	}
}

func (o *ownership) look() (state string, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.state == wire.StateOpening || o.state == wire.StateClosed {
		return "", false
	}
	o.looking.Add(1)
	return o.state, true
}

// awaitLooks waits until no look at the mount is under way. The state is closed.
func (o *ownership) awaitLooks() { o.looking.Wait() }
