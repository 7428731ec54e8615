package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/internal/ipc"
	"github.com/workdir/workdir/mount"
)

// One owner that cannot be understood, such as one of another version, kept the list of
// all other mounts from everybody.
func TestStatusBesideAnOwnerThatIsNotUnderstood(t *testing.T) {
	dir := t.TempDir()
	runDir := filepath.Join(dir, "run")
	m, err := mount.Open(t.Context(), "file://"+dir+"/job", &mount.Options{RunDir: runDir})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if _, err := m.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if err := mount.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	strangeOwner(t, filepath.Join(runDir, "s-1-strange"))
	for _, args := range [][]string{{"status"}, {"status", "--json"}} {
		var out, said bytes.Buffer
		code := run(append([]string{"--run-dir", runDir}, args...), &out, &said)
		if code == 0 || !strings.Contains(said.String(), "speaks another language") {
			t.Errorf("%q: exit code %d, %q; want the error", args, code, &said)
		}
		if !strings.Contains(out.String(), m.Path()) {
			t.Errorf("%q says %q, want the mount that is understood", args, &out)
		}
	}
}

// strangeOwner is a session whose client answers every command with an error.
func strangeOwner(t *testing.T, session string) {
	t.Helper()
	err := os.Mkdir(session, 0o700)
	if err == nil {
		err = os.WriteFile(filepath.Join(session, "lock"), nil, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	lock, err := os.Open(filepath.Join(session, "lock"))
	if err == nil {
		err = unix.Flock(int(lock.Fd()), unix.LOCK_EX)
	}
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(session, "control.sock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close(); lock.Close() })
	codec := ipc.Codec{Encode: func(err error) json.RawMessage {
		b, _ := json.Marshal(map[string]string{"text": err.Error()}) // strings always encode
		return b
	}}
	go func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			ipc.New(nc, func(context.Context, *ipc.Conn, string, json.RawMessage) (any, error) {
				return nil, errors.New("speaks another language")
			}, codec)
		}
	}()
}
