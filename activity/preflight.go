package activity

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/workdir/workdir/doctor"
	"github.com/workdir/workdir/mount"
	"github.com/workdir/workdir/store"
)

// PreflightOptions say what a plugin tries when its worker starts, beside the host and
// the rules' directories to spill to.
type PreflightOptions struct {
	// Spill are directories that workspaces are going to spill to.
	Spill []string
	// Templates are URLs with variables, which are held against Vars beside the ten
	// of every activity.
	Templates []string
	Vars      []string
	// Stores are URLs of workspaces, or of prefixes with a slash at the end, whose
	// stores are tried: reached, read, written under a condition. It takes some
	// requests each, and a scratch archive beside the workspaces, which is removed.
	Stores []string
}

// preflight finds when a worker starts what would be wrong in every attempt: a
// host that allows no mounts, a server process that does not start, a template
// that can never work, a store that cannot be reached, does not allow writing or
// ignores conditions. It mounts an empty workspace and unmounts it; no workspace
// of a store is touched.
//
// The error has everything that was found, each as Do would report it
// (mount.ErrCannotMount, mount.ErrNoServer, store.ErrURL), and of a store the
// check that failed.
func (p *plugin) preflight(ctx context.Context) error {
	opts := p.opts.Preflight
	if opts == nil {
		opts = &PreflightOptions{}
	}
	var found []error
	for _, t := range opts.Templates {
		found = append(found, CheckTemplate(t, opts.Vars...))
	}
	found = append(found, p.tryMounts(ctx, opts.Spill))
	for _, url := range opts.Stores {
		found = append(found, tryStore(ctx, url))
	}
	if err := errors.Join(found...); err != nil {
		return fmt.Errorf("preflight: %w", err)
	}
	return nil
}

// tryMounts mounts an empty workspace, and one for each directory to spill to.
func (p *plugin) tryMounts(ctx context.Context, spill []string) (err error) {
	dir, err := os.MkdirTemp("", "workdir-preflight-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	spill = append(slices.Clone(spill), "")
	for _, r := range p.rules {
		for _, w := range r.list {
			spill = append(spill, w.opts.Spill)
		}
	}
	slices.Sort(spill)
	spill = slices.Compact(spill)
	if len(spill) > 1 {
		spill = spill[1:] // those that spill say all that the plain one would
	}
	for _, s := range spill {
		m, err := mount.Open(ctx, "file://"+filepath.Join(dir, "empty"), &mount.Options{
			Plain: p.opts.Plain, RunDir: p.opts.RunDir, Spill: s, Logger: logger(ctx),
		})
		if errors.Is(err, mount.ErrCannotMount) && !p.opts.Plain {
			return fmt.Errorf("%w; or choose plain directories instead of mounts (PluginOptions.Plain)", err)
		}
		if err != nil {
			return err
		}
		if _, err := m.Close(ctx); err != nil {
			return err
		}
	}
	return nil
}

// tryStore asks a store for what workspaces need of it.
func tryStore(ctx context.Context, url string) error {
	at, err := doctor.ParseTarget(url)
	if err != nil {
		return err
	}
	var found []error
	err = doctor.Diagnose(ctx, at, &doctor.Options{Quick: true}, func(c doctor.Check) {
		switch c.Status {
		case doctor.Fail:
			found = append(found, checkError(at.URL, c))
		case doctor.Warn:
			logger(ctx).Warn("preflight: the store works, but", "url", at.URL.Redacted(), "check", c.Name, "detail", c.Detail, "fix", c.Fix)
		}
	})
	return errors.Join(append(found, err)...)
}

func checkError(at store.URL, c doctor.Check) error {
	if c.Fix == "" {
		return fmt.Errorf("store %s: %s: %s", at.Redacted(), c.Name, c.Detail)
	}
	return fmt.Errorf("store %s: %s: %s; %s", at.Redacted(), c.Name, c.Detail, c.Fix)
}
