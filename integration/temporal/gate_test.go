package temporal

import (
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	failurepb "go.temporal.io/api/failure/v1"
	"go.temporal.io/api/workflowservice/v1"
	"go.temporal.io/sdk/workflow"

	"github.com/workdir/workdir/activity/errtype"
	"github.com/workdir/workdir/integration/stores"
)

// gate stands between an S3 server and all who use it.
type gate struct {
	mu   sync.Mutex
	fate func(object string, r *http.Request) stores.Fault // guarded by mu; nil: none
}

// newGatedEnv is newS3Env with a gate.
func newGatedEnv(t *testing.T) (*env, *gate) {
	t.Helper()
	g := &gate{}
	e := newS3EnvBehind(t, func(_ *env, s *stores.Server) string {
		p, err := stores.NewProxy(s, g.meet)
		noError(t, err)
		t.Cleanup(func() { noError(t, p.Close()) })
		return p.Address
	})
	return e, g
}

// set says what becomes of the requests from now on, which come concurrently; fate
// may hold one back. object is the last name of what it is about.
func (g *gate) set(fate func(object string, r *http.Request) stores.Fault) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fate = fate
}

func (g *gate) meet(r *http.Request) stores.Fault {
	g.mu.Lock()
	fate := g.fate
	g.mu.Unlock()
	if fate == nil {
		return stores.None
	}
	return fate(path.Base(r.URL.Path), r)
}

// outage is a store that goes away when a workspace is being stored.
type outage struct {
	first stores.Fault // what the request meets that stores the workspace
	then  stores.Fault // what all about it meet after that
	limit int          // of requests that meet it; 0: as many as come until it ends

	met   int  // requests that have met it; guarded by outages.mu, final when it has ended
	ended bool // guarded by outages.mu
}

// meet returns what a request meets. Preconditions: outages.mu is held.
func (o *outage) meet(r *http.Request) stores.Fault {
	begins := o.met == 0
	if o.ended || begins && r.Method != http.MethodPut || !begins && o.met == o.limit {
		return stores.None
	}
	o.met++
	if begins {
		return o.first
	}
	return o.then
}

// outages are those of one test, by the names of the workspaces.
type outages struct {
	mu    sync.Mutex
	byKey map[string]*outage
}

// meet is for gate.set.
func (s *outages) meet(object string, r *http.Request) stores.Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	if o := s.byKey[strings.TrimSuffix(object, ".tar.gz")]; o != nil {
		return o.meet(r)
	}
	return stores.None
}

// end ends all outages.
func (s *outages) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, o := range s.byKey {
		o.ended = true
	}
}

// failures collects what the attempts of a worker have failed with.
type failures struct {
	mu  sync.Mutex
	all []*failurepb.Failure // guarded by mu
}

// collect is for proxy.set.
func (f *failures) collect(c *call, forward func() error) error {
	if c.Method == "RespondActivityTaskFailed" {
		var req workflowservice.RespondActivityTaskFailedRequest
		if err := c.Request(&req); err != nil {
			return err
		}
		f.mu.Lock()
		f.all = append(f.all, req.GetFailure())
		f.mu.Unlock()
	}
	return forward()
}

// count reports how many have failed with errors of a type.
func (f *failures) count(typ string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, failure := range f.all {
		if failure.GetApplicationFailureInfo().GetType() == typ {
			n++
		}
	}
	return n
}

// checkRetried holds that all errors are of the types given, and are retried.
func (f *failures) checkRetried(t *testing.T, types ...string) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, failure := range f.all {
		info := failure.GetApplicationFailureInfo()
		if !slices.Contains(types, info.GetType()) || info.GetNonRetryable() {
			t.Errorf("an attempt failed with %s (not retried: %v): %s; want one of %q", info.GetType(), info.GetNonRetryable(), failure.GetMessage(), types)
		}
	}
}

