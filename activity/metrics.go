package activity

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	sdk "go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/temporal"

	"github.com/workdir/workdir/activity/internal/template"
	"github.com/workdir/workdir/mount"
	"github.com/workdir/workdir/store"
)

// The names of the metrics, without the suffixes of the SDK's handlers (_total, _seconds).
// docs/observability.md describes each; a test compares it with this list.
const (
	metricOpens         = "workdir_opens"          // counter
	metricOpenFailures  = "workdir_open_failures"  // counter, labelReason
	metricOpenLatency   = "workdir_open_latency"   // timer
	metricCommits       = "workdir_commits"        // counter, labelOutcome
	metricCommitLatency = "workdir_commit_latency" // timer
	metricReleased      = "workdir_released"       // counter
	metricConflicts     = "workdir_conflicts"      // counter
	metricFenced        = "workdir_fenced"         // counter
	metricReplayed      = "workdir_replayed"       // counter, labelPoint
	metricAborted       = "workdir_aborted"        // counter, labelReason
	metricBytesReceived = "workdir_bytes_received" // counter, bytes
	metricBytesSent     = "workdir_bytes_sent"     // counter, bytes
	metricBytesStored   = "workdir_bytes_stored"   // counter, bytes
	metricBytesChanged  = "workdir_bytes_changed"  // counter, bytes
	metricRequests      = "workdir_requests"       // counter, labelOperation
	metricRetries       = "workdir_retries"        // counter, labelOperation
	metricMounted       = "workdir_mounted"        // gauge
	metricMemory        = "workdir_memory"         // gauge, bytes
)

// Labels in addition to those of the SDK. A metric always has the same ones, since Prometheus
// refuses anything else.
const (
	labelScheme    = "scheme"    // of the URL: file, mem, s3, gs, azblob, or a program's own
	labelMode      = "mode"      // modeWrite, modeRead
	labelOutcome   = "outcome"   // of a commit: stored, deleted, unchanged
	labelPoint     = "point"     // where a replay was detected: open, commit
	labelReason    = "reason"    // an abortReason, or an error's type
	labelOperation = "operation" // kind of request, see store.Traffic
)

// Values of labelMode.
const (
	modeWrite = "rw"
	modeRead  = "ro"
)

// abortReason is why a visit ended without a commit.
type abortReason string

const (
	abortFailed  abortReason = "failed"  // the function returned an error
	abortPanic   abortReason = "panic"   // it panicked, or ended its goroutine
	abortPending abortReason = "pending" // it returned activity.ErrResultPending
	abortCommit  abortReason = "commit"  // Close failed
)

// sampleInterval is the time between two samples of a mount's content size.
const sampleInterval = 10 * time.Second

// observer reports one visit, one workspace from its open to its close, to the SDK's
// metrics and log. Every visit that was opened has exactly
// one ending: committed, released, conflict, fenced, replayed or aborted; the
// first that is reported counts. Its methods may be called from several goroutines.
type observer struct {
	metrics client.MetricsHandler // immutable
	log     *slog.Logger          // immutable
	level   levelKey              // immutable
	every   time.Duration         // immutable; between two samples of a mount's content size

	mu    sync.Mutex
	since time.Time          // guarded by mu; when the current measurement began
	ended bool               // guarded by mu; the ending has been reported
	taken int64              // guarded by mu; bytes that levels counts for this visit
	held  bool               // guarded by mu; levels counts this visit
	stop  context.CancelFunc // ends the samples; guarded by mu; nil without any
}

// observe begins a visit: its open is timed from here.
func observe(ctx context.Context, scheme string, readOnly bool) *observer {
	mode := modeWrite
	if readOnly {
		mode = modeRead
	}
	info := sdk.GetInfo(ctx)
	return &observer{
		metrics: sdk.GetMetricsHandler(ctx).WithTags(map[string]string{labelScheme: scheme, labelMode: mode}),
		log:     logger(ctx),
		level: levelKey{
			namespace: info.Namespace, taskQueue: info.TaskQueue, workflowType: template.WorkflowType(&info), activityType: info.ActivityType.Name,
			scheme: scheme, mode: mode,
		},
		every: sampleInterval,
		since: time.Now(),
	}
}

