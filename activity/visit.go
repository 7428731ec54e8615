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
// Why it may not be stored any more is the state of ctx, and its cause the one reason:
// ctx ends with the attempt, with the context that the caller gave, and when the fence
// has no good answer. The mount then turns read-only, at once.
type visit struct {
	*workspace
	ctx       context.Context
	cancel    context.CancelCauseFunc // ends ctx
	attempt   *attempt
	outer     *visit                  // the visit in whose function this one is; nil if it is not inside another
	converter converter.DataConverter // for the function's result
	obs       *observer
	url       store.URL
	saved     store.URL // where work goes that is not stored; zero for nowhere
	step      string    // "" for no step
	again     bool      // this attempt has tried the step before
	closed    bool      // by the goroutine of visitWorkspace; no mark counts any more

	reported time.Time // of the progress; of the goroutine that reports it

	mu      sync.Mutex
	mount   *mount.Mount // guarded by mu; nil before it is open, and not changed after
	revoked bool         // guarded by mu
	wanted  bool         // guarded by mu; it was marked when it was revoked, or would have been yet
}

// visitWorkspace makes a visit: it opens the workspace, runs fn in it, and closes it.
// out points to fn's result, which fn sets. It is replaced by that of an earlier
// attempt if the step is committed already, and set to zero with an error of ours.
func visitWorkspace(ctx context.Context, w *workspace, out any, fn func(context.Context, *mount.Mount) error) (err error) {
	v := &visit{workspace: w, attempt: attemptOf(ctx), outer: visitOf(ctx)}
	if v.attempt == nil {
		return failure.ToTemporal(fmt.Errorf("open %s: %w", w.tmpl.Redacted(), ErrNoPlugin))
	}
	if err := v.prepare(ctx); err != nil {
		return failure.ToTemporal(err)
	}
	defer v.cancel(nil)
	defer context.AfterFunc(v.attempt.ctx, func() { v.cancel(contextError(v.attempt.ctx)) })() // a caller may have cut its context off from the attempt's
	v.attempt.enter(v)
	defer v.attempt.exit(v)
	// From here on the step must be ended, also by a panic.
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
	defer v.leave(abortPanic, nil) // after a panic and runtime.Goexit, which go on after it
	if err := fn(context.WithValue(v.ctx, visitKey{}, v), v.mount); err != nil {
		spent = v.opts.Step == "" // the next unnamed step may be another function: it gets another number
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

// isMain reports whether Workspace is to find the workspace.
func (w *workspace) isMain() bool { return !w.beside }

// autoCommits reports whether a clean return marks the mount.
func (v *visit) autoCommits() bool { return v.opts.AutoCommit && !v.opts.ReadOnly }

// prepare finds out which workspace and which step the visit is for.
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
		if v.step, v.again, err = v.attempt.beginStep(v.url.Identity(), v.opts.Step, v.outer); err != nil {
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

// ended returns why the visit may not be stored any more; nil while it may.
func (v *visit) ended() error {
	for _, ctx := range []context.Context{v.attempt.ctx, v.ctx} {
		if ctx.Err() != nil {
			return contextError(ctx)
		}
	}
	return nil
}

// contextError returns the end of a context with its cause: the SDK reports an
// activity as cancelled if it finds one of both.
func contextError(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if errors.Is(cause, err) {
		return cause
	}
	return &endError{err: err, cause: cause}
}

// endError is the end of a context; its message is that of the cause.
type endError struct{ err, cause error }

func (e *endError) Error() string   { return e.cause.Error() }
func (e *endError) Unwrap() []error { return []error{e.cause, e.err} }

// open mounts the workspace. done is the commit of the visit's step by another attempt.
func (v *visit) open() (done *mount.CommittedError, err error) {
	m, err := mount.OpenURL(v.ctx, v.url, v.mountOptions(v.origin(), v.attempt.info.ScheduledTime)) // of the first attempt
	if errors.Is(err, store.ErrUnknown) && v.neverTried() {
		m, err = mount.OpenURL(v.ctx, v.url, v.mountOptions(v.origin(), time.Time{}))
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

// mountLost reports whether the mount's server process is gone, or somebody else has
// ended the mount, while the visit still needs it.
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

// revoke ends the right to commit, at once: the mount turns read-only.
func (v *visit) revoke() {
	v.mu.Lock()
	v.revoked = true
	v.wanted = v.mount.Marked() || v.autoCommits() && !v.mount.Abandoned()
	v.mu.Unlock()
	v.mount.Revoke()
}

// isWanted reports whether the function has marked the mount; the end of the attempt
// may have taken the mark back since.
func (v *visit) isWanted() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.wanted || !v.revoked && v.mount.Marked()
}

// replay sets out to the result of a step that is committed already.
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

// keep ends a visit whose function returned nil. stored says that the store was changed
// for it; done is the commit of its step by another attempt, which was first.
func (v *visit) keep(result any) (stored bool, done *mount.CommittedError, err error) {
	late := v.mount.Refused() // the function has asked for a commit, after the attempt had lost the right to one
	if v.autoCommits() {
		// The function may have abandoned the mount. Close says in more detail what else
		// is wrong with it.
		_ = v.mount.Commit()
	}
	wanted := v.isWanted()
	switch cause := v.ended(); {
	case cause != nil:
		return false, nil, v.refuse(wanted || late, cause)
	case !wanted:
		v.mount.Abandon() // processes that the function left behind cannot mark it any more
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

// refuse ends a visit that may not be stored. It is an error if the visit was to be.
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

// closeError turns the error of Close into that of the visit. missing says that a
// commit was wanted, and nothing was stored.
func (v *visit) closeError(err error, missing bool) error {
	v.mu.Lock()
	revoked := v.revoked
	v.mu.Unlock()
	cause := v.ended()
	switch {
	case cause != nil && errors.Is(err, mount.ErrCommit):
		return v.fenced(cause, err)
	case cause != nil && err == nil && missing && revoked:
		return v.fenced(cause, nil) // it was revoked just before Close looked at the mark
	case err != nil:
		return &failure.At{URL: v.mount.URL(), Err: err}
	}
	return nil
}

// fenced is the error of a visit that lost the right to commit.
func (v *visit) fenced(cause, err error) error {
	if errors.Is(cause, worker.ErrWorkerShutdown) {
		v.attempt.log.Warn("a commit was cut off by the end of the worker; give worker.Options.WorkerStopTimeout more than the time that activities and their commits take", "url", v.mount.URL())
	}
	return &failure.Fenced{Op: "commit", URL: v.mount.URL(), Cause: cause, Err: err}
}

// failed ends a visit whose function returned an error, which is returned as it is;
// but a mark that came too late is the error that says why it did.
func (v *visit) failed(err error) error {
	reason := abortFailed
	if err == sdk.ErrResultPending { //nolint:errorlint // the SDK compares the identity too: a wrapped one is a failure
		reason = abortPending
		if v.isWanted() || v.autoCommits() && !v.mount.Abandoned() {
			v.attempt.log.Warn("the workspace is marked, and is not stored: the activity returned activity.ErrResultPending, so that its result is not known yet; commit in an activity that returns its result", "url", v.mount.URL())
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

// leave unmounts and stores nothing, unless the visit has ended already. The work of a
// function that failed, while the attempt is current, goes to Options.SaveFailed.
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
		v.attempt.log.Warn("the workspace is not unmounted cleanly; nothing is stored", "url", v.mount.URL(), "cause", err)
	}
}

// close unmounts and, if the mount is marked, stores. It outlives the activity's
// context, since the mount must go in any case. A mount that is still in use is
// abandoned and goes later.
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

// closeLater unmounts a mount that stores nothing any more, once the processes that
// still use it have ended; the activity has failed by then. It ends with this process at
// the latest, and the mount does too.
func closeLater(m *mount.Mount, interval time.Duration) {
	for {
		_, _ = m.Close(context.Background()) // the activity had the error; a later one adds nothing
		select {
		case <-m.Done():
			return
		case <-time.After(interval):
		}
	}
}

// progressPause is the time between two lines of the log about one workspace.
const progressPause = 10 * time.Second

// progress logs how far long work has come. It is no heartbeat detail: those are the
// activity's own.
func (v *visit) progress(p mount.Progress) {
	now := time.Now()
	if v.reported.IsZero() {
		v.reported = now // short work is not worth a line
	}
	if now.Sub(v.reported) < progressPause {
		return
	}
	v.reported = now
	v.attempt.log.Info("workspace: still at it", "url", v.url.Redacted(), "phase", p.Phase, "bytes", p.Bytes, "total", p.Total)
}
