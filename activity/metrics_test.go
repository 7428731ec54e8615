package activity

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"

	"github.com/workdir/workdir/mount"
	"github.com/workdir/workdir/store"
)

// captured is a metrics handler that keeps what it gets, by name and labels:
// "name{label=value,…}".
type captured struct {
	tags map[string]string
	all  *capturedValues
}

type capturedValues struct {
	mu     sync.Mutex
	counts map[string]int64   // guarded by mu
	gauges map[string]float64 // guarded by mu
	most   map[string]float64 // guarded by mu; the largest value of a gauge
	timers map[string]int     // guarded by mu; how often
}

func newCaptured() *captured {
	return &captured{all: &capturedValues{counts: map[string]int64{}, gauges: map[string]float64{}, most: map[string]float64{}, timers: map[string]int{}}}
}

func (c *captured) key(name string) string {
	var tags []string
	for k, v := range c.tags {
		tags = append(tags, k+"="+v)
	}
	slices.Sort(tags)
	return name + "{" + strings.Join(tags, ",") + "}"
}

func (c *captured) WithTags(tags map[string]string) client.MetricsHandler {
	merged := maps.Clone(tags)
	for k, v := range c.tags {
		if _, ok := merged[k]; !ok {
			merged[k] = v
		}
	}
	return &captured{tags: merged, all: c.all}
}

func (c *captured) Counter(name string) client.MetricsCounter { return capturedMetric{c, c.key(name)} }
func (c *captured) Gauge(name string) client.MetricsGauge     { return capturedMetric{c, c.key(name)} }
func (c *captured) Timer(name string) client.MetricsTimer     { return capturedMetric{c, c.key(name)} }

type capturedMetric struct {
	*captured
	name string
}

func (m capturedMetric) Inc(n int64) {
	m.all.mu.Lock()
	defer m.all.mu.Unlock()
	m.all.counts[m.name] += n
}

func (m capturedMetric) Update(v float64) {
	m.all.mu.Lock()
	defer m.all.mu.Unlock()
	m.all.gauges[m.name] = v
	m.all.most[m.name] = max(m.all.most[m.name], v)
}

func (m capturedMetric) Record(time.Duration) {
	m.all.mu.Lock()
	defer m.all.mu.Unlock()
	m.all.timers[m.name]++
}

func (c *captured) gauge(name string) float64 {
	c.all.mu.Lock()
	defer c.all.mu.Unlock()
	return c.all.gauges[name]
}

// want fails unless exactly the counters of want were counted.
func (c *captured) want(t *testing.T, want map[string]int64) {
	t.Helper()
	c.all.mu.Lock()
	defer c.all.mu.Unlock()
	if !reflect.DeepEqual(c.all.counts, want) {
		t.Errorf("counted %v, want %v", c.all.counts, want)
	}
}

// newTestObserver returns an opened visit, and its reports.
func newTestObserver(t *testing.T) (*observer, *captured, *lines) {
	metrics, log := newCaptured(), &lines{}
	o := &observer{metrics: metrics, log: slog.New(logHandler{out: log}), level: levelKey{scheme: "s3", mode: modeWrite, activityType: t.Name()}, every: sampleInterval, since: time.Now()}
	o.opened(&mount.Mount{})
	return o, metrics, log
}

