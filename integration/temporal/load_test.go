package temporal

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	wdactivity "github.com/workdir/workdir/activity"
	"github.com/workdir/workdir/integration/internal/proc"
	"github.com/workdir/workdir/internal/testenv"
	"github.com/workdir/workdir/mount"
)

// sequenceVariable is how many activities TestOneAfterTheOther runs.
const sequenceVariable = "WORKDIR_TEMPORAL_SEQUENCE"

// crowd is how many activities are under way at once.
const crowd = 200

// contentOfOne is what each activity of the crowd writes, in bytes.
const contentOfOne = 64 << 10

// slack is what the counts of a process may differ by between two times at which it
// rests: connections, timers and pollers come and go.
const slack = 20

// memorySlack is likewise for private memory, in bytes. The collector of a process
// at rest may keep so much, see docs/benchmarks.md.
const memorySlack = 64 << 20

// counts of a process.
type counts struct {
	Goroutines  int // of a worker
	Descriptors int
}

// The program "load" has the activity "crowd", which waits in a workspace of its own
// until all are there; "append", as the program of that name; "plain", which does
// without a workspace; "touch", which opens a workspace and stores nothing; and
// "rest", which waits until the worker has no more than so many goroutines and
// descriptors, and returns its counts.
func init() {
	programs["load"] = func(w worker.Worker, c *config) {
		programs["append"](w, c)
		opts := &wdactivity.Options{AutoCommit: true}
		for _, round := range []string{"a", "b"} {
			all := c.gate("go-" + round)
			registerIn(w, "crowd-"+round, c.url("crowd-{activity_id}"), func(ctx context.Context, ws *mount.Mount, _ any) (bool, error) {
				if err := os.WriteFile(ws.Path("file"), bytes.Repeat([]byte(round), contentOfOne), 0o644); err != nil {
					return false, err
				}
				if err := c.note("in-" + round + "-" + activity.GetInfo(ctx).ActivityID); err != nil {
					return false, err
				}
				return true, all(ctx)
			}, opts)
		}
		w.RegisterActivityWithOptions(func(context.Context, string) (int, error) { return 0, nil }, activity.RegisterOptions{Name: "plain"})
		registerIn(w, "touch", c.url("job"), func(context.Context, *mount.Mount, string) (int, error) { return 0, nil }, nil)
		w.RegisterActivityWithOptions(rest, activity.RegisterOptions{Name: "rest"})
	}
}

// rest waits until the process has no more than so many goroutines and descriptors.
func rest(_ context.Context, most counts) (counts, error) {
	var now counts
	err := eventually("rest", func() bool {
		now = counts{Goroutines: runtime.NumGoroutine(), Descriptors: descriptors(os.Getpid())}
		return now.Goroutines <= most.Goroutines && now.Descriptors <= most.Descriptors
	})
	if err != nil {
		stacks := make([]byte, 1<<20)
		err = fmt.Errorf("%w: %+v, want at most %+v\n%s", err, now, most, stacks[:runtime.Stack(stacks, true)])
	}
	runtime.GC()
	return now, err
}

// descriptors counts the open files of a process.
func descriptors(pid int) int {
	list, _ := os.ReadDir(filepath.Join("/proc", strconv.Itoa(pid), "fd")) // none of a process that is gone
	return len(list)
}

// privateMemory is what a process has for itself, in bytes: Private_Dirty of
// proc_pid_smaps(5).
func privateMemory(pid int) int64 { return procField(pid, "smaps_rollup", "Private_Dirty:") << 10 }

// threads counts those of a process.
func threads(pid int) int64 { return procField(pid, "status", "Threads:") }

// procField returns a number from a file of a process; 0 if the process is gone.
func procField(pid int, file, name string) int64 {
	b, _ := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), file))
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == name {
			n, _ := strconv.ParseInt(f[1], 10, 64)
			return n
		}
	}
	return 0
}

// rest returns the counts of the worker, once they are no more than most.
func (e *env) rest(most counts) counts {
	e.t.Helper()
	return runWorkflow(e, once[counts](e, "rest", most))
}

// anything is more than a process has.
var anything = counts{Goroutines: 1 << 30, Descriptors: 1 << 30}

