package temporal

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/integration/internal/proc"
)

// workerOptions are those of newWorker. The zero value is good but for Program.
type workerOptions struct {
	Program     string // in programs
	Args        map[string]string
	Queue       string // task queue; "": the env's
	RunDir      string // name of its run directory; "": one of its own
	Workflows   bool   // it runs workflows, and so local activities, as well
	NoFUSE      bool   // it has neither /dev/fuse nor fusermount3, and does not call mount.Init
	Concurrent  int    // activities at once; 0: the SDK's default
	StopTimeout time.Duration
	Intercept   handler // see proxy.set
}

// workerProcess is a worker of its own process, process group, identity, run
// directory, and proxy before the Temporal server. Its methods may be called from
// any goroutine, in any state of the process.
type workerProcess struct {
	*proxy // set changes what becomes of its calls
	name   string
	env    *env
	opts   workerOptions

	mu      sync.Mutex
	cmd     *exec.Cmd     // guarded by mu; nil before the first Start
	ended   chan struct{} // closed when cmd has; guarded by mu
	stopped bool          // by Stop; guarded by mu
	serving int           // the mount server as last seen; guarded by mu
}

// newWorker starts a worker process and waits until it polls.
func (e *env) newWorker(opts workerOptions) *workerProcess {
	e.t.Helper()
	w := e.addWorker(opts)
	noError(e.t, w.Start())
	return w
}

// addWorker returns a worker that does not run yet.
func (e *env) addWorker(opts workerOptions) *workerProcess {
	e.t.Helper()
	p, err := newProxy(server.address)
	noError(e.t, err)
	p.set(opts.Intercept)
	w := &workerProcess{proxy: p, name: fmt.Sprintf("w%d", len(e.workers)), env: e, opts: opts}
	e.workers = append(e.workers, w)
	return w
}

// runDir is the worker's run directory.
func (w *workerProcess) runDir() string {
	name := w.opts.RunDir
	if name == "" {
		name = w.name
	}
	return filepath.Join(w.env.root, "run-"+name)
}

func (w *workerProcess) logPath() string { return filepath.Join(w.env.root, w.name+".log") }

// mark is in the environment of the worker process and of those that it starts.
func (w *workerProcess) mark() string { return "WORKDIR_TEMPORAL_NAME=" + w.name + "@" + w.env.root }

func (w *workerProcess) config() config {
	queue := w.opts.Queue
	if queue == "" {
		queue = w.env.queue
	}
	return config{
		Name: w.name, Address: w.address, Queue: queue, Program: w.opts.Program, Args: w.opts.Args,
		Bucket: w.env.bucket, RunDir: w.runDir(), Notes: w.env.notes(),
		Workflows: w.opts.Workflows, Concurrent: w.opts.Concurrent, StopTimeout: w.opts.StopTimeout,
	}
}

// noFUSEVariable is in the environment of workers without FUSE.
const noFUSEVariable = "WORKDIR_TEMPORAL_NO_FUSE"

// withoutFUSE runs $0 in the same process where there is neither /dev/fuse nor
// fusermount3. The directory $1 becomes its /dev. Mounts of other tests, which would
// be in use in its mount namespace for as long as it runs, are taken out of that.
const withoutFUSE = proc.LeaveMounts + `
	mkdir -p "$1"
	mount -t tmpfs none "$1"
	for n in null zero full random urandom; do touch "$1/$n"; mount --bind "/dev/$n" "$1/$n"; done
	mount --bind /dev/null "$(command -v fusermount3)"
	mount --rbind "$1" /dev
	exec "$0"`

