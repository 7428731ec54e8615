package activity_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	sdk "go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/worker"

	wdactivity "github.com/workdir/workdir/activity"
	"github.com/workdir/workdir/mount"
	"github.com/workdir/workdir/store"
)

// keepers are the ways in by which an activity's workspace "ws" has options.
func keepers(b *bench, opts wdactivity.Options, do work) map[string]suiteOptions {
	opts.RunDir = b.runDir
	in := func(ctx context.Context) (string, error) {
		m, ok := wdactivity.Workspace(ctx)
		if !ok {
			return "", errors.New("there is no workspace")
		}
		return do(ctx, m)
	}
	ruled := func(r wdactivity.Rule) []worker.Plugin {
		return plugins(b.t, &wdactivity.PluginOptions{Rules: []wdactivity.Rule{r}})
	}
	text, err := json.Marshal(wdactivity.Rule{Activity: "act", URL: b.url("ws"), Options: opts})
	require.NoError(b.t, err)
	var read wdactivity.PluginOptions
	require.NoError(b.t, json.Unmarshal([]byte(`{"rules":[`+string(text)+`]}`), &read))
	return map[string]suiteOptions{
		"do":                {activity: func(ctx context.Context) (string, error) { return wdactivity.Do(ctx, b.url("ws"), &opts, do) }},
		"rule":              {activity: in, plugins: ruled(wdactivity.Rule{Activity: "act", URL: b.url("ws"), Options: opts})},
		"rule with a list":  {activity: in, plugins: ruled(wdactivity.Rule{Activity: "act", Workspaces: []wdactivity.RuleWorkspace{{URL: b.url("ws"), Options: opts}}})},
		"rule in JSON":      {activity: in, plugins: plugins(b.t, &read)},
		"rule by reference": {activity: (&Worker{do: in}).Act, plugins: ruled(wdactivity.Rule{Activity: (*Worker).Act, URL: b.url("ws"), Options: opts})},
	}
}

// What a commit replaces is kept, whatever the way in.
func TestKeepEveryWay(t *testing.T) {
	for _, plain := range []bool{false, true} {
		opts := wdactivity.Options{Keep: wdactivity.Keep{Last: 1, For: wdactivity.Duration(time.Hour)}, Plain: plain}
		do := func(_ context.Context, m *mount.Mount) (string, error) { return "", add(m, "line") }
		for name := range keepers(newBench(t), opts, do) {
			t.Run(fmt.Sprintf("%s, plain %v", name, plain), func(t *testing.T) {
				b := newBench(t)
				o := keepers(b, opts, do)[name]
				for range 3 {
					_, err := runInWorkflow(t, o)
					require.NoError(t, err)
				}
				require.Len(t, b.versions("ws"), 2)
			})
		}
	}
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

// The work of each attempt that fails is saved under a name of its own, and stored by none.
func TestSaveFailedEveryWay(t *testing.T) {
	opts := func(b *bench) wdactivity.Options {
		return wdactivity.Options{SaveFailed: b.url("failed-{attempt}")}
	}
	do := func(_ context.Context, m *mount.Mount) (string, error) {
		return "", errors.Join(add(m, "half"), errWork)
	}
	unused := newBench(t)
	for name := range keepers(unused, opts(unused), do) {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			o := keepers(b, opts(b), do)[name]
			o.attempts = 2
			_, err := runInWorkflow(t, o)
			require.ErrorContains(t, err, errWork.Error())
			b.wantNoArchive("ws")
			for _, saved := range []string{"failed-1", "failed-2"} {
				b.wantStored(saved, "lines", "half\n")
				require.Contains(t, b.log(saved).Record.Message, errWork.Error())
			}
		})
	}
}

// The next attempt begins where the one before has made a checkpoint.
func TestResumeEveryWay(t *testing.T) {
	opts := func(*bench) wdactivity.Options { return wdactivity.Options{Resume: true} }
	do := func(ctx context.Context, m *mount.Mount) (string, error) {
		if sdk.GetInfo(ctx).Attempt == 1 {
			if err := add(m, "half"); err != nil {
				return "", err
			}
			_, err := m.Checkpoint(ctx)
			return "", errors.Join(err, add(m, "lost"), errWork)
		}
		if m.Resumed() == "" {
			return "", errors.New("it begins with the workspace")
		}
		return "", add(m, "rest")
	}
	unused := newBench(t)
	for name := range keepers(unused, opts(unused), do) {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			o := keepers(b, opts(b), do)[name]
			o.attempts = 2
			_, err := runInWorkflow(t, o)
			require.NoError(t, err)
			b.wantStored("ws", "lines", "half\nrest\n")
			require.Equal(t, 1, b.log("ws").Len())
		})
	}
}