// Two hundred activities at once on one worker, each in a workspace of its own, have
// one server process, and leave no mount, no descriptor, no goroutine and no memory.
func TestManyAtOnce(t *testing.T) {
	e := newEnv(t)
	w := e.newWorker(workerOptions{Program: "load"})
	runWorkflow(e, once[int](e, "touch", "")) // the server is there from now on
	before, serving := e.rest(anything), w.MountServer()
	serverFiles, serverMemory, workerMemory := descriptors(serving), privateMemory(serving), privateMemory(w.pid())
	for _, round := range []string{"a", "b"} {
		r := startWorkflow(e, func(ctx workflow.Context) ([]bool, error) {
			return allAtOnce[bool](workflow.WithActivityOptions(ctx, patient(e.queue)), "crowd-"+round, crowd)
		})
		e.awaitNotes("in-"+round+"-*", crowd)
		if n := len(e.mounts()); n != crowd {
			t.Errorf("%d mounts, want %d", n, crowd)
		}
		if servers := w.servers(); len(servers) != 1 || servers[0] != serving {
			t.Errorf("server processes %v, want %d alone", servers, serving)
		}
		grown := privateMemory(serving) - serverMemory
		t.Logf("round %s: %d mounts, server: %d threads, %d descriptors, %d KiB of private memory a mount; worker: %d threads",
			round, crowd, threads(serving), descriptors(serving), grown>>10/crowd, threads(w.pid()))
		e.note("go-" + round)
		_, err := r.result()
		noError(t, err)
		for i := range crowd {
			if n := len(e.file(fmt.Sprint("crowd-", i), "file")); n != contentOfOne {
				t.Errorf("workspace %d has a file of %d bytes", i, n)
			}
		}
	}
	waitFor(t, "unmounting", func() bool { return len(e.mounts()) == 0 })
	e.rest(counts{Goroutines: before.Goroutines + slack, Descriptors: before.Descriptors + slack})
	waitFor(t, "the server's descriptors to be closed", func() bool { return descriptors(serving) <= serverFiles+slack })
	waitFor(t, "memory to be given back", func() bool {
		return privateMemory(serving) <= serverMemory+memorySlack && privateMemory(w.pid()) <= workerMemory+memorySlack
	})
	t.Logf("at rest: server: %d KiB more than before; worker: %d KiB more", (privateMemory(serving)-serverMemory)>>10, (privateMemory(w.pid())-workerMemory)>>10)
}

// pid is the worker process.
func (w *workerProcess) pid() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cmd.Process.Pid
}

// servers are all mount servers of the worker.
func (w *workerProcess) servers() []int {
	var pids []int
	for _, pid := range proc.Marked(w.mark()) {
		if w.isMountServer(pid) {
			pids = append(pids, pid)
		}
	}
	return pids
}

// Activities one after the other, each of which stores a commit, take no more memory
// the more they are. The log of the workspace is full after the first thousand.
func TestOneAfterTheOther(t *testing.T) {
	t.Run("sequence", oneAfterTheOther) // as scripts/torture.sh calls it
}

func oneAfterTheOther(t *testing.T) {
	e := newEnv(t)
	w := e.newWorker(workerOptions{Program: "load"})
	n := testenv.Number(t, sequenceVariable, 300)
	warm := min(n/3, 2*appendsOfOneRun)
	e.appendFrom(0, warm)
	serving := w.MountServer()
	serverMemory, workerMemory := privateMemory(serving), privateMemory(w.pid())
	before := e.rest(anything)
	for from := warm; from < n; from += appendsOfOneRun {
		e.appendFrom(from, min(from+appendsOfOneRun, n))
		t.Logf("after %d: server %d KiB, worker %d KiB", min(from+appendsOfOneRun, n), privateMemory(serving)>>10, privateMemory(w.pid())>>10)
	}
	if now := w.MountServer(); now != serving {
		t.Errorf("the mount server is process %d, was %d", now, serving)
	}
	waitFor(t, "memory to be flat", func() bool {
		return privateMemory(serving) <= serverMemory+memorySlack && privateMemory(w.pid()) <= workerMemory+memorySlack
	})
	e.rest(counts{Goroutines: before.Goroutines + slack, Descriptors: before.Descriptors + slack})
	checkLines(e, n)
}

// appendFrom runs a workflow of appends.
func (e *env) appendFrom(from, to int) {
	e.t.Helper()
	for ; from < to; from += appendsOfOneRun {
		if wrong := runWorkflow(e, appendAll(e, from, min(from+appendsOfOneRun, to))); len(wrong) > 0 {
			e.t.Errorf("%d appends gave the result of another one: %s", len(wrong), wrong[0])
		}
	}
}
