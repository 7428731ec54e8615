package mount

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
)

// The start of one server, which waits while others make or clear away sessions in its
// run directory, once kept all mounts of the process waiting, whatever their own.
func TestOpenBesideAWaitingStart(t *testing.T) {
	f := newFixture(t)
	other := newFixture(t)
	runDir, err := ensureRunDir(f.runDir)
	if err != nil {
		t.Fatal(err)
	}
	guard, err := lockRunDir(t.Context(), runDir)
	if err != nil {
		t.Fatal(err)
	}
	defer guard.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	waiting := make(chan error, 2)
	start := func(ctx context.Context) { waiting <- StartWith(ctx, &StartOptions{RunDir: f.runDir}) }
	go start(ctx)
	waitFor(t, "the start to take its turn", func() bool {
		sessions.Lock()
		defer sessions.Unlock()
		sl := sessions.all[sessionKey{runDir: runDir}]
		return sl != nil && len(sl.turn) == 0
	})
	other.commit("k", "name", "content")
	impatient, giveUp := context.WithCancel(t.Context())
	giveUp()
	start(impatient)
	if err := <-waiting; !errors.Is(err, context.Canceled) {
		t.Errorf("a start behind it = %v, want context.Canceled", err)
	}
	guard.Close()
	if err := <-waiting; err != nil {
		t.Errorf("the start = %v", err)
	}
	if len(sessionDirs(runDir)) != 1 {
		t.Errorf("sessions = %v, want one", filepath.Base(runDir))
	}
}

// Who clears away looks whether the sessions of others are alive by taking their locks
// for a moment. One that was just being made then failed.
func TestSessionIsMadeWhileOthersLook(t *testing.T) {
	f := newFixture(t)
	runDir, err := ensureRunDir(f.runDir)
	if err != nil {
		t.Fatal(err)
	}
	stop := overAndOver(func() {
		for _, dir := range sessionDirs(runDir) {
			isDeadSession(dir)
		}
	})
	for range 500 {
		dir, lock, err := newSessionDir(t.Context(), runDir)
		if err != nil {
			t.Error(err)
			break
		}
		removeSession(dir)
		lock.Close()
	}
	stop()
}
