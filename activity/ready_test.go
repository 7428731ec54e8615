package activity_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/testsuite"
	"go.temporal.io/sdk/worker"

	wdactivity "github.com/workdir/workdir/activity"
	"github.com/workdir/workdir/store"
)

// ready runs a ready-made activity as a workflow of another language would: the
// input and the result are JSON.
func (b *bench) ready(ctx context.Context, name, input string) (string, error) {
	b.t.Helper()
	var suite testsuite.WorkflowTestSuite
	suite.SetLogger(quiet)
	env := suite.NewTestActivityEnvironment()
	env.SetTestTimeout(time.Minute)
	env.SetWorkerOptions(worker.Options{BackgroundActivityContext: ctx, Plugins: plugins(b.t, &wdactivity.PluginOptions{Plain: b.plain})})
	opts := b.options()
	opts.Grace = wdactivity.Duration(time.Second)
	wdactivity.RegisterActivities(env, &wdactivity.ReadyOptions{Allow: []string{b.url("")}, Options: opts})
	value, err := env.ExecuteActivity(name, json.RawMessage(strings.ReplaceAll(input, "STORE", "file://"+b.store)))
	if err != nil {
		return "", err
	}
	var out json.RawMessage
	require.NoError(b.t, value.Get(&out))
	return string(out), nil
}

// exec runs workdir.Exec, which must not fail.
func (b *bench) exec(input string) wdactivity.ExecResult {
	b.t.Helper()
	out, err := b.ready(b.t.Context(), "workdir.Exec", input)
	require.NoError(b.t, err)
	var res wdactivity.ExecResult
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
			seed(t, b, "config", "flags", "-O2\n")
			res := b.exec(`{
				"workspace": "STORE/ws", "mounts": {"config": "STORE/config"}, "env": {"WHAT": "all"}, "stdin": "from stdin",
				"argv": ["sh", "-c", "cat; cat \"$WORKDIR_CONFIG/flags\"; echo oops >&2; mkdir sub; echo $WHAT >sub/made"]
			}`)
			require.Equal(t, "from stdin-O2\n", res.Stdout)
			require.Equal(t, "oops\n", res.Stderr)
			require.Zero(t, res.ExitCode)
			require.True(t, res.Stored)
			require.NotEmpty(t, res.Commit)
			require.Equal(t, wdactivity.ExecChanges{Created: 2, Bytes: 4}, res.Changes)
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
		want        wdactivity.ExecResult
	}{
		{"exit code", `"argv": ["sh", "-c", "echo x >f; exit 7"]`,
			wdactivity.ExecResult{ExitCode: 7, Changes: wdactivity.ExecChanges{Created: 1, Bytes: 2}}},
		{"signal", `"argv": ["sh", "-c", "kill -9 $$"]`, wdactivity.ExecResult{ExitCode: 137, Signal: "SIGKILL"}},
		{"timeout", `"timeoutSeconds": 0.2, "argv": ["sh", "-c", "sleep 1000 & sleep 1000"]`,
			wdactivity.ExecResult{ExitCode: 143, Signal: "SIGTERM", TimedOut: true}},
		{"no commit", `"commit": false, "argv": ["sh", "-c", "echo x >f"]`,
			wdactivity.ExecResult{Changes: wdactivity.ExecChanges{Created: 1, Bytes: 2}}},
		{"not found", `"argv": ["no-such-command"]`,
			wdactivity.ExecResult{ExitCode: 127, Stderr: "workdir: no-such-command: executable file not found in $PATH\n"}},
		{"what is left behind", `"argv": ["sh", "-c", "sleep 1000 >&- 2>&- & exit 1"]`, wdactivity.ExecResult{ExitCode: 1}},
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
	wantType(t, err, wdactivity.TypeNotExist, false)
	b.put("ws", "base", "")
	require.Equal(t, 3, b.exec(input).ExitCode)
}

