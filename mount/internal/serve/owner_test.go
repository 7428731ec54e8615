package serve

import (
	"context"
	"errors"
	"testing"

	"github.com/workdir/workdir/mount/internal/wire"
)

// A look at a mount that found its base unreadable told all mounts on the base, by a second
// look. That look waited for the owner that frees the mount, which waited for the first
// look.
func TestLookWithinALook(t *testing.T) {
	o := newOwnership()
	o.setState(wire.StateMounted)
	closed, freed := make(chan struct{}), make(chan struct{})
	o.whileOpen(func(string) {
		go func() {
			defer close(freed)
			_, _ = o.begin(context.Background())
			defer o.end()
			o.setState(wire.StateClosed)
			close(closed)
			o.awaitLooks()
		}()
		<-closed
		o.whileOpen(func(state string) { t.Errorf("a mount that is %s is looked at", state) })
		select {
		case <-freed:
			t.Error("it was freed under the one who looks")
		default:
		}
	})
	<-freed
}

func TestOwnersContext(t *testing.T) {
	o := newOwnership()
	ctx, err := o.begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := o.begin(gone); !errors.Is(err, context.Canceled) {
		t.Errorf("beside an owner: %v, want context.Canceled", err)
	}
	o.setState(wire.StateUnmounting)
	if o.cancelIf(wire.StateCommitting, wire.ErrAbandoned) || ctx.Err() != nil {
		t.Errorf("cancelled in another state: %v", ctx.Err())
	}
	o.setState(wire.StateCommitting)
	if !o.cancelIf(wire.StateCommitting, wire.ErrAbandoned) || !errors.Is(context.Cause(ctx), wire.ErrAbandoned) {
		t.Errorf("not cancelled: %v", context.Cause(ctx))
	}
	o.end()
	if next, err := o.begin(t.Context()); err != nil || next.Err() != nil {
		t.Errorf("the next owner: %v, %v", err, next.Err())
	}
}
