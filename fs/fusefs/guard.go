package fusefs

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/workdir/workdir/fs"
)

// guard stands around the operations: each of its methods counts the request,
// refuses what this mount does not do, and catches a panic. It is safe for
// concurrent use.
type guard struct {
	ops    fuse.RawFileSystem
	tree   *fs.Tree
	logger *slog.Logger

	refuse [opCount]fuse.Status   // immutable; OK where the operation is allowed
	counts [opCount]atomic.Uint64 // requests
}

var _ fuse.RawFileSystem = (*guard)(nil)

// newGuard gives the operations on t as o wants them, and go-fuse's settings.
func newGuard(t *fs.Tree, o *Options) (*guard, *fuse.MountOptions, error) {
	mo, off, err := o.mountOptions()
	if err != nil {
		return nil, nil, err
	}
	s := &server{tree: t, wanted: mo.ExtraCapabilities &^ mo.DisabledCapabilities, readOnly: o.ReadOnly}
	g := &guard{tree: t, logger: o.logger(), ops: s}
	if o.ReadOnly {
		for _, op := range changing {
			g.refuse[op] = fuse.EROFS
		}
	}
	if o.Lower != nil {
		unused, err := refusedBy(o.Lower)
		if err != nil {
			return nil, nil, err
		}
		off, s.lower = append(off, unused...), true
	}
	for _, op := range off {
		g.refuse[op] = fuse.ENOSYS
	}
	return g, mo, nil
}

// enter counts a request and says whether it may go on. In a poisoned tree none
// may: an operation that panicked may have left a lock locked.
func (g *guard) enter(o op) fuse.Status {
	g.counts[o].Add(1)
	if g.tree.Poisoned() {
		return fuse.EIO
	}
	return g.refuse[o]
}

// leave is deferred around each operation. It turns a panic into EIO, poisons the
// tree, and logs the stack, because a panic in a request's goroutine would end the
// process with all its mounts.
func (g *guard) leave(o op, st *fuse.Status) {
	r := recover()
	if r == nil {
		return
	}
	*st = fuse.EIO
	g.tree.Poison(fmt.Errorf("%s: panic: %v", o, r))
	g.logger.Error("panic in a fuse operation; the mount is dead",
		"op", o.String(), "panic", r, "stack", string(debug.Stack()))
}

func (g *guard) stats() map[string]uint64 {
	m := make(map[string]uint64)
	for o := range g.counts {
		if n := g.counts[o].Load(); n > 0 {
			m[opNames[o]] = n
		}
	}
	return m
}

// status is the one place where the tree's errors become FUSE's.
func status(errno syscall.Errno) fuse.Status { return fuse.Status(errno) }
