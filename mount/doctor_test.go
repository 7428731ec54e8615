package mount

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/workdir/workdir/doctor"
	"github.com/workdir/workdir/mount/internal/host"
	"github.com/workdir/workdir/store"
)

// hostChecks returns the checks of a run, by name, and fails the test if the mount table or
// the directory of the run directory has changed.
func hostChecks(t *testing.T, ctx context.Context, runDir string, report func(doctor.Check)) (map[string]doctor.Check, error) {
	t.Helper()
	own := filepath.Dir(runDir)
	before, names := mountPaths(t, own), namesIn(t, own)
	checks := map[string]doctor.Check{}
	err := Diagnose(ctx, &Options{RunDir: runDir}, func(c doctor.Check) {
		if _, twice := checks[c.Name]; twice || c.Detail == "" {
			t.Errorf("reported twice, or without detail: %+v", c)
		}
		checks[c.Name] = c
		report(c)
	})
	if after := mountPaths(t, own); !slices.Equal(before, after) {
		t.Errorf("mounts: %q, before %q", after, before)
	}
	if after := namesIn(t, own); !slices.Equal(names, after) {
		t.Errorf("left behind: %q, before %q", after, names)
	}
	return checks, err
}

func ignore(doctor.Check) {}

// mountPaths returns our mounts below dir; elsewhere other tests may run.
func mountPaths(t *testing.T, dir string) []string {
	t.Helper()
	table, err := host.MountTable("self")
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, e := range table {
		if e.IsOurs() && host.Within(e.Path, dir) {
			paths = append(paths, e.Path)
		}
	}
	return paths
}

func namesIn(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestDiagnoseHost(t *testing.T) {
	for _, exists := range []string{"absent", "there"} {
		t.Run("run directory "+exists, func(t *testing.T) {
			runDir := filepath.Join(t.TempDir(), "run")
			if exists == "there" {
				if err := os.Mkdir(runDir, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			checks, err := hostChecks(t, context.Background(), runDir, ignore)
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"kernel", "/dev/fuse", "fusermount3", "fuse.conf", "memory", "content", "descriptors", "host clock", "run directory", "mount", "in the mount"} {
				if c, ok := checks[name]; !ok || c.Status == doctor.Fail {
					t.Errorf("%s: %+v", name, c)
				}
			}
			if c := checks["mount"]; c.Status != doctor.OK {
				t.Errorf("mount: %+v", c)
			}
			if err := Stop(context.Background()); err != nil {
				t.Fatal(err)
			}
			if err := store.RemoveMem(); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// Without a run directory no mount is tried, and the check says what to do.
func TestDiagnoseRunDir(t *testing.T) {
	runDir := filepath.Join(t.TempDir(), "run")
	if err := os.Mkdir(runDir, 0o755); err != nil {
		t.Fatal(err)
	}
	checks, err := hostChecks(t, context.Background(), runDir, ignore)
	if err != nil {
		t.Fatal(err)
	}
	if c := checks["run directory"]; c.Status != doctor.Fail || !strings.Contains(c.Detail, "must be private") || !strings.Contains(c.Fix, "chmod 700") {
		t.Errorf("run directory: %+v", c)
	}
	if c := checks["mount"]; c.Status != doctor.Skip {
		t.Errorf("mount: %+v", c)
	}
}

func TestDiagnoseHostCancelled(t *testing.T) {
	runDir := filepath.Join(t.TempDir(), "run")
	ctx, cancel := context.WithCancel(context.Background())
	checks, err := hostChecks(t, ctx, runDir, func(c doctor.Check) {
		if c.Name == "run directory" {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	if c, ok := checks["mount"]; ok {
		t.Errorf("mount: %+v", c)
	}
}
