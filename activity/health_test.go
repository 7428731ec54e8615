package activity

import (
	"context"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/workdir/workdir/mount"
)

// An attempt whose mount has lost its server process is not kept alive.
func TestHealth(t *testing.T) {
	ctx := context.Background()
	m, err := mount.Open(ctx, "file://"+filepath.Join(t.TempDir(), "ws"), &mount.Options{RunDir: filepath.Join(t.TempDir(), "run")})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close(ctx)
	a := &attempt{visits: map[*visit]bool{}}
	a.ctx, a.lose = context.WithCancelCause(ctx)
	v := &visit{attempt: a}
	a.visits[v] = true
	if !a.healthy() {
		t.Error("unhealthy while it opens")
	}
	v.mount = m
	if !a.healthy() {
		t.Error("unhealthy with a mount")
	}
	st, err := m.Status(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(st.ServerPID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-m.Done()
	if a.healthy() {
		t.Error("healthy without a server")
	}
	delete(a.visits, v)
	a.lose(context.Canceled)
	if a.healthy() {
		t.Error("healthy after its end")
	}
}

// A default of ten minutes cut off commits that the activity's timeouts allow.
func TestCloseTimeout(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		name     string
		opts     Options
		deadline time.Time
		want     time.Duration
	}{
		{"of the activity", Options{}, now.Add(time.Hour), time.Hour},
		{"the activity is short", Options{}, now.Add(time.Minute), closeTimeoutLeast},
		{"the activity is over", Options{}, now.Add(-time.Hour), closeTimeoutLeast},
		{"given", Options{CloseTimeout: Duration(time.Second)}, now.Add(time.Hour), time.Second},
	} {
		if got := c.opts.closeTimeout(now, c.deadline); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}
