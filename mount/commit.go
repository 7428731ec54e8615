package mount

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/fs"
	"github.com/workdir/workdir/store"
)

// Intervals of the barrier.
const (
	unmountRetry   = 20 * time.Millisecond // between two attempts to unmount a busy mount
	endPatience    = time.Second           // what the connection has at least to end after umount(2) returned 0
	unseenPatience = 5 * time.Second       // how much longer a mount may be in use by nobody that is found
)

// close unmounts and, if the client says so, commits. A *BusyError leaves the
// mount as it is, and close can be called again. After anything else the mount
// is gone.
func (h *hosted) close(ctx context.Context, req closeRequest) (Result, error) {
	ctx, err := h.begin(ctx)
	if err != nil {
		return Result{}, again(err)
	}
	defer h.end()
	h.setState(stateUnmounting)
	if err := h.unmount(ctx); err != nil {
		return h.notUnmounted(req, err)
	}
	res := Result{Revision: h.info.Revision, Changes: h.changes()}
	if req.Commit {
		h.setState(stateCommitting)
		err = h.commit(ctx, req, &res)
	}
	res.Traffic = store.TrafficOf(h.store)
	h.discard()
	return res, err
}

// errCloseAgain marks errors of close that leave the mount as it was.
var errCloseAgain = errors.New("the mount is as it was; close it again")

// again marks err with errCloseAgain, without a word.
func again(err error) error { return fmt.Errorf("%w%w", err, hidden{errCloseAgain}) }

// notUnmounted decides what an unmount that did not succeed means.
func (h *hosted) notUnmounted(req closeRequest, err error) (Result, error) {
	res := Result{Revision: h.info.Revision}
	if !errors.Is(err, ErrUnmounted) {
		if !h.unmounted {
			h.setState(stateMounted)
		}
		return res, again(err)
	}
	res.Changes, res.Traffic = h.changes(), store.TrafficOf(h.store)
	h.unmounted = h.hasEnded()
	h.discard()
	if !req.Commit {
		return res, nil // nothing was wanted of it
	}
	return res, fmt.Errorf("close %s: %w: what was written last may be missing, so nothing was stored", h.req.Dir, err)
}

// changes ends the work on the tree and sums it up. A poisoned tree is not
// touched: the operation that panicked may have left a lock of it locked.
func (h *hosted) changes() fs.Changes {
	if h.tree.Poisoned() {
		return fs.Changes{}
	}
	h.tree.Freeze()
	return h.tree.Changes()
}

// hidden is an error that matches but has no text of its own.
type hidden struct{ err error }

func (hidden) Error() string   { return "" }
func (h hidden) Unwrap() error { return h.err }

