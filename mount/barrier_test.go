package mount

import (
	"context"
	"errors"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/mount/internal/host"
	"github.com/workdir/workdir/mount/internal/wire"
)

// holder starts a process that uses the mount, and ends it with the test.
func holder(t *testing.T, ready string, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // ended already, mostly
		_ = cmd.Wait()         // its exit code says nothing
	})
	waitFor(t, "the process to use the mount", func() bool {
		_, err := os.Stat(ready)
		return err == nil
	})
	return cmd
}

func TestBusyIsNamedAndCanBeClosedAgain(t *testing.T) {
	tests := []struct{ name, script, use string }{
		{"descriptor", `exec 3>"$1/held"; echo >&3; cd /; : >"$2"; exec sleep 1000`, "descriptor"},
		{"working directory", `: >"$1/held"; cd "$1"; : >"$2"; exec sleep 1000`, "working directory"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t)
			m := f.open("k", nil)
			ready := filepath.Join(t.TempDir(), "ready")
			cmd := holder(t, ready, exec.Command("sh", "-c", tt.script, "sh", m.Path(), ready))
			if err := m.Commit(); err != nil {
				t.Fatal(err)
			}
			_, err := m.Close(t.Context())
			var busy *BusyError
			if !errors.As(err, &busy) || len(busy.Processes) != 1 || busy.Processes[0].PID != cmd.Process.Pid || busy.Processes[0].Use != tt.use {
				t.Fatalf("Close = %v, want busy by the %s of process %d", err, tt.use, cmd.Process.Pid)
			}
			if f.bytes("k") != nil {
				t.Fatal("a busy mount was stored")
			}
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			if res := f.close(m, true); !res.Stored {
				t.Errorf("result = %+v, want it stored once nobody uses it", res)
			}
		})
	}
}

// A copy of the mount in another mount namespace keeps on writing after our
// umount(2) has returned 0; what it writes must neither be stored half nor lost
// without a word.
func TestCopyInAnotherNamespaceIsBusy(t *testing.T) {
	f := newFixture(t)
	m := f.open("k", nil)
	ready := filepath.Join(t.TempDir(), "ready")
	cmd := holder(t, ready, exec.Command("unshare", "-m", "--propagation", "private", "sh", "-c",
		`: >"$2"; while [ ! -e "$2.go" ]; do sleep 0.01; done; echo late >"$1/late"; : >"$2.wrote"; exec sleep 1000`, "sh", m.Path(), ready))
	if err := m.Commit(); err != nil {
		t.Fatal(err)
	}
	_, err := m.Close(t.Context())
	var busy *BusyError
	if !errors.As(err, &busy) || len(busy.Processes) == 0 || busy.Processes[0].PID != cmd.Process.Pid {
		t.Fatalf("Close = %v, want busy by process %d", err, cmd.Process.Pid)
	}
	if err := os.WriteFile(ready+".go", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the late write", func() bool { _, err := os.Stat(ready + ".wrote"); return err == nil })
	_ = cmd.Process.Kill()
	_ = cmd.Wait()
	if res := f.close(m, true); !res.Stored {
		t.Fatalf("result = %+v, want it stored", res)
	}
	if got := f.content("k", "late"); got != "late\n" {
		t.Errorf("content = %q, want the late write", got)
	}
}

func TestMountEndedBySomethingElseIsNotStored(t *testing.T) {
	for name, flags := range map[string]int{"umount": 0, "umount -l": unix.MNT_DETACH, "umount -f": unix.MNT_FORCE} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			m := f.open("k", nil)
			f.write(m, "name", "content")
			if err := m.Commit(); err != nil {
				t.Fatal(err)
			}
			if err := unix.Unmount(m.Path(), flags); err != nil {
				t.Fatal(err)
			}
			if _, err := m.Close(t.Context()); !errors.Is(err, ErrUnmounted) {
				t.Errorf("Close = %v, want ErrUnmounted", err)
			}
			if f.bytes("k") != nil {
				t.Error("an archive was stored")
			}
		})
	}
}

