package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"

	"github.com/workdir/workdir/store"
)

func TestCancellingNamesTheSignal(t *testing.T) {
	sigs := make(chan os.Signal, 1)
	sigs <- syscall.SIGTERM
	_, err := cancelling(sigs, 1, func(ctx context.Context) (int, error) {
		<-ctx.Done()
		return 0, fmt.Errorf("open: %w", context.Canceled)
	})
	var signal *interruption
	if !errors.As(err, &signal) || signal.sig != syscall.SIGTERM {
		t.Fatalf("error is %v, want an interruption by SIGTERM", err)
	}
	if want := "interrupted by SIGTERM: open: context canceled"; err.Error() != want {
		t.Errorf("text is %q, want %q", err, want)
	}
}

func TestCancellingKeepsOtherErrors(t *testing.T) {
	work := errors.New("something else")
	sigs := make(chan os.Signal, 1)
	sigs <- syscall.SIGINT
	_, err := cancelling(sigs, 1, func(ctx context.Context) (int, error) {
		<-ctx.Done()
		return 0, work
	})
	if !errors.Is(err, work) || exitCode(err) != exitOther {
		t.Errorf("error is %v with code %d, want %v", err, exitCode(err), work)
	}
}

func TestCancellingCountsSignals(t *testing.T) {
	sigs := make(chan os.Signal)
	_, err := cancelling(sigs, 2, func(ctx context.Context) (int, error) {
		sigs <- syscall.SIGINT
		if ctx.Err() != nil {
			t.Error("the first of two signals cancelled")
		}
		sigs <- syscall.SIGTERM
		<-ctx.Done()
		return 0, ctx.Err()
	})
	if exitCode(err) != 128+int(syscall.SIGTERM) {
		t.Errorf("error is %v, want an interruption by SIGTERM", err)
	}
}

// Two signals that come together are one end, and work that then ends is waited for.
func TestCancellingWaitsAMomentAfterTheSecondSignal(t *testing.T) {
	sigs := make(chan os.Signal)
	done, err := cancelling(sigs, 1, func(ctx context.Context) (string, error) {
		sigs <- syscall.SIGTERM
		sigs <- syscall.SIGHUP
		return "done", nil
	})
	if done != "done" || err != nil {
		t.Errorf("cancelling = %q, %v", done, err)
	}
}

// A call that knows no context made the command deaf to all signals but SIGKILL.
func TestCancellingGivesUp(t *testing.T) {
	was := lastPatience
	lastPatience = 0
	defer func() { lastPatience = was }()
	sigs, hangs := make(chan os.Signal), make(chan struct{})
	defer close(hangs)
	_, err := cancelling(sigs, 1, func(ctx context.Context) (int, error) {
		sigs <- syscall.SIGINT
		sigs <- syscall.SIGTERM
		<-hangs
		return 0, nil
	})
	if !errors.Is(err, errGaveUp) || exitCode(err) != 128+int(syscall.SIGTERM) {
		t.Errorf("error is %v with code %d", err, exitCode(err))
	}
	if err := mayBeStored(err); !errors.Is(err, store.ErrUnknown) || exitCode(err) != exitUnknown {
		t.Errorf("of something stored: %v with code %d", err, exitCode(err))
	}
	if other := errors.New("other"); mayBeStored(other) != other || mayBeStored(nil) != nil {
		t.Error("mayBeStored changes other errors")
	}
}

// Signals between two phases must wait for the next one.
func TestSignalsWaitForTheNextPhase(t *testing.T) {
	sigs := make(chan os.Signal, 1)
	during(sigs, func(syscall.Signal) { t.Error("a signal before there was one") }, func() {})
	sigs <- syscall.SIGHUP
	got := make(chan syscall.Signal, 1)
	during(sigs, func(sig syscall.Signal) { got <- sig }, func() {
		if sig := <-got; sig != syscall.SIGHUP {
			t.Errorf("got %v", sig)
		}
	})
}

func TestDescends(t *testing.T) {
	cmd := exec.Command("sh", "-c", "cat & wait")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Wait() }() // its code says nothing here
	defer in.Close()
	if !descends(cmd.Process.Pid, os.Getpid()) {
		t.Error("a child is no descendant")
	}
	if descends(os.Getppid(), os.Getpid()) || descends(os.Getpid(), os.Getpid()) {
		t.Error("the parent, or the process itself, is a descendant")
	}
}
