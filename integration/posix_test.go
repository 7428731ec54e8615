package integration

import (
	"context"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hanwen/go-fuse/v2/posixtest"

	"github.com/workdir/workdir/mount"
)

// go-fuse's own POSIX tests hold for a mount in each view, be it fresh or loaded from an
// archive, and for tmpfs, which is what a mount is measured against.
func TestPosix(t *testing.T) {
	needRoot(t)
	t.Run("tmpfs", func(t *testing.T) { posix(t, memoryDir(t)) })
	for _, view := range []mount.View{mount.ViewOverlay, mount.ViewFUSE} {
		t.Run(string(view), func(t *testing.T) {
			t.Run("fresh", func(t *testing.T) {
				newEnv(t).mounted("posix", view, func(dir string) { posix(t, dir) })
			})
			t.Run("loaded", func(t *testing.T) { posixLoaded(t, view) })
		})
	}
}

// posixLoaded runs the tests in directories that the archive holds.
func posixLoaded(t *testing.T, view mount.View) {
	e := newEnv(t)
	e.work(e.url("posix"), func(dir string) {
		for _, name := range posixNames(t) {
			must(t, os.Mkdir(filepath.Join(dir, name), 0o755))
		}
		buildSample(t, dir, nil)
		must(t, os.RemoveAll(filepath.Join(dir, longNames))) // the overlay refuses a directory with so long a path
		e.unlinkFurther(dir)
	})
	e.mounted("posix", view, func(dir string) { posix(t, dir) })
}

// posixNames are the tests to run. All others are named as excluded.
func posixNames(t *testing.T) []string {
	t.Helper()
	tests := maps.Clone(posixtest.All)
	for name := range exclusions(t, "posixtest") {
		if tests[name] == nil {
			t.Errorf("testdata/exclusions.txt: posixtest has no %s", name)
		}
		delete(tests, name)
	}
	return slices.Sorted(maps.Keys(tests))
}

// posix runs the tests, each in a directory of its own.
func posix(t *testing.T, dir string) {
	for _, name := range posixNames(t) {
		t.Run(name, func(t *testing.T) {
			sub := filepath.Join(dir, name)
			if err := os.MkdirAll(sub, 0o755); err != nil {
				t.Fatal(err)
			}
			posixtest.All[name](t, sub)
		})
	}
}

// mounted opens a workspace in a view through package mount, and commits it after fn,
// which fails if fn leaves anything open.
func (e *env) mounted(key string, view mount.View, fn func(dir string)) {
	e.t.Helper()
	ctx := e.t.Context()
	m, err := mount.Open(ctx, e.url(key), &mount.Options{
		RunDir: e.runDir,
		View:   view,
		Logger: slog.New(slog.NewTextHandler(e.t.Output(), nil)),
	})
	if err != nil {
		e.t.Fatal(err)
	}
	defer func() {
		if err := mount.Stop(context.WithoutCancel(ctx)); err != nil {
			e.t.Error(err)
		}
	}()
	fn(m.Path())
	if err := m.Commit(); err != nil {
		e.t.Error(err)
	}
	if _, err := m.Close(ctx); err != nil {
		e.t.Error(err)
	}
}
