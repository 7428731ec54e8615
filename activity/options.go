package activity

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/mount"
	"github.com/workdir/workdir/store"
)

// Options are the options of a workspace, in [Do], in a rule, in a ready-made activity and in
// JSON or YAML. nil and the zero value are usable. Fields without a comment are as in
// mount.Options.
type Options struct {
	// Name is the name for WorkspaceNamed: letters, digits, - and _. Workspace does not find a
	// named workspace, except the first of a rule. "": none.
	Name string `json:"name,omitempty" yaml:"name,omitempty"`
	// Env is the environment variable by which tools find the path, see Environ. "":
	// WORKDIR, or WORKDIR_NAME for one with a name that is not the first of a rule.
	Env string `json:"env,omitempty" yaml:"env,omitempty"`
	// ReadOnly mounts read-only, enforced by the kernel (EROFS). A read-only visit is not a
	// step: it is never recorded, and never skipped.
	ReadOnly bool `json:"readOnly,omitempty" yaml:"readOnly,omitempty"`
	// AutoCommit marks the mount on every clean return. A function that called
	// Abandon stays unmarked.
	AutoCommit bool `json:"autoCommit,omitempty" yaml:"autoCommit,omitempty"`
	// Presence says whether the workspace has to exist.
	Presence mount.Presence `json:"presence,omitempty" yaml:"presence,omitempty"`
	// OnConflict says what a commit does where others have stored the workspace meanwhile:
	// mount.Merge for activities that run at the same time and change different files.
	OnConflict mount.ConflictPolicy `json:"onConflict,omitempty" yaml:"onConflict,omitempty"`
	// Keep says which of the archives that commits replace stay as versions, which are
	// read by URL@COMMIT. By default none do.
	Keep Keep `json:"keep,omitzero" yaml:"keep,omitempty"`
	// Rewind has the activities of a run that was made by a reset of its workflow see the
	// workspace as it was at the point of the reset: the version that the run's own history
	// has stored last. What they store becomes the newest archive. It needs Keep, and
	// implies KeepEmpty. See docs/temporal.md.
	Rewind bool `json:"rewind,omitempty" yaml:"rewind,omitempty"`
	// SaveFailed is the URL of a workspace for the work of an attempt that could not be
	// stored, or whose function failed: an ordinary archive, whose record says why. It is a
	// template, like the workspace's own URL; if the archive already exists, a part of the
	// commit's id is added to the name. "": such work is lost.
	SaveFailed string `json:"saveFailed,omitempty" yaml:"saveFailed,omitempty"`
	// Resume begins with the checkpoint that an earlier attempt of the step has left, see
	// mount.Mount.Checkpoint, unless there is none or the workspace was stored since.
	// mount.Mount.Resumed says which.
	Resume bool `json:"resume,omitempty" yaml:"resume,omitempty"`
	// Step names the piece of work, for activities that do several on one
	// workspace in an order that is not the same in every attempt. It must not be
	// a number. "": its ordinal among this activity's steps on that workspace, which
	// do not run at the same time unless one is inside the other.
	Step string `json:"step,omitempty" yaml:"step,omitempty"`
	// Vars returns variables of the URL, which precede those of every activity, from
	// the activity's arguments; the context is not among them. See [Vars]. nil: there
	// are no others.
	Vars func(args []any) (map[string]string, error) `json:"-" yaml:"-"`
	// Dir is the mountpoint, the absolute path of an empty directory, for tools that record
	// paths. Concurrent activities cannot share it. "": a path below RunDir, computed from the
	// URL.
	Dir string `json:"dir,omitempty" yaml:"dir,omitempty"`
	// At is the path at which commands started by Command, mount.Command and workdir.Exec see
	// the workspace; concurrent activities may use the same. See mount.Options.
	At           string       `json:"at,omitempty" yaml:"at,omitempty"`
	MaxBytes     int64        `json:"maxBytes,omitempty" yaml:"maxBytes,omitempty"`
	MaxInodes    int64        `json:"maxInodes,omitempty" yaml:"maxInodes,omitempty"`
	Spill        string       `json:"spill,omitempty" yaml:"spill,omitempty"`
	SpillReserve int64        `json:"spillReserve,omitempty" yaml:"spillReserve,omitempty"`
	Cache        string       `json:"cache,omitempty" yaml:"cache,omitempty"`
	CacheBytes   int64        `json:"cacheBytes,omitempty" yaml:"cacheBytes,omitempty"`
	FetchAll     bool         `json:"fetchAll,omitempty" yaml:"fetchAll,omitempty"`
	Owner        *mount.Owner `json:"owner,omitempty" yaml:"owner,omitempty"`
	AllowOther   bool         `json:"allowOther,omitempty" yaml:"allowOther,omitempty"`
	// KeepEmpty stores an emptied workspace as an empty archive. By default its
	// archive is deleted, and with it the record that the step was done.
	KeepEmpty bool     `json:"keepEmpty,omitempty" yaml:"keepEmpty,omitempty"`
	Portable  bool     `json:"portable,omitempty" yaml:"portable,omitempty"`
	Grace     Duration `json:"grace,omitempty" yaml:"grace,omitempty"`
	// CloseTimeout bounds unmounting and storing once the function has returned.
	// A worker's WorkerStopTimeout should exceed the time that storing takes. 0: the
	// time that the activity's own timeouts leave, and ten minutes at least.
	CloseTimeout Duration `json:"closeTimeout,omitempty" yaml:"closeTimeout,omitempty"`
	// Plain and RunDir are those of the plugin, for this workspace alone.
	Plain  bool   `json:"plain,omitempty" yaml:"plain,omitempty"`
	RunDir string `json:"runDir,omitempty" yaml:"runDir,omitempty"`
	// Closed is called with the outcome: the result of closing the workspace, or the commit of
	// another attempt that has the step's result.
	Closed func(mount.Result, *mount.CommittedError) `json:"-" yaml:"-"`
}

