package temporal

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/workdir/workdir/integration/stores"
	"github.com/workdir/workdir/mount"
)

// zombieBulk is how much a large workspace of these tests holds, bytes: enough for
// an upload that can be stopped in its middle.
const zombieBulk = 48 << 20

// The program "zombie" has an activity that appends a line with its attempt to a
// file, and returns the attempt. Attempt N notes "opened-N", waits for "go-N", whatever
// becomes of its context, notes "marked-N" before it returns, and "ended-N" when all
// is over.
func init() {
	programs["zombie"] = func(w worker.Worker, c *config) {
		work := wrap(c.url("job"), func(ctx context.Context, ws *mount.Mount, bulk int64) (int, error) {
			attempt := int(activity.GetInfo(ctx).Attempt)
			if err := c.note(fmt.Sprintf("opened-%d", attempt)); err != nil {
				return 0, err
			}
			if err := c.await(context.Background(), fmt.Sprintf("go-%d", attempt)); err != nil {
				return 0, err
			}
			if _, err := appendLine(ctx, ws, fmt.Sprintf("attempt %d", attempt)); err != nil {
				return 0, err
			}
			if err := writeBulk(ws.Path("bulk"), bulk); err != nil {
				return 0, err
			}
			_ = ws.Commit() // a mount that was revoked says so; the activity goes on, as a bad one would
			return attempt, c.note(fmt.Sprintf("marked-%d", attempt))
		}, nil)
		w.RegisterActivityWithOptions(func(ctx context.Context, bulk int64) (int, error) {
			attempt, err := work(ctx, bulk)
			_ = c.note(fmt.Sprintf("ended-%d", activity.GetInfo(ctx).Attempt)) // the test misses it
			return attempt, err
		}, activity.RegisterOptions{Name: "zombie"})
	}
}

// writeBulk writes n bytes that cannot be compressed.
func writeBulk(path string, n int64) error {
	if n == 0 {
		return nil
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	_, err = io.CopyN(f, rand.Reader, n)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	return err
}

// zombieStep is where the first attempt is stopped.
type zombieStep struct {
	name string
	bulk int64
	// arm makes the zombie stop at the step, by z.stop; it is called when the
	// attempt has opened its workspace.
	arm func(z *zombie)
	// own says that the attempt had stored the workspace before it was stopped, so
	// that its successor finds the work done.
	own bool
}

// A commit asks Temporal twice whether its attempt is current: before the upload,
// and right before the request that makes it visible.
var zombieSteps = []zombieStep{
	{name: "while it works", arm: func(z *zombie) { z.stop() }},
	{name: "before the first answer", arm: func(z *zombie) { z.atHeartbeat(1, false) }},
	{name: "after the first answer", arm: func(z *zombie) { z.atHeartbeat(1, true) }},
	{name: "while it uploads", bulk: zombieBulk, arm: (*zombie).atUpload},
	{name: "before the second answer", arm: func(z *zombie) { z.atHeartbeat(2, false) }},
	{name: "after the second answer", arm: func(z *zombie) { z.atHeartbeat(2, true) }},
	{name: "after the commit", own: true, arm: (*zombie).atStored},
	{name: "before its completion arrives", own: true, arm: (*zombie).atCompletion},
}

// An attempt that is stopped at any step of its commit, replaced, and woken, has no
// effect beside its successor's: the workspace has one of both, whose result is the
// activity's.
func TestZombies(t *testing.T) {
	targets := map[string]target{"worker": workerOnly, "both processes": both}
	for _, step := range zombieSteps {
		for name, who := range targets {
			for _, late := range []bool{true, false} {
				when := "woken while its successor works"
				if late {
					when = "woken after its successor"
				}
				t.Run(step.name+"/"+name+"/"+when, func(t *testing.T) {
					t.Parallel()
					newZombie(newEnv(t), step, who).run(late)
				})
			}
		}
	}
}

// A mount server that is stopped is taken for dead before long, and its attempt
// fails.
func TestStoppedMountServer(t *testing.T) {
	for _, step := range zombieSteps {
		if step.own || step.name == "before the first answer" {
			continue // the server has no part in it
		}
		t.Run(step.name, func(t *testing.T) {
			t.Parallel()
			newZombie(newEnv(t), step, mountServer).run(true)
		})
	}
}

// On an object store a request can be on its way while its sender is stopped, and
// arrive when the successor's commit is there: the condition refuses it.
func TestZombieRequests(t *testing.T) {
	first := func(r *http.Request) bool { return r.Method == http.MethodPut && r.URL.Query().Has("partNumber") }
	last := func(r *http.Request) bool { return r.Method == http.MethodPost && r.URL.Query().Has("uploadId") }
	whole := func(r *http.Request) bool { return r.Method == http.MethodPut && path.Base(r.URL.Path) == "job.tar.gz" }
	for _, c := range []struct {
		name    string
		bulk    int64
		request func(*http.Request) bool
		held    bool // until the zombie is woken; else as far as its sender came
	}{
		{name: "a part of the upload", bulk: zombieBulk, request: first},
		{name: "the end of the upload, late", bulk: zombieBulk, request: last, held: true},
		{name: "the whole archive, late", request: whole, held: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			e, g := newGatedEnv(t)
			newZombie(e, zombieStep{name: c.name, bulk: c.bulk, arm: func(z *zombie) {
				var met atomic.Bool
				g.set(func(_ string, r *http.Request) stores.Fault {
					if !c.request(r) || met.Swap(true) {
						return stores.None
					}
					z.stop()
					if c.held {
						<-z.woken
					}
					return stores.None
				})
			}}, both).run(true)
		})
	}
}

