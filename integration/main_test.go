package integration

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/workdir/workdir/integration/internal/proc"
	"github.com/workdir/workdir/internal/testenv"
	"github.com/workdir/workdir/mount"
)

// workdirMount is the command under test, built as users build it: without the
// race detector. Everybody may execute it.
var workdirMount string

// The test binary is also the programs that the tests start: roleVariable says
// which one, and roles has their mains, which give exit codes.
const roleVariable = "WORKDIR_INTEGRATION_ROLE"

var roles = map[string]func() int{}

// envVariable marks every process that a test starts, and what those start, with
// the directory of its env.
const envVariable = "WORKDIR_INTEGRATION_ENV"

func TestMain(m *testing.M) {
	mount.Init()
	if role := roles[os.Getenv(roleVariable)]; role != nil {
		os.Exit(role())
	}
	os.Exit(buildAndRun(m))
}

func buildAndRun(m *testing.M) int {
	dir, err := os.MkdirTemp("/tmp", "wd")
	if err == nil {
		defer os.RemoveAll(dir)
		err = os.Chmod(dir, 0o755)
	}
	workdirMount = filepath.Join(dir, "workdir-mount")
	build := exec.Command("go", "build", "-o", workdirMount, "./cmd/workdir-mount")
	build.Dir = ".."
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err == nil {
		err = build.Run()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "build workdir-mount:", err)
		return 1
	}
	return m.Run()
}

// env is a private store and run directory. At the end of its test nothing may
// be left of it: no mount, no process, no session, no file beside the archives.
type env struct {
	t        *testing.T
	root     string // short, since paths of sockets are
	storeDir string
	runDir   string
	vars     []string // added to the environment of commands
	uid      int      // who runs the commands; its group has the same number
}

func newEnv(t *testing.T) *env {
	t.Helper()
	root, err := os.MkdirTemp("/tmp", "wd")
	if err != nil {
		t.Fatal(err)
	}
	e := &env{t: t, root: root, storeDir: filepath.Join(root, "store"), runDir: filepath.Join(root, "run"), uid: os.Geteuid()}
	e.vars = []string{envVariable + "=" + root}
	if err := os.Mkdir(e.storeDir, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.end)
	return e
}

// url names a workspace in the store.
func (e *env) url(key string) string { return "file://" + e.storeDir + "/" + key }

// archive is the file of a workspace.
func (e *env) archive(key string) string { return filepath.Join(e.storeDir, key+".tar.gz") }

// path returns a path of the test's own beside store and run directory.
func (e *env) path(elem ...string) string {
	return filepath.Join(append([]string{e.root}, elem...)...)
}

// mkdir makes a directory of the test's own.
func (e *env) mkdir(elem ...string) string {
	e.t.Helper()
	dir := e.path(elem...)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		e.t.Fatal(err)
	}
	return dir
}

// bytes returns the stored archive, or nil.
func (e *env) bytes(key string) []byte {
	e.t.Helper()
	b, err := os.ReadFile(e.archive(key))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		e.t.Fatal(err)
	}
	return b
}

// program prepares any program, marked as belonging to this env.
func (e *env) program(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Env = append(os.Environ(), e.vars...)
	if e.uid != os.Geteuid() {
		id := uint32(e.uid)
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: id, Gid: id}}
	}
	return cmd
}

// role prepares the test binary in one of its roles.
func (e *env) role(role string, vars ...string) *exec.Cmd {
	cmd := e.program("/proc/self/exe")
	cmd.Env = append(append(cmd.Env, roleVariable+"="+role), vars...)
	return cmd
}

// command prepares workdir-mount with the env's run directory.
func (e *env) command(args ...string) *exec.Cmd {
	return e.program(workdirMount, append([]string{"--run-dir", e.runDir}, args...)...)
}

// execCommand prepares workdir-mount exec of a shell script; args are $1, $2, ….
func (e *env) execCommand(url, script string, args ...string) *exec.Cmd {
	return e.command(append([]string{"exec", url, "--", "sh", "-c", script, "sh"}, args...)...)
}

// exec runs a shell script in a workspace; args are $1, $2, ….
func (e *env) exec(url, script string, args ...string) (stdout, stderr string, code int) {
	e.t.Helper()
	return run(e.t, e.execCommand(url, script, args...))
}

