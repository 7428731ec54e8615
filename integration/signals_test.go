package integration

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/integration/internal/proc"
	"github.com/workdir/workdir/internal/testenv"
)

// job is an exec whose command says "ready" and then waits to be signalled.
type job struct {
	e      *env
	cmd    *exec.Cmd
	tty    *os.File // the terminal's other end; nil without a terminal
	out    *bufio.Reader
	stderr bytes.Buffer // without a terminal
}

// startJob starts an exec as the leader of a session, with a terminal or without
// one, and waits until its command is ready.
func startJob(e *env, terminal bool, script string) *job {
	e.t.Helper()
	testenv.HearSignals()
	j := &job{e: e, cmd: e.execCommand(e.url("k"), script)}
	var out io.Reader
	if terminal {
		slave := j.openTerminal()
		defer slave.Close()
		j.cmd.Stdin, j.cmd.Stdout, j.cmd.Stderr = slave, slave, slave
		j.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
		out = j.tty
	} else {
		j.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
		j.cmd.Stderr = &j.stderr
		var err error
		if out, err = j.cmd.StdoutPipe(); err != nil {
			e.t.Fatal(err)
		}
	}
	if err := j.cmd.Start(); err != nil {
		e.t.Fatal(err)
	}
	j.out = bufio.NewReader(out)
	j.await("ready")
	return j
}

// openTerminal makes a terminal (pty(7)) and returns the end for the command.
func (j *job) openTerminal() *os.File {
	j.e.t.Helper()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		j.e.t.Fatal(err)
	}
	j.e.t.Cleanup(func() { master.Close() })
	j.tty = master
	fd := int(master.Fd())
	if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
		j.e.t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err != nil {
		j.e.t.Fatal(err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		j.e.t.Fatal(err)
	}
	return slave
}

// await reads what the command prints until there is a line with that word.
func (j *job) await(word string) {
	j.e.t.Helper()
	for {
		line, err := j.out.ReadString('\n')
		if strings.Contains(line, word) {
			return
		}
		if err != nil {
			j.e.t.Fatalf("the command ended before it was %s: %q, %s", word, line, &j.stderr)
		}
	}
}

// end waits for the end of the exec, and returns its exit code and what it wrote
// to standard error or to the terminal.
func (j *job) end() (int, string) {
	j.e.t.Helper()
	defer time.AfterFunc(2*time.Minute, func() { j.signalAll(syscall.SIGKILL) }).Stop()
	rest, _ := io.ReadAll(j.out) // a terminal ends with EIO
	_ = j.cmd.Wait()             // the exit code is looked at
	return exitCode(j.cmd.ProcessState), j.stderr.String() + string(rest)
}

// signalGroup signals the process group of the exec.
func (j *job) signalGroup(sig syscall.Signal) {
	j.e.t.Helper()
	if err := syscall.Kill(-j.cmd.Process.Pid, sig); err != nil {
		j.e.t.Fatal(err)
	}
}

// signalAll signals every process there is, server included, as the end of a
// container does.
func (j *job) signalAll(sig syscall.Signal) {
	for _, pid := range j.e.processes() {
		_ = syscall.Kill(pid, sig) // it may have ended of the signal to another
	}
}

func (j *job) press(key string) {
	j.e.t.Helper()
	if _, err := j.tty.WriteString(key); err != nil {
		j.e.t.Fatal(err)
	}
}

// A command that a signal ends stores nothing, wherever the signal went; one that
// takes it, finishes and exits 0 is stored, and has got it once.
func TestSignals(t *testing.T) {
	const (
		ends  = "ulimit -c 0; echo new >file; echo ready; exec sleep 1000"
		takes = "trap 'echo caught >>file; caught=1' INT TERM; echo ready; until [ $caught ]; do sleep 0.01; done; exit 0"
	)
	signal := func(sig syscall.Signal) func(*job) { return func(j *job) { j.signalGroup(sig) } }
	all := func(sig syscall.Signal) func(*job) { return func(j *job) { j.signalAll(sig) } }
	ctrlC := func(j *job) { j.press("\x03") }
	tests := []struct {
		name     string
		terminal bool
		script   string
		send     func(*job)
		code     int
		content  string
	}{
		{"SIGINT to the group", false, ends, signal(syscall.SIGINT), 130, "base\n"},
		{"SIGTERM to the group", false, ends, signal(syscall.SIGTERM), 143, "base\n"},
		{"SIGHUP to the group", false, ends, signal(syscall.SIGHUP), 129, "base\n"},
		{"SIGTERM to everything", false, ends, all(syscall.SIGTERM), 143, "base\n"},
		{"SIGINT to everything", false, ends, all(syscall.SIGINT), 130, "base\n"},
		{"SIGINT to the group, taken", false, takes, signal(syscall.SIGINT), 0, "base\ncaught\n"},
		{"SIGTERM to the group, taken", false, takes, signal(syscall.SIGTERM), 0, "base\ncaught\n"},
		{"Ctrl-C", true, ends, ctrlC, 130, "base\n"},
		{"Ctrl-\\", true, ends, func(j *job) { j.press("\x1c") }, 131, "base\n"},
		{"Ctrl-C, taken", true, takes, ctrlC, 0, "base\ncaught\n"},
		{"terminal, SIGTERM to the group", true, ends, signal(syscall.SIGTERM), 143, "base\n"},
		{"hang-up", true, ends, func(j *job) { j.tty.Close() }, 129, "base\n"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := newEnv(t)
			e.mustExec(e.url("k"), "echo base >file")
			before := e.bytes("k")
			j := startJob(e, tt.terminal, tt.script)
			tt.send(j)
			code, said := j.end()
			if code != tt.code {
				t.Errorf("exit code %d, want %d; it said %q", code, tt.code, said)
			}
			if code != 0 && !bytes.Equal(e.bytes("k"), before) {
				t.Error("the archive has changed")
			}
			e.checkNothingLeft()
			if got := e.mustExec(e.url("k"), "cat file"); got != tt.content {
				t.Errorf("content = %q, want %q", got, tt.content)
			}
		})
	}
}

