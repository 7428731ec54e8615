package activity

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"sync"
	"time"

	sdk "go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/worker"

	"github.com/workdir/workdir/activity/internal/failure"
	"github.com/workdir/workdir/activity/internal/template"
	"github.com/workdir/workdir/mount"
	"github.com/workdir/workdir/store"
)

// visit is one workspace from its open to its close, and one function in it.
//
// Whether it may still be stored is the state of ctx, whose cause is the one reason why not:
// ctx ends with the attempt, with the caller's context, and when the fence gets no positive
// answer. The mount then turns read-only at once.
type visit struct {
	*workspace
	ctx       context.Context
	cancel    context.CancelCauseFunc // ends ctx
	attempt   *attempt
	outer     *visit                  // the enclosing visit, or nil
	converter converter.DataConverter // for the function's result
	obs       *observer
	url       store.URL
	saved     store.URL // destination of work that could not be stored; zero for none
	step      string    // "" for no step
	retried   bool      // this attempt has tried the step before
	closed    bool      // set by the goroutine of visitWorkspace; marks no longer count

	reported time.Time // time of the last progress report; owned by the reporting goroutine

	mu      sync.Mutex
	mount   *mount.Mount // guarded by mu; set once, by open
	revoked bool         // guarded by mu
	wanted  bool         // guarded by mu; it was marked, or due to be marked, when it was revoked
}

// visitWorkspace makes a visit: it opens the workspace, runs fn in it, and closes it.
// out points to fn's result, which fn sets. It is replaced by that of an earlier attempt if
// the step is already committed, and set to zero on an error of ours.
func visitWorkspace(ctx context.Context, w *workspace, out any, fn func(context.Context, *mount.Mount) error) (err error) {
	v := &visit{workspace: w, attempt: attemptOf(ctx), outer: visitOf(ctx)}
	if v.attempt == nil {
		return failure.ToTemporal(fmt.Errorf("open %s: %w", w.tmpl.Redacted(), ErrNoPlugin))
	}
	if err := v.prepare(ctx); err != nil {
		return failure.ToTemporal(err)
	}
	defer v.cancel(nil)
	defer context.AfterFunc(v.attempt.ctx, func() { v.cancel(contextError(v.attempt.ctx)) })() // a caller may have detached its context from the attempt's
	v.attempt.enter(v)
	defer v.attempt.exit(v)
	// From here on the step must be ended, even by a panic.
	spent := false
	defer func() { v.endStep(spent) }()

	if done, err := v.open(); done != nil {
		err := v.replay(done, out)
		spent = err == nil
		return err
	} else if err != nil {
		return err
	}
	defer context.AfterFunc(v.ctx, v.revoke)()
	defer v.leave(abortPanic, nil) // after a panic and runtime.Goexit, which continue afterwards
	if err := fn(context.WithValue(v.ctx, visitKey{}, v), v.mount); err != nil {
		spent = v.opts.Step == "" // the next unnamed step may be a different function, so it gets a new number
		return v.failed(err)
	}
	stored, done, err := v.keep(reflect.ValueOf(out).Elem().Interface())
	switch {
	case done != nil:
		err = v.replay(done, out)
		spent = err == nil
	case err != nil:
		reflect.ValueOf(out).Elem().SetZero()
	default:
		spent = stored || v.opts.Step == ""
	}
	return err
}

// isMain reports whether Workspace can return the workspace.
func (w *workspace) isMain() bool { return !w.beside }

// autoCommits reports whether a clean return marks the mount.
func (v *visit) autoCommits() bool { return v.opts.AutoCommit && !v.opts.ReadOnly }

// prepare determines the workspace and the step of the visit.
func (v *visit) prepare(ctx context.Context) error {
	values := template.Values(&v.attempt.info)
	if v.opts.Vars != nil {
		more, err := v.opts.Vars(v.attempt.args)
		if err != nil {
			return fmt.Errorf("url template %q: %w: %w", v.tmpl.Redacted(), store.ErrURL, err)
		}
		maps.Copy(values, more)
	}
	var err error
	if v.url, err = v.tmpl.Expand(values); err != nil {
		return err
	}
	if v.save != nil {
		if v.saved, err = v.save.Expand(values); err != nil {
			return fmt.Errorf("saveFailed: %w", err)
		}
	}
	if !v.opts.ReadOnly {
		if v.step, v.retried, err = v.attempt.beginStep(v.url.Identity(), v.opts.Step, v.outer); err != nil {
			return err
		}
	}
	v.converter = v.attempt.contextConverter(ctx)
	v.obs = observe(ctx, v.url.Scheme, v.opts.ReadOnly)
	v.ctx, v.cancel = context.WithCancelCause(ctx)
	return nil
}

func (v *visit) endStep(spent bool) {
	if v.step != "" {
		v.attempt.endStep(v.url.Identity(), v.step, spent)
	}
}