// unmount is the barrier: our own umount(2), then the end of the connection.
// *BusyError after the grace period; ErrUnmounted if somebody else ended the
// mount.
func (h *hosted) unmount(ctx context.Context) error {
	deadline := time.Now().Add(time.Duration(h.req.GraceNS))
	if !h.unmounted {
		if err := h.unmountName(ctx, deadline); err != nil {
			return err
		}
		h.unmounted = true
	}
	if least := time.Now().Add(endPatience); deadline.Before(least) {
		deadline = least
	}
	timer := time.NewTimer(time.Until(deadline))
	defer timer.Stop()
	for {
		select {
		case <-h.conn.Done():
			if h.conn.Wait() != nil { // aborted meanwhile: dirty pages may be gone
				return ErrUnmounted
			}
			return nil
		case <-timer.C:
			if err := h.busy(deadline); err != nil {
				return err
			}
			timer.Reset(unmountRetry)
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// unmountName calls umount(2) until it succeeds.
func (h *hosted) unmountName(ctx context.Context, deadline time.Time) error {
	for {
		if h.hasEnded() {
			return ErrUnmounted
		}
		if err := h.checkOnTop(); err != nil {
			return err
		}
		err := kernelUnmount(h.req.Dir)
		if err == nil {
			return nil
		}
		if !errors.Is(err, errStillMounted) {
			return &HostError{Path: h.req.Dir, What: "unmount: " + err.Error()}
		}
		if err := h.busy(deadline); err != nil {
			return err
		}
		select {
		case <-h.conn.Done():
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(unmountRetry):
		}
	}
}

// checkOnTop sees to it that umount(2) meets our mount and no other.
func (h *hosted) checkOnTop() error {
	table, err := mountTable("self")
	if err != nil {
		return &HostError{Path: h.req.Dir, What: "read the mount table: " + err.Error()}
	}
	top, ok := topMountAt(table, h.req.Dir)
	if ok && top.dev == h.dev {
		return nil
	}
	for _, e := range table {
		if e.path == h.req.Dir && e.dev == h.dev {
			return &BusyError{Path: h.req.Dir, Processes: []Process{{Name: top.source, Use: "something is mounted over it"}}}
		}
	}
	return ErrUnmounted
}

// busy gives a *BusyError once the deadline has passed, nil while there is reason to
// wait on. A process that is ending lets go of its files when they are not to be seen
// in /proc any more (do_exit in the kernel's kernel/exit.c), and a machine with much
// to do takes its time for that, and for the end of a connection.
func (h *hosted) busy(deadline time.Time) error {
	if time.Now().Before(deadline) {
		return nil
	}
	users := usersOf(h.dev)
	if len(users) == 0 && time.Now().Before(deadline.Add(unseenPatience)) {
		return nil
	}
	return &BusyError{Path: h.req.Dir, Processes: users}
}

// commit stores the tree as the successor of what was opened. The barrier has
// been passed.
func (h *hosted) commit(ctx context.Context, req closeRequest, res *Result) error {
	if err := h.tree.Err(); err != nil {
		return fmt.Errorf("%w: %s: some of the work is lost: %w", ErrCommit, h.url.Redacted(), err)
	}
	if !h.tree.Changed() {
		return nil
	}
	empty := h.tree.Empty() && !h.req.KeepEmpty
	if empty && h.info.Revision == "" {
		return nil
	}
	h.warnings.reset()
	opts := &archive.WriterOptions{Portable: h.req.Portable, Devices: h.req.Dev, Warn: h.warn}
	if !empty {
		if err := archive.Check(h.tree, opts); err != nil {
			return fmt.Errorf("%w: %s: %w", ErrCommit, h.url.Redacted(), err)
		}
	}
	if err := h.confirm(ctx); err != nil {
		return commitError(err)
	}
	progress := h.progress(PhaseCommitting, 0)
	opts.Progress = progress.report
	next := h.log.Next(h.record(req, res))
	info, err := store.Commit(ctx, h.store, h.url.Key, &store.CommitRequest{
		Replace: h.info.Revision,
		ID:      req.CommitID,
		Delete:  empty,
		Before:  h.confirm,
		Write: func(w io.Writer) error {
			_, err := archive.NewWriter(w, opts).WriteTree(ctx, h.tree, next)
			return err
		},
	})
	if err != nil {
		return h.overtaken(ctx, commitError(err))
	}
	progress.done()
	res.Stored, res.Deleted, res.Revision, res.Size = !empty, empty, info.Revision, info.Size
	if res.Stored {
		res.CommitID = req.CommitID
	}
	res.Warnings = h.warnings.list()
	return nil
}

// commitError tells "nothing was stored" from the cases in which that is not
// the word.
func commitError(err error) error {
	if errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrUnknown) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrCommit, err)
}

// confirm asks the client whether the commit may be sent, and made visible. A client
// that is gone does not answer, and that is a no.
func (h *hosted) confirm(ctx context.Context) error {
	return h.server.conn.Call(ctx, callConfirm, mountID{ID: h.req.ID}, nil)
}

func (h *hosted) record(req closeRequest, res *Result) archive.Record {
	host, _ := os.Hostname() // a record without a host is one
	rec := archive.Record{
		ID: req.CommitID, Time: time.Now().UTC(), Tool: "workdir/" + Version(), Host: host, Changed: res.Changes,
		Origin: h.req.Origin,
	}
	if _, ok := h.step(); ok { // nobody could ask for another's
		rec.Result = req.Result
	}
	if h.log != nil {
		rec.Parent = h.log.Record.ID
	}
	return rec
}