// Keep says which of the archives that commits replace are kept: those that either field
// asks for. See store.Keep.
type Keep struct {
	Last int      `json:"last,omitempty" yaml:"last,omitempty"` // so many of the newest
	For  Duration `json:"for,omitempty" yaml:"for,omitempty"`   // those that were replaced no longer ago
}

// Duration is a time.Duration that is written as "90s" in JSON and YAML.
type Duration time.Duration

// UnmarshalText parses the text as time.ParseDuration does.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := time.ParseDuration(string(text))
	*d = Duration(v)
	return err
}

// MarshalText is the inverse of UnmarshalText.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// strictJSON decodes text written by people: an unknown field is an error.
func strictJSON(text []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	return d.Decode(to)
}

// Vars returns a function for Options.Vars, given one that takes the activity's first
// argument.
func Vars[In any](fn func(In) map[string]string) func(args []any) (map[string]string, error) {
	return func(args []any) (map[string]string, error) {
		if len(args) == 0 {
			return nil, errors.New("variables from the first argument: the activity has none")
		}
		in, ok := args[0].(In)
		if !ok {
			return nil, fmt.Errorf("variables from the first argument: it is a %T, but the function takes %T", args[0], in)
		}
		return fn(in), nil
	}
}

var (
	goodName = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
	goodEnv  = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
)

// check refuses options that can never work.
func (o *Options) check() error {
	switch {
	case isNumber(o.Step):
		return fmt.Errorf("%w: %q is a number, and numbers are used for steps without a name; choose another name", ErrStep, o.Step)
	case o.Name != "" && !goodName.MatchString(o.Name):
		return fmt.Errorf("name: %q has characters other than letters, digits, - and _", o.Name)
	case o.Env != "" && !goodEnv.MatchString(o.Env):
		return fmt.Errorf("env: %q is not a name of an environment variable", o.Env)
	case o.Dir != "" && !filepath.IsAbs(o.Dir):
		return fmt.Errorf("dir: %q is not an absolute path", o.Dir)
	case o.At != "" && (!filepath.IsAbs(o.At) || filepath.Clean(o.At) == "/"):
		return fmt.Errorf("at: %q is not an absolute path other than /", o.At)
	case o.Keep.Last < 0 || o.Keep.For < 0:
		return fmt.Errorf("keep: %d archives, %v: neither may be negative", o.Keep.Last, time.Duration(o.Keep.For))
	case o.Rewind && !o.ReadOnly && o.Keep == Keep{}:
		return errors.New("rewind: what a reset goes back to must be kept; set keep, for as long as workflows are reset")
	case o.ReadOnly && (o.Keep != Keep{} || o.SaveFailed != ""):
		return errors.New("keep, saveFailed: a read-only workspace is never stored")
	}
	if o.Resume && o.ReadOnly {
		return errors.New("resume: a read-only workspace has no checkpoints")
	}
	return errors.Join(o.Presence.Check(o.ReadOnly), o.OnConflict.Check())
}

// isNumber reports whether a step's name is a number, as for steps without a name.
func isNumber(step string) bool {
	return step != "" && strings.Trim(step, "0123456789") == ""
}

// mountOptions returns the options of mount.Open for a visit.
func (v *visit) mountOptions(origin archive.Origin, since time.Time) *mount.Options {
	o, p := v.opts, &v.attempt.worker.plugin.opts
	m := &mount.Options{
		Dir:          o.Dir,
		At:           o.At,
		ReadOnly:     o.ReadOnly,
		Presence:     o.Presence,
		OnConflict:   o.OnConflict,
		Keep:         store.Keep{Last: o.Keep.Last, For: time.Duration(o.Keep.For)},
		MaxBytes:     o.MaxBytes,
		MaxInodes:    o.MaxInodes,
		Spill:        o.Spill,
		SpillReserve: o.SpillReserve,
		Cache:        o.Cache,
		CacheBytes:   o.CacheBytes,
		FetchAll:     o.FetchAll,
		Owner:        o.Owner,
		AllowOther:   o.AllowOther,
		KeepEmpty:    o.KeepEmpty || o.Rewind, // the log says what to rewind to
		Portable:     o.Portable,
		Plain:        o.Plain || p.Plain,
		Grace:        time.Duration(o.Grace),
		RunDir:       o.RunDir,
		Origin:       origin,
		Since:        since,
		BeforeStore:  v.mayStore,
		Progress:     v.progress,
		Logger:       v.attempt.log,
	}
	if v.saved != (store.URL{}) {
		m.SaveFailed = v.saved.String()
	}
	if m.RunDir == "" {
		m.RunDir = p.RunDir
	}
	if o.Resume {
		m.FromCheckpoint = mount.LastCheckpoint
	}
	return m
}

// closeTimeoutLeast is the default minimum for unmounting and storing.
const closeTimeoutLeast = 10 * time.Minute

// closeTimeout is how long unmounting and storing may take from now on, in an activity
// with a deadline.
func (o *Options) closeTimeout(now, deadline time.Time) time.Duration {
	if o.CloseTimeout > 0 {
		return time.Duration(o.CloseTimeout)
	}
	return max(deadline.Sub(now), closeTimeoutLeast)
}

// lingerInterval is the pause between two attempts to unmount a busy mount.
func (o *Options) lingerInterval() time.Duration {
	return max(time.Duration(o.Grace), time.Second)
}
