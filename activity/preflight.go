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

// PreflightOptions say what Preflight tries. nil and the zero value are good.
type PreflightOptions struct {
	// Plain tries plain directories instead of mounts, as Options.Plain does.
	Plain bool
	// RunDir is as Options.RunDir.
	RunDir string
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

// Preflight tells when a worker starts what would be wrong in every attempt: a
// host that allows no mounts, a server process that does not start, a template
// that can never work, a store that cannot be reached, does not allow writing or
// ignores conditions. It mounts an empty workspace and unmounts it; no workspace
// of a store is touched.
//
// The error tells of everything that was found, each as Do would report it
// (mount.ErrCannotMount, mount.ErrNoServer, store.ErrURL), and of a store by the
// check that failed.
func Preflight(ctx context.Context, opts *PreflightOptions) error {
	if opts == nil {
		opts = &PreflightOptions{}
	}
	var found []error
	for _, t := range opts.Templates {
		found = append(found, CheckTemplate(t, opts.Vars...))
	}
	found = append(found, tryMounts(ctx, opts))
	for _, url := range opts.Stores {
		found = append(found, tryStore(ctx, url))
	}
	if err := errors.Join(found...); err != nil {
		return fmt.Errorf("preflight: %w", err)
	}
	return nil
}

// tryMounts mounts an empty workspace for each directory to spill to, or one.
func tryMounts(ctx context.Context, opts *PreflightOptions) (err error) {
	dir, err := os.MkdirTemp("", "workdir-preflight-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	spill := slices.Clone(opts.Spill)
	if len(spill) == 0 {
		spill = []string{""}
	}
	slices.Sort(spill)
	for _, s := range slices.Compact(spill) {
		m, err := mount.Open(ctx, "file://"+filepath.Join(dir, "empty"), &mount.Options{
			Plain: opts.Plain, RunDir: opts.RunDir, Spill: s, Logger: logger(ctx),
		})
		if errors.Is(err, mount.ErrCannotMount) && !opts.Plain {
			return fmt.Errorf("%w; or choose plain directories instead of mounts (Options.Plain, InterceptorOptions.Plain, PreflightOptions.Plain)", err)
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
