package temporal

import (
	"archive/tar"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	enumspb "go.temporal.io/api/enums/v1"
	"go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	wdactivity "github.com/workdir/workdir/activity"
	"github.com/workdir/workdir/activity/errtype"
	"github.com/workdir/workdir/mount"
)

// The program "orders" has activities that make a file "done" in a workspace and
// note "ran-" with its activity's id: "expand" takes the template of the key, and
// "order" the variables of orders/{customer}.
func init() {
	programs["orders"] = func(w worker.Worker, c *config) {
		work := func(ctx context.Context, ws *mount.Mount) (string, error) {
			if err := c.note("ran-" + activity.GetInfo(ctx).ActivityID); err != nil {
				return "", err
			}
			return "done", os.WriteFile(ws.Path("done"), nil, 0o644)
		}
		expand := func(ctx context.Context, template string) (string, error) {
			return wdactivity.Do(ctx, c.url(template), &wdactivity.Options{AutoCommit: true}, work)
		}
		w.RegisterActivityWithOptions(expand, activity.RegisterOptions{Name: "expand"})
		registerIn(w, "order", c.url("orders/{customer}"),
			func(ctx context.Context, ws *mount.Mount, _ map[string]string) (string, error) { return work(ctx, ws) },
			&wdactivity.Options{
				AutoCommit: true,
				Vars:       wdactivity.Vars(func(in map[string]string) map[string]string { return in }),
			})
	}
	// It cannot start, since no activity has such a variable.
	programs["typo"] = func(worker.Worker, *config) {}
	pluginSetup["typo"] = func(o *wdactivity.PluginOptions, c *config) {
		o.Rules = []wdactivity.Rule{{Activity: "work", URL: c.url("{workflow}")}}
	}
}

// badInput is an activity that cannot work, and what its error says.
type badInput struct {
	activity string
	id       string // of the activity
	arg      any
	typ      string
	words    []string
}

// outcome is how an activity ended, as its workflow sees it.
type outcome struct {
	Type, Message string // of the error; both "" for none
	Final         bool   // the retry policy was not asked
}

// outcomeOf reports how an activity ended.
func outcomeOf(err error) outcome {
	var o outcome
	var app *temporal.ApplicationError
	if errors.As(err, &app) {
		o.Type, o.Message = app.Type(), app.Message()
	} else if err != nil {
		o.Message = err.Error()
	}
	var failed *temporal.ActivityError
	if errors.As(err, &failed) {
		o.Final = failed.RetryState() == enumspb.RETRY_STATE_NON_RETRYABLE_FAILURE
	}
	return o
}

// refuseAll executes activities that cannot work, beside one on orders/good that
// can. Each must fail in its first attempt, for good, before its function runs.
func (e *env) refuseAll(inputs []badInput) {
	e.t.Helper()
	e.newWorker(workerOptions{Program: "orders"})
	r := startWorkflow(e, func(ctx workflow.Context) ([]outcome, error) {
		opts := options(e.queue)
		opts.RetryPolicy.MaximumAttempts = 2
		futures := make([]workflow.Future, 0, len(inputs))
		for i, in := range inputs {
			if opts.ActivityID = in.id; in.id == "" {
				opts.ActivityID = fmt.Sprint("bad-", i)
			}
			futures = append(futures, workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, opts), in.activity, in.arg))
		}
		outcomes := make([]outcome, 0, len(inputs))
		for _, f := range futures {
			outcomes = append(outcomes, outcomeOf(f.Get(ctx, nil)))
		}
		opts.ActivityID = "good"
		return outcomes, workflow.ExecuteActivity(workflow.WithActivityOptions(ctx, opts), "order", map[string]string{"customer": "good"}).Get(ctx, nil)
	})
	outcomes, err := r.result()
	noError(e.t, err)
	for i, in := range inputs {
		o := outcomes[i]
		if o.Type != in.typ || !o.Final {
			e.t.Errorf("%s %q: error = %+v, want a final one of type %s", in.activity, in.arg, o, in.typ)
		}
		for _, word := range in.words {
			if !strings.Contains(o.Message, word) {
				e.t.Errorf("%s %q: error = %q, want %q in it", in.activity, in.arg, o.Message, word)
			}
		}
	}
	if got := r.attempts(); slices.Max(got) != 1 || len(got) != len(inputs)+1 {
		e.t.Errorf("attempts = %v, want one of each activity", got)
	}
	if ran, _ := filepath.Glob(filepath.Join(e.notes(), "ran-*")); len(ran) != 1 { // fails on a bad pattern only
		e.t.Errorf("ran: %q, want ran-good alone", ran)
	}
	if !e.exists("orders/good") {
		e.t.Error("the workspace of the good one is not stored")
	}
}

// attempts returns the attempts that activities have ended with.
func (r *run[T]) attempts() []int32 {
	r.env.t.Helper()
	var attempts []int32
	for _, event := range r.history() {
		if started := event.GetActivityTaskStartedEventAttributes(); started != nil {
			attempts = append(attempts, started.GetAttempt())
		}
	}
	return attempts
}