// Which work is saved, and which is not.
func TestSaveFailed(t *testing.T) {
	tests := []struct {
		name    string
		work    func(*bench, *mount.Mount) error
		why     string // part of the record's message; "" where nothing is saved
		wantErr string
	}{
		{"a panic", func(_ *bench, m *mount.Mount) error {
			if err := add(m, "half"); err != nil {
				return err
			}
			panic("out of luck")
		}, "panicked", "out of luck"},
		{"a conflict", func(b *bench, m *mount.Mount) error { return errors.Join(add(m, "half"), b.putNew("ws", "other")) }, "conflict", "what was done is saved as"},
		{"nothing changed", func(*bench, *mount.Mount) error { return errWork }, "", errWork.Error()},
		{"it is stored", func(_ *bench, m *mount.Mount) error { return add(m, "half") }, "", ""},
		{"no mark, no error", func(_ *bench, m *mount.Mount) error { return write(m, "lines", "half\n") }, "", ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b := newBench(t)
			opts := b.options()
			opts.SaveFailed = b.url("failed/{activity_type}")
			_, err := run(t, context.Background(), func(ctx context.Context) (string, error) {
				return wdactivity.Do(ctx, b.url("ws"), opts, func(_ context.Context, m *mount.Mount) (string, error) { return "", test.work(b, m) })
			})
			if test.wantErr == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, test.wantErr)
			}
			if test.why == "" {
				b.wantNoArchive("failed/test")
				return
			}
			b.wantStored("failed/test", "lines", "half\n")
			require.Contains(t, b.log("failed/test").Record.Message, test.why)
		})
	}
}

// putNew stores a workspace that others have at work.
func (b *bench) putNew(name, file string) error {
	m, err := mount.Open(b.t.Context(), b.url(name), &mount.Options{Plain: true, RunDir: b.runDir})
	if err != nil {
		return err
	}
	err = errors.Join(write(m, file, "theirs"), m.Commit())
	_, cerr := m.Close(b.t.Context())
	return errors.Join(err, cerr)
}

// A template that can never be expanded is found when the worker is made.
func TestKeepOptionsCheck(t *testing.T) {
	for name, test := range map[string]struct {
		opts wdactivity.Options
		want string
	}{
		"good":                 {wdactivity.Options{Keep: wdactivity.Keep{Last: 3}, SaveFailed: "mem://b/failed/{attempt}"}, ""},
		"unknown variable":     {wdactivity.Options{SaveFailed: "mem://b/{order}"}, "saveFailed: url template"},
		"less than none":       {wdactivity.Options{Keep: wdactivity.Keep{Last: -1}}, "keep: -1 archives"},
		"read-only that keeps": {wdactivity.Options{Keep: wdactivity.Keep{Last: 1}, ReadOnly: true}, "a read-only workspace is never stored"},
		"read-only that saves": {wdactivity.Options{SaveFailed: "mem://b/k", ReadOnly: true}, "a read-only workspace is never stored"},
		"no such policy":       {wdactivity.Options{OnConflict: "overwrite"}, "on conflict"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := wdactivity.NewPlugin(&wdactivity.PluginOptions{Rules: []wdactivity.Rule{{Activity: "a", URL: "mem://b/k", Options: test.opts}}})
			b := newBench(t)
			_, derr := run(t, context.Background(), func(ctx context.Context) (string, error) {
				opts := test.opts
				opts.RunDir = b.runDir
				return wdactivity.Do(ctx, b.url("ws"), &opts, func(context.Context, *mount.Mount) (string, error) { return "", nil })
			})
			if test.want == "" {
				require.NoError(t, err)
				require.NoError(t, derr)
				return
			}
			require.ErrorContains(t, err, test.want)
			require.ErrorContains(t, derr, test.want)
		})
	}
}
