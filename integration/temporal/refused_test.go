package temporal

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	wdactivity "github.com/workdir/workdir/activity"
	"github.com/workdir/workdir/activity/errtype"
	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/mount"
	"github.com/workdir/workdir/store"
)

// smallMemory is the limit of the program "small", in bytes.
const smallMemory = 1 << 20

// The program "small" has a tool that fills a workspace for which there is little
// memory; "left" an activity that leaves a process behind; "large" one with a result
// of so many bytes. Each marks its workspace.
func init() {
	programs["small"] = func(w worker.Worker, c *config) {
		fill := func(ctx context.Context, ws *mount.Mount, bytes int) (string, error) {
			cmd := mount.Command(ctx, ws, "sh", "-c", `head -c "$0" /dev/urandom >file`, strconv.Itoa(bytes))
			out, err := cmd.CombinedOutput()
			if err != nil {
				return "", fmt.Errorf("%w: %s", err, out)
			}
			return "", ws.Commit()
		}
		registerIn(w, "fill", c.url("job"), fill, &wdactivity.Options{MaxBytes: smallMemory})
	}
	programs["left"] = func(w worker.Worker, c *config) {
		leave := func(ctx context.Context, ws *mount.Mount, _ string) (string, error) {
			cmd := mount.Command(context.WithoutCancel(ctx), ws, "sh", "-c", `: >file; : >"$0-$$"; exec sleep 1000`, filepath.Join(c.Notes, "left"))
			if err := errors.Join(cmd.Start(), ws.Commit()); err != nil {
				return "", err
			}
			return "", eventually("the process to work", func() bool { return c.noted(fmt.Sprintf("left-%d", cmd.Process.Pid)) })
		}
		registerIn(w, "leave", c.url("job"), leave, &wdactivity.Options{Grace: 1})
	}
	programs["large"] = func(w worker.Worker, c *config) {
		large := func(_ context.Context, ws *mount.Mount, bytes int) (string, error) {
			return strings.Repeat("x", bytes), errors.Join(os.WriteFile(ws.Path("file"), nil, 0o644), ws.Commit())
		}
		registerIn(w, "large", c.url("job"), large, nil)
	}
}

// fails waits for the end of a workflow, which must be an application error of a
// type.
func (r *run[T]) fails(typ string) *temporal.ApplicationError {
	r.env.t.Helper()
	_, err := r.result()
	var app *temporal.ApplicationError
	if !errors.As(err, &app) || app.Type() != typ {
		r.env.t.Fatalf("error = %v, want one of type %s", err, typ)
	}
	return app
}

// once is a workflow of one activity that is not tried again.
func once[T any](e *env, name string, args ...any) func(workflow.Context) (T, error) {
	return func(ctx workflow.Context) (T, error) {
		opts := options(e.queue)
		opts.RetryPolicy.MaximumAttempts = 1
		return execute[T](workflow.WithActivityOptions(ctx, opts), name, args...)
	}
}

// A worker whose host allows no mounts does not start, rather than fail each
// attempt, and says what the way out is. An activity without that preflight fails
// by a type of its own.
func TestNoFUSE(t *testing.T) {
	e := newEnv(t)
	for _, program := range []string{"ways", "ready"} {
		err := e.addWorker(workerOptions{Program: program, NoFUSE: true}).Start()
		for _, word := range []string{"preflight: ", "/dev/fuse", "Options.Plain"} {
			if err == nil || !strings.Contains(err.Error(), word) {
				t.Errorf("the error of a worker %q is %v, want one with %q", program, err, word)
			}
		}
	}
	e.newWorker(workerOptions{Program: "hold", NoFUSE: true})
	app := startWorkflow(e, once[int](e, "hold", "file")).fails(errtype.Host)
	if !strings.Contains(app.Error(), "/dev/fuse") {
		t.Errorf("error = %v", app)
	}
}

// A tool gets an error if there is not enough memory, and nothing is stored.
func TestToolWithoutMemory(t *testing.T) {
	e := newEnv(t)
	e.newWorker(workerOptions{Program: "small"})
	_, err := startWorkflow(e, once[string](e, "fill", 4*smallMemory)).result()
	if err == nil || !strings.Contains(err.Error(), "No space left on device") {
		t.Errorf("error = %v, want one with ENOSPC", err)
	}
	e.checkNoEffect()
	runWorkflow(e, once[string](e, "fill", smallMemory/4))
	if n := len(e.file("job", "file")); n != smallMemory/4 {
		t.Errorf("the file has %d bytes", n)
	}
}

// An archive that does not fit into the memory of the worker is not opened. One that
// another tool wrote has to be unpacked, so that it shows at once.
func TestArchiveWithoutMemory(t *testing.T) {
	e := newEnv(t)
	noError(t, os.WriteFile(e.archive("job"), foreignArchive(t, 4*smallMemory), 0o644))
	e.newWorker(workerOptions{Program: "small"})
	app := startWorkflow(e, once[string](e, "fill", 1)).fails(errtype.Limit)
	if !strings.Contains(app.Error(), "MaxBytes") || app.NonRetryable() {
		t.Errorf("error = %v, non-retryable %v; another worker may have the memory", app, app.NonRetryable())
	}
	waitFor(t, "unmounting", func() bool { return len(e.mounts()) == 0 })
}

