package serve

import (
	"context"
	"time"

	"github.com/workdir/workdir/fs"
	"github.com/workdir/workdir/mount/internal/host"
	"github.com/workdir/workdir/mount/internal/wire"
)

// view is a way to show the tree of a hosted mount to tools, and to get back what
// they made of it. The owner of the mount calls its methods, but for ended, freeze,
// list, status and wait, which anybody may call once show has succeeded.
type view interface {
	// record is what the next process needs in order to clear away what show makes.
	record() (host.Record, error)
	// show shows the tree in the directory. After an error the caller calls drop.
	show(ctx context.Context) error
	// device is the number of the mount's device, "major:minor"; "" where nothing is
	// mounted.
	device() string
	// ended is closed when tools do not reach the tree any more, whoever ended that;
	// nil where nobody else can.
	ended() <-chan struct{}
	// freeze makes the directory read-only for good, as far as that is in our power.
	freeze()
	// withdraw is the barrier: after it nobody uses the directory, and what tools have
	// written is there. A *BusyError after the deadline; ErrUnmounted if somebody else
	// ended the view, and what was written last may be missing.
	withdraw(ctx context.Context, deadline time.Time) error
	// shown reports whether tools still reach the tree at the directory.
	shown() bool
	// still calls fn with the tree of what tools see at one moment, and changes nothing of
	// the mount. Nobody changes that tree until fn has returned; fn may be called again, with
	// another one, and what it did before does not count. host.ErrBusy where there was no such
	// moment, because tools always changed something.
	still(ctx context.Context, fn func(*loaded) error) error
	// used is how much tools may have written, in bytes, and how many names there are, at
	// most.
	used() (bytes, names int64)
	// changes ends the work and sums it up. withdraw was called before.
	changes(ctx context.Context) fs.Changes
	// list returns the paths that are different while the work goes on.
	list(ctx context.Context) ([]fs.PathChange, error)
	// take sees to it that hosted.tree is what tools have left, and reports whether
	// that is different from what was opened, in which case alone it need be there.
	take(ctx context.Context) (changed bool, err error)
	// confirm is asked right before a commit is made visible: nothing that take gave
	// may have changed.
	confirm(ctx context.Context) error
	// cause returns what is behind an error of reading the tree; nil if nothing is.
	cause() error
	// drop stops showing the tree, whatever happens to it. It waits for nobody.
	drop()
	// wait waits until nobody can ask for the tree any more.
	wait()
	// status adds what the view knows, its name included.
	status(st *wire.Status)
}

func newView(h *hosted) view {
	if h.req.View == wire.ViewPlain {
		return &plainView{h: h}
	}
	return &fuseView{h: h} // for the time until the archive is known, see choose
}
