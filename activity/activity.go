package activity

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/workdir/workdir/mount"
)

type workspaceKey struct{}

// Workspace gives the workspace that the function runs in: the innermost one, if
// calls of Do are nested. It is false outside of Do and Wrap.
func Workspace(ctx context.Context) (*mount.Mount, bool) {
	m, ok := ctx.Value(workspaceKey{}).(*mount.Mount)
	return m, ok
}

// Wrap makes an activity of a function that runs in the workspace of a URL, see
// [Do]. Register it with a name (activity.RegisterOptions.Name): what Wrap gives
// has no stable name of its own.
func Wrap[In, Out any](url string, fn func(context.Context, *mount.Mount, In) (Out, error), opts *Options) func(context.Context, In) (Out, error) {
	return func(ctx context.Context, in In) (Out, error) {
		return Do(ctx, url, opts, func(ctx context.Context, m *mount.Mount) (Out, error) {
			return fn(ctx, m, in)
		})
	}
}

// Do opens the workspace of a URL, runs fn in it, and closes it. The package
// comment says when it is stored. Do may be called several times in one activity,
// also nested, for different workspaces.
//
// The error of fn is given back as it is; what is wrong with unmounting after it
// goes to the activity's log. Otherwise the error is that of mount.Open or of
// mount.Mount.Close, for errors.Is, or matches the cause of the context's end.
// With an error there is no result but the one that fn returned with its own.
func Do[Out any](ctx context.Context, url string, opts *Options, fn func(context.Context, *mount.Mount) (Out, error)) (Out, error) {
	var none Out
	if opts == nil {
		opts = &Options{}
	}
	m, err := mount.Open(ctx, url, opts.mountOptions(ctx))
	if err != nil {
		return none, err
	}
	v := visit{ctx: ctx, m: m, opts: opts}
	defer v.leave()
	out, err := fn(context.WithValue(ctx, workspaceKey{}, m), m)
	if err != nil {
		return out, err
	}
	if err := v.keep(); err != nil {
		return none, err
	}
	return out, nil
}

// visit is one function in one mount.
type visit struct {
	ctx    context.Context
	m      *mount.Mount
	opts   *Options
	closed bool // Close has had its definite answer
}

// keep ends a visit whose function returned nil.
func (v *visit) keep() error {
	if v.opts.AutoCommit && !v.opts.ReadOnly {
		// The function may have abandoned the mount, and whatever else is wrong
		// with it Close tells in more detail.
		_ = v.m.Commit()
	}
	if cause := ended(v.ctx); cause != nil {
		return v.refuse(cause)
	}
	err := v.close()
	if cause := ended(v.ctx); errors.Is(err, mount.ErrCommit) && cause != nil && !errors.Is(err, cause) {
		return fmt.Errorf("%w: %w", err, cause) // the server process knows its text alone
	}
	return err
}

// refuse ends a visit whose activity has ended: nothing is stored, and if that
// was wanted the activity may not succeed.
func (v *visit) refuse(cause error) error {
	status, err := v.m.Status(context.WithoutCancel(v.ctx))
	wanted := err != nil || status.Marked && !status.Abandoned && !v.opts.ReadOnly
	v.m.Abandon()
	if err := v.close(); err != nil {
		return err
	}
	if !wanted {
		return nil
	}
	return fmt.Errorf("commit %s: the activity has ended, nothing is stored: %w", v.m.URL(), cause)
}

// leave unmounts and stores nothing, unless the visit has ended already. It runs
// in every case: after an error, a panic and runtime.Goexit, which go on after it.
func (v *visit) leave() {
	if v.closed {
		return
	}
	v.m.Abandon()
	if err := v.close(); err != nil {
		logger(v.ctx).Warn("the workspace is not unmounted cleanly; nothing is stored", "url", v.m.URL(), "cause", err)
	}
}

// close unmounts and, if the mount is marked, stores. It outlives the activity's
// context. A mount that is still in use is abandoned and goes later.
func (v *visit) close() error {
	v.closed = true
	timeout := v.opts.closeTimeout()
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(v.ctx), timeout,
		fmt.Errorf("close %s: not done within %v: %w", v.m.URL(), timeout, context.DeadlineExceeded))
	defer cancel()
	_, err := v.m.Close(ctx)
	select {
	case <-v.m.Done():
	default:
		v.m.Abandon()
		go closeLater(v.m, v.opts.lingerInterval())
	}
	return err
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