// foreignArchive is an archive, as tar and gzip make it, of one file that is not
// zeros.
func foreignArchive(t *testing.T, size int) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	noError(t, w.WriteHeader(&tar.Header{Name: "large", Mode: 0o644, Size: int64(size)}))
	_, err := w.Write(bytes.Repeat([]byte("large "), size)[:size])
	noError(t, errors.Join(err, w.Close(), z.Close()))
	return b.Bytes()
}

// A process that an activity leaves behind in the mount is named, and nothing is
// stored. When it ends the mount goes.
func TestProcessLeftBehind(t *testing.T) {
	e := newEnv(t)
	e.newWorker(workerOptions{Program: "left"})
	app := startWorkflow(e, once[string](e, "leave", "")).fails(errtype.Busy)
	notes, err := filepath.Glob(filepath.Join(e.notes(), "left-*"))
	noError(t, err)
	if len(notes) != 1 {
		t.Fatalf("notes %q, want one", notes)
	}
	_, left, _ := strings.Cut(filepath.Base(notes[0]), "-")
	if want := "process " + left + " (sleep: "; !strings.Contains(app.Error(), want) || app.NonRetryable() {
		t.Errorf("error = %v, non-retryable %v; want %q in it", app, app.NonRetryable(), want)
	}
	noError(t, exec.Command("kill", "-9", left).Run())
	e.checkNoEffect()
}

// Without a retry a conflict reaches the workflow, with the opened and the current revision.
func TestConflictWithoutRetry(t *testing.T) {
	e := newEnv(t)
	e.newWorker(workerOptions{Program: "hold"})
	first, second := startWorkflow(e, once[int](e, "hold", "a")), startWorkflow(e, once[int](e, "hold", "b"))
	e.awaitNote("opened-a")
	e.awaitNote("opened-b")
	e.note("go-a")
	_, err := first.result()
	noError(t, err)
	e.note("go-b")
	app := second.fails(errtype.Conflict)
	head, err := store.Stat(t.Context(), e.url("job"))
	noError(t, err)
	var got errtype.ConflictDetails
	noError(t, app.Details(&got))
	by := got.By
	got.By = nil
	if want := (errtype.ConflictDetails{URL: e.url("job"), Have: string(head.Revision)}); !reflect.DeepEqual(got, want) || app.NonRetryable() {
		t.Errorf("details = %+v, want %+v; non-retryable %v", got, want, app.NonRetryable())
	}
	if len(by) != 1 || by[0].WorkflowID == "" || by[0].Created != 1 {
		t.Errorf("commits in between: %+v", by)
	}
	if got := e.file("job", "a"); got != "here\n" {
		t.Errorf("file = %q", got)
	}
}

// A result that cannot be kept beside the commit is refused, and nothing is stored.
func TestResultTooLarge(t *testing.T) {
	e := newEnv(t)
	e.newWorker(workerOptions{Program: "large"})
	r := startWorkflow(e, func(ctx workflow.Context) (string, error) {
		return execute[string](e.activities(ctx), "large", archive.MaxResult+1)
	})
	if app, again := r.fails(errtype.Limit), r.failures(); !app.NonRetryable() || len(again) > 0 {
		t.Errorf("%v was tried again after %q", app, again)
	}
	e.checkNoEffect()
}

// Where a step was committed and its result is not kept any more, it is neither done
// again nor given another result.
func TestResultDropped(t *testing.T) {
	e := newEnv(t)
	w := e.newWorker(workerOptions{Program: "hold"})
	awaitKill := w.killBeforeCompletion()
	e.note("go-file")
	r := startWorkflow(e, one[int](e, "hold", "file"))
	awaitKill()
	for i := range archive.MaxResults/archive.MaxResult + 1 {
		e.commitResult(i)
	}
	noError(t, w.Start())
	app := r.fails(errtype.AlreadyCommitted)
	head, err := store.Stat(t.Context(), e.url("job"))
	noError(t, err)
	records := e.log("job")
	var got errtype.AlreadyCommittedDetails
	noError(t, app.Details(&got))
	want := errtype.AlreadyCommittedDetails{URL: e.url("job"), CommitID: string(records[len(records)-1].ID), Attempt: 1, Revision: string(head.Revision)}
	if got != want || !app.NonRetryable() {
		t.Errorf("details = %+v, want %+v; non-retryable %v", got, want, app.NonRetryable())
	}
}

// commitResult commits a step of another execution to the workspace, with as large a
// result as can be kept.
func (e *env) commitResult(i int) {
	e.t.Helper()
	ctx := context.Background()
	m, err := mount.Open(ctx, e.url("job"), &mount.Options{
		Plain: true, RunDir: filepath.Join(e.root, "run-test"),
		Origin: archive.Origin{Execution: fmt.Sprint("another ", i), Step: "1"},
	})
	noError(e.t, err)
	noError(e.t, os.WriteFile(m.Path(fmt.Sprint("other-", i)), nil, 0o644))
	noError(e.t, m.SetResult(make([]byte, archive.MaxResult)))
	noError(e.t, m.Commit())
	_, err = m.Close(ctx)
	noError(e.t, err)
}
