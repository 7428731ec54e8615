package activity

import (
	"fmt"
	"strings"
	"time"

	"go.temporal.io/sdk/converter"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/mount"
)

// DefaultCloseTimeout is the least that unmounting and storing has by default.
const DefaultCloseTimeout = 10 * time.Minute

// Options of Do, Wrap, Register and the interceptor. nil and the zero value are
// good.
type Options struct {
	// ReadOnly mounts read-only, enforced by the kernel (EROFS). Such a visit is
	// no step: nothing of it is recorded, and it is never left out.
	ReadOnly bool
	// AutoCommit marks the mount on every clean return. A function that called
	// Abandon, and a read-only mount, stay unmarked.
	AutoCommit bool
	// Step names the piece of work, for activities that do several on one
	// workspace in an order that is not the same in every attempt. It must not be
	// a number. "": its ordinal among this activity's steps on that workspace, which
	// do not run at the same time unless one is inside the other.
	Step string
	// Vars gives variables of the URL beside those of every activity, and instead
	// of them. nil: there are no others.
	Vars VarsFunc
	// DataConverter encodes what the function returns, to be kept with the commit
	// for an attempt that finds it done, and heartbeat details that are sent
	// again. nil: that of the worker's client, if the client has the plugin
	// (NewPlugin); else the SDK's default, with which the result stands in the archive
	// as JSON, whatever the client encrypts.
	DataConverter converter.DataConverter
	// Dir is the mountpoint, an empty directory, as mount.Options.Dir: for tools that
	// note absolute paths. Activities that run at the same time cannot have the same.
	// "": a path below RunDir that follows from the URL.
	Dir string
	// MaxBytes limits the content in memory, in bytes; beyond it tools get
	// ENOSPC. 0: what is left of the server's budget.
	MaxBytes int64
	// MaxInodes limits the number of files and directories. 0: see mount.Options.
	MaxInodes int64
	// Spill is a directory on disk for content that memory has no room for. "":
	// tools get ENOSPC.
	Spill string
	// SpillReserve is how many bytes of the spill directory's disk stay free. 0: see
	// mount.Options.
	SpillReserve int64
	// KeepEmpty stores an emptied workspace as an empty archive. By default its
	// archive is deleted, and with it the record that the step was done.
	KeepEmpty bool
	// Portable refuses to commit what the Python temporal-workdir cannot read.
	Portable bool
	// Plain gives a plain directory instead of a mount, where FUSE is forbidden;
	// see mount.Options for what it cannot give.
	Plain bool
	// Grace is how long unmounting waits for processes that still use the
	// workspace. 0: mount.DefaultGrace.
	Grace time.Duration
	// RunDir is as mount.Options.RunDir. "": mount.DefaultRunDir.
	RunDir string
	// CloseTimeout bounds unmounting and storing once the function has returned.
	// A worker's WorkerStopTimeout should exceed the time that storing takes. 0: the
	// time that the activity's own timeouts leave, and DefaultCloseTimeout at least.
	CloseTimeout time.Duration

	closed func(visitEnd) // told when the workspace is closed, or another attempt has committed it; nil: nobody
}

// visitEnd is what became of a workspace.
type visitEnd struct {
	result    mount.Result          // of Close
	committed *mount.CommittedError // another attempt's commit, whose result is given; nil: none
}

// VarsFunc gives variables of a URL from the arguments of the activity; the
// context is not among them. Do has no arguments to give.
type VarsFunc func(args []any) (map[string]string, error)

// Vars is a VarsFunc for activities with one argument, as Wrap makes them.
func Vars[In any](fn func(In) map[string]string) VarsFunc {
	return func(args []any) (map[string]string, error) {
		if len(args) != 1 {
			return nil, fmt.Errorf("variables from the argument: the activity has %d arguments, and the function for them takes one", len(args))
		}
		in, ok := args[0].(In)
		if !ok {
			return nil, fmt.Errorf("variables from the argument: it is a %T, and the function for them takes %T", args[0], in)
		}
		return fn(in), nil
	}
}

// check refuses options that can never work.
func (o *Options) check() error {
	if isNumber(o.Step) {
		return fmt.Errorf("%w: %q is a number, and numbers are given to steps without a name; choose another", ErrStep, o.Step)
	}
	return nil
}

// isNumber reports whether a step's name is one of those that are given to steps
// without a name.
func isNumber(step string) bool {
	return step != "" && strings.Trim(step, "0123456789") == ""
}

// mountOptions are those of mount.Open for a visit.
func (v *visit) mountOptions(origin archive.Origin, since time.Time) *mount.Options {
	o := v.opts
	return &mount.Options{
		Dir:          o.Dir,
		ReadOnly:     o.ReadOnly,
		MaxBytes:     o.MaxBytes,
		MaxInodes:    o.MaxInodes,
		Spill:        o.Spill,
		SpillReserve: o.SpillReserve,
		KeepEmpty:    o.KeepEmpty,
		Portable:     o.Portable,
		Plain:        o.Plain,
		Grace:        o.Grace,
		RunDir:       o.RunDir,
		Origin:       origin,
		Since:        since,
		BeforeStore:  v.mayStore,
		Progress:     v.progress,
		Logger:       v.log,
	}
}

// closeTimeout is how long unmounting and storing may take from now on, in an activity
// with a deadline; the zero time is none.
func (o *Options) closeTimeout(now, deadline time.Time) time.Duration {
	if o.CloseTimeout > 0 {
		return o.CloseTimeout
	}
	return max(deadline.Sub(now), DefaultCloseTimeout)
}

// lingerInterval is the pause between two attempts to unmount what is in use.
func (o *Options) lingerInterval() time.Duration {
	return max(o.Grace, time.Second)
}
