package examples

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

// root is the repository.
const root = "../.."

// addressVariable is where examples find the Temporal server.
const addressVariable = "TEMPORAL_ADDRESS"

func TestMain(m *testing.M) { os.Exit(runWithServer(m)) }

// runWithServer runs the tests with a Temporal server that all of them use.
func runWithServer(m *testing.M) int {
	build := exec.Command(root+"/scripts/temporal-dev.sh", "--build")
	build.Stderr = os.Stderr
	path, err := build.Output()
	if err != nil {
		fmt.Fprintln(os.Stderr, "build the Temporal server:", err)
		return 1
	}
	server := exec.Command(strings.TrimSpace(string(path)), "--port", "0")
	server.Stderr = os.Stderr
	server.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL} // nothing stays behind a test that is killed
	stdout, err := server.StdoutPipe()
	if err == nil {
		err = server.Start()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "start the Temporal server:", err)
		return 1
	}
	line, err := bufio.NewReader(stdout).ReadString('\n')
	address, ok := strings.CutPrefix(strings.TrimSpace(line), "ready: ")
	code := 1
	if err == nil && ok {
		os.Setenv(addressVariable, address)
		code = m.Run()
	} else {
		fmt.Fprintf(os.Stderr, "the Temporal server is not ready: %q, %v\n", line, err)
	}
	_ = server.Process.Signal(syscall.SIGTERM) // Wait tells if it has ended before
	if err := server.Wait(); err != nil {
		fmt.Fprintln(os.Stderr, "the Temporal server:", err)
		return 1
	}
	return code
}

// play runs a script of the repository and returns what it prints. After it nothing
// may be left: neither a file nor a mount.
func play(t *testing.T, script string, env []string, args ...string) string {
	t.Helper()
	tmp, err := os.MkdirTemp("/tmp", "wd") // short, since paths of sockets are in it
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(tmp)
	cmd := exec.Command(root+"/"+script, args...)
	cmd.Env = append(append(os.Environ(), "TMPDIR="+tmp, "WORKDIR_RUN_DIR="+tmp+"/run"), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", script, strings.Join(args, " "), err, out)
	}
	left, err := os.ReadDir(tmp)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range left {
		if entry.Name() != "run" {
			t.Errorf("%s left behind: %s", script, entry.Name())
		}
	}
	return string(out)
}
