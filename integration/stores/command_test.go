package stores

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// desk is where a test runs the command: with a run directory of its own, which is
// empty at the end.
type desk struct {
	t      *testing.T
	root   string // short, since paths of sockets are
	runDir string
	env    []string // added to that of this process
}

func newDesk(t *testing.T) *desk {
	t.Helper()
	root, err := os.MkdirTemp("/tmp", "wd")
	noError(t, err)
	d := &desk{t: t, root: root, runDir: filepath.Join(root, "run")}
	t.Cleanup(func() {
		if left, _ := filepath.Glob(filepath.Join(d.runDir, "s-*")); len(left) > 0 { // fails on a bad pattern only
			t.Errorf("left in the run directory: %q", left)
		}
		noError(t, os.RemoveAll(root))
	})
	return d
}

// command prepares workdir-mount.
func (d *desk) command(args ...string) *exec.Cmd {
	cmd := exec.Command(workdirMount, append([]string{"--run-dir", d.runDir}, args...)...)
	cmd.Env = append(os.Environ(), d.env...)
	return cmd
}

// execCommand prepares workdir-mount exec of a shell script; args are $1, $2, ….
func (d *desk) execCommand(url, script string, args ...string) *exec.Cmd {
	return d.command(append([]string{"exec", url, "--", "sh", "-euc", script, "sh"}, args...)...)
}

// exec runs a shell script in a workspace, which must succeed, and returns what it
// printed.
func (d *desk) exec(url, script string, args ...string) string {
	d.t.Helper()
	return d.must(d.execCommand(url, script, args...))
}

// must runs a command that must succeed, and returns what it printed.
func (d *desk) must(cmd *exec.Cmd) string {
	d.t.Helper()
	stdout, stderr, code := d.run(cmd)
	if code != 0 {
		d.t.Fatalf("%v: exit code %d\nstdout: %s\nstderr: %s", cmd.Args, code, stdout, stderr)
	}
	return stdout
}

// run returns what a command printed, and its exit code as a shell does.
func (d *desk) run(cmd *exec.Cmd) (stdout, stderr string, code int) {
	d.t.Helper()
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	if cmd.ProcessState == nil {
		d.t.Fatalf("%v: %v", cmd.Args, err)
	}
	return out.String(), errs.String(), exitCode(cmd)
}

func exitCode(cmd *exec.Cmd) int {
	status, _ := cmd.ProcessState.Sys().(syscall.WaitStatus) // always that on Linux
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

// refused runs a command that must fail with an exit code and with words that help.
func (d *desk) refused(cmd *exec.Cmd, code int, words ...string) {
	d.t.Helper()
	stdout, stderr, got := d.run(cmd)
	if got != code {
		d.t.Errorf("%v: exit code %d, want %d\nstdout: %s\nstderr: %s", cmd.Args, got, code, stdout, stderr)
	}
	for _, w := range words {
		if !strings.Contains(stderr, w) {
			d.t.Errorf("%v: stderr is %q, want %q in it", cmd.Args, stderr, w)
		}
	}
	if strings.Contains(stderr, "goroutine") || strings.Contains(stderr, s3Secret) || strings.Contains(stderr, azureKey) {
		d.t.Errorf("%v: a stack trace or a secret: %s", cmd.Args, stderr)
	}
}
