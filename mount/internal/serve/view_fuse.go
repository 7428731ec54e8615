package serve

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/fs"
	"github.com/workdir/workdir/fs/fusefs"
	"github.com/workdir/workdir/internal/ipc"
	"github.com/workdir/workdir/mount/internal/host"
	"github.com/workdir/workdir/mount/internal/wire"
)

// Intervals of the barrier.
const (
	unmountRetry   = 20 * time.Millisecond // between two attempts to unmount a busy mount
	endPatience    = time.Second           // how long the connection may take to end, at least, after umount(2) has returned 0
	unseenPatience = 5 * time.Second       // how much longer a mount may be in use without any user that can be found
)

// fuseView shows the tree in a FUSE mount. Its fields are the owner's; those that show sets
// are immutable afterwards.
type fuseView struct {
	h         *hosted      // immutable
	conn      *fusefs.Conn // set by show; nil before the mount
	dev       string       // set by show; "major:minor"
	unmounted bool         // our own umount(2) has succeeded, or nothing is mounted any more
	mounted   bool         // the mountpoint may still have to be detached
}

// record implements view.
func (v *fuseView) record() (host.Record, error) {
	id, err := host.DirIDOf(v.h.dir)
	return host.Record{Path: ipc.Path(v.h.dir), Made: v.h.req.Made, Dir: id}, err
}

// show mounts the tree.
func (v *fuseView) show(context.Context) error {
	fd, err := host.Mount(v.h.dir, v.h.req.Source, v.h.req.Flags)
	if err != nil {
		return err
	}
	v.mounted = true
	if err := v.findDevice(); err != nil {
		_ = unix.Close(fd)
		return err
	}
	bdi := fusefs.BDIOf(v.dev)
	v.conn, err = fusefs.Serve(fd, v.h.tree, &fusefs.Options{
		ReadOnly:     v.h.req.ReadOnly,
		WriteThrough: !bdi.FitDirty(host.GroupLimit()),
		Logger:       v.h.logger(),
	})
	if err == nil {
		err = v.conn.WaitMount()
	}
	if err != nil {
		return &host.Error{Path: v.h.dir, What: "FUSE: " + err.Error()}
	}
	bdi.ReadAhead()
	return nil
}

// findDevice finds the device number of the mount, by which its users are found.
func (v *fuseView) findDevice() error {
	v.dev = host.DeviceAt(v.h.dir)
	if v.dev == "" { // the kernel does not know
		table, err := host.MountTable("self")
		if err != nil {
			return &host.Error{Path: v.h.dir, What: "read the mount table: " + err.Error()}
		}
		e, ok := host.TopMountAt(table, v.h.dir)
		if !ok || !e.IsOurs() {
			return &host.Error{Path: v.h.dir, What: "the mount is not in the mount table"}
		}
		v.dev = e.Dev
	}
	return nil
}

// device implements view, as do the methods that follow.
func (v *fuseView) device() string { return v.dev }

func (v *fuseView) ended() <-chan struct{} { return v.conn.Done() }

// freeze freezes the tree, unless it is poisoned: then a lock of it may be locked forever.
func (v *fuseView) freeze() {
	if !v.h.req.ReadOnly && !v.h.tree.Poisoned() {
		v.h.tree.Freeze()
	}
}

// hasEnded reports whether the FUSE connection is over.
func (v *fuseView) hasEnded() bool {
	select {
	case <-v.conn.Done():
		return true
	default:
		return false
	}
}

// withdraw is our own umount(2), followed by the end of the connection.
func (v *fuseView) withdraw(ctx context.Context, deadline time.Time) error {
	err := v.unmount(ctx, deadline)
	if errors.Is(err, wire.ErrUnmounted) {
		v.unmounted = v.hasEnded() && v.conn.Wait() == nil // else it was aborted, and may still be attached
	}
	return err
}

