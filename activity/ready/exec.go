package ready

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	sdk "go.temporal.io/sdk/activity"
	"go.temporal.io/sdk/temporal"
	"golang.org/x/sys/unix"

	wdactivity "github.com/workdir/workdir/activity"
	"github.com/workdir/workdir/activity/errtype"
	"github.com/workdir/workdir/mount"
)

// ExecInput is the input of Exec.
type ExecInput struct {
	// Workspace is the URL of the workspace, a template.
	Workspace string `json:"workspace"`
	// Argv is the command: a program, looked up in PATH, and its arguments. No shell
	// reads it.
	Argv []string `json:"argv"`
	// Env is added to the environment of the command.
	Env map[string]string `json:"env,omitempty"`
	// Stdin is the command's standard input.
	Stdin string `json:"stdin,omitempty"`
	// Dir is the working directory of the command, relative to the workspace. "":
	// the workspace itself.
	Dir string `json:"dir,omitempty"`
	// TimeoutSeconds ends the command after that time. 0: not before the activity's
	// own end.
	TimeoutSeconds float64 `json:"timeoutSeconds,omitempty"`
	// ReadOnly mounts the workspace read-only.
	ReadOnly bool `json:"readOnly,omitempty"`
	// Mounts are additional workspaces, by name, read-only. The command finds their paths in
	// WORKDIR_NAME.
	Mounts map[string]string `json:"mounts,omitempty"`
	// Commit says whether the changes of a command that exits with 0 are stored. nil
	// is true.
	Commit *bool `json:"commit,omitempty"`
	// FailOnExit turns any other end of the command into an activity error of type
	// workdir.Exit. By default it is a result.
	FailOnExit bool `json:"failOnExit,omitempty"`
	// Presence says whether the workspace has to exist: "mustExist", "mayBeAbsent" or
	// "mustBeNew". "": a read-only one must exist, others may be absent.
	Presence mount.Presence `json:"presence,omitempty"`
	// OnConflict says what a commit does if others have stored the workspace meanwhile: "fail"
	// or "merge". "": as in Options.Workspaces.
	OnConflict mount.ConflictPolicy `json:"onConflict,omitempty"`
}

// ExecResult is the result of Exec.
type ExecResult struct {
	// ExitCode of the command, as in a shell: 126 if it cannot be run, 127 if it cannot be
	// found, 128 plus the signal's number if a signal ended it.
	ExitCode int `json:"exitCode"`
	// Signal that ended it, such as "SIGKILL".
	Signal string `json:"signal,omitempty"`
	// TimedOut: TimeoutSeconds ended it.
	TimedOut bool `json:"timedOut,omitempty"`
	// Stdout and Stderr are the last 64 KiB of each; invalid UTF-8 is replaced.
	Stdout          string `json:"stdout"`
	Stderr          string `json:"stderr"`
	StdoutTruncated bool   `json:"stdoutTruncated,omitempty"`
	StderrTruncated bool   `json:"stderrTruncated,omitempty"`
	// Stored: the changes are the workspace's next revision; Deleted that
	// the workspace was empty and its archive is deleted.
	Stored  bool `json:"stored"`
	Deleted bool `json:"deleted,omitempty"`
	// Revision is the workspace's archive now, as far as this activity knows; "" without one,
	// and if the result was replayed.
	Revision string `json:"revision,omitempty"`
	// Commit identifies the commit in the archive's log, if Stored.
	Commit string `json:"commit,omitempty"`
	// Saved is the URL of the workspace with the command's work that could not be stored, if
	// the worker's Options.Workspaces have SaveFailed.
	Saved string `json:"saved,omitempty"`
	// Changes counts the command's changes, stored or not.
	Changes ExecChanges `json:"changes"`
	// Replayed: an earlier attempt did all this; the command did not run in this one.
	Replayed bool `json:"replayed,omitempty"`
}

// ExecChanges counts entries of the workspace, and bytes of content.
type ExecChanges struct {
	Created  int64 `json:"created"`
	Modified int64 `json:"modified"`
	Removed  int64 `json:"removed"`
	Bytes    int64 `json:"bytes"`
}

