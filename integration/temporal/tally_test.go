package temporal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	wdactivity "github.com/workdir/workdir/activity"
	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/fs"
	"github.com/workdir/workdir/mount"
	"github.com/workdir/workdir/store"
)

// tally is one piece of work, in a workspace with a key, of a name that no other one
// of the test has.
type tally struct{ Key, Name string }

// The program "tally" has activities which note NAME-ATTEMPT and give the attempt
// that they ran in: "add" appends its name to the file "lines", "clear" removes
// all that is there, and "tool" lets a tool wait for the note "go-NAME" before it
// adds. Args["key"] is a workspace that they work in instead.
func init() {
	programs["tally"] = func(w worker.Worker, c *config) {
		opts := &wdactivity.Options{
			AutoCommit: true, KeepEmpty: c.Args["keepEmpty"] != "",
			Vars: wdactivity.Vars(func(in tally) map[string]string {
				return map[string]string{"key": cmp.Or(c.Args["key"], in.Key)}
			}),
		}
		register := func(name string, work func(context.Context, *mount.Mount, string) error) {
			registerIn(w, name, c.url("{key}"), func(ctx context.Context, ws *mount.Mount, in tally) (int32, error) {
				attempt := activity.GetInfo(ctx).Attempt
				if err := c.note(fmt.Sprintf("%s-%d", in.Name, attempt)); err != nil {
					return 0, err
				}
				return attempt, work(ctx, ws, in.Name)
			}, opts)
		}
		add := func(ctx context.Context, ws *mount.Mount, name string) error {
			_, err := appendLine(ctx, ws, name)
			return err
		}
		register("add", add)
		register("clear", func(_ context.Context, ws *mount.Mount, _ string) error { return removeAll(ws.Path()) })
		register("tool", func(ctx context.Context, ws *mount.Mount, name string) error {
			wait := `until [ -e "$0" ]; do sleep 0.05; done; echo slow >tool`
			if err := mount.Command(ctx, ws, "sh", "-c", wait, filepath.Join(c.Notes, "go-"+name)).Run(); err != nil {
				return err
			}
			return add(ctx, ws, name)
		})
	}
}

// removeAll empties a directory.
func removeAll(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, entry := range entries {
		err = errors.Join(err, os.RemoveAll(filepath.Join(dir, entry.Name())))
	}
	return err
}

// startTally starts a workflow of one piece of work.
func startTally(e *env, activity string, in tally) *run[int32] {
	e.t.Helper()
	return startWorkflow(e, func(ctx workflow.Context) (int32, error) {
		return execute[int32](e.activities(ctx), activity, in)
	})
}

// tally does one piece of work and returns the attempt whose result it is.
func (e *env) tally(activity string, in tally) int32 {
	e.t.Helper()
	attempt, err := startTally(e, activity, in).result()
	noError(e.t, err)
	return attempt
}

// ranIn returns the attempts that ran a piece of work.
func (e *env) ranIn(name string) []int32 {
	e.t.Helper()
	paths, err := filepath.Glob(filepath.Join(e.notes(), name+"-*"))
	noError(e.t, err)
	attempts := make([]int32, len(paths))
	for i, path := range paths {
		_, err := fmt.Sscanf(filepath.Base(path), name+"-%d", &attempts[i])
		noError(e.t, err)
	}
	slices.Sort(attempts)
	return attempts
}

// checkOnce holds that the first attempt alone ran a piece of work, and gave the
// result that came.
func (e *env) checkOnce(name string, got int32) {
	e.t.Helper()
	if ran := e.ranIn(name); !slices.Equal(ran, []int32{1}) || got != 1 {
		e.t.Errorf("%s ran in attempts %v, and the result is that of attempt %d; want the first one alone", name, ran, got)
	}
}

// checkAgain holds that a piece of work was run again, and that the result is that
// of the last run.
func (e *env) checkAgain(name string, got int32) {
	e.t.Helper()
	if ran := e.ranIn(name); len(ran) < 2 || got != ran[len(ran)-1] {
		e.t.Errorf("%s ran in attempts %v, and the result is that of attempt %d; want several, and that of the last", name, ran, got)
	}
}

