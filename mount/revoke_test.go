package mount

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/mount/internal/host"
	"github.com/workdir/workdir/mount/internal/wire"
)

// homes are options for the places where content can be.
func homes(t *testing.T) map[string]*Options {
	return map[string]*Options{
		"memory": {Grace: time.Minute},
		"spill":  {Grace: time.Minute, Spill: t.TempDir()},
	}
}

// awaitReadOnly waits until the mount is revoked.
func (f *fixture) awaitReadOnly(m *Mount) {
	f.t.Helper()
	waitFor(f.t, "the mount to be read-only", func() bool {
		return errors.Is(os.WriteFile(m.Path("probe"), nil, 0o644), unix.EROFS)
	})
}

func TestRevoke(t *testing.T) {
	for name, opts := range homes(t) {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			f.commit("k", "name", "before")
			before := f.bytes("k")
			m := f.open("k", opts)
			f.write(m, "written", "before the end")
			file, err := os.OpenFile(m.Path("written"), os.O_RDWR, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer file.Close()
			if _, err := file.WriteString("dirty"); err != nil {
				t.Fatal(err)
			}
			tool := Command(t.Context(), m, "sh", "-c", `i=0; while :; do echo work >file$i || exit 3; i=$((i + 1)); done`)
			if err := tool.Start(); err != nil {
				t.Fatal(err)
			}
			waitFor(t, "the tool to be at work", func() bool { _, err := os.Lstat(m.Path("file10")); return err == nil })
			if err := m.Commit(); err != nil {
				t.Fatal(err)
			}
			m.Revoke()
			if f.view == ViewAuto { // an overlay stays as it is while somebody has a file open for writing
				file.Close()
			}
			f.awaitReadOnly(m)
			var exit *exec.ExitError
			if err := tool.Wait(); !errors.As(err, &exit) || exit.ExitCode() != 3 {
				t.Errorf("the tool ended with %v, want its own failure", err)
			}
			_, _ = file.WriteString("lost") // whether it hears of that is up to the kernel
			if got, err := os.ReadFile(m.Path("name")); err != nil || string(got) != "before" {
				t.Errorf("a file that was opened = %q, %v; want it readable", got, err)
			}
			file.Close()
			m.Revoke()
			if err := m.Commit(); !errors.Is(err, ErrAbandoned) {
				t.Errorf("Commit = %v, want ErrAbandoned", err)
			}
			if res := f.close(m, false); res.Stored || string(f.bytes("k")) != string(before) {
				t.Errorf("result = %+v, want nothing stored", res)
			}
			m.Revoke()
		})
	}
}

func TestRevokePlain(t *testing.T) {
	f := newFixture(t)
	m := f.openPlain("k", Options{Grace: time.Minute})
	f.write(m, "name", "content")
	if err := m.Commit(); err != nil {
		t.Fatal(err)
	}
	m.Revoke()
	if res := f.close(m, false); res.Stored || f.bytes("k") != nil {
		t.Errorf("result = %+v, want nothing stored", res)
	}
	if _, err := os.Lstat(m.Path()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the directory after Close: %v, want it gone", err)
	}
}

// A commit that is asking whether it may go on is ended by the loss of the right to.
func TestRevokeEndsACommit(t *testing.T) {
	f := newFixture(t)
	var m *Mount
	asked := 0
	m = f.open("k", &Options{Grace: time.Minute, BeforeStore: func(ctx context.Context) error {
		if asked++; asked == 2 {
			m.Revoke()
			<-ctx.Done()
		}
		return nil
	}})
	f.write(m, "name", "content")
	if err := m.Commit(); err != nil {
		t.Fatal(err)
	}
	if _, err := m.Close(t.Context()); !errors.Is(err, ErrCommit) || !errors.Is(err, ErrAbandoned) {
		t.Errorf("Close = %v, want ErrCommit and ErrAbandoned", err)
	}
	if f.bytes("k") != nil || asked != 2 {
		t.Errorf("an archive of %d bytes after %d questions, want none after two", len(f.bytes("k")), asked)
	}
}

// Revoke returns at once though the server is stopped and nothing more can be sent
// to it, and has its effect when the server goes on.
func TestRevokeWithAStoppedServer(t *testing.T) {
	f := newFixture(t)
	m := f.open("k", nil)
	st, err := m.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(st.ServerPID, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	for range 10_000 { // more than socket and queue take
		m.session.conn.Notify(wire.CallPing, nil)
	}
	m.Revoke()
	if err := syscall.Kill(st.ServerPID, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	f.awaitReadOnly(m)
	f.close(m, false)
}

func TestStartWith(t *testing.T) {
	f := newFixture(t)
	for range 2 {
		if err := StartWith(t.Context(), &StartOptions{RunDir: f.runDir}); err != nil {
			t.Fatal(err)
		}
	}
	if got := len(host.SessionDirs(f.runDir)); got != 1 {
		t.Errorf("%d sessions in the run directory, want one", got)
	}
	open := filepath.Join(t.TempDir(), "open")
	if err := os.Mkdir(open, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, plain := range []bool{false, true} {
		if err := StartWith(t.Context(), &StartOptions{RunDir: open, Plain: plain}); !errors.Is(err, ErrCannotMount) {
			t.Errorf("StartWith a run directory that others may read, plain %v = %v, want ErrCannotMount", plain, err)
		}
	}
}