// While the changes are being stored a second signal takes that back.
func TestSignalDuringCommit(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			e := newEnv(t)
			e.mustExec(e.url("k"), "echo base >file")
			before := e.bytes("k")
			release := lockStore(e)
			j := startJob(e, false, "echo new >file; echo ready")
			testenv.WaitFor(t, "the new archive beside the old one", func() bool { return len(e.litter()) > 0 })
			j.signalGroup(sig)
			j.signalGroup(syscall.SIGHUP) // two of a kind that come together are one
			code, said := j.end()
			if code != 128+int(sig) && code != 128+int(syscall.SIGHUP) || !strings.Contains(said, "nothing was stored") {
				t.Errorf("exit code %d, want %d or that of SIGHUP; it said %q", code, 128+int(sig), said)
			}
			release()
			if !bytes.Equal(e.bytes("k"), before) {
				t.Error("the archive has changed")
			}
		})
	}
}

// lockStore keeps commits from becoming visible, as another writer does.
func lockStore(e *env) (release func()) {
	e.t.Helper()
	lock, err := os.OpenFile(e.storeDir+"/.workdir/lock", os.O_RDWR, 0)
	if err == nil {
		err = unix.FcntlFlock(lock.Fd(), unix.F_OFD_SETLKW, &unix.Flock_t{Type: unix.F_WRLCK})
	}
	if err != nil {
		e.t.Fatal(err)
	}
	return func() { lock.Close() }
}

// server finds the one server process of the env.
func (e *env) server() int {
	e.t.Helper()
	isServer := func(pid int) bool {
		name, _, _ := strings.Cut(proc.CommandLine(pid), " ")
		return filepath.Base(name) == "workdir-server"
	}
	pids := slices.DeleteFunc(e.processes(), func(pid int) bool { return !isServer(pid) })
	if len(pids) != 1 {
		e.t.Fatalf("servers %v, want one", pids)
	}
	return pids[0]
}

// Tools fail when the server is killed, wherever they stand, and nothing
// that they write goes elsewhere.
func TestServerKilledUnderTheCommand(t *testing.T) {
	e := newEnv(t)
	e.mustExec(e.url("k"), "echo base >file")
	before := e.bytes("k")
	j := startJob(e, false, `
		echo new >file; echo ready
		while (echo >"$WORKDIR/probe") 2>/dev/null; do :; done # by its path: in an overlay that is left what is new goes on
		(echo lost >"$WORKDIR/probe"); (echo lost >"$WORKDIR/lost")
		for i in 1 2 3 4 5 6 7 8 9 10; do
			mkdir -p "$WORKDIR/dir" 2>/dev/null && echo "written elsewhere" >&2
			sleep 0.02
		done`)
	if err := syscall.Kill(e.server(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	code, said := j.end()
	// A request in flight is aborted, later ones find no server.
	lost := strings.Count(said, "not connected") + strings.Count(said, "connection abort")
	if code != 107 || lost < 2 || !strings.Contains(said, "nothing was stored") {
		t.Errorf("exit code %d, want 107; it said %q", code, said)
	}
	if strings.Contains(said, "elsewhere") {
		t.Errorf("tools went on in the directory beneath the mount; they said %q", said)
	}
	if !bytes.Equal(e.bytes("k"), before) {
		t.Error("the archive has changed")
	}
}

// A server that is stopped for half a minute is killed, so that neither tools nor
// the client hang for ever.
func TestServerStoppedUnderTheCommand(t *testing.T) {
	t.Parallel() // it waits most of the time
	e := newEnv(t)
	e.mustExec(e.url("k"), "echo base >file")
	before := e.bytes("k")
	j := startJob(e, false, `echo new >file; echo ready; until [ -e "$WORKDIR/go" ]; do :; done`)
	pid := e.server()
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	testenv.WaitFor(t, "the watchdog", func() bool { return !proc.Alive(pid) })
	j.signalGroup(syscall.SIGTERM) // test(1) takes ENOTCONN for a no
	code, said := j.end()
	if code != 107 || !strings.Contains(said, "did not answer") {
		t.Errorf("exit code %d, want 107; it said %q", code, said)
	}
	if !bytes.Equal(e.bytes("k"), before) {
		t.Error("the archive has changed")
	}
}
