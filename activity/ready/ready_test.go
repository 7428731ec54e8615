package ready_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	wdactivity "github.com/workdir/workdir/activity"
	"github.com/workdir/workdir/activity/errtype"
	"github.com/workdir/workdir/activity/ready"
	"github.com/workdir/workdir/activity/wdtest"
	"github.com/workdir/workdir/mount"
	"github.com/workdir/workdir/store"
)

func TestMain(m *testing.M) {
	mount.Init()
	os.Exit(m.Run())
}

// bench is a run directory and a place for archives.
type bench struct {
	t      *testing.T
	runDir string
	store  string // URL
	plain  bool   // with plain directories
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, runDir: filepath.Join(t.TempDir(), "run"), store: wdtest.NewStore(t)}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		require.NoError(t, mount.Stop(ctx))
		b.noMounts()
	})
	return b
}

func (b *bench) url(name string) string { return b.store + "/" + name }

// noMounts fails if something is still mounted below the run directory.
func (b *bench) noMounts() {
	b.t.Helper()
	table, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(b.t, err)
	require.NotContains(b.t, string(table), b.runDir)
}

func (b *bench) wantStored(name, file, want string) {
	b.t.Helper()
	require.Equal(b.t, want, wdtest.Get(b.t, b.url(name))[file])
}

func (b *bench) wantNoArchive(name string) {
	b.t.Helper()
	require.Nil(b.t, wdtest.Get(b.t, b.url(name)))
}

// versions returns the archives of a workspace that are kept.
func (b *bench) versions(name string) []store.Version {
	b.t.Helper()
	u, err := store.ParseURL(b.url(name))
	require.NoError(b.t, err)
	s, err := store.OpenBucket(b.t.Context(), u)
	require.NoError(b.t, err)
	defer s.Close()
	found, err := u.Versions(b.t.Context(), s)
	require.NoError(b.t, err)
	return found
}

// environment runs the ready-made activities, registered with opts.
func (b *bench) environment(opts *ready.Options) *testsuite.TestActivityEnvironment {
	b.t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(quiet)
	env := suite.NewTestActivityEnvironment()
	env.SetWorkerOptions(worker.Options{Plugins: b.plugins()})
	require.NoError(b.t, ready.Register(env, opts))
	return env
}

// quiet is a log without a reader: failing activities are what is tested.
var quiet = log.NewStructuredLogger(slog.New(slog.DiscardHandler))

var errWork = errors.New("the work failed")

// plugins is a plugin for the worker options of a test environment.
func (b *bench) plugins() []worker.Plugin {
	b.t.Helper()
	p, err := wdactivity.NewPlugin(&wdactivity.PluginOptions{RunDir: b.runDir, Plain: b.plain, NoPreflight: true})
	require.NoError(b.t, err)
	return []worker.Plugin{p}
}

// register registers the ready-made activities.
func (b *bench) register(w worker.ActivityRegistry) {
	b.t.Helper()
	require.NoError(b.t, ready.Register(w, &ready.Options{
		Allow: []string{b.url("")}, Workspaces: wdactivity.Options{Grace: wdactivity.Duration(time.Second)},
	}))
}

// ready runs a ready-made activity as a workflow of another language would: the
// input and the result are JSON.
func (b *bench) ready(ctx context.Context, name, input string) (string, error) {
	b.t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(quiet)
	env := suite.NewTestActivityEnvironment()
	env.SetTestTimeout(time.Minute)
	env.SetWorkerOptions(worker.Options{BackgroundActivityContext: ctx, Plugins: b.plugins()})
	b.register(env)
	value, err := env.ExecuteActivity(name, json.RawMessage(strings.ReplaceAll(input, "STORE", b.store)))
	if err != nil {
		return "", err
	}
	var out json.RawMessage
	require.NoError(b.t, value.Get(&out))
	return string(out), nil
}

