package mount

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/internal/ipc"
	"github.com/workdir/workdir/mount/internal/host"
)

// inNamespace makes a command of the test binary run in a mount namespace of its own,
// or in that of a process.
func inNamespace(t *testing.T, cmd *exec.Cmd, pid int) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	wrap := []string{"unshare", "--mount", "--propagation", "private", self}
	if pid != 0 {
		wrap = []string{"nsenter", "--mount", "--target", strconv.Itoa(pid), self}
	}
	in := exec.Command(wrap[0], wrap[1:]...)
	in.Env, in.Stderr = cmd.Env, cmd.Stderr
	return in
}

// A mount was once known by its path, so that of two at one path, in two mount
// namespaces over one run directory, commit marked either.
func TestTwoMountsAtOnePath(t *testing.T) {
	f := newFixture(t)
	dir := t.TempDir()
	foreign := inNamespace(t, f.role("wait", dir), 0)
	t.Cleanup(func() { _ = foreign.Wait() }) // after the end of its standard input
	f.startRole(foreign)
	m := f.open("other", &Options{Dir: dir})
	for _, path := range []string{dir, filepath.Join(dir, "none")} {
		st, err := statusAt(t.Context(), path, f.runDir)
		if err != nil || st.ClientPID != os.Getpid() || st.URL != m.URL() {
			t.Errorf("here %s is the mount of %s by process %d, %v; want %s by %d", path, st.URL, st.ClientPID, err, m.URL(), os.Getpid())
		}
	}
	out, err := inNamespace(t, f.role("find", dir), foreign.Process.Pid).Output()
	if err != nil || strings.TrimSpace(string(out)) != strconv.Itoa(foreign.Process.Pid) {
		t.Errorf("there it is the mount of process %s, %v; want %d", out, err, foreign.Process.Pid)
	}
}

// host.DeadSession writes a session of killed processes with the record of one mount.
func (f *fixture) deadSession(r host.Record) string {
	f.t.Helper()
	dir := filepath.Join(f.runDir, host.SessionPrefix+"0-dead") // read before all others
	if err := os.MkdirAll(filepath.Join(dir, host.RecordsName), 0o700); err != nil {
		f.t.Fatal(err)
	}
	if err := errors.Join(os.WriteFile(filepath.Join(dir, host.LockName), nil, 0o600), host.WriteRecord(dir, 1, r)); err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		if err := CleanUp(context.Background(), f.runDir); err != nil {
			f.t.Error(err)
		}
	})
	return dir
}

// The record of a killed process was once taken for that of a new mount at its path.
// The kernel uses device numbers again, so it may have the new mount's.
func TestDeadRecordBesideANewMount(t *testing.T) {
	for name, stale := range map[string]func(host.Record) host.Record{
		"path":            func(r host.Record) host.Record { r.Dev = "0:1048575"; return r },
		"path, no mount":  func(r host.Record) host.Record { r.Dev = ""; return r },
		"path and device": func(r host.Record) host.Record { return r },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			m := f.open("k", nil)
			f.deadSession(stale(m.record))
			st, err := statusAt(t.Context(), m.Path(), f.runDir)
			if err != nil || st.ClientPID != os.Getpid() {
				t.Errorf("status = %+v, %v; want the living mount's", st, err)
			}
		})
	}
}

// The directory of a plain workspace may be one that a killed process used before. What
// lives in it was once cleared away with what that process left.
func TestCleanUpLeavesALivingWorkspace(t *testing.T) {
	f := newFixture(t)
	m := f.open("k", &Options{Dir: t.TempDir()})
	f.write(m, "name", "content")
	dead := f.deadSession(m.record)
	if err := CleanUp(t.Context(), f.runDir); err != nil {
		t.Fatal(err)
	}
	if b, err := os.ReadFile(m.Path("name")); err != nil || string(b) != "content" {
		t.Errorf("after CleanUp: %q, %v", b, err)
	}
	if _, err := os.Lstat(dead); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the dead session: %v, want it gone", err)
	}
	if res := f.close(m, true); !res.Stored {
		t.Errorf("result = %+v, want it stored", res)
	}
}

// At the path of a dead record may lie the dead mount of a client that lives. That one
// alone clears it away: tools at work in it would go on in the directory beneath.
func TestCleanUpLeavesAnotherDeadMount(t *testing.T) {
	f := newFixture(t)
	m := f.open("k", &Options{Dir: t.TempDir()})
	st, err := m.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	killAndWait(t, st.ServerPID)
	<-m.Done()
	other := m.record
	other.Dev = "0:1048575"
	f.deadSession(other)
	if err := CleanUp(t.Context(), f.runDir); err != nil {
		t.Fatal(err)
	}
	if !f.isMounted(m.Path()) {
		t.Error("the dead mount is gone")
	}
	if _, err := m.Close(t.Context()); !errors.Is(err, ErrServerLost) {
		t.Errorf("Close = %v, want ErrServerLost", err)
	}
	if f.isMounted(m.Path()) {
		t.Error("the dead mount is still there after Close")
	}
}

// Something mounted over a mount whose client ends is not the server's to take away.
func TestDetachLeavesWhatLiesOverTheMount(t *testing.T) {
	f := newFixture(t)
	dir := t.TempDir()
	client, server, _ := f.mounted(dir)
	if err := unix.Mount("over", dir, "tmpfs", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }) // only if the test failed
	if err := client.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = client.Wait() // killed
	waitFor(t, "the server to end", func() bool { return syscall.Kill(server, 0) != nil })
	table, err := host.MountTable("self")
	if err != nil {
		t.Fatal(err)
	}
	if e, ok := host.TopMountAt(table, dir); !ok || e.Source != "over" {
		t.Errorf("on top is %+v, want what lies over the mount", e)
	}
	if err := unix.Unmount(dir, 0); err != nil {
		t.Error(err)
	}
	host.DetachDead(host.Record{Path: ipc.Path(dir)}) // the dead mount below
}

// The kernel reuses the number of a device as soon as its mount is gone: a Remote then led
// to the next mount of the same process, which it marked and closed.
func TestRemoteOfAMountThatIsGone(t *testing.T) {
	f := newFixture(t)
	m := f.open("first", nil)
	r, err := Find(t.Context(), m.Path(), f.runDir)
	if err != nil {
		t.Fatal(err)
	}
	f.close(m, false)
	next := f.open("next", nil) // mostly with the number of the first
	if err := r.Commit(t.Context()); !errors.Is(err, ErrNotMounted) {
		t.Errorf("commit of a mount that is gone: %v, want ErrNotMounted", err)
	}
	if next.Marked() {
		t.Error("it has marked another mount")
	}
	if _, err := r.Close(t.Context(), nil); !errors.Is(err, ErrNotMounted) {
		t.Errorf("close of a mount that is gone: %v, want ErrNotMounted", err)
	}
}
