package serve

import (
	"context"
	"errors"
	"fmt"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/mount/internal/wire"
	"github.com/workdir/workdir/store"
)

// saveUnmarked saves the work of a mount that is not to be stored. Without changes there is
// nothing to save.
func (h *hosted) saveUnmarked(ctx context.Context, want wire.Decision, res *wire.Result) error {
	h.setState(wire.StateCommitting)
	changed, err := h.view.take(ctx)
	if err != nil {
		return fmt.Errorf("%w: %s: %w", wire.ErrCommit, h.req.URL.Redacted(), err)
	}
	if !changed {
		return nil
	}
	if err := h.save(ctx, want, res, want.Why); err != nil {
		return fmt.Errorf("%w: save what was done in %s: %w", wire.ErrCommit, h.req.URL.Redacted(), err)
	}
	return nil
}

// saveAfter saves the work of a commit that failed with failed, and returns that error
// together with where the work is, or why it could not be saved.
func (h *hosted) saveAfter(ctx context.Context, want wire.Decision, res *wire.Result, failed error) error {
	if ctx.Err() != nil || errors.Is(failed, wire.ErrAlreadyCommitted) || want.Redone && errors.Is(failed, store.ErrConflict) {
		return failed
	}
	if err := h.save(ctx, want, res, failed.Error()); err != nil {
		return fmt.Errorf("%w (it could not be saved either: %v)", failed, err) //nolint:errorlint // shown, not matched
	}
	return fmt.Errorf("%w; what was done is saved as %s", failed, res.Saved)
}

// detachedRecord returns a record for work that is not stored in its workspace. It does not
// belong to a step, so that the step does not count as done.
func (h *hosted) detachedRecord(message string, changes archive.Changes) archive.Record {
	rec := h.newRecord(archive.NewCommitID(), message[:min(len(message), archive.MaxMessage)], changes, &h.loaded)
	rec.Origin.Execution, rec.Origin.Step = "", ""
	return rec
}

// save stores the tree as a workspace of its own, whose record says why.
// Preconditions: the view was taken.
func (h *hosted) save(ctx context.Context, want wire.Decision, res *wire.Result, why string) error {
	rec := h.detachedRecord(fmt.Sprintf("not stored in %s: %s", h.req.URL.Redacted(), why), res.Changes)
	next := h.log.Next(rec)
	plan, err := h.planFor(ctx, &h.loaded, next, nil, false)
	if err != nil {
		return err
	}
	u := want.Save
	s, err := store.OpenBucket(ctx, u)
	if err != nil {
		return err
	}
	defer s.Close()
	req := &store.CommitRequest{ID: rec.ID, Plan: writtenPlan(ctx, h.base.revision(), plan)}
	_, err = store.Commit(ctx, s, u.Key, req)
	if errors.Is(err, store.ErrConflict) { // the workspace already exists
		u.Key += "-" + string(rec.ID[:8])
		_, err = store.Commit(ctx, s, u.Key, req)
	}
	if err == nil {
		res.Saved = u.Redacted()
	}
	return err
}