// exec runs Exec, which must not fail.
func (b *bench) exec(input string) ready.ExecResult {
	b.t.Helper()
	out, err := b.ready(b.t.Context(), "workdir.Exec", input)
	require.NoError(b.t, err)
	var res ready.ExecResult
	require.NoError(b.t, json.Unmarshal([]byte(out), &res))
	return res
}

// wantType fails unless err is an application error of this type.
func wantType(t *testing.T, err error, typ string, retryable bool) *temporal.ApplicationError {
	t.Helper()
	var app *temporal.ApplicationError
	if !errors.As(err, &app) || app.Type() != typ || app.NonRetryable() == retryable {
		t.Fatalf("error is %v, want %s, retryable %v", err, typ, retryable)
	}
	return app
}

func TestExec(t *testing.T) {
	for _, plain := range []bool{false, true} {
		t.Run(fmt.Sprintf("plain=%v", plain), func(t *testing.T) {
			b := newBench(t)
			b.plain = plain
			wdtest.Put(t, b.url("config"), map[string]string{"flags": "-O2\n"})
			res := b.exec(`{
				"workspace": "STORE/ws", "mounts": {"config": "STORE/config"}, "env": {"WHAT": "all"}, "stdin": "from stdin",
				"argv": ["sh", "-c", "cat; cat \"$WORKDIR_CONFIG/flags\"; echo oops >&2; mkdir sub; echo $WHAT >sub/made"]
			}`)
			require.Equal(t, "from stdin-O2\n", res.Stdout)
			require.Equal(t, "oops\n", res.Stderr)
			require.Zero(t, res.ExitCode)
			require.True(t, res.Stored)
			require.NotEmpty(t, res.Commit)
			require.Equal(t, ready.ExecChanges{Created: 2, Bytes: 4}, res.Changes)
			info, err := store.Stat(t.Context(), b.url("ws"))
			require.NoError(t, err)
			require.Equal(t, string(info.Revision), res.Revision)
			b.noMounts()

			res = b.exec(`{"workspace": "STORE/ws", "dir": "sub", "argv": ["sh", "-c", "cat made; pwd"]}`)
			require.True(t, strings.HasPrefix(res.Stdout, "all\n") && strings.HasSuffix(res.Stdout, "/sub\n"), res.Stdout)
			require.False(t, res.Stored)
			require.Equal(t, string(info.Revision), res.Revision)
		})
	}
}

// What a command did that did not exit with 0, or that was not to be committed,
// is not stored, and is a result all the same.
func TestExecThatStoresNothing(t *testing.T) {
	tests := []struct {
		name, input string
		want        ready.ExecResult
	}{
		{"exit code", `"argv": ["sh", "-c", "echo x >f; exit 7"]`,
			ready.ExecResult{ExitCode: 7, Changes: ready.ExecChanges{Created: 1, Bytes: 2}}},
		{"signal", `"argv": ["sh", "-c", "kill -9 $$"]`, ready.ExecResult{ExitCode: 137, Signal: "SIGKILL"}},
		{"timeout", `"timeoutSeconds": 0.2, "argv": ["sh", "-c", "sleep 1000 & sleep 1000"]`,
			ready.ExecResult{ExitCode: 143, Signal: "SIGTERM", TimedOut: true}},
		{"no commit", `"commit": false, "argv": ["sh", "-c", "echo x >f"]`,
			ready.ExecResult{Changes: ready.ExecChanges{Created: 1, Bytes: 2}}},
		{"not found", `"argv": ["no-such-command"]`,
			ready.ExecResult{ExitCode: 127, Stderr: "workdir: no-such-command: executable file not found in $PATH\n"}},
		{"what is left behind", `"argv": ["sh", "-c", "sleep 1000 >&- 2>&- & exit 1"]`, ready.ExecResult{ExitCode: 1}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			res := b.exec(`{"workspace": "STORE/ws", ` + test.input + `}`)
			if test.want.Stderr == "" {
				res.Stderr = ""
			}
			require.Equal(t, test.want, res)
			b.noMounts()
			b.wantNoArchive("ws")
		})
	}
}

