package activity

import (
	"context"
	"errors"
	"fmt"
	"time"

	sdk "go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/worker"

	"github.com/workdir/workdir/mount"
)

// keep ends a visit whose function returned nil. stored says that the store was
// changed for it, in this attempt or in another.
func (v *visit) keep(result, out any) (end ending, stored bool, err error) {
	if v.autoCommits() {
		// The function may have abandoned the mount, and whatever else is wrong
		// with it Close tells in more detail.
		_ = v.mount.Commit()
	}
	wanted := v.isWanted()
	if cause := v.attempt.ended(v.ctx); cause != nil {
		return v.refuse(wanted, cause)
	}
	switch {
	case !wanted:
		v.mount.Abandon() // whoever the function left behind cannot mark it any more
	case v.step != "":
		if err := v.setResult(result); err != nil {
			v.leave(abortCommit, err)
			return endRefused, false, toTemporal(err)
		}
	}
	res, err := v.close(wanted)
	stored = res.Stored || res.Deleted
	var done *mount.CommittedError
	if errors.As(err, &done) {
		end, err := v.replay(done, out)
		return end, true, err
	}
	if err = v.closeError(err, wanted && !stored); err != nil {
		return endRefused, stored, toTemporal(err)
	}
	return endReturned, stored, nil
}

// isWanted tells whether the function has marked the mount; the end of the attempt
// may have taken the mark back since.
func (v *visit) isWanted() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.wanted || !v.revoked && v.mount.Marked()
}

func (v *visit) setResult(result any) error {
	kept, err := encodeResult(v.converter, result)
	if err != nil {
		return fmt.Errorf("commit %s: %w", v.mount.URL(), err)
	}
	return v.mount.SetResult(kept)
}

// refuse ends a visit whose activity has ended: nothing is stored, and if that
// was wanted the activity may not succeed.
func (v *visit) refuse(wanted bool, cause error) (ending, bool, error) {
	if wanted {
		v.obs.fenced(v.mount.URL(), cause)
	}
	v.mount.Abandon()
	_, err := v.close(false)
	if err == nil && !wanted {
		return endReturned, false, nil
	}
	return endRefused, false, toTemporal(v.fenced(cause, err))
}

// closeError makes the error of a visit of the one that Close gave. missing says
// that a commit was wanted, and there is none.
func (v *visit) closeError(err error, missing bool) error {
	v.mu.Lock()
	cause, revoked := v.refusal, v.revoked
	v.mu.Unlock()
	if cause == nil {
		cause = v.attempt.ended(v.ctx)
	}
	switch {
	case cause != nil && errors.Is(err, mount.ErrCommit):
		return v.fenced(cause, err)
	case cause != nil && err == nil && missing && revoked:
		return v.fenced(cause, nil) // it was revoked just before Close looked at the mark
	}
	return v.about(err)
}

// about puts the workspace beside an error, for its details.
func (v *visit) about(err error) error {
	if err == nil {
		return nil
	}
	return &workspaceError{url: v.mount.URL(), err: err}
}

// fenced is the error of a visit that lost the right to commit.
func (v *visit) fenced(cause, err error) error {
	if errors.Is(cause, worker.ErrWorkerShutdown) {
		v.log.Warn("a commit was cut off by the end of the worker; give worker.Options.WorkerStopTimeout more than the time that activities and their commits take", "url", v.mount.URL())
	}
	return &fencedError{op: "commit", url: v.mount.URL(), cause: cause, err: err}
}

// failed ends a visit whose function returned an error, which goes back as it is;
// except that a mark which came too late tells why it did.
func (v *visit) failed(err error) error {
	reason := abortFailed
	if err == sdk.ErrResultPending {
		reason = abortPending
		if v.isWanted() || v.autoCommits() && !v.mount.Abandoned() {
			v.log.Warn("the workspace is marked, and is not stored: the activity returned activity.ErrResultPending, so that its result is not known yet; commit in an activity that returns its result", "url", v.mount.URL())
		}
	}
	v.leave(reason, err)
	v.mu.Lock()
	revoked := v.revoked
	v.mu.Unlock()
	if cause := v.attempt.ended(v.ctx); cause != nil && revoked && errors.Is(err, mount.ErrAbandoned) {
		return toTemporal(v.fenced(cause, err))
	}
	return err
}

// leave unmounts and stores nothing, unless the visit has ended already.
func (v *visit) leave(reason abortReason, cause error) {
	if v.closed {
		return
	}
	v.obs.aborted(v.mount.URL(), reason, cause)
	v.mount.Abandon()
	if _, err := v.close(false); err != nil {
		v.log.Warn("the workspace is not unmounted cleanly; nothing is stored", "url", v.mount.URL(), "cause", err)
	}
}

// close unmounts and, if the mount is marked, stores. It outlives the activity's
// context, since the mount must go in any case. A mount that is still in use is
// abandoned and goes later.
func (v *visit) close(wanted bool) (mount.Result, error) {
	v.closed = true
	var deadline time.Time
	if v.attempt.info != nil {
		deadline = v.attempt.info.Deadline
	}
	timeout := v.opts.closeTimeout(time.Now(), deadline)
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(v.ctx), timeout,
		fmt.Errorf("close %s: not done within %v: %w", v.mount.URL(), timeout, context.DeadlineExceeded))
	defer cancel()
	v.mu.Lock()
	v.closing = ctx
	v.mu.Unlock()
	v.obs.closing(ctx, v.mount)
	res, err := v.mount.Close(ctx)
	v.obs.closed(v.mount, wanted, res, err)
	v.tell(visitEnd{result: res})
	select {
	case <-v.mount.Done():
	default:
		v.mount.Abandon()
		go closeLater(v.mount, v.opts.lingerInterval())
	}
	return res, err
}

// tell tells Options.closed.
func (v *visit) tell(e visitEnd) {
	if v.opts.closed != nil {
		v.opts.closed(e)
	}
}

// closingContext bounds unmounting and storing; before that, nothing does.
func (v *visit) closingContext() context.Context {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.closing == nil {
		return context.Background()
	}
	return v.closing
}

// closeLater unmounts a mount that stores nothing any more, once those that still
// use it have ended; the activity has failed by then. It ends with the process at
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

// progress tells the log of long work. It is no heartbeat detail: those are the
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
	v.log.Info("workspace: still at it", "url", v.url.Redacted(), "phase", p.Phase, "bytes", p.Bytes, "total", p.Total)
}