func TestEveryVisitHasOneEnding(t *testing.T) {
	cause := errors.New("the cause")
	conflict := fmt.Errorf("commit: %w", &store.ConflictError{Want: "1", Have: "2"})
	committed := &mount.CommittedError{URL: "s3://b/k"}
	m := &mount.Mount{}
	tests := []struct {
		name string
		tell func(o *observer)
		want map[string]int64 // beside the open
	}{
		{"stored", func(o *observer) { o.closed(m, true, mount.Result{Stored: true, Size: 7}, nil) },
			map[string]int64{"workdir_commits{outcome=stored}": 1, "workdir_bytes_stored{}": 7}},
		{"deleted", func(o *observer) { o.closed(m, true, mount.Result{Deleted: true}, nil) },
			map[string]int64{"workdir_commits{outcome=deleted}": 1}},
		{"unchanged", func(o *observer) { o.closed(m, true, mount.Result{}, nil) },
			map[string]int64{"workdir_commits{outcome=unchanged}": 1}},
		{"released", func(o *observer) { o.closed(m, false, mount.Result{}, nil) },
			map[string]int64{"workdir_released{}": 1}},
		{"conflict", func(o *observer) { o.closed(m, true, mount.Result{}, conflict) },
			map[string]int64{"workdir_conflicts{}": 1}},
		{"replayed", func(o *observer) { o.closed(m, true, mount.Result{}, committed) },
			map[string]int64{"workdir_replayed{point=commit}": 1}},
		{"failed to commit", func(o *observer) { o.closed(m, true, mount.Result{}, cause) },
			map[string]int64{"workdir_aborted{reason=commit}": 1}},
		{"fenced", func(o *observer) { o.fenced("u", cause); o.closed(m, true, mount.Result{}, cause) },
			map[string]int64{"workdir_fenced{}": 1}},
		{"aborted", func(o *observer) { o.aborted("u", abortPanic, cause); o.closed(m, false, mount.Result{}, nil) },
			map[string]int64{"workdir_aborted{reason=panic}": 1}},
		{"traffic", func(o *observer) {
			o.closed(m, false, mount.Result{Traffic: store.Traffic{"get": {Count: 3, Retries: 1, Received: 10}, "put": {Count: 1, Sent: 5}}}, nil)
		}, map[string]int64{
			"workdir_released{}": 1, "workdir_bytes_received{}": 10, "workdir_bytes_sent{}": 5,
			"workdir_requests{operation=get}": 3, "workdir_requests{operation=put}": 1, "workdir_retries{operation=get}": 1,
		}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o, metrics, _ := newTestObserver(t)
			test.tell(o)
			test.want["workdir_opens{}"] = 1
			metrics.want(t, test.want)
		})
	}
}

func TestOpenThatFails(t *testing.T) {
	tests := []struct {
		err  error
		want string
	}{
		{temporal.NewApplicationError("gone", "workdir.Unreachable"), "workdir_open_failures{reason=workdir.Unreachable}"},
		{&mount.CommittedError{}, "workdir_replayed{point=open}"},
	}
	for _, test := range tests {
		metrics := newCaptured()
		o := &observer{metrics: metrics, log: slog.New(slog.DiscardHandler)}
		o.openFailed("u", test.err)
		metrics.want(t, map[string]int64{test.want: 1})
	}
}

// Gauges add up the visits with the same labels, and go back to zero.
func TestGauges(t *testing.T) {
	one, metrics, _ := newTestObserver(t)
	two, _, _ := newTestObserver(t)
	two.metrics = metrics
	wantLevel := func(mounts, bytes float64) {
		t.Helper()
		got := metrics.all.gauges
		want := map[string]float64{"workdir_mounted{}": mounts, "workdir_memory{}": bytes}
		if !maps.Equal(got, want) {
			t.Errorf("gauges %v, want %v", got, want)
		}
	}
	one.sampled(mount.Status{Bytes: 100})
	two.sampled(mount.Status{Bytes: 10})
	wantLevel(2, 110)
	one.sampled(mount.Status{Bytes: 50})
	wantLevel(2, 60)
	one.closed(&mount.Mount{}, false, mount.Result{}, nil)
	wantLevel(1, 10)
	one.sampled(mount.Status{Bytes: 50}) // too late, and no matter
	two.closed(&mount.Mount{}, false, mount.Result{}, nil)
	wantLevel(0, 0)
	if len(levels.now) != 0 {
		t.Errorf("left: %v", levels.now)
	}
}

// Unmarked work is lost without an error, so it is logged.
func TestLogOfDroppedChanges(t *testing.T) {
	o, metrics, log := newTestObserver(t)
	var res mount.Result
	res.Changes.Created = 3
	o.closed(&mount.Mount{}, false, res, nil)
	metrics.want(t, map[string]int64{"workdir_opens{}": 1, "workdir_released{}": 1})
	last := (*log)[len(*log)-1]
	if !strings.HasPrefix(last, "info workspace closed, its changes were not marked") || !strings.Contains(last, "created 3") {
		t.Errorf("log %q", last)
	}
}