func TestExecReadOnly(t *testing.T) {
	b := newBench(t)
	input := `{"workspace": "STORE/ws", "readOnly": true, "argv": ["sh", "-c", "echo x 2>/dev/null >f || exit 3"]}`
	_, err := b.ready(t.Context(), "workdir.Exec", input)
	wantType(t, err, errtype.NotExist, false)
	wdtest.Put(t, b.url("ws"), map[string]string{"base": ""})
	require.Equal(t, 3, b.exec(input).ExitCode)
}

func TestExecPresence(t *testing.T) {
	b := newBench(t)
	input := `{"workspace": "STORE/ws", "presence": "mustBeNew", "argv": ["touch", "f"]}`
	require.True(t, b.exec(input).Stored)
	_, err := b.ready(t.Context(), "workdir.Exec", input)
	wantType(t, err, errtype.Exist, false)
	_, err = b.ready(t.Context(), "workdir.Exec", `{"workspace": "STORE/ws", "presence": "perhaps", "argv": ["true"]}`)
	wantType(t, err, errtype.Input, false)
}

func TestExecFailOnExit(t *testing.T) {
	b := newBench(t)
	_, err := b.ready(t.Context(), "workdir.Exec", `{"workspace": "STORE/ws", "failOnExit": true, "argv": ["sh", "-c", "echo first >&2; echo no rule >&2; exit 2"]}`)
	app := wantType(t, err, errtype.Exit, true)
	require.Equal(t, "exec sh: exit code 2: no rule", app.Message())
	var res ready.ExecResult
	require.NoError(t, app.Details(&res))
	require.Equal(t, 2, res.ExitCode)
}

func TestExecKeepsTheEndOfLongOutput(t *testing.T) {
	b := newBench(t)
	res := b.exec(`{"workspace": "STORE/ws", "argv": ["sh", "-c", "yes äöü | head -c 300006; echo end"]}`)
	require.True(t, res.StdoutTruncated)
	require.False(t, res.StderrTruncated)
	require.True(t, strings.HasSuffix(res.Stdout, "end\n"))
	require.LessOrEqual(t, len(res.Stdout), 64<<10)
	require.Greater(t, len(res.Stdout), 63<<10)
	require.NotContains(t, res.Stdout[:100], "\uFFFD")
}

// lost is an interceptor around the plugin's that loses the result of the first
// attempt, as a worker does that dies after the commit.
type lost struct {
	interceptor.WorkerInterceptorBase
}

func (lost) InterceptActivity(_ context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	i := &lostActivity{}
	i.Next = next
	return i
}

type lostActivity struct {
	interceptor.ActivityInboundInterceptorBase
}

func (i *lostActivity) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (any, error) {
	out, err := i.Next.ExecuteActivity(ctx, in)
	if err == nil && activity.GetInfo(ctx).Attempt == 1 {
		return nil, errors.New("the worker died")
	}
	return out, err
}

// An attempt that finds the commit of an earlier one returns its result.
func TestExecIsReplayed(t *testing.T) {
	b := newBench(t)
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(quiet)
	env := suite.NewTestWorkflowEnvironment()
	env.SetTestTimeout(time.Minute)
	env.SetWorkerOptions(worker.Options{Interceptors: []interceptor.WorkerInterceptor{&lost{}}, Plugins: b.plugins()})
	b.register(env)
	env.ExecuteWorkflow(func(ctx workflow.Context) (out ready.ExecResult, err error) {
		ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute})
		return out, workflow.ExecuteActivity(ctx, ready.Exec, ready.ExecInput{
			Workspace: b.url("ws"), Argv: []string{"sh", "-c", "echo line >>f; wc -l <f"},
		}).Get(ctx, &out)
	})
	require.NoError(t, env.GetWorkflowError())
	var res ready.ExecResult
	require.NoError(t, env.GetWorkflowResult(&res))
	require.NotEmpty(t, res.Commit)
	res.Commit = ""
	require.Equal(t, ready.ExecResult{
		Stdout: "1\n", Stored: true, Replayed: true, Changes: ready.ExecChanges{Created: 1, Bytes: 5},
	}, res)
	b.wantStored("ws", "f", "line\n")
}

