package activity

import (
	"context"
	"path/filepath"
	"syscall"
	"testing"

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
	a := newAttempt(sampleInfo)
	v := &visit{ctx: ctx, attempt: a}
	a.visits[v] = true
	if !a.healthy() {
		t.Error("unhealthy while it opens")
	}
	v.setMount(m)
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
}