// zombie is one such story.
type zombie struct {
	e    *env
	step zombieStep
	who  target
	w    *workerProcess // that is stopped
	work *run[int]

	once    sync.Once
	stopped chan struct{} // closed when it is stopped
	woken   chan struct{} // closed when it goes on

	mu         sync.Mutex
	heartbeats int // since the work was marked; guarded by mu
}

func newZombie(e *env, step zombieStep, who target) *zombie {
	z := &zombie{e: e, step: step, who: who, stopped: make(chan struct{}), woken: make(chan struct{})}
	// With one slot it asks for no other task while it has one, and so gets none
	// while it is stopped.
	z.w = e.newWorker(workerOptions{Program: "zombie", Concurrent: 1})
	return z
}

// stop stops the zombie, at the first call.
func (z *zombie) stop() {
	z.once.Do(func() {
		z.w.Stop(z.who)
		close(z.stopped)
	})
}

// run plays the scenario. late: the zombie is resumed after everything else.
func (z *zombie) run(late bool) {
	e := z.e
	z.work = startWorkflow(e, func(ctx workflow.Context) (int, error) {
		opts := options(e.queue)
		opts.HeartbeatTimeout = 4 * time.Second
		return execute[int](workflow.WithActivityOptions(ctx, opts), "zombie", z.step.bulk)
	})
	e.awaitNote("opened-1")
	z.step.arm(z)
	e.note("go-1")
	waitFor(e.t, "the stop", func() bool { return isClosed(z.stopped) })
	if late {
		z.letGo(2)
	}
	e.newWorker(workerOptions{Program: "zombie"})
	if !late {
		waitFor(e.t, "the successor", func() bool { return e.noted("opened-2") || z.over() })
		z.wake()
		z.letGo(2)
	}
	attempt, err := z.work.result()
	noError(e.t, err)
	if late {
		z.wake()
	}
	noError(e.t, z.w.Shutdown())
	z.check(attempt)
}

// letGo lets all attempts from n on go on.
func (z *zombie) letGo(n int) {
	for ; n < 10; n++ {
		z.e.note(fmt.Sprintf("go-%d", n))
	}
}

// wake lets the zombie go on, and waits for the end of its attempt.
func (z *zombie) wake() {
	close(z.woken)
	z.w.Cont()
	z.e.awaitNote("ended-1")
}

// over reports whether the workflow has ended.
func (z *zombie) over() bool {
	d, err := server.client.DescribeWorkflow(z.e.t.Context(), z.work.GetID(), z.work.GetRunID())
	noError(z.e.t, err)
	return d.RawResponse.GetWorkflowExecutionInfo().GetCloseTime() != nil
}

// check holds the one effect against the one result.
func (z *zombie) check(attempt int) {
	t := z.e.t
	if got, want := z.e.file("job", "lines"), fmt.Sprintf("attempt %d\n", attempt); got != want {
		t.Errorf("the workspace has %q; the activity gave the result of attempt %d", got, attempt)
	}
	records := z.e.log("job")
	if len(records) != 1 {
		t.Errorf("%d commits, want 1", len(records))
	}
	if got := int(records[0].Origin.Attempt); got != attempt {
		t.Errorf("attempt %d committed; the activity gave the result of attempt %d", got, attempt)
	}
	if z.step.own && attempt != 1 {
		t.Errorf("attempt %d gave the result, though the first had committed", attempt)
	}
}

// atHeartbeat stops the zombie at its nth heartbeat after the mark: with the
// server's answer on its way to it, or before the server has the question, which it
// gets once the zombie is woken.
func (z *zombie) atHeartbeat(n int, answered bool) {
	z.w.set(func(c *call, forward func() error) error {
		if c.Method != "RecordActivityTaskHeartbeat" || !z.e.noted("marked-1") || z.countHeartbeat() != n {
			return forward()
		}
		if answered {
			err := forward()
			z.stop()
			return err
		}
		z.stop()
		<-z.woken
		return forward()
	})
}

func (z *zombie) countHeartbeat() int {
	z.mu.Lock()
	defer z.mu.Unlock()
	z.heartbeats++
	return z.heartbeats
}

// atUpload stops the zombie while its archive is beside the place that it is for.
func (z *zombie) atUpload() {
	go func() {
		_ = eventually("an upload", func() bool { return len(z.e.litter()) > 0 || isClosed(z.woken) }) // run misses the stop
		z.stop()
	}()
}

// atStored stops the zombie when its archive is stored. Its completion, should it
// be under way by then, waits.
func (z *zombie) atStored() {
	z.e.onStored(z.stop)
	z.atCompletion()
}

// atCompletion stops the zombie when it has told that its work is done. The server
// hears of it once the zombie is woken.
func (z *zombie) atCompletion() {
	z.w.set(func(c *call, forward func() error) error {
		if c.Method == "RespondActivityTaskCompleted" {
			z.stop()
			<-z.woken
		}
		return forward()
	})
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
