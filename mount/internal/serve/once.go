package serve

import (
	"context"
	"errors"
	"fmt"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/mount/internal/wire"
	"github.com/workdir/workdir/store"
)

// checkOnce looks for the step in the log of the archive that was opened. Errors: a
// *CommittedError, once the step's commit is durable; those of store.Step.Done.
func (h *hosted) checkOnce(ctx context.Context) error {
	step, ok := h.req.Step()
	if !ok {
		return nil
	}
	rec, err := step.Done(ctx, h.store, h.req.URL, h.log)
	if rec != nil && err == nil {
		return fmt.Errorf("open %w", wire.NewCommittedError(h.req.URL, rec, h.info.Revision))
	}
	return err
}

// overtaken checks whether another attempt has committed the same step, after our commit
// had a conflict or an unknown outcome. If so, the error is a *CommittedError, otherwise
// err; a conflict then names the commits that came in between since the open.
func (h *hosted) overtaken(ctx context.Context, err error, opened *archive.Log) error {
	if !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrUnknown) {
		return err
	}
	if e := (*store.ConflictError)(nil); errors.As(err, &e) && opened != nil {
		e.Opened = opened.Record.ID
	}
	step, _ := h.req.Step()
	rec, head, err := step.Overtaken(ctx, h.store, h.req.URL, err)
	if rec != nil {
		return fmt.Errorf("close %w", wire.NewCommittedError(h.req.URL, rec, head.Revision))
	}
	return err
}

// checkPresence compares the store with Options.Presence. Errors: store.ErrNotExist,
// ErrExist.
func (h *hosted) checkPresence(exists bool) error {
	e := &store.Error{Op: "open", Object: h.req.URL.Redacted()}
	switch {
	case h.req.MustExist && !exists && h.req.ReadOnly:
		e.Kind = store.ErrNotExist
		e.Todo = "check the URL; to open a read-only workspace that need not exist, set Presence to MayBeAbsent (--may-be-absent)"
	case h.req.MustExist && !exists:
		e.Kind, e.Todo = store.ErrNotExist, "check the URL; it was opened as one that must exist"
	case h.req.MustBeNew && exists:
		e.Kind, e.Todo = wire.ErrExist, "it was opened as one that must be new; choose another key, or delete it first"
	default:
		return nil
	}
	return e
}