// That a mount had ended was once written to a log, and nothing else came of it: it
// was listed and could be marked.
func TestUmountEndsTheMount(t *testing.T) {
	f := newFixture(t)
	m := f.open("k", nil)
	f.write(m, "name", "content")
	if err := unix.Unmount(m.Path(), 0); err != nil {
		t.Fatal(err)
	}
	<-m.Done()
	if err := m.Commit(); !errors.Is(err, ErrUnmounted) {
		t.Errorf("Commit = %v, want ErrUnmounted", err)
	}
	f.noMountLeftNow()
	if res, err := m.Close(t.Context()); err != nil || res.Stored || res.Changes.Created != 1 {
		t.Errorf("Close = %+v, %v; want one created file, not stored", res, err)
	}
}

// If a mount ended during a Close that then failed, nobody was told.
func TestUmountAfterABusyClose(t *testing.T) {
	f := newFixture(t)
	m := f.open("k", &Options{Grace: time.Minute})
	busy, err := os.Create(m.Path("name"))
	if err != nil {
		t.Fatal(err)
	}
	if err := m.Commit(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	closed := make(chan error, 1)
	go func() {
		_, err := m.Close(ctx)
		closed <- err
	}()
	waitFor(t, "the unmount", func() bool {
		st, err := m.Status(t.Context())
		return err == nil && st.State == wire.StateUnmounting
	})
	cancel()
	if err := <-closed; !errors.Is(err, context.Canceled) {
		t.Fatalf("Close = %v, want context.Canceled", err)
	}
	if err := errors.Join(busy.Close(), unix.Unmount(m.Path(), 0)); err != nil {
		t.Fatal(err)
	}
	<-m.Done()
	if _, err := m.Close(t.Context()); !errors.Is(err, ErrUnmounted) {
		t.Errorf("Close = %v, want ErrUnmounted", err)
	}
}

func TestServerKilled(t *testing.T) {
	f := newFixture(t)
	m := f.open("k", nil)
	f.write(m, "name", "content")
	st, err := m.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(st.ServerPID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-m.Done()
	if err := m.Commit(); !errors.Is(err, ErrClosed) {
		t.Errorf("Commit = %v, want ErrClosed", err)
	}
	f.commit("other", "name", "by a new server")
	// Once the dead mount was cleared away under tools that were at work in it, and
	// they went on in the directory beneath.
	if err := os.WriteFile(m.Path("late"), nil, 0o644); !errors.Is(err, unix.ENOTCONN) {
		t.Errorf("write before Close = %v, want ENOTCONN", err)
	}
	if _, err := m.Close(t.Context()); !errors.Is(err, ErrServerLost) || !strings.Contains(err.Error(), "nothing was stored") {
		t.Errorf("Close = %v, want ErrServerLost, and that nothing was stored", err)
	}
	if _, err := os.Lstat(m.Path()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the mountpoint after Close: %v, want it gone", err)
	}
	if f.bytes("k") != nil {
		t.Error("an archive was stored")
	}
	f.commit("k", "name", "again") // by a new server
}

// A stopped server must not hang its client or the tools forever.
func TestServerStopped(t *testing.T) {
	defer func(d time.Duration) { pingInterval = d }(pingInterval)
	pingInterval = 300 * time.Millisecond
	f := newFixture(t)
	m := f.open("k", nil)
	st, err := m.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stopAndWait(t, st.ServerPID)
	if _, err := os.ReadDir(m.Path("nothing")); err == nil {
		t.Error("a stopped server answered")
	}
	if _, err := m.Close(t.Context()); !errors.Is(err, ErrServerLost) {
		t.Errorf("Close = %v, want ErrServerLost", err)
	}
}

// The server looks at its own mountpoint, and must not ask itself.
func TestDeviceAt(t *testing.T) {
	f := newFixture(t)
	m := f.open("key", nil)
	if err := os.Mkdir(m.Path("dir"), 0o755); err != nil {
		t.Fatal(err)
	}
	table, err := host.MountTable("self")
	if err != nil {
		t.Fatal(err)
	}
	entry, _ := host.TopMountAt(table, m.Path())
	before, err := m.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := host.DeviceAt(m.Path()); got != entry.Dev || got == "" {
		t.Errorf("at the mountpoint is %q, want %q", got, entry.Dev)
	}
	after, err := m.Status(t.Context())
	if err != nil || !maps.Equal(after.Requests, before.Requests) {
		t.Errorf("the server was asked: %v, before %v; %v", after.Requests, before.Requests, err)
	}
	for _, path := range []string{m.Path("dir"), f.dir, f.dir + "/none"} {
		if got := host.DeviceAt(path); got != "" {
			t.Errorf("at %s is %q, which is no mountpoint", path, got)
		}
	}
}