// The content size of a mount is sampled while it is mounted, not only at its end.
func TestSamplesOfAMount(t *testing.T) {
	metrics := newCaptured()
	o := &observer{metrics: metrics, log: slog.New(slog.DiscardHandler), every: time.Millisecond, since: time.Now()}
	m, err := mount.Open(t.Context(), "file://"+t.TempDir()+"/ws", &mount.Options{RunDir: filepath.Join(t.TempDir(), "run")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := mount.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	o.opened(m)
	if err := os.WriteFile(m.Path("f"), make([]byte, 100_000), 0o600); err != nil {
		t.Error(err)
	}
	for deadline := time.Now().Add(time.Minute); metrics.gauge("workdir_memory{}") < 100_000; {
		if time.Now().After(deadline) {
			t.Fatal("the memory was not looked at")
		}
		runtime.Gosched()
	}
	res, err := m.Close(t.Context())
	o.closed(m, false, res, err)
	if v := metrics.gauge("workdir_memory{}"); v != 0 {
		t.Errorf("memory after the end is %v bytes", v)
	}
}

func TestLogOfACommit(t *testing.T) {
	o, metrics, log := newTestObserver(t)
	o.closed(&mount.Mount{}, true, mount.Result{Stored: true, Revision: "r2", CommitID: "c1"}, nil)
	if n := metrics.all.timers["workdir_commit_latency{}"]; n != 1 {
		t.Errorf("commit was timed %d times", n)
	}
	last := (*log)[len(*log)-1]
	for _, part := range []string{"info workspace committed", "outcome stored", "revision r2", "commit c1", "took"} {
		if !strings.Contains(last, part) {
			t.Errorf("%q is not in %q", part, last)
		}
	}
}

// What an activity does reaches the handler and the log of its worker.
func TestMetricsOfAnActivity(t *testing.T) {
	metrics, log := newCaptured(), &lines{}
	var suite testsuite.WorkflowTestSuite
	suite.SetMetricsHandler(metrics)
	suite.SetLogger(log)
	env := suite.NewTestActivityEnvironment()
	opts := &Options{AutoCommit: true, RunDir: filepath.Join(t.TempDir(), "run")}
	t.Cleanup(func() {
		if err := mount.Stop(context.Background()); err != nil {
			t.Error(err)
		}
	})
	plugin, err := NewPlugin(&PluginOptions{NoPreflight: true})
	if err != nil {
		t.Fatal(err)
	}
	env.SetWorkerOptions(worker.Options{Plugins: []worker.Plugin{plugin}})
	url := "file://" + t.TempDir() + "/ws"
	env.RegisterActivityWithOptions(func(ctx context.Context, size int) (bool, error) {
		return Do(ctx, url, opts, func(_ context.Context, m *mount.Mount) (bool, error) {
			return true, os.WriteFile(m.Path("f"), make([]byte, size), 0o600)
		})
	}, sdk.RegisterOptions{Name: "work"})
	if _, err := env.ExecuteActivity("work", 100_000); err != nil {
		t.Fatal(err)
	}
	// The labels are those of the SDK and ours; the test suite takes a 0 for the
	// workflow's type.
	in := func(name, ours string) string {
		return name + "{activity_type=work,mode=rw," + ours + "scheme=file,task_queue=default-test-taskqueue,workflow_type=0}"
	}
	stored := metrics.all.counts[in("workdir_bytes_stored", "")]
	want := map[string]int64{
		in("workdir_opens", ""):                  1,
		in("workdir_commits", "outcome=stored,"): 1,
		in("workdir_bytes_stored", ""):           stored,
		in("workdir_bytes_changed", ""):          100_000,
	}
	maps.DeleteFunc(metrics.all.counts, func(name string, _ int64) bool { return !strings.HasPrefix(name, "workdir_") })
	metrics.want(t, want)
	if stored == 0 {
		t.Error("stored 0 bytes")
	}
	for _, name := range []string{"workdir_open_latency", "workdir_commit_latency"} {
		if n := metrics.all.timers[in(name, "")]; n != 1 {
			t.Errorf("%s was timed %d times", name, n)
		}
	}
	if most := metrics.all.most[in("workdir_memory", "")]; most < 100_000 {
		t.Errorf("memory was at most %v bytes", most)
	}
	if !slices.ContainsFunc(*log, func(l string) bool { return strings.HasPrefix(l, "info workspace committed") }) {
		t.Errorf("log %q", *log)
	}
}