// mustExec is exec of a script that must succeed. It returns what the script
// printed.
func (e *env) mustExec(url, script string, args ...string) string {
	e.t.Helper()
	return mustRun(e.t, e.execCommand(url, script, args...))
}

// run returns what a command printed, and its exit code as a shell does: 128+n if
// a signal ended it.
func run(t *testing.T, cmd *exec.Cmd) (stdout, stderr string, code int) {
	t.Helper()
	var out, errs bytes.Buffer
	if cmd.Stdout == nil {
		cmd.Stdout = &out
	}
	cmd.Stderr = &errs
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatalf("%v: %v", cmd.Args, err)
	}
	return out.String(), errs.String(), exitCode(cmd.ProcessState)
}

func exitCode(state *os.ProcessState) int {
	status, _ := state.Sys().(syscall.WaitStatus) // always that on Linux
	if status.Signaled() {
		return 128 + int(status.Signal())
	}
	return status.ExitStatus()
}

// mustRun is run of a command that must exit 0.
func mustRun(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	stdout, stderr, code := run(t, cmd)
	if code != 0 {
		t.Fatalf("%v: exit code %d\nstdout: %s\nstderr: %s", cmd.Args, code, stdout, stderr)
	}
	return stdout
}

func eventually(cond func() bool) bool { return testenv.Eventually(testenv.Patience, cond) }

// ownerOf returns the user whom a file belongs to.
func ownerOf(fi fs.FileInfo) int {
	st, _ := fi.Sys().(*syscall.Stat_t) // always that on Linux
	return int(st.Uid)
}

// needRoot fails a test that only root can do.
func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Fatal("this test must be run by root: it mounts, and changes the user")
	}
}

// end holds the env against its promise, and removes it.
func (e *env) end() {
	e.checkNothingLeft()
	e.place().Remove()
}

// checkNothingLeft reports mounts, processes, sessions and temporary files of
// this env. A server that has lost its client has a moment to end; one that was not
// there yet when its client was killed leaves what is cleared away after it.
func (e *env) checkNothingLeft() {
	e.t.Helper()
	eventually(func() bool { return len(e.processes()) == 0 }) // Report tells
	for _, session := range e.sessions() {
		if err := mount.CleanUp(e.t.Context(), filepath.Dir(session)); err != nil {
			e.t.Error(err)
		}
	}
	for _, path := range e.sessions() {
		e.t.Errorf("left in the run directory: %s", path)
	}
	e.place().Report()
}

// place is where leftovers are searched for.
func (e *env) place() *proc.Place {
	return &proc.Place{T: e.t, Root: e.root, Store: e.storeDir, Mark: envVariable + "=" + e.root}
}

// mounts are the workspaces mounted in this env, in our mount namespace.
func (e *env) mounts() []string { return e.place().Mounts() }

// processes are those that this env's commands started, and have not ended.
func (e *env) processes() []int { return e.place().Processes() }

// sessions are the records of clients in the run directories.
func (e *env) sessions() []string {
	paths, _ := filepath.Glob(filepath.Join(e.root, "run*", "s-*")) // fails on a bad pattern only
	return paths
}

// litter is everything in the store except archives.
func (e *env) litter() []string { return e.place().Litter() }

func TestExecThenExec(t *testing.T) {
	e := newEnv(t)
	e.mustExec(e.url("k"), `test "$PWD" = "$WORKDIR"; echo hello >file`)
	if got := e.mustExec(e.url("k"), `cat file`); got != "hello\n" {
		t.Errorf("content = %q", got)
	}
}

// Once every command left a directory for mem URLs in TMPDIR.
func TestNothingIsLeftInTMPDIR(t *testing.T) {
	e := newEnv(t)
	tmp := e.mkdir("tmp")
	e.vars = append(e.vars, "TMPDIR="+tmp)
	for _, url := range []string{e.url("k"), "mem://bucket/k"} {
		e.mustExec(url, "echo content >file")
		if left, err := os.ReadDir(tmp); err != nil || len(left) > 0 {
			t.Errorf("exec of %s left %v, %v", url, left, err)
		}
	}
}