// Start starts the process, again after a Kill or a Shutdown, and waits until it
// polls.
func (w *workerProcess) Start() error {
	encoded, err := json.Marshal(w.config())
	if err != nil {
		return err
	}
	log, err := os.OpenFile(w.logPath(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command("/proc/self/exe")
	if w.opts.NoFUSE {
		if cmd, err = w.withoutFUSE(); err != nil {
			return err
		}
	}
	cmd.Env = append(append(os.Environ(), cmd.Env...), configVariable+"="+string(encoded), envVariable+"="+w.env.root, w.mark())
	cmd.Env = append(cmd.Env, w.env.vars...)
	cmd.Stderr = log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL} // nothing stays behind a test that is killed
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	go func() {
		_ = cmd.Wait() // killed, mostly
		close(ended)
	}()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cmd, w.ended, w.stopped = cmd, ended, false
	if err != nil || strings.TrimSpace(line) != readyLine {
		return fmt.Errorf("worker %s is not ready: %q, %w: %s", w.name, line, err, w.log())
	}
	return nil
}

// withoutFUSE is the command of a worker with workerOptions.NoFUSE.
func (w *workerProcess) withoutFUSE() (*exec.Cmd, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.Command("unshare", "--mount", "sh", "-ec", withoutFUSE, self, filepath.Join(w.env.root, "dev"))
	cmd.Env = []string{noFUSEVariable + "=yes"}
	return cmd, nil
}

// log returns the end of what the worker processes have said.
func (w *workerProcess) log() string {
	const end = 16 << 10
	b, err := os.ReadFile(w.logPath())
	if err != nil {
		return err.Error()
	}
	return string(b[max(0, len(b)-end):])
}

// target is which of a worker's processes are meant.
type target int

// Targets. Tools that an activity started go with the worker, whose group they
// are in.
const (
	workerOnly target = 1 << iota
	mountServer
	both = workerOnly | mountServer
)

// MountServer returns the process that serves the worker's mounts; 0 if there is
// none.
func (w *workerProcess) MountServer() int {
	w.mu.Lock()
	pid := w.serving
	w.mu.Unlock()
	if pid != 0 && w.isMountServer(pid) && proc.HasVariable(pid, w.mark()) {
		return pid
	}
	for _, pid := range proc.Marked(w.mark()) {
		if w.isMountServer(pid) {
			w.mu.Lock()
			w.serving = pid
			w.mu.Unlock()
			return pid
		}
	}
	return 0
}

func (w *workerProcess) isMountServer(pid int) bool {
	name, _, _ := strings.Cut(proc.CommandLine(pid), " ")
	return filepath.Base(name) == "workdir-server"
}

// pids returns the processes that are meant and alive.
func (w *workerProcess) pids(who target) []int {
	serving := w.MountServer()
	return slices.DeleteFunc(proc.Marked(w.mark()), func(pid int) bool {
		return pid == serving && who&mountServer == 0 || pid != serving && who&workerOnly == 0
	})
}

// Kill ends processes by SIGKILL and waits until they are gone. It tells whether
// one of them was alive.
func (w *workerProcess) Kill(who target) bool {
	hit := false
	if who&workerOnly != 0 {
		hit = w.killWorker() // at once: looking for its tools takes milliseconds
	}
	if who == mountServer {
		return w.kill(w.MountServer())
	}
	for _, pid := range w.pids(who) {
		hit = w.kill(pid) || hit
	}
	return hit
}

// killWorker kills the worker process alone.
func (w *workerProcess) killWorker() bool {
	w.mu.Lock()
	cmd, ended := w.cmd, w.ended
	w.mu.Unlock()
	if cmd == nil || cmd.Process.Kill() != nil { // Process knows that it has ended
		return false
	}
	<-ended
	return true
}

// kill kills one process, unless it is 0.
func (w *workerProcess) kill(pid int) bool {
	if pid == 0 {
		return false
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return false // ended
	}
	defer unix.Close(fd)
	if unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) != nil {
		return false // likewise
	}
	if err := proc.AwaitExit(fd); err != nil {
		w.env.t.Errorf("kill %s: %v", w.name, err)
	}
	return true
}

// Stop stops processes by SIGSTOP; they are zombies to Temporal before long. Cont
// lets all go on.
func (w *workerProcess) Stop(who target) {
	w.signal(who, syscall.SIGSTOP)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = true
}

// Cont lets stopped processes go on.
func (w *workerProcess) Cont() {
	w.signal(both, syscall.SIGCONT)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.stopped = false
}

// Shutdown asks the worker to stop, as a deployment does, and waits until it and
// its mount server have ended.
func (w *workerProcess) Shutdown() error {
	w.mu.Lock()
	cmd, ended := w.cmd, w.ended
	w.mu.Unlock()
	if cmd == nil {
		return nil
	}
	_ = cmd.Process.Signal(syscall.SIGTERM) // fails where it has ended already
	select {
	case <-ended:
	case <-time.After(waitLimit):
		return fmt.Errorf("worker %s did not end on SIGTERM", w.name)
	}
	return eventually("the end of what worker "+w.name+" started", func() bool { return len(proc.Marked(w.mark())) == 0 })
}

// signal sends a signal to all processes that are meant.
func (w *workerProcess) signal(who target, sig syscall.Signal) {
	for _, pid := range w.pids(who) {
		_ = syscall.Kill(pid, sig) // it may have ended
	}
}

// end ends the worker at the end of its test, and shows its log if the test
// failed.
func (w *workerProcess) end() {
	defer w.close()
	w.set(nil)
	w.mu.Lock()
	stopped := w.stopped
	w.mu.Unlock()
	if stopped {
		w.Cont()
	}
	if err := w.Shutdown(); err != nil {
		w.env.t.Error(err)
	}
	if w.env.t.Failed() {
		w.env.t.Logf("log of worker %s:\n%s", w.name, w.log())
	}
}
