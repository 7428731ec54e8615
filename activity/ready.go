package activity

import (
	"context"
	"errors"
	"fmt"
	"strings"

	sdk "go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"

	"github.com/workdir/workdir/store"
)

// The names of the ready-made activities. docs/activities.md describes the JSON
// that each takes and gives.
const (
	ExecActivity   = "workdir.Exec"
	ListActivity   = "workdir.List"
	DeleteActivity = "workdir.Delete"
	CopyActivity   = "workdir.Copy"
)

// Types of application errors that only the ready-made activities give.
const (
	// TypeInput: what the workflow asked for makes no sense. It is not retried.
	TypeInput = "workdir.Input"
	// TypeExit: a command that was asked to fail the activity did not exit with 0.
	// The details are its ExecResult.
	TypeExit = "workdir.Exit"
)

// ReadyOptions are those of the ready-made activities.
type ReadyOptions struct {
	// Allow says which workspaces workflows may name: those beneath one of these
	// URLs, and these. Options of the store (what follows a question mark) are taken
	// from here, so a workflow writes none. "*" allows any URL, with any options. At
	// least one is needed.
	Allow []string
	// Only registers these activities alone. nil: all four.
	Only []string
	// Options are for the workspaces that Exec mounts. ReadOnly, AutoCommit, Step
	// and Vars do not count.
	Options *Options
	// Environ is what commands have in their environment, beside what a workflow
	// gives. nil: the environment of this process, whatever secrets are in it.
	Environ []string
}

// RegisterActivities lets a worker run workdir.Exec, workdir.List, workdir.Delete
// and workdir.Copy for workflows of any language. It panics where the options
// make no sense.
//
// Whoever can start a workflow on the task queue can then run any program as the
// user of this worker, with its environment. Leave workdir.Exec out (Only) where
// that is too much.
func RegisterActivities(w worker.ActivityRegistry, opts *ReadyOptions) {
	r, err := newReady(opts)
	if err != nil {
		panic(err)
	}
	r.register(w)
}

// ready is the ready-made activities. It is immutable.
type ready struct {
	allow   []store.URL
	any     bool // every URL is allowed
	only    map[string]bool
	opts    Options
	environ []string
}

func newReady(opts *ReadyOptions) (*ready, error) {
	if opts == nil || len(opts.Allow) == 0 {
		return nil, errors.New(`ready-made activities: Allow is empty; name the URLs beneath which workflows may use workspaces, or "*"`)
	}
	r := &ready{only: map[string]bool{}, environ: opts.Environ}
	for _, text := range opts.Allow {
		if text == "*" {
			r.any = true
			continue
		}
		u, err := store.ParsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("ready-made activities: allow: %w", err)
		}
		r.allow = append(r.allow, u)
	}
	for _, name := range opts.Only {
		if _, ok := r.activities()[name]; !ok {
			return nil, fmt.Errorf("ready-made activities: only: there is no activity %q", name)
		}
		r.only[name] = true
	}
	if opts.Options != nil {
		r.opts = *opts.Options
	}
	r.opts.ReadOnly, r.opts.AutoCommit, r.opts.Step, r.opts.Vars, r.opts.Name = false, false, "", nil, ""
	return r, nil
}

func (r *ready) activities() map[string]any {
	return map[string]any{ExecActivity: r.exec, ListActivity: r.list, DeleteActivity: r.delete, CopyActivity: r.copy}
}

func (r *ready) register(w worker.ActivityRegistry) {
	for name, fn := range r.activities() {
		if len(r.only) == 0 || r.only[name] {
			w.RegisterActivityWithOptions(fn, sdk.RegisterOptions{Name: name})
		}
	}
}

// workspace gives the URL of a workspace that a workflow named, by a template;
// what names it for messages. The error is for Temporal.
func (r *ready) workspace(ctx context.Context, what, text string) (store.URL, error) {
	if text == "" {
		return store.URL{}, badInput("%s: the URL of a workspace is needed", what)
	}
	t, err := parseTemplate(text)
	if err != nil {
		return store.URL{}, badInput("%s: %v", what, err)
	}
	info := sdk.GetInfo(ctx)
	u, err := t.expand(builtinValues(&info))
	if err != nil {
		return store.URL{}, badInput("%s: %v", what, err)
	}
	return r.allowed(what, u)
}

// prefix is workspace for the URL above some workspaces.
func (r *ready) prefix(ctx context.Context, text string) (store.URL, error) {
	if text == "" {
		return store.URL{}, badInput("prefix: the URL above the workspaces is needed")
	}
	whole, err := store.ParsePrefix(text)
	if err != nil {
		return store.URL{}, badInput("prefix: %v", err)
	}
	if whole.Key == "" {
		return r.allowed("prefix", whole) // a bucket, which has no variables
	}
	return r.workspace(ctx, "prefix", text)
}

// allowed gives u with the options that it is allowed with.
func (r *ready) allowed(what string, u store.URL) (store.URL, error) {
	for _, a := range r.allow {
		if a.Scheme != u.Scheme || a.Bucket != u.Bucket || !beneath(u.Key, a.Key) {
			continue
		}
		if u.Query == "" || u.Query == a.Query {
			u.Query = a.Query
			return u, nil
		}
	}
	if r.any {
		return u, nil
	}
	return store.URL{}, temporal.NewApplicationErrorWithOptions(
		fmt.Sprintf("%s: %s is not allowed by this worker; see ReadyOptions.Allow, and leave out the options of the store", what, u.Redacted()),
		TypeNotAllowed, temporal.ApplicationErrorOptions{NonRetryable: true})
}

// beneath reports whether key is prefix, or beneath it.
func beneath(key, prefix string) bool {
	return prefix == "" || key == prefix || strings.HasPrefix(key, prefix+"/")
}

// badInput is the error for what a workflow asked.
func badInput(format string, args ...any) error {
	return temporal.NewApplicationErrorWithOptions(fmt.Sprintf(format, args...), TypeInput, temporal.ApplicationErrorOptions{NonRetryable: true})
}