// opened reports that the workspace is mounted.
func (o *observer) opened(m *mount.Mount) {
	took := o.lap()
	o.count(metricOpens, 1)
	o.metrics.Timer(metricOpenLatency).Record(took)
	o.hold(m)
	if to := m.Rewound(); to != "" {
		o.log.Info("workspace rewound, since the workflow was reset", "url", m.URL(), "to", to)
	}
	o.log.Debug("workspace opened", "url", m.URL(), "path", m.Path(), "revision", m.Revision(), "took", took)
}

// hold counts the visit in the gauges from now on, and samples the size of its mount's
// content.
func (o *observer) hold(m *mount.Mount) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.held = true
	levels.add(o.level, o.metrics, 1, 0)
	if o.metrics == client.MetricsNopHandler {
		return // there is no handler
	}
	ctx, stop := context.WithCancel(context.Background())
	o.stop = stop
	go o.sample(ctx, m)
}

// sample samples a mount until ctx ends.
func (o *observer) sample(ctx context.Context, m *mount.Mount) {
	tick := time.NewTicker(o.every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if st, err := m.Status(ctx); err == nil {
			o.sampled(st)
		}
	}
}

// openFailed reports that nothing was mounted: because the step was already committed, which
// is not a failure, or because of err, as Temporal will see it.
func (o *observer) openFailed(url string, err error) {
	var committed *mount.CommittedError
	if errors.As(err, &committed) {
		o.replayed("open", committed)
		return
	}
	var app *temporal.ApplicationError
	errors.As(err, &app) // err is always one, see failure.OfOpen
	o.countBy(metricOpenFailures, labelReason, app.Type(), 1)
	o.log.Warn("workspace not opened", "url", url, "cause", err)
}

// sampled reports how much a mount holds.
func (o *observer) sampled(st mount.Status) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.held {
		levels.add(o.level, o.metrics, 0, st.Bytes-o.taken)
		o.taken = st.Bytes
	}
}

// closing reports that unmounting begins, which is timed from here.
func (o *observer) closing(ctx context.Context, m *mount.Mount) {
	if st, err := m.Status(ctx); err == nil {
		o.sampled(st)
	}
	o.lap()
}

// closed reports the result of Close; wanted says whether the visit was to be stored.
func (o *observer) closed(m *mount.Mount, wanted bool, res mount.Result, err error) {
	took := o.lap()
	o.release()
	o.traffic(res.Traffic)
	if res.Saved != "" {
		o.log.Info("the work could not be stored and was saved", "url", m.URL(), "saved", res.Saved)
	}
	var committed *mount.CommittedError
	switch {
	case errors.As(err, &committed):
		o.replayed("commit", committed)
	case errors.Is(err, store.ErrConflict):
		o.end(metricConflicts, "", "", slog.LevelWarn, "another commit came first, nothing is stored", "url", m.URL(), "cause", err)
	case err != nil:
		o.aborted(m.URL(), abortCommit, err)
	case wanted:
		o.committed(m, took, res)
	case res.Changes.Total() > 0 && res.Saved == "" && o.level.mode == modeWrite:
		o.end(metricReleased, "", "", slog.LevelInfo, "workspace closed, its changes were not marked and are dropped", "url", m.URL(),
			"created", res.Changes.Created, "modified", res.Changes.Modified, "removed", res.Changes.Removed, "bytes", res.Changes.Bytes, "took", took)
	default:
		o.end(metricReleased, "", "", slog.LevelDebug, "workspace closed, nothing was to be stored", "url", m.URL(), "took", took)
	}
}

// committed reports a marked visit that Close ended without an error.
func (o *observer) committed(m *mount.Mount, took time.Duration, res mount.Result) {
	outcome := "unchanged"
	switch {
	case res.Stored:
		outcome = "stored"
	case res.Deleted:
		outcome = "deleted"
	}
	if !o.end(metricCommits, labelOutcome, outcome, slog.LevelInfo, "workspace committed", "url", m.URL(), "outcome", outcome,
		"revision", res.Revision, "commit", res.CommitID, "created", res.Changes.Created, "modified", res.Changes.Modified,
		"removed", res.Changes.Removed, "bytes", res.Changes.Bytes, "size", res.Size, "took", took) {
		return
	}
	o.metrics.Timer(metricCommitLatency).Record(took)
	o.count(metricBytesStored, res.Size)
	o.count(metricBytesChanged, res.Changes.Bytes)
}