// The command and its children end with the activity.
func TestExecEndsWithTheActivity(t *testing.T) {
	b := newBench(t)
	started := filepath.Join(t.TempDir(), "started")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		for {
			if _, err := os.Stat(started); err == nil || ctx.Err() != nil {
				cancel(errWork)
				return
			}
		}
	}()
	_, err := b.ready(ctx, "workdir.Exec", fmt.Sprintf(
		`{"workspace": "STORE/ws", "argv": ["sh", "-c", "sleep 1000 & echo x >f; touch %s; wait"]}`, started))
	require.ErrorContains(t, err, errWork.Error())
	b.noMounts()
	b.wantNoArchive("ws")
}

// A process that a command leaves behind keeps its changes from being stored; it
// is named, and ended after that.
func TestExecThatLeavesSomethingBehind(t *testing.T) {
	b := newBench(t)
	_, err := b.ready(t.Context(), "workdir.Exec", `{"workspace": "STORE/ws", "argv": ["sh", "-c", "echo x >f; sleep 1000 >&- 2>&- &"]}`)
	app := wantType(t, err, errtype.Busy, true)
	require.Contains(t, app.Message(), "sleep")
	b.wantNoArchive("ws")
	require.Eventually(t, func() bool {
		table, err := os.ReadFile("/proc/self/mountinfo")
		return err == nil && !strings.Contains(string(table), b.runDir)
	}, time.Minute, 10*time.Millisecond, "the mount stays")
}

