package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"

	"golang.org/x/sys/unix"
)

// interruption is the end of a command by a signal. It is the cause of the
// contexts that signals cancel.
type interruption struct {
	sig syscall.Signal
	err error // what it interrupted says; may be nil
}

func (e *interruption) Error() string {
	s := "interrupted by " + signalName(e.sig)
	if e.err != nil && !errors.Is(e.err, e) {
		s += ": " + e.err.Error()
	}
	return s
}

func (e *interruption) Unwrap() error { return e.err }

// watchSignals takes the signals that would end us. What nohup or a shell made
// us ignore stays ignored. The signals wait in the channel until somebody reads
// them; stop gives them back their default.
func watchSignals() (sigs <-chan os.Signal, stop func()) {
	ch := make(chan os.Signal, 16)
	for _, sig := range []os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT} {
		if !signal.Ignored(sig) {
			signal.Notify(ch, sig)
		}
	}
	return ch, func() { signal.Stop(ch) }
}

// during runs work; the signals that come until it ends go to handle, one after
// the other.
func during(sigs <-chan os.Signal, handle func(syscall.Signal), work func()) {
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case sig := <-sigs:
				handle(sig.(syscall.Signal)) // the only kind that os/signal sends
			case <-end:
				return
			}
		}
	}()
	work()
	close(end)
	<-ended
}

// cancelling runs work with a context that signal number first (1, 2, …) cancels.
// If work gave up for that reason its error is an *interruption.
func cancelling(sigs <-chan os.Signal, first int, work func(context.Context) error) error {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	var err error
	handle := func(sig syscall.Signal) {
		if first--; first <= 0 {
			cancel(&interruption{sig: sig})
		}
	}
	during(sigs, handle, func() { err = work(ctx) })
	return interrupted(ctx, err)
}

// interrupted makes err, which work with ctx gave, an *interruption if ctx was
// cancelled by a signal and err comes from that.
func interrupted(ctx context.Context, err error) error {
	var signal, own *interruption
	if err == nil || !errors.As(context.Cause(ctx), &signal) {
		return err
	}
	switch {
	case errors.As(err, &own):
		return err
	case errors.Is(err, context.Canceled):
		return &interruption{sig: signal.sig, err: err}
	}
	return err
}

// untilSignal runs a short command, which the first signal cancels.
func untilSignal(work func(context.Context) error) error {
	sigs, stop := watchSignals()
	defer stop()
	return cancelling(sigs, 1, work)
}
