package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/internal/panics"
	"github.com/workdir/workdir/internal/version"
	"github.com/workdir/workdir/mount/internal/wire"
	"github.com/workdir/workdir/store"
)

// close unmounts and, if the client says so, commits. After a *BusyError the mount is as
// before, and close can be called again. After any other outcome the mount is gone.
func (h *hosted) close(ctx context.Context) (wire.Result, error) {
	ctx, err := h.begin(ctx)
	if err != nil {
		return wire.Result{}, closeAgain{err}
	}
	defer h.end()
	ctx = store.WithLogger(ctx, h.logger())
	if h.stateNow() == wire.StateClosed {
		return wire.Result{}, fmt.Errorf("close %s: %w", h.dir, wire.ErrClosed)
	}
	res, err := h.withdrawAndCommit(ctx)
	if !mayCloseAgain(err) {
		h.poisonAfter(err)
		h.discard()
	}
	return res, err
}

func (h *hosted) withdrawAndCommit(ctx context.Context) (res wire.Result, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%w: %w", wire.ErrCommit, panics.New("close", r))
		}
	}()
	res.Revision = h.info.Revision
	h.setState(wire.StateUnmounting)
	h.users = usersNote{next: time.Now().Add(usersAfter)}
	err = h.view.withdraw(ctx, time.Now().Add(time.Duration(h.req.GraceNS)))
	if err != nil && !errors.Is(err, wire.ErrUnmounted) {
		if h.view.shown() {
			h.setState(wire.StateMounted)
		}
		return res, closeAgain{err}
	}
	res.Changes = h.sinceBase(h.view.changes(ctx))
	want, decideErr := h.decide()
	res.Marked = want.Commit
	switch {
	case decideErr != nil:
		err = decideErr
	case !res.Marked && want.Why != "" && err == nil:
		err = h.saveUnmarked(ctx, want, &res)
	case !res.Marked:
		err = nil // nothing was wanted of it
	case err != nil:
		err = fmt.Errorf("close %s: %w: what was written last may be missing, so nothing was stored", h.dir, err)
	default:
		h.setState(wire.StateCommitting)
		var taken bool
		taken, err = h.commit(ctx, want, &res)
		switch {
		case err == nil, errors.Is(err, wire.ErrAlreadyCommitted):
			h.dropCheckpoints(ctx)
		case taken && want.Save != (store.URL{}):
			err = h.saveAfter(ctx, want, &res, err)
		}
	}
	res.Traffic = store.TrafficOf(h.store)
	return res, err
}

// decide asks the client, once, whether to store the work. Until then, however long the
// unmount took, it can be marked. The client answers at once, or has ended.
func (h *hosted) decide() (want wire.Decision, err error) {
	err = h.server.conn.Call(context.Background(), wire.CallDecide, wire.MountID{ID: h.req.ID}, &want)
	if err != nil {
		err = fmt.Errorf("%w: %s: ask whether it is to be stored: %w", wire.ErrCommit, h.req.URL.Redacted(), err)
	}
	return want, err
}

// closeAgain is an error of close after which the mount is as before.
type closeAgain struct{ error }

// Unwrap returns the cause, which has the same text.
func (e closeAgain) Unwrap() error { return e.error }

// mayCloseAgain reports whether close, which returned err, has left the mount as it was.
func mayCloseAgain(err error) bool {
	_, ok := errors.AsType[closeAgain](err)
	return ok
}

// commit stores the tree as the successor of what was opened. It reports whether the tree
// is what tools have left; if not, it must not be stored anywhere.
// Preconditions: the barrier has been passed.
func (h *hosted) commit(ctx context.Context, want wire.Decision, res *wire.Result) (taken bool, err error) {
	changed, err := h.view.take(ctx)
	if err != nil {
		return false, fmt.Errorf("%w: %s: %w", wire.ErrCommit, h.req.URL.Redacted(), err)
	}
	if !changed && h.rewound == "" && h.resumed == nil {
		return true, nil
	}
	if h.tree.Empty() && !h.req.KeepEmpty && h.info.Revision == "" {
		return true, nil
	}
	h.warnings.reset()
	w := &work{want: want, res: res, changes: res.Changes, progress: h.progress(wire.PhaseCommitting, 0)}
	if err := h.commitMerging(ctx, w); err != nil {
		return true, err
	}
	w.progress.done()
	res.Warnings = h.warnings.list()
	return true, nil
}

// work is one commit in progress.
type work struct {
	want     wire.Decision
	res      *wire.Result
	changes  archive.Changes
	progress *progress
}

