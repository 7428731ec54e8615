package ready

import (
	"context"
	"errors"
	"fmt"
	"strings"

	sdk "go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"

	wdactivity "github.com/workdir/workdir/activity"
	"github.com/workdir/workdir/activity/errtype"
	"github.com/workdir/workdir/activity/internal/template"
	"github.com/workdir/workdir/store"
)

// The names of the activities.
const (
	Exec   = "workdir.Exec"
	List   = "workdir.List"
	Delete = "workdir.Delete"
	Copy   = "workdir.Copy"
	Prune  = "workdir.Prune"
)

// Options are the options of Register.
type Options struct {
	// Allow lists the workspaces that workflows may use: these URLs, and those beneath them.
	// Options of the store (after a question mark) are taken from here, so workflows omit
	// them. "*" allows any URL, with any options. At least one entry is required.
	Allow []string
	// Only registers only these activities. nil: all of them.
	Only []string
	// Workspaces are the options of the workspaces that Exec mounts. Name, ReadOnly,
	// AutoCommit, Step, Vars and Closed are ignored.
	Workspaces wdactivity.Options
	// Environ is the environment of commands, in addition to variables set by a workflow. nil:
	// the environment of this process, including any secrets in it.
	Environ []string
}

// Register lets a worker with the plugin of wdactivity.NewPlugin run the activities. The
// error is for invalid options.
//
// Everybody who can start a workflow on the task queue can then run any program as the user of
// this worker, with its environment. Omit Exec (Only) if that is too much.
func Register(w worker.ActivityRegistry, opts *Options) error {
	if opts == nil || len(opts.Allow) == 0 {
		return errors.New(`ready-made activities: Allow is empty; name the URLs beneath which workflows may use workspaces, or "*"`)
	}
	r := &ready{opts: *opts}
	for _, text := range opts.Allow {
		if text == "*" {
			r.any = true
			continue
		}
		u, err := store.ParsePrefix(text)
		if err == nil {
			err = store.CheckDriver(u)
		}
		if err != nil {
			return fmt.Errorf("ready-made activities: allow: %w", err)
		}
		r.allow = append(r.allow, u)
	}
	all := map[string]any{Exec: strict(r.exec), List: strict(r.list), Delete: strict(r.delete), Copy: strict(r.copy), Prune: strict(r.prune)}
	only := opts.Only
	if len(only) == 0 {
		only = []string{Exec, List, Delete, Copy, Prune}
	}
	for _, name := range only {
		if all[name] == nil {
			return fmt.Errorf("ready-made activities: only: there is no activity %q", name)
		}
	}
	for _, name := range only {
		w.RegisterActivityWithOptions(all[name], sdk.RegisterOptions{Name: name})
	}
	return nil
}

// ready is the ready-made activities. It is immutable.
type ready struct {
	opts  Options
	allow []store.URL
	any   bool // every URL is allowed
}

// workspace returns the URL of a workspace named by a workflow, by a template; what names it
// in messages. The error is for Temporal.
func (r *ready) workspace(ctx context.Context, what, text string) (store.URL, error) {
	if text == "" {
		return store.URL{}, badInput("%s: the URL of a workspace is needed", what)
	}
	t, err := template.Parse(text)
	if err != nil {
		return store.URL{}, badInput("%s: %v", what, err)
	}
	info := sdk.GetInfo(ctx)
	u, err := t.Expand(template.Values(&info))
	if err != nil {
		return store.URL{}, badInput("%s: %v", what, err)
	}
	return r.allowed(what, u)
}

// prefix is workspace for the URL of a prefix.
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

// allowed returns u with the options of the matching entry of Allow.
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
	return store.URL{}, final(errtype.NotAllowed, "%s: %s is not allowed by this worker; see Options.Allow, and leave out the options of the store", what, u.Redacted())
}

// beneath reports whether key is prefix, or beneath it.
func beneath(key, prefix string) bool {
	return prefix == "" || key == prefix || strings.HasPrefix(key, prefix+"/")
}

// badInput is the error for invalid input of a workflow.
func badInput(format string, args ...any) error { return final(errtype.Input, format, args...) }

// final is an error that is not retried.
func final(typ, format string, args ...any) error {
	return temporal.NewApplicationErrorWithOptions(fmt.Sprintf(format, args...), typ, temporal.ApplicationErrorOptions{NonRetryable: true})
}
