package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/store"
)

// interruption is the end of a command by a signal, and the cause of contexts cancelled by
// signals.
type interruption struct {
	sig syscall.Signal
	err error // of the interrupted work; may be nil
}

func (e *interruption) Error() string {
	s := "interrupted by " + signalName(e.sig)
	if e.err != nil && !errors.Is(e.err, e) {
		s += ": " + e.err.Error()
	}
	return s
}

func (e *interruption) Unwrap() error { return e.err }

// watchSignals catches the signals that would end us. Signals that nohup or a shell made us
// ignore stay ignored. The signals are queued in the channel; stop restores their default.
func watchSignals() (sigs <-chan os.Signal, stop func()) {
	ch := make(chan os.Signal, 16)
	for _, sig := range []os.Signal{unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGQUIT} {
		if !signal.Ignored(sig) {
			signal.Notify(ch, sig)
		}
	}
	return ch, func() { signal.Stop(ch) }
}

// during runs work; it passes signals that arrive meanwhile to handle, one after the other.
func during(sigs <-chan os.Signal, handle func(syscall.Signal), work func()) {
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case sig := <-sigs:
				handle(sig.(syscall.Signal)) // the only kind that os/signal sends
			case <-end:
				for {
					select {
					case sig := <-sigs:
						handle(sig.(syscall.Signal))
					default:
						return
					}
				}
			}
		}
	}()
	work()
	close(end)
	<-ended
}

// lastPatience is how long work may still take after the second signal: signals with one
// cause, such as SIGTERM and SIGHUP, may come together.
var lastPatience = 2 * time.Second // shorter in a test

// errGaveUp: work did not end after two signals, in a call that hangs.
var errGaveUp = errors.New("gave up waiting for a call that does not end")

// mayBeStored returns the error of work that was about to store something: if it was abandoned
// the outcome is unknown.
func mayBeStored(err error) error {
	if !errors.Is(err, errGaveUp) {
		return err
	}
	return &statusError{code: exitUnknown, err: fmt.Errorf("%w: %w", store.ErrUnknown, err)}
}

// cancelling runs work with a context that signal number first (1, 2, …) cancels. If work ends
// for that reason its error is an *interruption. After the next signal cancelling returns
// errGaveUp, as an *interruption, unless work ends soon: a hanging file system ignores
// contexts. Work then continues until the process ends.
func cancelling[T any](sigs <-chan os.Signal, first int, work func(context.Context) (T, error)) (T, error) {
	return cancellingAfter(sigs, first, func(syscall.Signal) {}, work)
}

// cancellingAfter is cancelling, and passes the signals before number first to early.
func cancellingAfter[T any](sigs <-chan os.Signal, first int, early func(syscall.Signal), work func(context.Context) (T, error)) (T, error) {
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	type outcome struct {
		result T
		err    error
	}
	done := make(chan outcome, 1)
	go func() {
		result, err := work(ctx)
		done <- outcome{result, err}
	}()
	var giveUp <-chan time.Time
	var last syscall.Signal
	for {
		select {
		case out := <-done:
			return out.result, interrupted(ctx, out.err)
		case sig := <-sigs:
			last = sig.(syscall.Signal) // the only kind that os/signal sends
			switch first--; {
			case first > 0:
				early(last)
			case first == 0:
				cancel(&interruption{sig: last})
			case first < 0 && giveUp == nil:
				giveUp = time.After(lastPatience)
			}
		case <-giveUp:
			var none T
			return none, &interruption{sig: last, err: errGaveUp}
		}
	}
}

// interrupted turns err, the result of work with ctx, into an *interruption if ctx was
// cancelled by a signal and caused err.
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
	_, err := cancelling(sigs, 1, func(ctx context.Context) (struct{}, error) { return struct{}{}, work(ctx) })
	return err
}

// changing is untilSignal for a command that changes what is stored.
func changing(work func(context.Context) error) error { return mayBeStored(untilSignal(work)) }
