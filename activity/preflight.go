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

// PreflightOptions say what a plugin tests when its worker starts, besides the host and the
// rules' spill directories.
type PreflightOptions struct {
	// Spill are directories that workspaces will spill to.
	Spill []string
	// Templates are URLs with variables, which may be Vars in addition to the ten of every
	// activity.
	Templates []string
	Vars      []string
	// Stores are URLs of workspaces, or of prefixes with a trailing slash, whose stores are
	// tested: reached, read, written conditionally. Each test takes some requests, and a
	// scratch archive beside the workspaces, which is removed.
	Stores []string
}

// preflight detects at a worker's start what would fail in every attempt: a host that allows
// no mounts, a server process that does not start, a template that can never work, a store
// that cannot be reached, does not allow writing or ignores conditions. It mounts an empty
// workspace and unmounts it; no workspace of a store is touched.
//
// The error contains every failure, each as Do would report it (mount.ErrCannotMount,
// mount.ErrNoServer, store.ErrURL), and of a store the check that failed.
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

// tryMounts mounts an empty workspace, and one for each spill directory.
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
		spill = spill[1:] // the spilling mounts test everything that the plain one would
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

// tryStore tests whether a store meets the requirements of workspaces.
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
