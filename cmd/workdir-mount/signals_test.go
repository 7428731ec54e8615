package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
)

func TestCancellingNamesTheSignal(t *testing.T) {
	sigs := make(chan os.Signal, 1)
	sigs <- syscall.SIGTERM
	err := cancelling(sigs, 1, func(ctx context.Context) error {
		<-ctx.Done()
		return fmt.Errorf("open: %w", context.Canceled)
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
	err := cancelling(sigs, 1, func(ctx context.Context) error {
		<-ctx.Done()
		return work
	})
	if !errors.Is(err, work) || exitCode(err) != exitOther {
		t.Errorf("error is %v with code %d, want %v", err, exitCode(err), work)
	}
}

func TestCancellingCountsSignals(t *testing.T) {
	sigs := make(chan os.Signal)
	err := cancelling(sigs, 2, func(ctx context.Context) error {
		sigs <- syscall.SIGINT
		if ctx.Err() != nil {
			t.Error("the first of two signals cancelled")
		}
		sigs <- syscall.SIGTERM
		<-ctx.Done()
		return ctx.Err()
	})
	if exitCode(err) != 128+int(syscall.SIGTERM) {
		t.Errorf("error is %v, want an interruption by SIGTERM", err)
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