// killBeforeCompletion kills the worker and its mount server when an activity has
// committed and its first completion would arrive. It does not start them again;
// the function that it gives waits until they are dead.
func (w *workerProcess) killBeforeCompletion() (await func()) {
	killed := make(chan struct{})
	w.set(func(c *call, forward func() error) error {
		if c.Method != "RespondActivityTaskCompleted" {
			return forward()
		}
		w.set(nil)
		w.Kill(both)
		close(killed)
		return errKilled
	})
	return func() {
		w.env.t.Helper()
		waitFor(w.env.t, "the kill before the completion", func() bool {
			select {
			case <-killed:
				return true
			default:
				return false
			}
		})
	}
}

// An activity that empties its workspace and is killed before its completion: with
// KeepEmpty the log tells the next attempt that it is done. Without it the log went
// with the archive, and so the work is done again, on an empty workspace.
func TestEmptiedWorkspace(t *testing.T) {
	for _, keep := range []string{"", "yes"} {
		t.Run("keep="+keep, func(t *testing.T) {
			e := newEnv(t)
			w := e.newWorker(workerOptions{Program: "tally", Args: map[string]string{"keepEmpty": keep}})
			e.tally("add", tally{"job", "line"})
			w.killBefore("RespondActivityTaskCompleted")
			got := e.tally("clear", tally{"job", "clear"})
			if keep == "" {
				e.checkAgain("clear", got)
				if e.exists("job") {
					t.Error("the emptied workspace has an archive")
				}
				return
			}
			e.checkOnce("clear", got)
			if n := len(e.log("job")); n != 2 {
				t.Errorf("%d commits, want 2", n)
			}
		})
	}
}

// A workspace is copied under another key after an activity has committed to it, and
// before its completion. The next attempt finds its commit in the workspace. But if
// it goes to the copy, what it finds there was done to another workspace, and it does
// its own work.
func TestCopiedWhileTried(t *testing.T) {
	for _, toCopy := range []bool{false, true} {
		t.Run(fmt.Sprint("to the copy=", toCopy), func(t *testing.T) {
			e := newEnv(t)
			w := e.newWorker(workerOptions{Program: "tally"})
			awaitKill := w.killBeforeCompletion()
			r := startTally(e, "add", tally{"job", "line"})
			awaitKill()
			_, err := store.Copy(t.Context(), e.url("job"), e.url("copy"), nil)
			noError(t, err)
			if toCopy {
				e.newWorker(workerOptions{Program: "tally", Args: map[string]string{"key": "copy"}})
			} else {
				noError(t, w.Start())
			}
			got, err := r.result()
			noError(t, err)
			want := map[string]string{"job": "line\n", "copy": "line\n"}
			if toCopy {
				e.checkAgain("line", got)
				want["copy"] = "line\nline\n"
			} else {
				e.checkOnce("line", got)
			}
			for key, lines := range want {
				if got := e.file(key, "lines"); got != lines {
					t.Errorf("%s has the lines %q, want %q", key, got, lines)
				}
			}
			checkMadeFor(t, e.log("job"), e.url("job"))
			if toCopy {
				checkMadeFor(t, e.log("copy"), e.url("copy"), e.url("job"))
			} else {
				checkMadeFor(t, e.log("copy"), e.url("job"))
			}
		})
	}
}

// checkMadeFor holds that records are of commits that were made for workspaces,
// newest first.
func checkMadeFor(t *testing.T, records []archive.Record, urls ...string) {
	t.Helper()
	var got []string
	for _, r := range records {
		got = append(got, r.Origin.Workspace)
	}
	if !slices.Equal(got, urls) {
		t.Errorf("commits were made for %q, want %q", got, urls)
	}
}

// rewrite replaces the archive of a workspace in a file store by one with the same
// files and another log.
func (e *env) rewrite(key string, change func(*archive.Log) *archive.Log) {
	e.t.Helper()
	home, err := fs.NewArenaHome(1 << 20)
	noError(e.t, err)
	defer home.Close()
	tree, err := fs.New(home, nil)
	noError(e.t, err)
	defer tree.Close()
	old, err := os.Open(e.archive(key))
	noError(e.t, err)
	defer old.Close()
	log, err := archive.NewReader(old, nil).Load(e.t.Context(), tree)
	noError(e.t, err)
	out, err := os.Create(filepath.Join(e.root, "rewritten"))
	noError(e.t, err)
	defer out.Close()
	_, err = archive.NewWriter(out, nil).WriteTree(e.t.Context(), tree, change(log))
	noError(e.t, err)
	noError(e.t, os.Rename(out.Name(), e.archive(key)))
}
