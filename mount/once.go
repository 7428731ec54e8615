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

// maxOrigin is what an Origin may take as JSON, bytes: Temporal's limit for each name
// in it is 1,000 by default (limit.maxIDLength), and a log has a thousand Origins.
const maxOrigin = 16 << 10

// origin is Options.Origin as the log is to have it.
func (m *Mount) origin() (archive.Origin, error) {
	o := m.opts.Origin
	o.Workspace = m.url.Identity()
	o.Scheduled = o.Scheduled.UTC().Truncate(time.Millisecond)
	if err := CheckOrigin(o); err != nil {
		return o, fmt.Errorf("open %s: %w", m.URL(), err)
	}
	return o, nil
}

// CheckOrigin is nil for an Options.Origin that Open takes. It is ErrLimit for one that is
// too long to be kept.
func CheckOrigin(o archive.Origin) error {
	if year := o.Scheduled.UTC().Year(); !o.Scheduled.IsZero() && (year < 1970 || year > 9999) { // what the log can keep
		return fmt.Errorf("%s, when the work was scheduled, is not within the years 1970 to 9999", o.Scheduled.Format(time.RFC3339))
	}
	for _, name := range []string{o.Execution, o.Step} {
		if !utf8.ValidString(name) { // in JSON it would be equal to others
			return fmt.Errorf("the name %q of the execution or step is not UTF-8", name)
		}
	}
	b, err := json.Marshal(o)
	if err == nil && len(b) > maxOrigin {
		err = fmt.Errorf("%w: the identity of the work has %d bytes, at most %d are kept", ErrLimit, len(b), maxOrigin)
	}
	return err
}

// step returns the step that the mount is for; false where it is for none. A mount
// that stores nothing is for none.
func (r *openRequest) step() (*store.Step, bool) {
	_, ok := r.Origin.StepID()
	return &store.Step{Origin: r.Origin, Since: r.Since}, ok && !r.ReadOnly
}

// checkOnce looks for the step in the log of what was opened. Errors: a
// *CommittedError, once the step's commit is durable; those of store.Step.Done.
func (h *hosted) checkOnce(ctx context.Context) error {
	step, ok := h.req.step()
	if !ok {
		return nil
	}
	rec, err := step.Done(ctx, h.store, h.req.URL, h.log)
	if rec != nil && err == nil {
		return fmt.Errorf("open %w", newCommittedError(h.req.URL, rec, h.info.Revision))
	}
	return err
}

// newCommittedError is the error for a step that is in the log of a revision.
func newCommittedError(url store.URL, rec *archive.Record, rev store.Revision) *CommittedError {
	e := &CommittedError{URL: url.Redacted(), Record: *rec, Revision: rev}
	e.Record.Root = archive.RootAttr{} // of a directory, and of no use to whoever asks for the step
	return e
}

// overtaken looks whether another attempt has committed the same step, where ours has a
// conflict or an outcome that is not known. Then the error is a *CommittedError, and else
// err; a conflict names the commits that came in between.
func (h *hosted) overtaken(ctx context.Context, err error) error {
	if !errors.Is(err, store.ErrConflict) && !errors.Is(err, store.ErrUnknown) {
		return err
	}
	if e := (*store.ConflictError)(nil); errors.As(err, &e) && h.log != nil {
		e.Opened = h.log.Record.ID
	}
	step, _ := h.req.step()
	rec, head, err := step.Overtaken(ctx, h.store, h.req.URL, err)
	if rec != nil {
		return fmt.Errorf("close %w", newCommittedError(h.req.URL, rec, head.Revision))
	}
	return err
}
