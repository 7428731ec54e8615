package activity

import (
	"context"
	"errors"
	"fmt"

	"github.com/workdir/workdir/activity/errtype"
	"github.com/workdir/workdir/activity/internal/failure"
	"github.com/workdir/workdir/activity/internal/template"
	"github.com/workdir/workdir/mount"
)

// Do opens the workspace of a URL, runs fn in it, and closes it. The package
// comment says when it is stored, what a step is, and which variables the URL may
// have. Do may be called several times in one activity, also nested, for different
// workspaces or, one after the other, for the same one. ctx must be an activity's, on a
// worker with the plugin of [NewPlugin]; otherwise the error is ErrNoPlugin.
//
// The error of fn is returned unchanged; errors of unmounting after it go to the activity's
// log. Other errors are application errors of Temporal, see docs/errors.md, and match those of
// mount.Open and mount.Mount.Close, and the cause of the context's end, for errors.Is. With an
// error there is no result, except one that fn returned with its own error.
func Do[Out any](ctx context.Context, url string, opts *Options, fn func(context.Context, *mount.Mount) (Out, error)) (Out, error) {
	var out Out
	w, err := doWorkspace(url, opts)
	if err != nil {
		return out, failure.ToTemporal(err)
	}
	err = visitWorkspace(ctx, w, &out, func(ctx context.Context, m *mount.Mount) (err error) {
		out, err = fn(ctx, m)
		return err
	})
	return out, err
}

// doWorkspace is the workspace of a Do.
func doWorkspace(url string, opts *Options) (*workspace, error) {
	if opts == nil {
		opts = &Options{}
	}
	if err := opts.check(); err != nil {
		err = fmt.Errorf("options for %s: %w", template.Redacted(url), err)
		if !errors.Is(err, ErrStep) {
			err = failure.Application(err, errtype.Input, false, "bad options")
		}
		return nil, err
	}
	w := &workspace{opts: opts, beside: opts.Name != ""}
	var err error
	if w.tmpl, err = template.Parse(url); err != nil || opts.SaveFailed == "" {
		return w, err
	}
	if w.save, err = template.Parse(opts.SaveFailed); err != nil {
		err = fmt.Errorf("saveFailed: %w", err)
	}
	return w, err
}
