package activity

import (
	"context"
	"fmt"

	sdk "go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/converter"
	"go.temporal.io/sdk/worker"

	"github.com/workdir/workdir/mount"
)

// Workspace gives the workspace that the function runs in: the innermost one, if
// calls of Do are nested. It is false outside of Do, Wrap and the interceptor.
func Workspace(ctx context.Context) (*mount.Mount, bool) {
	m, ok := ctx.Value(workspaceContextKey{}).(*mount.Mount)
	return m, ok
}

// Path gives a path in the workspace that the function runs in; without elements,
// the mountpoint. It is false where Workspace is.
func Path(ctx context.Context, elem ...string) (string, bool) {
	m, ok := Workspace(ctx)
	if !ok {
		return "", false
	}
	return m.Path(elem...), true
}

// Do opens the workspace of a URL, runs fn in it, and closes it. The package
// comment says when it is stored, what a step is, and which variables the URL may
// have. Do may be called several times in one activity, also nested, for different
// workspaces or, one after the other, for the same one.
//
// The error of fn is given back as it is; what is wrong with unmounting after it
// goes to the activity's log. Other errors are application errors of Temporal, see
// docs/errors.md, and match those of mount.Open and mount.Mount.Close, and the
// cause of the context's end, for errors.Is. With an error there is no result but
// the one that fn returned with its own.
//
// ctx need not be an activity's: then the work is no step, and nothing is recorded.
func Do[Out any](ctx context.Context, url string, opts *Options, fn func(context.Context, *mount.Mount) (Out, error)) (Out, error) {
	var none Out
	t, err := parseTemplate(url)
	if err != nil {
		return none, toTemporal(err)
	}
	return do(ctx, t, opts, nil, fn)
}

// Wrap makes an activity of a function that runs in the workspace of a URL, see
// [Do]. It panics if the URL or the options can never work.
//
// What it gives must be registered with a name, see [Register], and executed by
// that name: the SDK calls all such functions by one and the same name, so a
// reference to one leads to another. A workflow that wants to execute it by
// reference calls it in a function of its own:
//
//	var build = wdactivity.Wrap(url, work, opts)
//
//	func Build(ctx context.Context, in Order) (Report, error) { return build(ctx, in) }
func Wrap[In, Out any](url string, fn func(context.Context, *mount.Mount, In) (Out, error), opts *Options) func(context.Context, In) (Out, error) {
	t := mustTemplate(url, opts)
	return func(ctx context.Context, in In) (Out, error) {
		return do(ctx, t, opts, []any{in}, func(ctx context.Context, m *mount.Mount) (Out, error) {
			return fn(ctx, m, in)
		})
	}
}

// Register registers what Wrap makes of fn under a name. Workflows execute it by
// that name.
func Register[In, Out any](w worker.ActivityRegistry, name, url string, fn func(context.Context, *mount.Mount, In) (Out, error), opts *Options) {
	w.RegisterActivityWithOptions(Wrap(url, fn, opts), sdk.RegisterOptions{Name: name})
}

// mustTemplate panics if a URL or options can never work.
func mustTemplate(url string, opts *Options) *template {
	if opts == nil {
		opts = &Options{}
	}
	t, err := newTemplate(url, opts.Vars)
	if err == nil {
		err = opts.check()
	}
	if err != nil {
		panic(fmt.Sprintf("wdactivity: %v", err))
	}
	return t
}

// do is Do for a URL that has been parsed.
func do[Out any](ctx context.Context, t *template, opts *Options, args []any, fn func(context.Context, *mount.Mount) (Out, error)) (Out, error) {
	var out, replayed Out
	done, err := enter(ctx, t, opts, args, &replayed, func(ctx context.Context, m *mount.Mount) (any, error) {
		var err error
		out, err = fn(ctx, m)
		return out, err
	})
	if done == endReplayed {
		return replayed, nil
	}
	if done == endRefused {
		out = *new(Out)
	}
	return out, err
}

// visitActivity is do for the interceptor, which knows no types. A result that an
// earlier attempt gave comes as converter.RawValue, nil where there is none.
func visitActivity(ctx context.Context, t *template, opts *Options, args []any, fn func(context.Context, *mount.Mount) (any, error)) (any, error) {
	var out any
	var replayed converter.RawValue
	done, err := enter(ctx, t, opts, args, &replayed, func(ctx context.Context, m *mount.Mount) (any, error) {
		var err error
		out, err = fn(ctx, m)
		return out, err
	})
	switch {
	case done == endReplayed && replayed.Payload() == nil:
		return nil, nil
	case done == endReplayed:
		return replayed, nil
	case done == endRefused:
		return nil, err
	}
	return out, err
}
