package activity

import (
	"context"
	"time"

	"github.com/workdir/workdir/mount"
)

// DefaultCloseTimeout bounds unmounting and storing.
const DefaultCloseTimeout = 10 * time.Minute

// Options of Do and Wrap. nil and the zero value are good.
type Options struct {
	// ReadOnly mounts read-only, enforced by the kernel (EROFS).
	ReadOnly bool
	// AutoCommit marks the mount on every clean return. A function that called
	// Abandon, and a read-only mount, stay unmarked.
	AutoCommit bool
	// MaxBytes limits the content in memory, in bytes; beyond it tools get
	// ENOSPC. 0: what is left of the server's budget.
	MaxBytes int64
	// MaxInodes limits the number of files and directories. 0: see mount.Options.
	MaxInodes int64
	// Spill is a directory on disk for content that memory has no room for. "":
	// tools get ENOSPC.
	Spill string
	// KeepEmpty stores an emptied workspace as an empty archive. By default its
	// archive is deleted.
	KeepEmpty bool
	// Portable refuses to commit what the Python temporal-workdir cannot read.
	Portable bool
	// Grace is how long unmounting waits for processes that still use the
	// workspace. 0: mount.DefaultGrace.
	Grace time.Duration
	// RunDir is as mount.Options.RunDir. "": mount.DefaultRunDir.
	RunDir string
	// CloseTimeout bounds unmounting and storing once the function has returned.
	// The end of the activity's context does not cut it short, since the mount
	// must go in any case. A worker's WorkerStopTimeout should exceed it, or the
	// time that storing takes. 0: DefaultCloseTimeout.
	CloseTimeout time.Duration
}

// mountOptions are those of mount.Open for an activity.
func (o *Options) mountOptions(ctx context.Context) *mount.Options {
	return &mount.Options{
		ReadOnly:    o.ReadOnly,
		MaxBytes:    o.MaxBytes,
		MaxInodes:   o.MaxInodes,
		Spill:       o.Spill,
		KeepEmpty:   o.KeepEmpty,
		Portable:    o.Portable,
		Grace:       o.Grace,
		RunDir:      o.RunDir,
		BeforeStore: func(context.Context) error { return ended(ctx) },
		Logger:      logger(ctx),
	}
}

func (o *Options) closeTimeout() time.Duration {
	if o.CloseTimeout > 0 {
		return o.CloseTimeout
	}
	return DefaultCloseTimeout
}

// lingerInterval is the pause between two attempts to unmount what is in use.
func (o *Options) lingerInterval() time.Duration {
	return max(o.Grace, time.Second)
}

// ended is why the activity may not commit any more; nil while it may.
func ended(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	return context.Cause(ctx)
}
