package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/internal/testenv"
	"github.com/workdir/workdir/store"
)

// client is a workdir-mount that runs, with its own run directory and store.
type client struct {
	t      *testing.T
	dir    string
	cmd    *exec.Cmd
	out    *bufio.Reader // its standard output, or its terminal
	stderr bytes.Buffer  // read it after wait
}

// newClient prepares workdir-mount without a controlling terminal.
func newClient(t *testing.T, args ...string) *client {
	t.Helper()
	testenv.HearSignals()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	c := &client{t: t, dir: dir, cmd: exec.Command("workdir-mount", args...)}
	c.cmd.Dir = dir
	c.cmd.Env = append(os.Environ(), runDirVariable+"="+filepath.Join(dir, "run"))
	c.cmd.Stderr = &c.stderr
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	t.Cleanup(c.checkNoMounts)
	return c
}

func (c *client) checkNoMounts() {
	for _, path := range mountsBelow(c.dir) {
		c.t.Errorf("%s is still mounted", path)
		_ = unix.Unmount(path, unix.MNT_DETACH) // the test has failed already
	}
}

func (c *client) start() {
	c.t.Helper()
	if c.out == nil {
		out, err := c.cmd.StdoutPipe()
		if err != nil {
			c.t.Fatal(err)
		}
		c.out = bufio.NewReader(out)
	}
	if err := c.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
}

// waitLine reads output up to a line that ends with want.
func (c *client) waitLine(want string) {
	c.t.Helper()
	for {
		line, err := c.out.ReadString('\n')
		if strings.HasSuffix(strings.TrimSpace(line), want) {
			return
		}
		if err != nil {
			c.t.Fatalf("output ended before %q: %v", want, err)
		}
	}
}

func (c *client) signal(sig syscall.Signal) {
	c.t.Helper()
	if err := c.cmd.Process.Signal(sig); err != nil {
		c.t.Fatal(err)
	}
}

// wait returns the exit code as a shell does. It returns when all that have our
// standard error have ended.
func (c *client) wait() int {
	c.t.Helper()
	var exit *exec.ExitError
	if err := c.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		c.t.Fatal(err)
	}
	return endingOf(c.cmd, nil).code
}

func (c *client) wantNothingStored() {
	c.t.Helper()
	url := filepath.Join(c.dir, "store", "job")
	if _, err := store.Stat(context.Background(), url); !errors.Is(err, store.ErrNotExist) {
		c.t.Errorf("stored archive: %v, want none; standard error:\n%s", err, &c.stderr)
	}
	litter, err := filepath.Glob(filepath.Join(c.dir, "store", ".workdir", ".*"))
	if err != nil || len(litter) > 0 {
		c.t.Errorf("left in the store: %q, %v", litter, err)
	}
}

// stored returns the content of a stored file.
func (c *client) stored(name string) string {
	c.t.Helper()
	return c.command("exec", "--read-only", "store/job", "--", "cat", name)
}

// eventually waits for a condition that sends no event.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-tick.C:
		case <-t.Context().Done():
			t.Fatalf("no %s", what)
		}
	}
}

// onTerminal gives c a new controlling terminal, and us its other end.
func (c *client) onTerminal() *os.File {
	c.t.Helper()
	ptmx, tty := openTerminal(c.t)
	c.cmd.Stdin, c.cmd.Stdout = tty, tty
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Ctty: 0}
	c.out = bufio.NewReader(ptmx)
	return ptmx
}

// lock holds the lock of a directory or file, as another process would.
func lock(t *testing.T, path string, flags int) (unlock func()) {
	t.Helper()
	f, err := os.OpenFile(path, flags, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	return func() { f.Close() }
}

// hasOpen reports whether a process, or one of its children, has a file open.
func hasOpen(pid int, path string) bool {
	processes := []string{strconv.Itoa(pid)}
	tasks, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/children") // fails on a bad pattern only
	for _, task := range tasks {
		children, _ := os.ReadFile(task) // none: the thread has ended
		processes = append(processes, strings.Fields(string(children))...)
	}
	for _, p := range processes {
		fds, _ := filepath.Glob("/proc/" + p + "/fd/*") // fails on a bad pattern only
		for _, fd := range fds {
			if target, err := os.Readlink(fd); err == nil && target == path {
				return true
			}
		}
	}
	return false
}

func waitText(t *testing.T, file, text string) {
	t.Helper()
	eventually(t, text, func() bool {
		b, err := os.ReadFile(file)
		return err != nil || strings.Contains(string(b), text)
	})
}

// waitsForFUSE reports whether a thread of a process waits for the answer of a FUSE server
// (request_wait_answer in the kernel's fs/fuse/dev.c).
func waitsForFUSE(pid int) bool {
	threads, _ := filepath.Glob("/proc/" + strconv.Itoa(pid) + "/task/*/wchan") // fails on a bad pattern only
	for _, thread := range threads {
		if b, err := os.ReadFile(thread); err == nil && string(b) == "request_wait_answer" {
			return true
		}
	}
	return false
}

// command runs another workdir-mount with the same run directory.
func (c *client) command(args ...string) string {
	c.t.Helper()
	cmd := exec.Command("workdir-mount", args...)
	cmd.Dir, cmd.Env = c.dir, c.cmd.Env
	out, err := cmd.Output()
	if err != nil {
		c.t.Fatalf("workdir-mount %q: %v", args, err)
	}
	return string(out)
}