// The store goes away in the middle of a commit. For a short time the attempt does
// not mind: it sends its request again. For longer, it fails with an error that is
// retried, and once the store is back the work is there once; also where the store
// had stored it, and only its answer was lost.
func TestStoreGoesAway(t *testing.T) {
	all := &outages{byKey: map[string]*outage{
		"short-cut":    {first: stores.LoseRequest, then: stores.LoseRequest, limit: 3},
		"short-order":  {first: stores.Error503, then: stores.Error503, limit: 3},
		"short-answer": {first: stores.LoseAnswer, then: stores.LoseRequest, limit: 3},
		"long-cut":     {first: stores.LoseRequest, then: stores.LoseRequest},
		"long-order":   {first: stores.Error503, then: stores.Error503},
		"long-answer":  {first: stores.LoseAnswer, then: stores.LoseRequest},
	}}
	long := 0
	e, g := newGatedEnv(t)
	g.set(all.meet)
	var failed failures
	e.newWorker(workerOptions{Program: "tally", Intercept: failed.collect})
	runs := map[string]*run[int32]{}
	for name, o := range all.byKey {
		runs[name] = startPatient(e, "add", tally{name, name})
		if o.limit == 0 {
			long++
		}
	}
	waitFor(t, "the first attempts that fail", func() bool { return failed.count(errtype.Unknown) == long })
	all.end()
	for name, r := range runs {
		got, err := r.result()
		noError(t, err)
		o := all.byKey[name]
		if o.limit == 0 && o.first != stores.LoseAnswer {
			e.checkAgain(name, got)
		} else {
			e.checkOnce(name, got)
		}
		if o.met < max(2, o.limit) {
			t.Errorf("%s: %d requests met the outage, want %d", name, o.met, max(2, o.limit))
		}
		if got := e.file(name, "lines"); got != name+"\n" {
			t.Errorf("%s has the lines %q, want one", name, got)
		}
		if n := len(e.log(name)); n != 1 {
			t.Errorf("%s has %d commits, want 1", name, n)
		}
	}
	failed.checkRetried(t, errtype.Unknown, errtype.Unreachable) // at the commit, and at later opens
}

// startPatient is startTally with time for stores that are slow or away.
func startPatient(e *env, activity string, in tally) *run[int32] {
	e.t.Helper()
	return startWorkflow(e, func(ctx workflow.Context) (int32, error) {
		opts := options(e.queue)
		opts.StartToCloseTimeout = 5 * time.Minute
		opts.HeartbeatTimeout = patience
		return execute[int32](workflow.WithActivityOptions(ctx, opts), activity, in)
	})
}

// patience is a heartbeat timeout that a machine under load does not miss.
const patience = 5 * time.Second

// Opening, a tool, and storing take longer than two heartbeat timeouts, and the
// attempt lives: heartbeats are sent for it from its first request to its last.
func TestLongerThanAHeartbeat(t *testing.T) {
	e, g := newGatedEnv(t)
	e.newWorker(workerOptions{Program: "tally"})
	e.tally("add", tally{"opening", "base"})

	enough := make(chan struct{})
	held := map[string]string{"opening.tar.gz": http.MethodGet, "storing.tar.gz": http.MethodPut}
	g.set(func(object string, r *http.Request) stores.Fault {
		if held[object] == r.Method {
			select {
			case <-enough:
			case <-r.Context().Done():
			}
		}
		return stores.None
	})
	runs := map[string]*run[int32]{
		"opening": startPatient(e, "add", tally{"opening", "opening"}),
		"tool":    startPatient(e, "tool", tally{"tool", "tool"}),
		"storing": startPatient(e, "add", tally{"storing", "storing"}),
	}
	for name, r := range runs {
		if attempt := r.awaitAlive(1, 2*patience+time.Second); attempt != 1 {
			t.Errorf("%s: it is attempt %d, want 1", name, attempt)
		}
	}
	close(enough)
	e.note("go-tool")
	for name, r := range runs {
		got, err := r.result()
		noError(t, err)
		e.checkOnce(name, got)
	}
}