func TestExecFailOnExit(t *testing.T) {
	b := newBench(t)
	_, err := b.ready(t.Context(), "workdir.Exec", `{"workspace": "STORE/ws", "failOnExit": true, "argv": ["sh", "-c", "echo first >&2; echo no rule >&2; exit 2"]}`)
	app := wantType(t, err, wdactivity.TypeExit, true)
	require.Equal(t, "exec sh: exit code 2: no rule", app.Message())
	var res wdactivity.ExecResult
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

// An attempt that finds the commit of an earlier one gives its result.
func TestExecIsReplayed(t *testing.T) {
	b := newBench(t)
	var res wdactivity.ExecResult
	twoAttempts(t, &res, func(w worker.ActivityRegistry) {
		wdactivity.RegisterActivities(w, &wdactivity.ReadyOptions{Allow: []string{b.url("")}, Options: b.options()})
	}, nil, "workdir.Exec", map[string]any{"workspace": b.url("ws"), "argv": []string{"sh", "-c", "echo line >>f; wc -l <f"}})
	require.NotEmpty(t, res.Commit)
	res.Commit = ""
	require.Equal(t, wdactivity.ExecResult{
		Stdout: "1\n", Stored: true, Replayed: true, Changes: wdactivity.ExecChanges{Created: 1, Bytes: 5},
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
	app := wantType(t, err, wdactivity.TypeBusy, true)
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
		{"a string for a list", "workdir.Exec", `{"workspace": "STORE/ws", "argv": "ls"}`, wdactivity.TypeInput, "argv: it is of the JSON type string, and a list of strings is needed"},
		{"a number in a list", "workdir.Exec", `{"workspace": "STORE/ws", "argv": ["ls", 1]}`, wdactivity.TypeInput, "argv"},
		{"a list for an object", "workdir.Exec", `{"workspace": "STORE/ws", "argv": ["ls"], "env": ["A=b"]}`, wdactivity.TypeInput, "env: it is of the JSON type array, and an object of strings is needed"},
		{"an unknown field", "workdir.Exec", `{"workspace": "STORE/ws", "argv": ["ls"], "timeout": 3}`, wdactivity.TypeInput, `unknown field "timeout"`},
		{"no object", "workdir.Exec", `"ls"`, wdactivity.TypeInput, "the input is of the JSON type string"},
		{"list a number", "workdir.List", `{"prefix": 1}`, wdactivity.TypeInput, "prefix: it is of the JSON type number, and a string is needed"},
		{"delete with an unknown field", "workdir.Delete", `{"workspace": "STORE/ws", "force": true}`, wdactivity.TypeInput, `unknown field "force"`},
		{"copy with a word", "workdir.Copy", `{"from": "STORE/x", "to": "STORE/y", "replaceAny": "yes"}`, wdactivity.TypeInput, "replaceAny: it is of the JSON type string, and true or false is needed"},
		{"no command", "workdir.Exec", `{"workspace": "STORE/ws"}`, wdactivity.TypeInput, "argv: a command is needed"},
		{"no workspace", "workdir.Exec", `{"argv": ["true"]}`, wdactivity.TypeInput, "workspace: the URL"},
		{"dir", "workdir.Exec", `{"workspace": "STORE/ws", "argv": ["true"], "dir": "../up"}`, wdactivity.TypeInput, "dir: \"../up\""},
		{"timeout", "workdir.Exec", `{"workspace": "STORE/ws", "argv": ["true"], "timeoutSeconds": -1}`, wdactivity.TypeInput, "timeoutSeconds"},
		{"env", "workdir.Exec", `{"workspace": "STORE/ws", "argv": ["true"], "env": {"A=B": ""}}`, wdactivity.TypeInput, "env: \"A=B\""},
		{"variable", "workdir.Exec", `{"workspace": "STORE/{what}", "argv": ["true"]}`, wdactivity.TypeInput, "unknown variable {what}"},
		{"itself", "workdir.Exec", `{"workspace": "STORE/ws", "argv": ["true"], "mounts": {"a": "STORE/ws"}}`, wdactivity.TypeInput, "a is the workspace itself"},
		{"elsewhere", "workdir.Exec", `{"workspace": "/elsewhere/ws", "argv": ["true"]}`, wdactivity.TypeNotAllowed, "not allowed by this worker"},
		{"beside", "workdir.Exec", `{"workspace": "STORE-2/ws", "argv": ["true"]}`, wdactivity.TypeNotAllowed, "not allowed by this worker"},
		{"mount elsewhere", "workdir.Exec", `{"workspace": "STORE/ws", "argv": ["true"], "mounts": {"a": "mem://b/k"}}`, wdactivity.TypeNotAllowed, "mounts: a: mem://b/k"},
		{"options", "workdir.Exec", `{"workspace": "STORE/ws?x=y", "argv": ["true"]}`, wdactivity.TypeNotAllowed, "options of the store"},
		{"list elsewhere", "workdir.List", `{"prefix": "mem://b"}`, wdactivity.TypeNotAllowed, "prefix: mem://b"},
		{"list nothing", "workdir.List", `{}`, wdactivity.TypeInput, "prefix: "},
		{"delete elsewhere", "workdir.Delete", `{"workspace": "mem://b/k"}`, wdactivity.TypeNotAllowed, "mem://b/k"},
		{"copy from elsewhere", "workdir.Copy", `{"from": "mem://b/k", "to": "STORE/x"}`, wdactivity.TypeNotAllowed, "from: mem://b/k"},
		{"copy to elsewhere", "workdir.Copy", `{"from": "STORE/x", "to": "mem://b/k"}`, wdactivity.TypeNotAllowed, "to: mem://b/k"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := b.ready(t.Context(), test.activity, test.input)
			app := wantType(t, err, test.typ, false)
			require.Contains(t, app.Message(), test.want)
		})
	}
}

func TestReadyOptions(t *testing.T) {
	for _, opts := range []*wdactivity.ReadyOptions{nil, {}, {Allow: []string{"nonsense://x"}}, {Allow: []string{"*"}, Only: []string{"workdir.What"}}} {
		require.Panics(t, func() { wdactivity.RegisterActivities(nil, opts) })
	}
}

func TestListDeleteCopy(t *testing.T) {
	b := newBench(t)
	ctx := t.Context()
	seed(t, b, "jobs/a", "f", "1")
	seed(t, b, "jobs/b", "f", "2")
	list := func(input string) (out wdactivity.ListResult) {
		t.Helper()
		text, err := b.ready(ctx, "workdir.List", input)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal([]byte(text), &out))
		return out
	}
	all := list(`{"prefix": "STORE/jobs/"}`)
	require.Len(t, all.Workspaces, 2)
	first := all.Workspaces[0]
	require.Equal(t, "a", first.Name)
	require.Equal(t, b.url("jobs/a"), first.URL)
	require.NotEmpty(t, first.Revision)
	page := list(`{"prefix": "STORE/jobs", "limit": 1}`)
	require.True(t, page.More)
	page = list(`{"prefix": "STORE/jobs", "limit": 1, "after": "a"}`)
	require.False(t, page.More)
	require.Equal(t, "b", page.Workspaces[0].Name)
	require.NotNil(t, list(`{"prefix": "STORE/nothing"}`).Workspaces)

	// Copied once, and again by an attempt that does not know of the first one.
	var copied, again wdactivity.CopyResult
	for _, out := range []*wdactivity.CopyResult{&copied, &again} {
		text, err := b.ready(ctx, "workdir.Copy", `{"from": "STORE/jobs/a", "to": "STORE/jobs/c"}`)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal([]byte(text), out))
	}
	require.Equal(t, first.Revision, copied.From)
	require.True(t, again.Present)
	require.False(t, copied.Present)
	require.Equal(t, copied.Revision, again.Revision)
	_, err := b.ready(ctx, "workdir.Copy", `{"from": "STORE/jobs/a", "to": "STORE/jobs/b"}`)
	wantType(t, err, wdactivity.TypeConflict, false)
	_, err = b.ready(ctx, "workdir.Copy", `{"from": "STORE/jobs/none", "to": "STORE/jobs/b"}`)
	wantType(t, err, wdactivity.TypeNotExist, false)

	del := func(name, revision string) (string, error) {
		return b.ready(ctx, "workdir.Delete", fmt.Sprintf(`{"workspace": "STORE/jobs/%s", "revision": %q}`, name, revision))
	}
	_, err = del("a", "another")
	wantType(t, err, wdactivity.TypeConflict, false)
	for _, want := range []string{`{"deleted":true}`, `{"deleted":false}`} {
		text, err := del("a", first.Revision)
		require.NoError(t, err)
		require.JSONEq(t, want, text)
	}
	text, err := del("b", "")
	require.NoError(t, err)
	require.JSONEq(t, `{"deleted":true}`, text)
}