// exec is Exec.
func (r *ready) exec(ctx context.Context, in ExecInput) (ExecResult, error) {
	x := execCall{ready: r, in: in}
	if err := x.check(ctx); err != nil {
		return ExecResult{}, err
	}
	opts := r.options()
	opts.ReadOnly, opts.Presence = in.ReadOnly, in.Presence
	opts.OnConflict = cmp.Or(in.OnConflict, opts.OnConflict)
	if in.ReadOnly {
		opts = reading(opts)
	}
	var ended ExecResult
	opts.Closed = func(r mount.Result, done *mount.CommittedError) { ended = stored(r, done) }
	out, err := wdactivity.Do(ctx, x.url, &opts, func(ctx context.Context, m *mount.Mount) (ExecResult, error) {
		return x.enter(ctx, m, slices.Sorted(maps.Keys(in.Mounts)))
	})
	x.killLeft(err)
	if err != nil {
		return ExecResult{}, err
	}
	out.storedAs(ended)
	return out, nil
}

// options returns the options of a workspace that Exec mounts.
func (r *ready) options() wdactivity.Options {
	o := r.opts.Workspaces
	o.Name, o.Step, o.AutoCommit, o.Vars, o.Closed = "", "", false, nil, nil
	return o
}

// reading returns the options of a workspace that is mounted read-only.
func reading(o wdactivity.Options) wdactivity.Options {
	o.ReadOnly, o.Keep, o.SaveFailed = true, wdactivity.Keep{}, ""
	return o
}

// execCall is one call of Exec.
type execCall struct {
	ready   *ready
	in      ExecInput
	url     string            // of the workspace, a literal template
	mounts  map[string]string // as in.Mounts, likewise
	env     []string          // the variables of the mounted workspaces
	process *command          // set once it runs
}

// check refuses invalid input and disallowed URLs before anything is mounted.
func (x *execCall) check(ctx context.Context) error {
	in := &x.in
	switch {
	case len(in.Argv) == 0 || in.Argv[0] == "":
		return badInput("argv: a command is needed")
	case in.Dir != "" && !filepath.IsLocal(in.Dir):
		return badInput("dir: %q is not in the workspace; write a relative path", in.Dir)
	case in.TimeoutSeconds < 0 || in.TimeoutSeconds > math.MaxInt64/float64(time.Second):
		return badInput("timeoutSeconds: %v is no time", in.TimeoutSeconds)
	}
	if slices.ContainsFunc(in.Argv, hasNUL) || hasNUL(in.Dir) {
		return badInput("argv, dir: a NUL byte cannot be passed to a command")
	}
	if err := errors.Join(in.Presence.Check(in.ReadOnly), in.OnConflict.Check()); err != nil {
		return badInput("%v", err)
	}
	for name, value := range in.Env {
		if !goodEnv.MatchString(name) || hasNUL(value) {
			return badInput("env: %q is no variable for a command", name)
		}
	}
	return x.checkURLs(ctx)
}

