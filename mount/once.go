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
	o.Scheduled = o.Scheduled.UTC().Truncate(time.Millisecond)
	if year := o.Scheduled.Year(); !o.Scheduled.IsZero() && (year < 1970 || year > 9999) { // what the log can keep
		return o, fmt.Errorf("open %s: %s, when the work was scheduled, is not within the years 1970 to 9999", m.URL(), o.Scheduled.Format(time.RFC3339))
	}
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
	since := h.req.Since
	rec, sure := committed(h.log, step, &h.req.Origin, since)
	switch {
	case rec != nil && sure:
		if err := store.Sync(ctx, h.store, h.url.Key); err != nil {
			return err
		}
		return fmt.Errorf("open %w", newCommittedError(h.url, rec, h.info.Revision))
	case rec != nil:
		return h.unknownPast(fmt.Errorf("commit %s of %s has the names of this step and not the time at which its execution was scheduled: whether it is of this execution, or of an earlier one with the same id, is not known",
			rec.ID, rec.Time.UTC().Format(time.RFC3339)))
	case since.IsZero() || h.log.ReachesBack(since.Add(-clockSkew)):
		return nil
	}
	return h.unknownPast(fmt.Errorf("the log has forgotten commits since %s, when the execution began, or within the %v before it that clocks may differ: whether this step is among them is not known%s",
		since.UTC().Format(time.RFC3339), clockSkew, clockAhead(h.log)))
}

// unknownPast is the error for a log that cannot tell whether the step was committed.
func (h *hosted) unknownPast(cause error) error {
	return &store.Error{
		Op: "open", Object: h.url.Redacted(), Kind: store.ErrUnknown, Cause: cause,
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

// committed returns the commit of a step in a log, nil if there is none.
//
// A commit by a release that did not record when executions were scheduled has the
// step's names alone. It counts if it was made since the execution began: an earlier
// one is of an earlier execution with the same activity id, which had closed by then.
// Within clockSkew before, it can be of either: sure is false.
func committed(log *archive.Log, step archive.StepID, o *archive.Origin, since time.Time) (rec *archive.Record, sure bool) {
	rec = log.Find(step)
	switch {
	case rec == nil || o.Scheduled.IsZero() || !rec.Origin.Scheduled.IsZero():
		return rec, true
	case since.IsZero() || rec.Time.Before(since.Add(-clockSkew)):
		return nil, true
	}
	return rec, !rec.Time.Before(since)
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
	rec, sure := committed(log, step, &h.req.Origin, h.req.Since)
	if rec != nil && sure {
		err = store.Sync(ctx, h.store, h.url.Key)
	}
	switch {
	case rec != nil && sure && err == nil:
		return fmt.Errorf("close %w", newCommittedError(h.url, rec, head.Revision))
	case err == nil, errors.Is(err, store.ErrNotExist): // an archive that was deleted has no log
		return conflict
	}
	// The condition is the conflict alone.
	return fmt.Errorf("%w (whether it is with another attempt of this step is not known: %v)", conflict, err)
}