// ended returns why the visit may no longer be stored; nil while it may.
func (v *visit) ended() error {
	for _, ctx := range []context.Context{v.attempt.ctx, v.ctx} {
		if ctx.Err() != nil {
			return contextError(ctx)
		}
	}
	return nil
}

// contextError returns the error of a context together with its cause: the SDK reports an
// activity as cancelled if either says so.
func contextError(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(cause, err) {
		return cause
	}
	return &endError{err: err, cause: cause}
}

// endError is the error of a context; its message is that of the cause.
type endError struct{ err, cause error }

func (e *endError) Error() string   { return e.cause.Error() }
func (e *endError) Unwrap() []error { return []error{e.cause, e.err} }

// open mounts the workspace. done is the commit of the visit's step by another attempt.
func (v *visit) open() (done *mount.CommittedError, err error) {
	m, err := v.openSince(v.attempt.info.ScheduledTime) // of the first attempt
	if errors.Is(err, store.ErrUnknown) && v.neverTried() {
		m, err = v.openSince(time.Time{})
	}
	if err == nil {
		v.mu.Lock()
		v.mount = m
		v.mu.Unlock()
		v.obs.opened(m)
		return nil, nil
	}
	if errors.As(err, &done) {
		v.obs.openFailed(v.url.Redacted(), done)
		return done, nil
	}
	if cause := v.ended(); cause != nil {
		err = &failure.Fenced{Op: "open", URL: v.url.Redacted(), Cause: cause, Err: err}
	}
	err = failure.OfOpen(err)
	v.obs.openFailed(v.url.Redacted(), err)
	return nil, err
}

// openSince mounts the workspace, with mount.Options.Since.
func (v *visit) openSince(since time.Time) (*mount.Mount, error) {
	past, err := v.past()
	if err != nil {
		return nil, err
	}
	opts := v.mountOptions(v.origin(), since)
	opts.Rewind = past
	return mount.OpenURL(v.ctx, v.url, opts)
}

// mountLost reports whether the mount's server process is gone, or something else has ended
// the mount, while the visit still needs it.
func (v *visit) mountLost() bool {
	v.mu.Lock()
	m := v.mount
	v.mu.Unlock()
	if m == nil {
		return false
	}
	select {
	case <-m.Done():
		return true
	default:
		return false
	}
}

// revoke withdraws the right to commit: the mount turns read-only at once.
func (v *visit) revoke() {
	v.mu.Lock()
	v.revoked = true
	v.wanted = v.mount.Marked() || v.autoCommits() && !v.mount.Abandoned()
	v.mu.Unlock()
	v.mount.Revoke()
}

// isWanted reports whether the function has marked the mount; the end of the attempt may have
// removed the mark since.
func (v *visit) isWanted() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.wanted || !v.revoked && v.mount.Marked()
}

// replay sets out to the result of an already committed step.
func (v *visit) replay(done *mount.CommittedError, out any) error {
	reflect.ValueOf(out).Elem().SetZero()
	if err := decodeReplay(v.converter, done, out); err != nil {
		reflect.ValueOf(out).Elem().SetZero()
		return failure.ToTemporal(err)
	}
	if v.opts.Closed != nil {
		v.opts.Closed(mount.Result{}, done)
	}
	return nil
}

// keep ends a visit whose function returned nil. stored reports that the store was changed;
// done is the commit of its step by another attempt that was faster.
func (v *visit) keep(result any) (stored bool, done *mount.CommittedError, err error) {
	late := v.mount.Refused() // the function requested a commit after the attempt had lost the right to one
	if v.autoCommits() {
		// The function may have abandoned the mount. Close reports other errors in more
		// detail.
		_ = v.mount.Commit()
	}
	wanted := v.isWanted()
	switch cause := v.ended(); {
	case cause != nil:
		return false, nil, v.refuse(wanted || late, cause)
	case !wanted:
		v.mount.Abandon() // processes left behind by the function can no longer mark it
	case v.step != "":
		if err := v.setResult(result); err != nil {
			v.leave(abortCommit, err)
			return false, nil, failure.ToTemporal(err)
		}
	}
	res, err := v.close(wanted)
	if errors.As(err, &done) {
		return true, done, nil
	}
	stored = res.Stored || res.Deleted
	return stored, nil, failure.ToTemporal(v.closeError(err, wanted && !stored))
}

func (v *visit) setResult(result any) error {
	kept, err := encodeResult(v.converter, result)
	if err != nil {
		return fmt.Errorf("commit %s: %w", v.mount.URL(), err)
	}
	return v.mount.SetResult(kept)
}

// refuse ends a visit that may not be stored. It returns an error if the visit was to be
// stored.
func (v *visit) refuse(wanted bool, cause error) error {
	if wanted {
		v.obs.fenced(v.mount.URL(), cause)
	}
	v.mount.Abandon()
	_, err := v.close(false)
	if err == nil && !wanted {
		return nil
	}
	return failure.ToTemporal(v.fenced(cause, err))
}

