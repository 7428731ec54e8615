package activity

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"time"

	"go.temporal.io/sdk/converter"

	"github.com/workdir/workdir/mount"
	"github.com/workdir/workdir/store"
)

// ending is how a visit ended.
type ending int

const (
	endRefused  ending = iota // with an error of ours; the function's result does not count
	endReturned               // with what the function returned
	endReplayed               // with what the function returned in an earlier attempt
)

// visit is one workspace from its open to its close, and one function in it.
type visit struct {
	ctx       context.Context // ends with the activity, or with the attempt
	attempt   *attempt
	outer     *visit // the one in whose function this one is; nil for none
	opts      *Options
	converter converter.DataConverter
	log       *slog.Logger
	obs       *observer
	url       store.URL
	step      string // "" for no step
	again     bool   // this attempt has tried the step before

	cancel   context.CancelCauseFunc // of ctx
	closed   bool                    // Close has had its definite answer; of the goroutine of enter
	reported time.Time               // of the progress; of the goroutine that reports it

	mu      sync.Mutex
	mount   *mount.Mount    // guarded by mu; nil before it is open, and not changed after
	closing context.Context // guarded by mu; bounds unmounting and storing; nil before
	revoked bool            // guarded by mu
	wanted  bool            // guarded by mu; it was marked when it was revoked, or would have been yet
	refusal error           // guarded by mu; what mayStore said
}

// enter makes a visit: it opens the workspace, runs fn in it, and closes it. out
// points to where a replayed result goes.
func enter(ctx context.Context, t *template, opts *Options, args []any, out any, fn func(context.Context, *mount.Mount) (any, error)) (done ending, err error) {
	if opts == nil {
		opts = &Options{}
	}
	v := &visit{attempt: attemptOf(ctx), opts: opts, log: logger(ctx)}
	v.outer, _ = ctx.Value(visitContextKey{}).(*visit)
	if err := v.prepare(ctx, t, args); err != nil {
		return endRefused, toTemporal(err)
	}
	defer v.cancel(nil) // or a ctx outside of Temporal would keep it as long as it lives
	v.attempt.enter(v)
	defer v.attempt.exit(v)
	defer func() {
		if err != nil {
			v.attempt.shareCancellation(ctx)
		}
	}()
	// From here on the step must be ended, also by a panic.
	spent := false
	defer func() { v.endStep(spent) }()

	done, err = v.open(out)
	if done != endReturned {
		spent = done == endReplayed
		return done, err
	}
	stop := context.AfterFunc(v.ctx, func() { v.lose(contextError(v.ctx)) })
	defer stop()
	defer v.leave(abortPanic, nil) // after a panic and runtime.Goexit, which go on after it
	result, err := fn(&visitContext{Context: v.ctx, visit: v}, v.mount)
	if err != nil {
		spent = v.opts.Step == "" // a number is not given again for what may be another function
		return endReturned, v.failed(err)
	}
	done, stored, err := v.keep(result, out)
	spent = err == nil && (stored || v.opts.Step == "")
	return done, err
}

// autoCommits tells whether a clean return marks the mount.
func (v *visit) autoCommits() bool { return v.opts.AutoCommit && !v.opts.ReadOnly }

// prepare finds out which workspace and which step the visit is for.
func (v *visit) prepare(ctx context.Context, t *template, args []any) error {
	if err := v.opts.check(); err != nil {
		return err
	}
	values := builtinValues(v.attempt.info)
	if v.opts.Vars != nil {
		more, err := v.opts.Vars(args)
		if err != nil {
			return fmt.Errorf("url template %q: %w: %w", redactTemplate(t.raw), store.ErrURL, err)
		}
		maps.Copy(values, more)
	}
	var err error
	if v.url, err = t.expand(values); err != nil {
		return err
	}
	v.ctx, v.cancel = context.WithCancelCause(ctx)
	v.converter = v.attempt.resultConverter(ctx, converterOf(ctx, v.opts.DataConverter))
	v.obs = observe(ctx, v.url.Scheme, v.opts.ReadOnly)
	if !v.opts.ReadOnly && v.attempt.execution != "" {
		v.step, v.again, err = v.attempt.beginStep(v.url.Identity(), v.opts.Step, v.outer)
	}
	return err
}

func (v *visit) endStep(spent bool) {
	if v.step != "" {
		v.attempt.endStep(v.url.Identity(), v.step, spent)
	}
}

// open mounts the workspace, or gives the result of a step that is done.
func (v *visit) open(out any) (ending, error) {
	var since time.Time
	if i := v.attempt.info; i != nil {
		since = i.ScheduledTime // of the first attempt
	}
	m, err := mount.OpenURL(v.ctx, v.url, v.mountOptions(v.attempt.origin(v.step), since))
	if errors.Is(err, store.ErrUnknown) && v.neverTried() {
		m, err = mount.OpenURL(v.ctx, v.url, v.mountOptions(v.attempt.origin(v.step), time.Time{}))
	}
	if err == nil {
		v.setMount(m)
		v.obs.opened(m)
		return endReturned, nil
	}
	var done *mount.CommittedError
	if errors.As(err, &done) {
		v.obs.openFailed(v.url.Redacted(), done)
		return v.replay(done, out)
	}
	if cause := v.attempt.ended(v.ctx); cause != nil {
		err = &fencedError{op: "open", url: v.url.Redacted(), cause: cause, err: err}
	}
	err = openError(err)
	v.obs.openFailed(v.url.Redacted(), err)
	return endRefused, err
}

// replay ends a visit whose step is committed already.
func (v *visit) replay(done *mount.CommittedError, out any) (ending, error) {
	if err := decodeReplay(v.converter, done, out); err != nil {
		return endRefused, toTemporal(err)
	}
	v.tell(visitEnd{committed: done})
	return endReplayed, nil
}

func (v *visit) setMount(m *mount.Mount) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.mount = m
}

// mountLost tells whether the mount's server process is gone, or somebody else has
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

// lose ends the right to commit, at once: the mount turns read-only, and the
// function's context ends.
func (v *visit) lose(cause error) {
	v.mu.Lock()
	m, first := v.mount, !v.revoked
	v.revoked = v.revoked || m != nil
	if m != nil && first {
		v.wanted = m.Marked() || v.autoCommits() && !m.Abandoned()
	}
	v.mu.Unlock()
	if m != nil && first {
		m.Revoke()
	}
	v.cancel(cause)
}
