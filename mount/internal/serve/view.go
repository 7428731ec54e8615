package serve

import (
	"context"
	"time"

	"github.com/workdir/workdir/fs"
	"github.com/workdir/workdir/mount/internal/host"
	"github.com/workdir/workdir/mount/internal/wire"
)

// view is a way to show the tree of a hosted mount to tools, and to get back what they made
// of it. The owner of the mount calls its methods, except ended, freeze, list, status and
// wait, which any goroutine may call once show has succeeded.
type view interface {
	// record returns what another process needs in order to clear away what show makes.
	record() (host.Record, error)
	// show shows the tree in the directory. After an error the caller calls drop.
	show(ctx context.Context) error
	// device returns the device number of the mount, "major:minor"; "" if nothing is
	// mounted.
	device() string
	// ended returns a channel that is closed when tools cannot reach the tree any more,
	// whatever the reason; nil if nobody else can cause that.
	ended() <-chan struct{}
	// freeze makes the directory read-only for good, as far as possible.
	freeze()
	// withdraw is the barrier: afterwards nobody uses the directory, and everything that
	// tools have written is there. A *BusyError after the deadline; ErrUnmounted if
	// something else ended the view, and the last writes may be missing.
	withdraw(ctx context.Context, deadline time.Time) error
	// shown reports whether tools still reach the tree at the directory.
	shown() bool
	// still calls fn with the tree that tools see at one moment, and changes nothing in the
	// mount. Nobody changes that tree until fn returns. fn may be called again with another
	// tree; then its earlier work does not count. host.ErrBusy if there was no such moment,
	// because tools kept changing something.
	still(ctx context.Context, fn func(*loaded) error) error
	// used returns how much tools may have written, in bytes, and how many names there are;
	// both are upper limits.
	used() (bytes, names int64)
	// changes ends the work and counts the changes. withdraw was called before.
	changes(ctx context.Context) fs.Changes
	// list returns the paths that differ, while the work continues.
	list(ctx context.Context) ([]fs.PathChange, error)
	// take makes hosted.tree what tools have left, and reports whether it differs from what
	// was opened; if not, the tree need not be complete.
	take(ctx context.Context) (changed bool, err error)
	// confirm is called right before a commit is made visible: nothing may have changed
	// since take.
	confirm(ctx context.Context) error
	// cause returns the cause of an error in reading the tree; nil for none.
	cause() error
	// drop stops showing the tree, whatever becomes of it. It does not wait.
	drop()
	// wait waits until nobody can ask for the tree any more.
	wait()
	// status adds what the view knows, including its name.
	status(st *wire.Status)
}

func newView(h *hosted) view {
	if h.req.View == wire.ViewPlain {
		return &plainView{h: h}
	}
	return &fuseView{h: h} // until the archive is known, see choose
}