func TestReadyRefuses(t *testing.T) {
	b := newBench(t)
	tests := []struct{ name, activity, input, typ, want string }{
		{"a string for a list", "workdir.Exec", `{"workspace": "STORE/ws", "argv": "ls"}`, errtype.Input, "argv: it is of the JSON type string, and a list of strings is needed"},
		{"a number in a list", "workdir.Exec", `{"workspace": "STORE/ws", "argv": ["ls", 1]}`, errtype.Input, "argv"},
		{"a list for an object", "workdir.Exec", `{"workspace": "STORE/ws", "argv": ["ls"], "env": ["A=b"]}`, errtype.Input, "env: it is of the JSON type array, and an object of strings is needed"},
		{"an unknown field", "workdir.Exec", `{"workspace": "STORE/ws", "argv": ["ls"], "timeout": 3}`, errtype.Input, `unknown field "timeout"`},
		{"no object", "workdir.Exec", `"ls"`, errtype.Input, "the input is of the JSON type string"},
		{"list a number", "workdir.List", `{"prefix": 1}`, errtype.Input, "prefix: it is of the JSON type number, and a string is needed"},
		{"delete with an unknown field", "workdir.Delete", `{"workspace": "STORE/ws", "force": true}`, errtype.Input, `unknown field "force"`},
		{"copy with a word", "workdir.Copy", `{"from": "STORE/x", "to": "STORE/y", "replaceAny": "yes"}`, errtype.Input, "replaceAny: it is of the JSON type string, and true or false is needed"},
		{"no command", "workdir.Exec", `{"workspace": "STORE/ws"}`, errtype.Input, "argv: a command is needed"},
		{"no such policy", "workdir.Exec", `{"workspace": "STORE/ws", "argv": ["true"], "onConflict": "overwrite"}`, errtype.Input, "on conflict: \"overwrite\""},
		{"no workspace", "workdir.Exec", `{"argv": ["true"]}`, errtype.Input, "workspace: the URL"},
		{"dir", "workdir.Exec", `{"workspace": "STORE/ws", "argv": ["true"], "dir": "../up"}`, errtype.Input, "dir: \"../up\""},
		{"timeout", "workdir.Exec", `{"workspace": "STORE/ws", "argv": ["true"], "timeoutSeconds": -1}`, errtype.Input, "timeoutSeconds"},
		{"env", "workdir.Exec", `{"workspace": "STORE/ws", "argv": ["true"], "env": {"A=B": ""}}`, errtype.Input, "env: \"A=B\""},
		{"variable", "workdir.Exec", `{"workspace": "STORE/{what}", "argv": ["true"]}`, errtype.Input, "unknown variable {what}"},
		{"itself", "workdir.Exec", `{"workspace": "STORE/ws", "argv": ["true"], "mounts": {"a": "STORE/ws"}}`, errtype.Input, "a is the workspace itself"},
		{"elsewhere", "workdir.Exec", `{"workspace": "/elsewhere/ws", "argv": ["true"]}`, errtype.NotAllowed, "not allowed by this worker"},
		{"beside", "workdir.Exec", `{"workspace": "STORE-2/ws", "argv": ["true"]}`, errtype.NotAllowed, "not allowed by this worker"},
		{"mount elsewhere", "workdir.Exec", `{"workspace": "STORE/ws", "argv": ["true"], "mounts": {"a": "mem://b/k"}}`, errtype.NotAllowed, "mounts: a: mem://b/k"},
		{"options", "workdir.Exec", `{"workspace": "STORE/ws?x=y", "argv": ["true"]}`, errtype.NotAllowed, "options of the store"},
		{"prune elsewhere", "workdir.Prune", `{"prefix": "mem://b", "olderThanSeconds": 1}`, errtype.NotAllowed, "prefix: mem://b"},
		{"prune without a limit", "workdir.Prune", `{"prefix": "STORE/ws"}`, errtype.Input, "olderThanSeconds: say how old"},
		{"prune before time", "workdir.Prune", `{"prefix": "STORE/ws", "olderThanSeconds": -1}`, errtype.Input, "olderThanSeconds: -1"},
		{"list elsewhere", "workdir.List", `{"prefix": "mem://b"}`, errtype.NotAllowed, "prefix: mem://b"},
		{"list nothing", "workdir.List", `{}`, errtype.Input, "prefix: "},
		{"delete elsewhere", "workdir.Delete", `{"workspace": "mem://b/k"}`, errtype.NotAllowed, "mem://b/k"},
		{"copy from elsewhere", "workdir.Copy", `{"from": "mem://b/k", "to": "STORE/x"}`, errtype.NotAllowed, "from: mem://b/k"},
		{"copy to elsewhere", "workdir.Copy", `{"from": "STORE/x", "to": "mem://b/k"}`, errtype.NotAllowed, "to: mem://b/k"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := b.ready(t.Context(), test.activity, test.input)
			app := wantType(t, err, test.typ, false)
			require.Contains(t, app.Message(), test.want)
		})
	}
}

func TestOptions(t *testing.T) {
	for _, opts := range []*ready.Options{nil, {}, {Allow: []string{"nonsense://x"}}, {Allow: []string{"*"}, Only: []string{"workdir.What"}}} {
		require.Error(t, ready.Register(nil, opts))
	}
}

// Options of the worker that would change what an activity is are left out.
func TestWorkspacesOfExec(t *testing.T) {
	b := newBench(t)
	env := b.environment(&ready.Options{Allow: []string{"*"}, Workspaces: wdactivity.Options{
		Name: "a", AutoCommit: true, ReadOnly: true, MaxInodes: 5,
	}})
	value, err := env.ExecuteActivity(ready.Exec, ready.ExecInput{Workspace: b.url("ws"), Argv: []string{"sh", "-c", "touch 1; touch 2 3 4 5 6 7 8"}})
	require.NoError(t, err)
	var res ready.ExecResult
	require.NoError(t, value.Get(&res))
	require.Equal(t, 1, res.ExitCode)
	require.Contains(t, res.Stderr, "No space left")
	b.wantNoArchive("ws")
}

