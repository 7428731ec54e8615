package activity_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sdk "go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"

	wdactivity "github.com/workdir/workdir/activity"
	"github.com/workdir/workdir/mount"
)

// noFUSEVariable makes the tests run where neither FUSE nor mount.Init is to be had.
const noFUSEVariable = "WORKDIR_TEST_NO_FUSE"

// work is what an activity does in its workspace.
type work = func(context.Context, *mount.Mount) (string, error)

// way is one way into this package: it makes an activity of some work in the
// workspace "ws".
type way struct {
	name string
	make func(b *bench, plain bool, do work) suiteOptions
}

func ways() []way {
	inContext := func(do work) func(context.Context) (string, error) {
		return func(ctx context.Context) (string, error) {
			m, ok := wdactivity.Workspace(ctx)
			if !ok {
				return "", errors.New("there is no workspace")
			}
			return do(ctx, m)
		}
	}
	ruled := func(b *bench, plain bool, r wdactivity.Rule) []worker.Plugin {
		r.URL = b.url("ws")
		return plugins(b.t, &wdactivity.PluginOptions{RunDir: b.runDir, Plain: plain, Rules: []wdactivity.Rule{r}})
	}
	return []way{
		{"do", func(b *bench, plain bool, do work) suiteOptions {
			return suiteOptions{activity: func(ctx context.Context) (string, error) {
				return wdactivity.Do(ctx, b.url("ws"), &wdactivity.Options{RunDir: b.runDir, Plain: plain}, do)
			}}
		}},
		{"do, by the plugin's options", func(b *bench, plain bool, do work) suiteOptions {
			return suiteOptions{
				plugins:  plugins(b.t, &wdactivity.PluginOptions{RunDir: b.runDir, Plain: plain}),
				activity: func(ctx context.Context) (string, error) { return wdactivity.Do(ctx, b.url("ws"), nil, do) },
			}
		}},
		{"rule by name", func(b *bench, plain bool, do work) suiteOptions {
			return suiteOptions{activity: inContext(do), plugins: ruled(b, plain, wdactivity.Rule{Activity: "act"})}
		}},
		{"rule by pattern", func(b *bench, plain bool, do work) suiteOptions {
			return suiteOptions{activity: inContext(do), plugins: ruled(b, plain, wdactivity.Rule{Activity: "a*"})}
		}},
		{"rule by reference", func(b *bench, plain bool, do work) suiteOptions {
			worker := &Worker{do: inContext(do)}
			return suiteOptions{activity: worker.Act, plugins: ruled(b, plain, wdactivity.Rule{Activity: (*Worker).Act})}
		}},
	}
}

// Worker is a struct of activities.
type Worker struct {
	do func(context.Context) (string, error)
}

func (w *Worker) Act(ctx context.Context) (string, error) { return w.do(ctx) }

// everyWay runs a test for every way in, mounted and in a plain directory.
func everyWay(t *testing.T, test func(b *bench, w way, plain bool)) {
	t.Helper()
	for _, w := range ways() {
		for _, plain := range []bool{false, true} {
			kind := map[bool]string{false: "mounted", true: "plain"}[plain]
			t.Run(kind+"/"+w.name, func(t *testing.T) { test(newBench(t), w, plain) })
		}
	}
}

// In the SDK's test suite, with an activity that fails twice after it has marked its
// workspace, what the third attempt did is stored, and nothing else.
func TestEveryWayInASuite(t *testing.T) {
	everyWay(t, func(b *bench, w way, plain bool) {
		var runs atomic.Int32
		o := w.make(b, plain, func(_ context.Context, m *mount.Mount) (string, error) {
			n := runs.Add(1)
			if err := add(m, fmt.Sprint("run ", n)); err != nil {
				return "", err
			}
			if n < 3 {
				return "", errWork
			}
			return fmt.Sprint("run ", n), nil
		})
		o.attempts = 3
		out, err := runInWorkflow(b.t, o)
		require.NoError(b.t, err)
		require.Equal(b.t, "run 3", out)
		b.wantPlain("ws", "lines", "run 3\n")
		b.noMounts()
	})
}

// The SDK's environment for one activity.
func TestEveryWayInATestActivityEnvironment(t *testing.T) {
	everyWay(t, func(b *bench, w way, plain bool) {
		o := w.make(b, plain, func(_ context.Context, m *mount.Mount) (string, error) { return "done", add(m, "line") })
		var suite testsuite.WorkflowTestSuite
		suite.SetLogger(quiet)
		env := suite.NewTestActivityEnvironment()
		env.SetTestTimeout(time.Minute)
		if o.plugins == nil {
			o.plugins = plugins(b.t, nil)
		}
		env.SetWorkerOptions(worker.Options{Plugins: o.plugins})
		env.RegisterActivityWithOptions(o.activity, sdk.RegisterOptions{Name: "act"})
		value, err := env.ExecuteActivity("act")
		require.NoError(b.t, err)
		var out string
		require.NoError(b.t, value.Get(&out))
		require.Equal(b.t, "done", out)
		b.wantPlain("ws", "lines", "line\n")
		b.noMounts()
	})
}

// wantPlain is wantStored, and needs no FUSE.
func (b *bench) wantPlain(name, file, want string) {
	b.t.Helper()
	m, err := mount.Open(b.t.Context(), b.url(name), &mount.Options{ReadOnly: true, Presence: mount.MayBeAbsent, Plain: true, RunDir: b.runDir})
	require.NoError(b.t, err)
	got, err := os.ReadFile(m.Path(file))
	require.NoError(b.t, err)
	require.Equal(b.t, want, string(got))
	_, err = m.Close(b.t.Context())
	require.NoError(b.t, err)
}

// withoutFUSE runs its arguments where neither /dev/fuse nor fusermount3 is to be
// had.
const withoutFUSE = `
	mount -t tmpfs none "$0"
	for n in null zero full random urandom; do touch "$0/$n"; mount --bind "/dev/$n" "$0/$n"; done
	helper=$(command -v fusermount3) && mount --bind /dev/null "$helper"
	mount --rbind "$0" /dev
	exec "$@"`

// The same tests, with plain directories, where FUSE is forbidden and in a program
// that does not call mount.Init: unit tests of users on a laptop or in a container.
func TestEveryWayWithoutFUSE(t *testing.T) {
	if os.Getenv(noFUSEVariable) != "" {
		_, err := mount.Open(t.Context(), newBench(t).url("ws"), nil)
		require.Error(t, err)
		return
	}
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command("unshare", "--map-root-user", "--mount", "sh", "-ec", withoutFUSE, t.TempDir(),
		self, "-test.v", "-test.run", "^(TestEveryWayWithoutFUSE|TestEveryWayInASuite|TestEveryWayInATestActivityEnvironment)$/^plain$")
	cmd.Env = append(os.Environ(), noFUSEVariable+"=yes", "TEMPORAL_DEBUG=1") // the SDK takes a second without a turn for a deadlock
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	passed := strings.Count(string(out), "--- PASS: TestEveryWayIn")
	if want := 2 * (1 + len(ways())); passed != want {
		t.Errorf("%d tests passed, want %d:\n%s", passed, want, out)
	}
}