// fenced reports that this attempt is no longer current, and stores nothing. It is
// called before closed.
func (o *observer) fenced(url string, cause error) {
	o.end(metricFenced, "", "", slog.LevelWarn, "this attempt is no longer current, nothing is stored", "url", url, "cause", cause)
}

// aborted reports that nothing is stored, and why. It is called before closed. The SDK
// logs what the function itself returned.
func (o *observer) aborted(url string, reason abortReason, cause error) {
	level := slog.LevelWarn
	if reason == abortFailed || reason == abortPending {
		level = slog.LevelDebug
	}
	o.end(metricAborted, labelReason, string(reason), level, "workspace not stored", "url", url, "reason", string(reason), "cause", cause)
}

// replayed reports that the result of an earlier attempt is returned.
func (o *observer) replayed(point string, c *mount.CommittedError) {
	o.end(metricReplayed, labelPoint, point, slog.LevelInfo, "committed by an earlier attempt, its result is returned", "url", c.URL,
		"revision", c.Revision, "commit", c.Record.ID, "committedBy", c.Record.Origin.Attempt)
}

// end reports the ending of the visit, unless one is reported already. It returns
// whether it did.
func (o *observer) end(metric, label, value string, level slog.Level, msg string, pairs ...any) bool {
	o.mu.Lock()
	reported := o.ended
	o.ended = true
	o.mu.Unlock()
	if reported {
		return false
	}
	if label == "" {
		o.count(metric, 1)
	} else {
		o.countBy(metric, label, value, 1)
	}
	o.log.Log(context.Background(), level, msg, pairs...)
	return true
}

// traffic counts the network traffic of the visit.
func (o *observer) traffic(t store.Traffic) {
	for kind, r := range t {
		o.countBy(metricRequests, labelOperation, kind, r.Count)
		o.countBy(metricRetries, labelOperation, kind, r.Retries)
		o.count(metricBytesSent, r.Sent)
		o.count(metricBytesReceived, r.Received)
	}
}

// lap returns the time since the last lap.
func (o *observer) lap() time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	took := now.Sub(o.since)
	o.since = now
	return took
}

// release removes the visit from the gauges.
func (o *observer) release() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.held {
		levels.add(o.level, o.metrics, -1, -o.taken)
	}
	o.held, o.taken = false, 0
	if o.stop != nil {
		o.stop()
		o.stop = nil
	}
}

func (o *observer) count(metric string, n int64) {
	if n > 0 {
		o.metrics.Counter(metric).Inc(n)
	}
}

func (o *observer) countBy(metric, label, value string, n int64) {
	if n > 0 {
		o.metrics.WithTags(map[string]string{label: value}).Counter(metric).Inc(n)
	}
}

// levelKey is the labels of a gauge. Visits with equal ones share it.
type levelKey struct {
	namespace, taskQueue, workflowType, activityType string
	scheme, mode                                     string
}

// levels counts the mounts of this process.
var levels = gauges{now: map[levelKey]level{}}

// gauges adds up visits by labels, since the SDK's gauges can only be set.
type gauges struct {
	mu  sync.Mutex
	now map[levelKey]level // guarded by mu; entries that are zero are removed
}

type level struct{ mounts, bytes int64 }

// add changes a level and sets the gauges to it. They are set under the lock, so
// that the last value is the true one.
func (g *gauges) add(key levelKey, to client.MetricsHandler, mounts, bytes int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	l := g.now[key]
	l.mounts, l.bytes = l.mounts+mounts, l.bytes+bytes
	if l == (level{}) {
		delete(g.now, key)
	} else {
		g.now[key] = l
	}
	to.Gauge(metricMounted).Update(float64(l.mounts))
	to.Gauge(metricMemory).Update(float64(l.bytes))
}