// What is wrong with a template, or with the value of a variable, is said at once
// and by name, and nothing is tried again.
func TestBadTemplates(t *testing.T) {
	e := newEnv(t)
	template := func(key string, words ...string) badInput {
		return badInput{activity: "expand", arg: key, typ: errtype.URL, words: words}
	}
	value := func(value string) badInput {
		return badInput{
			activity: "order", arg: map[string]string{"customer": value}, typ: errtype.URL,
			words: []string{"{customer}", fmt.Sprintf("%q", value)},
		}
	}
	byID := template("jobs/{activity_id}", "{activity_id}", `".."`)
	byID.id = ".."
	missing := badInput{
		activity: "order", arg: map[string]string{"client": "a"}, typ: errtype.URL,
		words: []string{"unknown variable {customer}", "client", "workflow_id"},
	}
	e.refuseAll([]badInput{
		template("jobs/{workflow_id", "not closed"),
		template("jobs/workflow_id}", "single"),
		template("jobs/{}", "{}"),
		template("jobs/{workflow.id}", "{workflow.id}"),
		template("jobs/{nothing}", "unknown variable {nothing}", "workflow_id"),
		template("jobs/{workflow_id}?x={attempt}", "options"),
		byID, missing,
		value(".."), value("."), value("a/../b"), value("../../etc"),
		value(""), value("/a"), value("a//b"), value("a\nb"), value("a?b"), value("a#b"),
	})
	if left, _ := filepath.Glob(e.storeDir + "/[^.]*"); len(left) != 1 { // fails on a bad pattern only
		t.Errorf("in the store: %v, want orders alone", left)
	}
}

// A template that can never work does not wait for an activity: the worker does not
// start.
func TestBadTemplateOfAWorker(t *testing.T) {
	e := newEnv(t)
	err := e.addWorker(workerOptions{Program: "typo"}).Start()
	if err == nil || !strings.Contains(err.Error(), "unknown variable {workflow}") {
		t.Errorf("Start = %v, want a word on the variable", err)
	}
}

// An archive that is refused is not tried again: it is the same the next time. It
// stays as it is.
func TestRefusedArchives(t *testing.T) {
	e := newEnv(t)
	noError(t, os.Mkdir(filepath.Join(e.storeDir, "orders"), 0o755))
	entry := func(h tar.Header) func(*testing.T, string) {
		return func(t *testing.T, path string) { writeTar(t, path, h) }
	}
	archives := []struct {
		key   string
		write func(t *testing.T, path string)
		typ   string
		words []string
	}{
		{"garbage", func(t *testing.T, path string) { noError(t, os.WriteFile(path, []byte("no archive at all\n"), 0o644)) }, errtype.Format, nil},
		{"void", func(t *testing.T, path string) { noError(t, os.WriteFile(path, nil, 0o644)) }, errtype.Format, nil},
		{"cut", writeCut, errtype.Format, nil},
		{"escape", entry(tar.Header{Name: "../escape", Mode: 0o644, Typeflag: tar.TypeReg}), errtype.Format, []string{"../escape"}},
		{"device", entry(tar.Header{Name: "disk", Mode: 0o600, Typeflag: tar.TypeBlock, Devmajor: 8}), errtype.Format, []string{"disk"}},
		{"directory", func(t *testing.T, path string) { noError(t, os.Mkdir(path, 0o755)) }, errtype.NotArchive, nil},
	}
	var inputs []badInput
	before := map[string]string{}
	for _, a := range archives {
		path := e.archive("orders/" + a.key)
		a.write(t, path)
		b, _ := os.ReadFile(path) // none of a directory
		before[path] = string(b)
		inputs = append(inputs, badInput{activity: "order", arg: map[string]string{"customer": a.key}, typ: a.typ, words: append(a.words, "orders/"+a.key)})
	}
	e.refuseAll(inputs)
	for path, want := range before {
		if b, _ := os.ReadFile(path); string(b) != want {
			t.Errorf("%s has changed", path)
		}
	}
}

// writeTar writes an archive of one entry.
func writeTar(t *testing.T, path string, h tar.Header) {
	t.Helper()
	f, err := os.Create(path)
	noError(t, err)
	defer f.Close()
	zip := gzip.NewWriter(f)
	archive := tar.NewWriter(zip)
	noError(t, archive.WriteHeader(&h))
	noError(t, archive.Close())
	noError(t, zip.Close())
}

// writeCut writes the first half of an archive.
func writeCut(t *testing.T, path string) {
	t.Helper()
	writeTar(t, path, tar.Header{Name: "file", Mode: 0o644, Typeflag: tar.TypeReg})
	info, err := os.Stat(path)
	noError(t, err)
	noError(t, os.Truncate(path, info.Size()/2))
}