// closeError turns the error of Close into that of the visit. missing says that a commit was
// wanted but nothing was stored.
func (v *visit) closeError(err error, missing bool) error {
	v.mu.Lock()
	revoked := v.revoked
	v.mu.Unlock()
	cause := v.ended()
	switch {
	case cause != nil && errors.Is(err, mount.ErrCommit):
		return v.fenced(cause, err)
	case cause != nil && err == nil && missing && revoked:
		return v.fenced(cause, nil) // it was revoked just before Close read the mark
	case err != nil:
		return &failure.At{URL: v.mount.URL(), Err: err}
	}
	return nil
}

// fenced is the error of a visit that lost the right to commit.
func (v *visit) fenced(cause, err error) error {
	if errors.Is(cause, worker.ErrWorkerShutdown) {
		v.attempt.log.Warn("a commit was cut off by the end of the worker; set worker.Options.WorkerStopTimeout to more than the time that activities and their commits take", "url", v.mount.URL())
	}
	return &failure.Fenced{Op: "commit", URL: v.mount.URL(), Cause: cause, Err: err}
}

// failed ends a visit whose function returned an error, which it returns unchanged; if a mark
// came too late it returns the reason instead.
func (v *visit) failed(err error) error {
	reason := abortFailed
	if err == sdk.ErrResultPending { //nolint:errorlint // the SDK compares by identity too: a wrapped one is a failure
		reason = abortPending
		if v.isWanted() || v.autoCommits() && !v.mount.Abandoned() {
			v.attempt.log.Warn("the workspace is marked but not stored: the activity returned activity.ErrResultPending, so its result is not known yet; commit in an activity that returns its result", "url", v.mount.URL())
		}
	}
	v.leave(reason, err)
	v.mu.Lock()
	revoked := v.revoked
	v.mu.Unlock()
	if cause := v.ended(); cause != nil && revoked && errors.Is(err, mount.ErrAbandoned) {
		return failure.ToTemporal(v.fenced(cause, err))
	}
	return err
}

// leave unmounts without storing, unless the visit has already ended. If the function failed
// while the attempt is current, its work is saved to Options.SaveFailed.
func (v *visit) leave(reason abortReason, cause error) {
	if v.closed {
		return
	}
	v.obs.aborted(v.mount.URL(), reason, cause)
	switch {
	case reason == abortPending || v.ended() != nil:
		v.mount.Abandon()
	case cause == nil:
		v.mount.Fail("the activity panicked, or ended its goroutine")
	default:
		v.mount.Fail(cause.Error())
	}
	if _, err := v.close(false); err != nil {
		v.attempt.log.Warn("the workspace was not unmounted cleanly; nothing is stored", "url", v.mount.URL(), "cause", err)
	}
}

// close unmounts and, if the mount is marked, stores. It outlives the activity's context,
// since the mount must be removed in any case. A mount that is still in use is abandoned and
// removed later.
func (v *visit) close(wanted bool) (mount.Result, error) {
	v.closed = true
	timeout := v.opts.closeTimeout(time.Now(), v.attempt.info.Deadline)
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(v.ctx), timeout,
		fmt.Errorf("close %s: not done within %v: %w", v.mount.URL(), timeout, context.DeadlineExceeded))
	defer cancel()
	v.obs.closing(ctx, v.mount)
	res, err := v.mount.Close(ctx)
	v.obs.closed(v.mount, wanted, res, err)
	if v.opts.Closed != nil && !errors.Is(err, mount.ErrAlreadyCommitted) {
		v.opts.Closed(res, nil)
	}
	select {
	case <-v.mount.Done():
	default:
		v.mount.Abandon()
		go closeLater(v.mount, v.opts.lingerInterval())
	}
	return res, err
}

// closeLater unmounts a mount that will not be stored, once the processes that still use it
// have ended; the activity has failed by then. The mount ends with this process at the latest.
func closeLater(m *mount.Mount, interval time.Duration) {
	for {
		_, _ = m.Close(context.Background()) // the activity has already returned the error
		select {
		case <-m.Done():
			return
		case <-time.After(interval):
		}
	}
}

// progressPause is the time between two lines of the log about one workspace.
const progressPause = 10 * time.Second

// progress logs the progress of long work. It is not sent as heartbeat details: those are the
// activity's own.
func (v *visit) progress(p mount.Progress) {
	now := time.Now()
	if v.reported.IsZero() {
		v.reported = now // short work is not logged
	}
	if now.Sub(v.reported) < progressPause {
		return
	}
	v.reported = now
	v.attempt.log.Info("workspace: in progress", "url", v.url.Redacted(), "phase", p.Phase, "bytes", p.Bytes, "total", p.Total)
}
