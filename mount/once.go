package mount

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/store"
)

// clockSkew is how far the clocks of those who commit may be from the one that
// Options.Since was read from. It is short because a workspace that fills its log
// within that time is refused to every step.
const clockSkew = 10 * time.Second

// maxOrigin is what an Origin may take as JSON, bytes: Temporal's limit for each name
// in it is 1,000 by default (limit.maxIDLength), and a log has a thousand Origins.
const maxOrigin = 16 << 10

// origin is Options.Origin as the log is to have it.
func (m *Mount) origin() (archive.Origin, error) {
	o := m.opts.Origin
	o.Workspace = m.url.Identity()
	for _, name := range []string{o.Execution, o.Step} {
		if !utf8.ValidString(name) { // in JSON it would be equal to others
			return o, fmt.Errorf("open %s: %q in Origin is not UTF-8", m.URL(), name)
		}
	}
	b, err := json.Marshal(o)
	if err == nil && len(b) > maxOrigin {
		err = fmt.Errorf("open %s: %w: Origin has %d bytes, at most %d are kept", m.URL(), ErrLimit, len(b), maxOrigin)
	}
	return o, err
}

// step returns the step that the mount is for; false where it is for none. A mount
// that stores nothing is for none.
func (r *openRequest) step() (archive.StepID, bool) {
	if r.ReadOnly {
		return archive.StepID{}, false
	}
	return r.Origin.StepID()
}

// checkOnce looks for the step in the log of what was opened. Errors: a
// *CommittedError, once the step's commit is durable; store.ErrUnknown where the log
// cannot tell; those of store.Sync.
func (h *hosted) checkOnce(ctx context.Context) error {
	step, ok := h.req.step()
	if !ok {
		return nil
	}
	if rec := h.log.Find(step); rec != nil {
		if err := store.Sync(ctx, h.store, h.url.Key); err != nil {
			return err
		}
		return fmt.Errorf("open %w", newCommittedError(h.url, rec, h.info.Revision))
	}
	since := h.req.Since
	if since.IsZero() || h.log.ReachesBack(since.Add(-clockSkew)) {
		return nil
	}
	return &store.Error{
		Op: "open", Object: h.url.Redacted(), Kind: store.ErrUnknown,
		Cause: fmt.Errorf("the log has forgotten commits since %s, when the execution began, or within the %v before it that clocks may differ: whether this step is among them is not known%s",
			since.UTC().Format(time.RFC3339), clockSkew, clockAhead(h.log)),
		Todo: "look at the workspace and at workdir-mount log before the step is done again, as a new execution",
	}
}

// clockAhead names a commit of the log that is in the future; "" if there is none.
func clockAhead(log *archive.Log) string {
	for r := range log.All() {
		if r.Time.After(time.Now().Add(clockSkew)) {
			return fmt.Sprintf(" (the clock of host %q was ahead: its commit %s says that it is of %s)", r.Host, r.ID, r.Time.UTC().Format(time.RFC3339))
		}
	}
	return ""
}

// newCommittedError is the error for a step that is in the log of a revision.
func newCommittedError(url store.URL, rec *archive.Record, rev store.Revision) *CommittedError {
	e := &CommittedError{URL: url.Redacted(), Record: *rec, Revision: rev}
	e.Record.Root = archive.RootAttr{} // of a directory, and of no use to whoever asks for the step
	return e
}

// overtaken looks whether the commit that ours is in conflict with, or one before
// it, is of the same step: another attempt was faster. Then the error is a
// *CommittedError, and else the conflict.
func (h *hosted) overtaken(ctx context.Context, conflict error) error {
	step, ok := h.req.step()
	if !ok || !errors.Is(conflict, store.ErrConflict) {
		return conflict
	}
	head, log, err := store.ReadLog(ctx, h.store, h.url.Key)
	rec := log.Find(step)
	if rec != nil {
		err = store.Sync(ctx, h.store, h.url.Key)
	}
	switch {
	case rec != nil && err == nil:
		return fmt.Errorf("close %w", newCommittedError(h.url, rec, head.Revision))
	case err == nil, errors.Is(err, store.ErrNotExist): // an archive that was deleted has no log
		return conflict
	}
	// The condition is the conflict alone.
	return fmt.Errorf("%w (whether it is with another attempt of this step is not known: %v)", conflict, err)
}