// A command that did not exit with 0 has its work saved where the worker says, and versions
// are kept of what is stored. What is read-only has neither.
func TestExecKeepsAndSaves(t *testing.T) {
	b := newBench(t)
	env := b.environment(&ready.Options{Allow: []string{"*"}, Workspaces: wdactivity.Options{
		Keep: wdactivity.Keep{Last: 5}, SaveFailed: b.url("failed/{activity_type}"),
	}})
	exec := func(in ready.ExecInput) (res ready.ExecResult) {
		in.Workspace = b.url("ws")
		value, err := env.ExecuteActivity(ready.Exec, in)
		require.NoError(t, err)
		require.NoError(t, value.Get(&res))
		return res
	}
	for _, text := range []string{"one", "two"} {
		require.True(t, exec(ready.ExecInput{Argv: []string{"sh", "-c", "echo " + text + " >f"}}).Stored)
	}
	require.Len(t, b.versions("ws"), 1)
	res := exec(ready.ExecInput{Argv: []string{"sh", "-c", "echo half >f; exit 3"}})
	require.Equal(t, b.url("failed/workdir.Exec"), res.Saved)
	require.False(t, res.Stored)
	b.wantStored("failed/workdir.Exec", "f", "half\n")
	b.wantStored("ws", "f", "two\n")
	require.Equal(t, "two\n", exec(ready.ExecInput{Argv: []string{"cat", "f"}, ReadOnly: true, Mounts: map[string]string{"saved": res.Saved}}).Stdout)
}

// A workflow says that what others have stored meanwhile is merged.
func TestExecMerges(t *testing.T) {
	b := newBench(t)
	wdtest.Put(t, b.url("ws"), map[string]string{"base": ""})
	at, goOn := filepath.Join(t.TempDir(), "at"), filepath.Join(t.TempDir(), "go")
	done := make(chan ready.ExecResult, 1)
	go func() {
		done <- b.exec(`{"workspace": "STORE/ws", "onConflict": "merge", "argv": ["sh", "-c",
			"echo mine >mine; touch ` + at + `; until [ -e ` + goOn + ` ]; do sleep 0.01; done"]}`)
	}()
	require.Eventually(t, func() bool { _, err := os.Stat(at); return err == nil }, time.Minute, 5*time.Millisecond)
	wdtest.Put(t, b.url("ws"), map[string]string{"base": "", "theirs": "theirs"})
	require.NoError(t, os.WriteFile(goOn, nil, 0o600))
	require.True(t, (<-done).Stored)
	require.Equal(t, map[string]string{"base": "", "mine": "mine\n", "theirs": "theirs"}, wdtest.Get(t, b.url("ws")))
}

// The worker says where commands see their workspaces.
func TestExecAt(t *testing.T) {
	b := newBench(t)
	wdtest.Put(t, b.url("config"), map[string]string{"flags": "-O2"})
	env := b.environment(&ready.Options{Allow: []string{"*"}, Workspaces: wdactivity.Options{At: "/workdir-test"}})
	value, err := env.ExecuteActivity(ready.Exec, ready.ExecInput{
		Workspace: b.url("ws"), Argv: []string{"sh", "-c", `pwd; cd / && echo "$WORKDIR" >$WORKDIR/file && cat "$WORKDIR_CONFIG/flags"`},
		Mounts: map[string]string{"config": b.url("config")},
	})
	require.NoError(t, err)
	var res ready.ExecResult
	require.NoError(t, value.Get(&res))
	require.Equal(t, "/workdir-test\n-O2", res.Stdout)
	require.Equal(t, "", res.Stderr)
	b.wantStored("ws", "file", "/workdir-test\n")
}