func (v *fuseView) unmount(ctx context.Context, deadline time.Time) error {
	if !v.unmounted {
		if err := v.unmountName(ctx, deadline); err != nil {
			return err
		}
		v.unmounted = true
	}
	if least := time.Now().Add(endPatience); deadline.Before(least) {
		deadline = least
	}
	timer := time.NewTimer(min(usersAfter, time.Until(deadline)))
	defer timer.Stop()
	for {
		select {
		case <-v.conn.Done():
			if err := v.conn.Wait(); err != nil { // dirty pages may be lost
				return fmt.Errorf("%w (after our umount: %w)", wire.ErrUnmounted, err)
			}
			return nil
		case <-timer.C:
			if err := v.busy(deadline); err != nil {
				return err
			}
			timer.Reset(unmountRetry)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// unmountName calls umount(2) until it succeeds.
func (v *fuseView) unmountName(ctx context.Context, deadline time.Time) error {
	for {
		if v.hasEnded() {
			return v.endedEarly()
		}
		if err := v.checkOnTop(); err != nil {
			return err
		}
		err := host.Unmount(v.h.dir)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) {
			return &host.Error{Path: v.h.dir, What: "unmount: " + err.Error()}
		}
		if err := v.busy(deadline); err != nil {
			return err
		}
		select {
		case <-v.conn.Done():
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(unmountRetry):
		}
	}
}

// checkOnTop makes sure that umount(2) will meet our mount and no other.
func (v *fuseView) checkOnTop() error {
	if host.DeviceAt(v.h.dir) == v.dev {
		return nil
	}
	table, err := host.MountTable("self")
	if err != nil {
		return &host.Error{Path: v.h.dir, What: "read the mount table: " + err.Error()}
	}
	top, ok := host.TopMountAt(table, v.h.dir)
	if ok && top.Dev == v.dev {
		return nil
	}
	for _, e := range table {
		if e.Path == v.h.dir && e.Dev == v.dev {
			return &host.BusyError{Path: v.h.dir, Processes: []host.Process{{Name: top.Source, Use: "something is mounted over it"}}}
		}
	}
	return fmt.Errorf("%w (it is no longer in the mount table)", wire.ErrUnmounted)
}

// endedEarly returns an ErrUnmounted that says how the connection ended before our umount.
// Preconditions: it has ended.
func (v *fuseView) endedEarly() error {
	if err := v.conn.Wait(); err != nil {
		return fmt.Errorf("%w (%w)", wire.ErrUnmounted, err)
	}
	return wire.ErrUnmounted
}

// busy returns a *BusyError once the deadline has passed, and nil while waiting still makes
// sense. A process that is ending releases its files only after they have disappeared from
// /proc (do_exit in the kernel's kernel/exit.c), and a loaded machine takes its time for
// that, and for the end of a connection.
func (v *fuseView) busy(deadline time.Time) error {
	v.h.noteUsers(func() []host.Process { return host.UsersOf(v.dev) })
	if time.Now().Before(deadline) {
		return nil
	}
	users := host.UsersOf(v.dev)
	if len(users) == 0 && time.Now().Before(deadline.Add(unseenPatience)) {
		return nil
	}
	return &host.BusyError{Path: v.h.dir, Processes: users}
}

// still pauses the tools that would change the tree.
func (v *fuseView) still(ctx context.Context, fn func(*loaded) error) error {
	if err := v.conn.WriteBack(ctx); err != nil {
		return err
	}
	return v.conn.Paused(func() error {
		if err := v.h.tree.Err(); err != nil {
			return fmt.Errorf("some of the work is lost: %w", err)
		}
		return fn(&v.h.loaded)
	})
}

func (v *fuseView) used() (bytes, names int64) {
	bytes, names = v.h.tree.Usage()
	if image := v.h.tree.Image(); image != nil {
		names += int64(image.Len())
	}
	return bytes, names
}

// changes ends the work on the tree and counts the changes. It does not touch a poisoned
// tree: the operation that panicked may have left a lock locked.
func (v *fuseView) changes(context.Context) fs.Changes {
	if v.h.req.ReadOnly || v.h.tree.Poisoned() {
		return fs.Changes{}
	}
	v.h.tree.Freeze()
	return v.h.tree.Changes()
}

// shown implements view, as do the methods that follow.
func (v *fuseView) shown() bool { return !v.unmounted }

func (v *fuseView) take(context.Context) (changed bool, err error) {
	if err := v.h.tree.Err(); err != nil {
		return false, fmt.Errorf("some of the work is lost: %w", err)
	}
	return v.h.tree.Changes().Total() > 0, nil
}

// confirm has nothing to check: the barrier was the proof.
func (v *fuseView) confirm(context.Context) error { return nil }

func (v *fuseView) cause() error { return v.h.base.lastError() }

func (v *fuseView) drop() {
	if v.mounted && !v.unmounted && (v.dev == "" || v.checkOnTop() == nil) {
		_ = host.Detach(v.h.dir) // somebody may have just unmounted it
	}
}

// wait waits for the last request, which a copy of the mount may delay.
func (v *fuseView) wait() {
	if v.conn != nil {
		<-v.conn.Done()
	}
}

func (v *fuseView) status(st *wire.Status) {
	st.View = wire.ViewFUSE
	tree := v.h.tree
	if tree.Poisoned() {
		return
	}
	limits := tree.StatFS()
	if !v.h.req.ReadOnly {
		st.Changes = tree.Changes()
	}
	st.Bytes, st.Inodes = tree.Usage()
	st.MaxBytes, st.MaxInodes = int64(limits.Blocks)*4096, int64(limits.Files) // StatFS counts blocks of 4 KiB
	st.Requests = v.conn.Stats()
}

// list implements view.
func (v *fuseView) list(context.Context) ([]fs.PathChange, error) {
	all, errno := v.h.tree.ListChanges()
	if errno != 0 {
		return nil, errno
	}
	return all, nil
}
