package mount

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/mount/internal/host"
)

// playRole is the test binary as a client that can be killed: it mounts, says
// so, and waits for its end.
func playRole(role string) int {
	Init()
	if role == "find" {
		return findOwner(os.Getenv("WORKDIR_TEST_DIR"), os.Getenv("WORKDIR_TEST_RUN"))
	}
	m, err := Open(context.Background(), os.Getenv("WORKDIR_TEST_URL"), &Options{
		RunDir: os.Getenv("WORKDIR_TEST_RUN"), Dir: os.Getenv("WORKDIR_TEST_DIR"), Grace: time.Minute,
		View: View(os.Getenv("WORKDIR_TEST_VIEW")), Spill: os.Getenv("WORKDIR_TEST_SPILL"),
	})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	st, err := m.Status(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	switch role {
	case "wait":
		if err := os.WriteFile(m.Path("written"), []byte("x"), 0o644); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		fmt.Printf("%d %s\n", st.ServerPID, m.Path())
		_, _ = io.Copy(io.Discard, os.Stdin)
		return 0
	case "work":
		return work(m)
	}
	return 2
}

// findOwner prints which process owns the mount at a path.
func findOwner(path, runDir string) int {
	st, err := statusAt(context.Background(), path, runDir)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println(st.ClientPID)
	return 0
}

// statusAt is what the status command does.
func statusAt(ctx context.Context, path, runDir string) (Status, error) {
	r, err := Find(ctx, path, runDir)
	if err != nil {
		return Status{}, err
	}
	return r.Status(ctx)
}

// work does what deadlocks a process on a mount of its own: it runs tools in the
// mount, page-faults on its files, and collects garbage meanwhile.
func work(m *Mount) int {
	for i := range 20 {
		if out, err := Command(context.Background(), m, "sh", "-c", "mkdir -p d && cp /bin/true d/tool && d/tool").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "%d: %v: %s\n", i, err, out)
			return 1
		}
	}
	if err := m.Commit(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if _, err := m.Close(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("worked")
	return 0
}

func (f *fixture) role(role, dir string, env ...string) *exec.Cmd {
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "WORKDIR_TEST_ROLE="+role, "WORKDIR_TEST_URL="+f.url("k"), "WORKDIR_TEST_RUN="+f.runDir, "WORKDIR_TEST_DIR="+dir)
	cmd.Env = append(append(cmd.Env, "WORKDIR_TEST_VIEW="+string(f.view)), env...)
	cmd.Stderr = os.Stderr
	return cmd
}

// mounted starts a client that waits, and returns it with its server's number and its
// mountpoint.
func (f *fixture) mounted(dir string, env ...string) (client *exec.Cmd, server int, path string) {
	f.t.Helper()
	client = f.role("wait", dir, env...)
	server, path = f.startRole(client)
	return client, server, path
}

// startRole starts a client that waits.
func (f *fixture) startRole(client *exec.Cmd) (server int, path string) {
	f.t.Helper()
	stdin, err := client.StdinPipe()
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() { stdin.Close() })
	stdout, err := client.StdoutPipe()
	if err != nil {
		f.t.Fatal(err)
	}
	if err := client.Start(); err != nil {
		f.t.Fatal(err)
	}
	if _, err := fmt.Fscan(stdout, &server, &path); err != nil {
		f.t.Fatal(err)
	}
	return server, path
}

func (f *fixture) isMounted(path string) bool {
	f.t.Helper()
	table, err := host.MountTable("self")
	if err != nil {
		f.t.Fatal(err)
	}
	_, ok := host.TopMountAt(table, path)
	return ok
}

func TestClientKilled(t *testing.T) {
	f := newFixture(t)
	client, server, path := f.mounted("")
	if err := client.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = client.Wait() // killed
	waitFor(t, "the server to detach and end", func() bool {
		return !f.isMounted(path) && syscall.Kill(server, 0) != nil
	})
	if f.bytes("k") != nil {
		t.Error("an archive was stored")
	}
}

func TestBothKilledIsClearedAwayByTheNextOpen(t *testing.T) {
	for _, own := range []bool{false, true} {
		t.Run(fmt.Sprintf("own mountpoint %v", own), func(t *testing.T) {
			f := newFixture(t)
			dir := ""
			if own {
				dir = t.TempDir()
			}
			client, server, path := f.mounted(dir)
			// The server first, stopped, so that it cannot notice its client's end.
			stopAndWait(t, server)
			if err := client.Process.Kill(); err != nil {
				t.Fatal(err)
			}
			_ = client.Wait() // killed
			killAndWait(t, server)
			if !f.isMounted(path) {
				t.Fatal("nothing is left to clear away: the test tests nothing")
			}
			f.commit("other", "name", "content")
			if f.isMounted(path) {
				t.Error("the dead mount is still there")
			}
		})
	}
}

// stopAndWait stops a process and waits until all of its threads have stopped, which is
// not so when kill(2) returns.
func stopAndWait(t *testing.T, pid int) {
	t.Helper()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the process to stop", func() bool {
		stats, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid)) // fails on a bad pattern only
		return !slices.ContainsFunc(stats, func(stat string) bool {
			b, err := os.ReadFile(stat)
			return err == nil && !bytes.Contains(b, []byte(") T ")) // proc_pid_stat(5)
		})
	})
}

// Spill directories of killed processes once stayed until somebody spilled into the same
// directory again.
func TestSpillOfTheKilledIsClearedAway(t *testing.T) {
	f := newFixture(t)
	dir := t.TempDir()
	spills := func() int {
		all, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		return len(all)
	}
	client, server, _ := f.mounted("", "WORKDIR_TEST_SPILL="+dir)
	living := f.open("living", &Options{Spill: dir})
	if n := spills(); n != 2 {
		t.Fatalf("there are %d spill directories, want 2", n)
	}
	if err := syscall.Kill(server, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := client.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = client.Wait() // killed
	killAndWait(t, server)
	if err := CleanUp(t.Context(), f.runDir); err != nil {
		t.Fatal(err)
	}
	if n := spills(); n != 1 {
		t.Fatalf("there are %d spill directories, want that of the living mount", n)
	}
	f.write(living, "name", "content")
	f.close(living, true)
	waitFor(t, "the living mount's spill directory to go", func() bool { return spills() == 0 })
}

// killAndWait kills a process that need not be our child, and waits until every
// thread of it has ended: the first one may be a zombie while the last one still
// holds the process's files (pidfd_open(2)).
func killAndWait(t *testing.T, pid int) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if err == nil {
		defer unix.Close(fd)
		err = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the process to end", func() bool {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		return n == 1 && err == nil
	})
}

// One CPU: fork is a vfork, and a process that serves its own mount would wait
// for itself.
func TestOneCPU(t *testing.T) {
	f := newFixture(t)
	out, err := f.role("work", "", "GOMAXPROCS=1").Output()
	if err != nil || string(out) != "worked\n" {
		t.Fatalf("work with GOMAXPROCS=1: %q, %v", out, err)
	}
}