var (
	goodName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
	goodEnv  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

func (x *execCall) checkURLs(ctx context.Context) error {
	u, err := x.ready.workspace(ctx, "workspace", x.in.Workspace)
	if err != nil {
		return err
	}
	x.url, x.mounts = literal(u.String()), map[string]string{}
	for name, text := range x.in.Mounts {
		other, err := x.ready.workspace(ctx, "mounts: "+name, text)
		switch {
		case err != nil:
			return err
		case !goodName.MatchString(name):
			return badInput("mounts: the name %q is not of letters, digits, - and _", name)
		case other == u:
			return badInput("mounts: %s is the workspace itself", name)
		}
		x.mounts[name] = literal(other.String())
	}
	return nil
}

// literal returns the template that expands to exactly this URL.
func literal(url string) string {
	place, query, found := strings.Cut(url, "?")
	place = strings.NewReplacer("{", "{{", "}", "}}").Replace(place)
	if found {
		place += "?" + query
	}
	return place
}

func hasNUL(s string) bool { return strings.ContainsRune(s, 0) }

// enter mounts the remaining additional workspaces, and runs the command.
func (x *execCall) enter(ctx context.Context, m *mount.Mount, left []string) (ExecResult, error) {
	if len(left) == 0 {
		return x.run(ctx, m)
	}
	opts := reading(x.ready.options())
	opts.Name, opts.Dir, opts.At = left[0], "", ""
	return wdactivity.Do(ctx, x.mounts[left[0]], &opts, func(ctx context.Context, other *mount.Mount) (ExecResult, error) {
		x.variables(strings.ToUpper("WORKDIR_"+strings.ReplaceAll(left[0], "-", "_")), other.Path(), other.URL())
		return x.enter(ctx, m, left[1:])
	})
}

// variables adds the variables by which the command finds a workspace.
func (x *execCall) variables(name, path, url string) {
	x.env = append(x.env, name+"="+path, name+"_URL="+url)
}

// run runs the command, and marks the workspace if it is to be stored.
func (x *execCall) run(ctx context.Context, m *mount.Mount) (ExecResult, error) {
	cmd := mount.CommandIn(context.WithoutCancel(ctx), m, x.in.Dir, x.in.Argv[0], x.in.Argv[1:]...)
	cmd.Env = x.environ(m)
	cmd.Stdin = strings.NewReader(x.in.Stdin)
	x.process = &command{cmd: cmd, timeout: time.Duration(x.in.TimeoutSeconds * float64(time.Second))}
	sdk.GetLogger(ctx).Debug("running a command", "url", m.URL(), "program", x.in.Argv[0])
	end, err := x.process.run(ctx)
	if err != nil {
		return ExecResult{}, err
	}
	out := x.result(end)
	switch {
	case end.code != 0 && x.in.FailOnExit:
		return ExecResult{}, x.exitError(out)
	case end.code != 0:
		m.Fail(x.in.Argv[0] + ": " + out.ended())
	case end.code == 0 && !x.in.ReadOnly && (x.in.Commit == nil || *x.in.Commit):
		return out, m.Commit()
	}
	return out, nil
}

// environ is the environment of the command. Variables set by the workflow come last, and take
// precedence.
func (x *execCall) environ(m *mount.Mount) []string {
	x.variables("WORKDIR", m.CommandPath(), m.URL())
	env := slices.Clone(x.ready.opts.Environ)
	if x.ready.opts.Environ == nil {
		env = os.Environ()
	}
	env = append(env, x.env...)
	for name, value := range x.in.Env {
		env = append(env, name+"="+value)
	}
	return env
}

// result returns the result, without the outcome for the workspace.
func (x *execCall) result(end exit) ExecResult {
	p := x.process
	out := ExecResult{
		ExitCode: end.code, TimedOut: end.timedOut,
		Stdout: p.stdout.text(), StdoutTruncated: p.stdout.truncated(),
		Stderr: p.stderr.text(), StderrTruncated: p.stderr.truncated(),
	}
	if end.signal != 0 {
		out.Signal = unix.SignalName(end.signal)
	}
	return out
}

func (x *execCall) exitError(out ExecResult) error {
	text := strings.TrimSpace(out.Stderr)
	if i := strings.LastIndexByte(text, '\n'); i >= 0 {
		text = text[i+1:]
	}
	return temporal.NewApplicationErrorWithOptions(
		strings.TrimSuffix("exec "+x.in.Argv[0]+": "+out.ended()+": "+text, ": "),
		errtype.Exit, temporal.ApplicationErrorOptions{Details: []any{out}})
}

// killLeft kills processes that a command with exit code 0 has left in its group, if they
// prevented the workspace from being stored: the error names them.
func (x *execCall) killLeft(err error) {
	if errors.Is(err, mount.ErrBusy) && x.process != nil {
		x.process.kill(unix.SIGKILL)
	}
}

// ended describes how the command ended.
func (r *ExecResult) ended() string {
	switch {
	case r.TimedOut:
		return "it took too long and was ended"
	case r.Signal != "":
		return "ended by " + r.Signal
	}
	return fmt.Sprintf("exit code %d", r.ExitCode)
}

// stored is the part of a result with the outcome for the workspace.
func stored(r mount.Result, done *mount.CommittedError) ExecResult {
	if done != nil {
		return ExecResult{Replayed: true, Stored: true, Commit: string(done.Record.ID), Changes: ExecChanges(done.Record.Changed)}
	}
	return ExecResult{
		Stored: r.Stored, Deleted: r.Deleted, Revision: string(r.Revision), Commit: string(r.CommitID), Saved: r.Saved, Changes: ExecChanges(r.Changes),
	}
}

// storedAs copies that part.
func (r *ExecResult) storedAs(o ExecResult) {
	r.Replayed, r.Stored, r.Deleted = o.Replayed, o.Stored, o.Deleted
	r.Revision, r.Commit, r.Saved, r.Changes = o.Revision, o.Commit, o.Saved, o.Changes
}