// commitOn stores a tree as the successor of the archive from which it was opened.
func (h *hosted) commitOn(ctx context.Context, w *work, from *loaded) error {
	empty := from.tree.Empty() && !h.req.KeepEmpty
	next := from.log.Next(h.logRecord(w.want, w.changes, from))
	var plan []store.Piece
	var err error
	if !empty {
		if plan, err = h.plan(ctx, from, next, w.progress); err != nil {
			return fmt.Errorf("%w: %s: %w", wire.ErrCommit, h.req.URL.Redacted(), err)
		}
	}
	if err := h.confirm(ctx); err != nil {
		return commitError(err, nil)
	}
	base := from.base.revision()
	if from.rewound != "" || h.resumed != nil { // it is another archive than the one that is replaced, of which alone a store can copy ranges
		plan = writtenPlan(ctx, base, plan)
		base = nil
	}
	info, err := h.put(ctx, &store.CommitRequest{
		Replace: from.info.Revision,
		ID:      w.want.CommitID,
		Parent:  next.Record.Parent,
		Delete:  empty,
		Keep:    h.req.Keep,
		Log:     next,
		Base:    base,
		Plan:    plan,
	})
	if err != nil {
		return h.overtaken(ctx, commitError(err, h.view.cause()), from.log)
	}
	res := w.res
	res.Changes = w.changes
	res.Stored, res.Deleted, res.Revision, res.Size = !empty, empty, info.Revision, info.Size
	if res.Stored {
		res.CommitID = w.want.CommitID
	}
	return nil
}

// plan returns how the tree becomes an archive with the log next: from ranges of its base
// and from new bytes. It checks the tree against every limit of a reader.
func (h *hosted) plan(ctx context.Context, from *loaded, next *archive.Log, p *progress) ([]store.Piece, error) {
	return h.planFor(ctx, from, next, p.report, h.req.Portable)
}

// planFor is plan for an archive that may or may not have to be portable. progress may be
// nil.
func (h *hosted) planFor(ctx context.Context, from *loaded, next *archive.Log, progress func(int64), portable bool) ([]store.Piece, error) {
	opts := &archive.WriterOptions{Portable: portable, Devices: h.req.Dev, Warn: h.warn, Progress: progress}
	plan, err := archive.NewWriter(nil, opts).Plan(ctx, from.tree, from.base.opened(), next)
	if err != nil {
		return nil, err
	}
	pieces := make([]store.Piece, len(plan.Pieces))
	for i, piece := range plan.Pieces {
		pieces[i] = store.Piece{Off: piece.Off, Len: piece.Len}
		if piece.Write != nil {
			pieces[i].Write = func(w io.Writer) (err error) {
				defer panics.Catch("pack", &err)
				return piece.Write(w)
			}
		}
	}
	return pieces, nil
}

// put stores the commit. A panic after the client has agreed to the request that makes it
// visible is ErrUnknown.
func (h *hosted) put(ctx context.Context, req *store.CommitRequest) (_ store.Info, err error) {
	var agreed atomic.Bool
	req.Before = func(ctx context.Context) error {
		err := h.confirm(ctx)
		agreed.Store(err == nil)
		return err
	}
	defer func() {
		r := recover()
		if r == nil {
			return
		}
		if err = panics.New("commit", r); agreed.Load() {
			err = &store.Error{Op: "commit", Object: h.req.URL.Redacted(), Kind: store.ErrUnknown, Cause: err, Todo: "look whether it was stored: workdir-mount log"}
		}
	}()
	return store.Commit(ctx, h.store, h.req.URL.Key, req)
}

// commitError adds ErrCommit, "nothing was stored", unless err is a conflict or an unknown
// outcome. cause is the cause of an error in reading the tree, if any.
func commitError(err, cause error) error {
	if errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrUnknown) {
		return err
	}
	if cause != nil {
		err = cause
	}
	return fmt.Errorf("%w: %w", wire.ErrCommit, err)
}

// confirm asks the client whether the commit may be sent and made visible. A client that is
// gone does not answer, which means no.
func (h *hosted) confirm(ctx context.Context) error {
	if err := h.view.confirm(ctx); err != nil {
		return err
	}
	return h.server.conn.Call(ctx, wire.CallConfirm, wire.MountID{ID: h.req.ID}, nil)
}

// writtenPlan returns a plan that reads the ranges of base and sends them as new bytes.
func writtenPlan(ctx context.Context, base store.Object, plan []store.Piece) []store.Piece {
	return store.Written(func(w io.Writer) error { return store.WritePlan(ctx, w, base, plan) })
}

func (h *hosted) logRecord(want wire.Decision, changes archive.Changes, from *loaded) archive.Record {
	rec := h.newRecord(want.CommitID, want.Message, changes, from)
	if h.resumed != nil && rec.Message == "" {
		rec.Message = "begun with checkpoint " + h.resumed.ID.Short()
	}
	if _, ok := h.req.Step(); ok { // nobody could ask for another's
		rec.Result = want.Result
	}
	return rec
}

// newRecord returns the record of an archive of the mount's work, on top of what was
// loaded.
func (h *hosted) newRecord(id archive.CommitID, message string, changes archive.Changes, from *loaded) archive.Record {
	hostname, _ := os.Hostname() // a record without a host is valid
	rec := archive.Record{
		ID: id, Time: time.Now().UTC(), Tool: "workdir/" + version.String(), Host: hostname, Changed: changes,
		Origin: h.req.Origin, Message: message, Command: h.req.Command, Opened: from.opened(),
	}
	if from.log != nil {
		rec.Parent = from.log.Record.ID
	}
	return rec
}
