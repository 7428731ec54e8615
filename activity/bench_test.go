package activity_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sdk "go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"

	wdactivity "github.com/workdir/workdir/activity"
	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/mount"
	"github.com/workdir/workdir/store"
)

func TestMain(m *testing.M) {
	if os.Getenv(noFUSEVariable) == "" {
		mount.Init()
	}
	os.Exit(m.Run())
}

// bench is a run directory and a place for archives.
type bench struct {
	t      *testing.T
	runDir string
	store  string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, runDir: filepath.Join(t.TempDir(), "run"), store: t.TempDir()}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := mount.Stop(ctx); err != nil {
			t.Errorf("stop: %v", err)
		}
		b.noMounts()
	})
	return b
}

func (b *bench) url(name string) string { return "file://" + filepath.Join(b.store, name) }

func (b *bench) options() *wdactivity.Options { return &wdactivity.Options{RunDir: b.runDir} }

// noMounts fails if something is still mounted below the run directory.
func (b *bench) noMounts() {
	b.t.Helper()
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		b.t.Fatal(err)
	}
	if strings.Contains(string(table), b.runDir) {
		b.t.Errorf("a mount is left in %s:\n%s", b.runDir, table)
	}
}

// put stores a workspace with one file.
func (b *bench) put(name, file, content string) {
	b.t.Helper()
	m, err := mount.Open(b.t.Context(), b.url(name), &mount.Options{Plain: true, RunDir: b.runDir})
	require.NoError(b.t, err)
	require.NoError(b.t, os.WriteFile(m.Path(file), []byte(content), 0o600))
	require.NoError(b.t, m.Commit())
	_, err = m.Close(b.t.Context())
	require.NoError(b.t, err)
}

// stored reads a file of a stored workspace; ok is false if it, or the archive,
// does not exist.
func (b *bench) stored(name, file string) (content string, ok bool) {
	b.t.Helper()
	ctx := context.Background()
	m, err := mount.Open(ctx, b.url(name), &mount.Options{ReadOnly: true, Presence: mount.MayBeAbsent, RunDir: b.runDir})
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() {
		if _, err := m.Close(ctx); err != nil {
			b.t.Error(err)
		}
	}()
	data, err := os.ReadFile(m.Path(file))
	if errors.Is(err, os.ErrNotExist) {
		return "", false
	}
	if err != nil {
		b.t.Fatal(err)
	}
	return string(data), true
}

func (b *bench) wantStored(name, file, want string) {
	b.t.Helper()
	if got, ok := b.stored(name, file); !ok || got != want {
		b.t.Errorf("stored %s/%s is %q, %v; want %q", name, file, got, ok, want)
	}
}

// log returns the log of a stored workspace.
func (b *bench) log(name string) *archive.Log {
	b.t.Helper()
	ctx := context.Background()
	u, err := store.ParseURL(b.url(name))
	require.NoError(b.t, err)
	st, err := store.OpenBucket(ctx, u)
	require.NoError(b.t, err)
	defer st.Close()
	obj, err := st.Open(ctx, u.Key)
	require.NoError(b.t, err)
	defer obj.Close()
	log, err := archive.ReadLog(obj, obj.Info().Size)
	require.NoError(b.t, err)
	return log
}

func (b *bench) wantNoArchive(name string) {
	b.t.Helper()
	if _, err := store.Stat(context.Background(), b.url(name)); !errors.Is(err, store.ErrNotExist) {
		b.t.Errorf("archive of %s: %v, want none", name, err)
	}
}

// run executes fn as an activity of the test environment, with ctx as the
// context of its worker.
func run[Out any](t *testing.T, ctx context.Context, fn func(context.Context) (Out, error)) (Out, error) {
	t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(quiet)
	env := suite.NewTestActivityEnvironment()
	env.SetWorkerOptions(worker.Options{BackgroundActivityContext: ctx, Plugins: plugins(t, nil)})
	env.SetTestTimeout(time.Minute)
	env.RegisterActivityWithOptions(fn, sdk.RegisterOptions{Name: "test"})
	var out Out
	value, err := env.ExecuteActivity("test")
	if err == nil {
		err = value.Get(&out)
	}
	return out, err
}

// direct is run with the error that fn returned itself, before it went to Temporal.
func direct[Out any](t *testing.T, ctx context.Context, fn func(context.Context) (Out, error)) (out Out, err error) {
	t.Helper()
	_, ended := run(t, ctx, func(ctx context.Context) (bool, error) {
		out, err = fn(ctx)
		return true, nil
	})
	if err == nil {
		err = ended
	}
	return out, err
}

// plugins is a plugin for the worker options of a test environment; opts may be nil.
func plugins(t *testing.T, opts *wdactivity.PluginOptions) []worker.Plugin {
	t.Helper()
	if opts == nil {
		opts = &wdactivity.PluginOptions{}
	}
	opts.NoPreflight = true
	p, err := wdactivity.NewPlugin(opts)
	require.NoError(t, err)
	return []worker.Plugin{p}
}

func write(m *mount.Mount, name, content string) error {
	return os.WriteFile(m.Path(name), []byte(content), 0o644)
}

// quiet is a log without a reader: failing activities are what is tested.
var quiet = log.NewStructuredLogger(slog.New(slog.DiscardHandler))

var errWork = errors.New("the work failed")
