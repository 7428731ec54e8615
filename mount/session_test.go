package mount

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/workdir/workdir/mount/internal/host"
)

// The start of one server, which waits while others make or clear away sessions in its
// run directory, once kept all mounts of the process waiting, whatever their own.
func TestOpenBesideAWaitingStart(t *testing.T) {
	f := newFixture(t)
	other := newFixture(t)
	runDir, err := host.EnsureRunDir(f.runDir)
	if err != nil {
		t.Fatal(err)
	}
	guard, err := host.LockRunDir(t.Context(), runDir)
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
	if len(host.SessionDirs(runDir)) != 1 {
		t.Errorf("sessions = %v, want one", filepath.Base(runDir))
	}
}
