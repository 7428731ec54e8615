package temporal

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/integration/internal/proc"
	"github.com/workdir/workdir/integration/stores"
	"github.com/workdir/workdir/mount"
	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/workspace"
)

// env is what one test has for itself: a store, task queues, and workers with run
// directories. At the end of the test nothing may be left of it: no mount, no
// process, no session, nothing beside the archives.
type env struct {
	t        testing.TB
	root     string   // short, since paths of sockets are
	storeDir string   // "" where the store is no directory
	bucket   string   // URL of the store, with %s for the key
	queue    string   // task queue of its activities
	vars     []string // of the workers
	workers  []*workerProcess

	mu     sync.Mutex
	stored func() // see onStored; guarded by mu
}

// envVariable marks every process that a test starts, and what those start, with
// the directory of its env.
const envVariable = "WORKDIR_INTEGRATION_ENV"

// newEnv returns an env with a file store.
func newEnv(t *testing.T) *env {
	t.Helper()
	return newEnvFor(t)
}

// newEnvFor is newEnv, for benchmarks too.
func newEnvFor(t testing.TB) *env {
	t.Helper()
	root, err := os.MkdirTemp("/tmp", "wd")
	noError(t, err)
	e := &env{t: t, root: root, storeDir: filepath.Join(root, "store"), queue: t.Name() + "-" + filepath.Base(root)}
	e.bucket = "file://" + e.storeDir + "/%s"
	noError(t, os.Mkdir(e.storeDir, 0o755))
	noError(t, os.Mkdir(e.notes(), 0o755))
	t.Cleanup(e.end)
	return e
}

// newS3Env returns an env whose store is an S3 server of its own.
func newS3Env(t *testing.T) *env {
	t.Helper()
	return newS3EnvBehind(t, func(e *env, s *stores.Server) string { return e.watchUploads(s.Address) })
}

// newS3EnvBehind is newS3Env with something between the server and all who use it,
// which front starts and gives the address of.
func newS3EnvBehind(t *testing.T, front func(*env, *stores.Server) string) *env {
	t.Helper()
	e := newEnv(t)
	s, err := stores.Start(t.Context(), stores.S3)
	noError(t, err)
	t.Cleanup(func() { noError(t, s.Stop()) })
	noError(t, s.MakeBucket(t.Context(), "bucket"))
	e.storeDir, e.vars = "", s.Env()
	e.bucket = strings.Replace(s.URL("bucket", "%s"), s.Address, front(e, s), 1)
	for _, variable := range e.vars {
		name, value, _ := strings.Cut(variable, "=")
		t.Setenv(name, value) // this process looks at the archives
	}
	return e
}

// url names a workspace in the store.
func (e *env) url(key string) string { return strings.Replace(e.bucket, "%s", key, 1) }

// archive is the file of a workspace in a file store.
func (e *env) archive(key string) string { return filepath.Join(e.storeDir, key+".tar.gz") }

// file returns the content of a file in a workspace at rest.
func (e *env) file(key, path string) string {
	e.t.Helper()
	var b bytes.Buffer
	_, err := workspace.Cat(e.t.Context(), e.url(key), []string{path}, &b, nil)
	noError(e.t, err)
	return b.String()
}

// notes is the directory by which tests and activities notify each other of what has happened,
// see config.note: a file for each thing.
func (e *env) notes() string { return filepath.Join(e.root, "notes") }

// note notifies the activities that something has happened.
func (e *env) note(name string) {
	e.t.Helper()
	noError(e.t, os.WriteFile(filepath.Join(e.notes(), name), nil, 0o644))
}

// awaitNote waits until an activity has told that something has happened.
func (e *env) awaitNote(name string) {
	e.t.Helper()
	waitFor(e.t, "note "+name, func() bool { return e.noted(name) })
}

// noted reports whether an activity has told that something has happened.
func (e *env) noted(name string) bool { return noted(e.notes(), name) }

// exists reports whether a workspace has an archive.
func (e *env) exists(key string) bool {
	e.t.Helper()
	_, err := store.Stat(e.t.Context(), e.url(key))
	if err != nil && !errors.Is(err, store.ErrNotExist) {
		e.t.Fatal(err)
	}
	return err == nil
}

// log returns the records of the commits in a workspace, newest first.
func (e *env) log(key string) []archive.Record {
	e.t.Helper()
	log, _, err := workspace.Log(e.t.Context(), e.url(key))
	noError(e.t, err)
	if log == nil {
		e.t.Fatalf("%s has no log", e.url(key))
	}
	records := make([]archive.Record, 0, log.Len())
	for r := range log.All() {
		records = append(records, *r)
	}
	return records
}

// onStored calls fn whenever an archive was stored, before the one who stores it
// knows that it was, as far as that can be done: a file store does not wait.
func (e *env) onStored(fn func()) {
	e.t.Helper()
	e.mu.Lock()
	e.stored = fn
	e.mu.Unlock()
	if e.storeDir == "" {
		return // watchUploads does it
	}
	stop, err := watchRenames(e.storeDir, fn)
	noError(e.t, err)
	e.t.Cleanup(stop)
}

// tellStored tells the one who asked to be told.
func (e *env) tellStored() {
	e.mu.Lock()
	stored := e.stored
	e.mu.Unlock()
	if stored != nil {
		stored()
	}
}

// end ends the workers, holds the env against its promise, and removes it.
func (e *env) end() {
	for _, w := range e.workers {
		w.end()
	}
	e.checkNothingLeft()
	e.place().Remove()
}

// checkNothingLeft reports what is left when all workers have ended. What killed
// ones left in their run directories is cleared away first as the next worker
// there would do it.
func (e *env) checkNothingLeft() {
	e.t.Helper()
	_ = eventually("the end of all processes", func() bool { return len(e.processes()) == 0 }) // Report tells
	for _, w := range e.workers {
		if err := mount.CleanUp(context.Background(), w.runDir()); err != nil {
			e.t.Error(err)
		}
		if left, _ := filepath.Glob(filepath.Join(w.runDir(), "s-*")); len(left) > 0 { // fails on a bad pattern only
			e.t.Errorf("left in the run directory of %s: %q", w.name, left)
		}
	}
	e.place().Report()
}

// place is where leftovers are searched for.
func (e *env) place() *proc.Place {
	return &proc.Place{T: e.t, Root: e.root, Store: e.storeDir, Mark: envVariable + "=" + e.root}
}

// processes are those that this env's workers are, or started, and have not ended.
func (e *env) processes() []int { return e.place().Processes() }

// mounts are the workspaces mounted in this env.
func (e *env) mounts() []string { return e.place().Mounts() }

// litter is everything in a file store except archives.
func (e *env) litter() []string { return e.place().Litter() }
