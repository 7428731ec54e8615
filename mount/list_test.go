package mount

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/mount/internal/wire"
)

// lockedBuffer collects the output of a process.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer // guarded by mu
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) has(text string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Contains(b.buf.String(), text)
}

// waiting starts a client that waits, and returns it with its mountpoint and what it
// prints to its standard error.
func (f *fixture) waiting() (client *exec.Cmd, path string, stderr *lockedBuffer) {
	f.t.Helper()
	stderr = &lockedBuffer{}
	client = f.role("wait", "")
	client.Stderr = stderr
	f.t.Cleanup(func() {
		_ = client.Wait() // after the end of its standard input
		waitFor(f.t, "its server to detach", func() bool { return !f.isMounted(path) })
	})
	_, path = f.startRole(client)
	return client, path, stderr
}

func setPatience(t *testing.T, d time.Duration) {
	t.Helper()
	before := answerPatience
	answerPatience = d
	t.Cleanup(func() { answerPatience = before })
}

// One client that was stopped once kept the list of all mounts from everybody.
func TestListBesideAStoppedClient(t *testing.T) {
	setPatience(t, 200*time.Millisecond)
	f := newFixture(t)
	client, path, _ := f.waiting()
	m := f.open("other", nil)
	stopAndWait(t, client.Process.Pid)
	t.Cleanup(func() { _ = client.Process.Signal(syscall.SIGCONT) })
	all, err := List(t.Context(), f.runDir)
	if err != nil || len(all) != 2 {
		t.Fatalf("list = %+v, %v; want both mounts", all, err)
	}
	i := slices.IndexFunc(all, func(st Status) bool { return st.State == StateSilent })
	if i < 0 {
		t.Fatalf("list = %+v, want a silent one", all)
	}
	silent, other := all[i], all[1-i]
	if silent.Path != path || silent.ClientPID != client.Process.Pid || silent.URL != f.url("k") {
		t.Errorf("the silent one is %+v, want that of process %d", silent, client.Process.Pid)
	}
	if other.Path != m.Path() || other.State != wire.StateMounted || other.ClientPID != os.Getpid() {
		t.Errorf("the other one is %+v, want ours", other)
	}
	if _, err := Find(t.Context(), path, f.runDir); !errors.Is(err, ErrServerLost) {
		t.Errorf("Find = %v, want ErrServerLost", err)
	}
	if _, err := Find(t.Context(), m.Path(), f.runDir); err != nil {
		t.Errorf("Find of the other one: %v", err)
	}
}

// A client that once had no descriptor left stopped listening for good, and commands waited
// for it forever.
func TestControlSocketOutlivesTheLackOfDescriptors(t *testing.T) {
	setPatience(t, time.Minute)
	f := newFixture(t)
	client, path, stderr := f.waiting()
	var before unix.Rlimit
	if err := unix.Prlimit(client.Process.Pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: 1 << 10}, &before); err != nil {
		t.Fatal(err)
	}
	found := make(chan error, 1)
	go func() {
		_, err := Find(t.Context(), path, f.runDir)
		found <- err
	}()
	waitFor(t, "the client to be refused a descriptor", func() bool { return stderr.has("too many open files") })
	if err := unix.Prlimit(client.Process.Pid, unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1 << 10, Max: 1 << 10}, nil); err != nil {
		t.Fatal(err)
	}
	if err := <-found; err != nil {
		t.Errorf("Find = %v", err)
	}
	if all, err := List(t.Context(), f.runDir); err != nil || len(all) != 1 || all[0].State != wire.StateMounted {
		t.Errorf("list = %+v, %v; want the mount", all, err)
	}
}
