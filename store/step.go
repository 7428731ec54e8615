package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/workdir/workdir/archive"
)

// Step is a piece of work that takes effect once, however often it is tried. Its commits are
// identified in the logs of archives by Origin, whose Execution is not empty.
type Step struct {
	Origin archive.Origin
	// Since is when the execution began, by a clock that may differ by ClockSkew from those of
	// the committing hosts. Zero means unknown; the log is then assumed to reach back far
	// enough.
	Since time.Time
}

// ClockSkew is how much the clock of Step.Since may differ from those of the committing hosts.
// It is short because every step is refused in a workspace that fills its log within that
// time.
const ClockSkew = 10 * time.Second

// Done returns the commit of the step in log, the log of u's archive, once that commit is
// durable; nil if the step has none.
//
// Errors: ErrUnknown if the log does not show it, because it has dropped commits since the
// execution began or because the commit found may be of an earlier execution; those of Sync.
func (s *Step) Done(ctx context.Context, st Store, u URL, log *archive.Log) (*archive.Record, error) {
	rec, sure := s.In(log)
	switch {
	case rec != nil && sure:
		return rec, Sync(ctx, st, u.Key)
	case rec != nil:
		return nil, unknownPast(u, fmt.Errorf("commit %s of %s has the names of this step but no scheduling time: it may belong to this execution or to an earlier one with the same id",
			rec.ID, rec.Time.UTC().Format(time.RFC3339)))
	case s.Since.IsZero() || log.ReachesBack(s.Since.Add(-ClockSkew)):
		return nil, nil
	}
	return nil, unknownPast(u, fmt.Errorf("the log has dropped commits since %s, when the execution began, or from the %v before it by which clocks may differ: this step may be among them%s",
		s.Since.UTC().Format(time.RFC3339), ClockSkew, clockAhead(log)))
}

// Overtaken finds out whether another attempt has committed this step, after this attempt's
// commit failed with ErrConflict or ErrUnknown. It returns that commit, once it is durable,
// and the archive that has it; otherwise it returns failed, with the commits in between if it
// is a *ConflictError, or with the reason why the log could not be read. The conflicts of a
// Step without an Execution stay conflicts.
func (s *Step) Overtaken(ctx context.Context, st Store, u URL, failed error) (*archive.Record, Info, error) {
	head, log, err := ReadLog(ctx, st, u.Key)
	rec, sure := s.In(log)
	if rec != nil && sure {
		err = Sync(ctx, st, u.Key)
	}
	switch {
	case rec != nil && sure && err == nil:
		return rec, head, nil
	case err == nil:
		if e := (*ConflictError)(nil); errors.As(failed, &e) {
			e.setBetween(log)
		}
		return nil, Info{}, failed
	case errors.Is(err, ErrNotExist), s.Origin.Execution == "": // a deleted archive has no log
		return nil, Info{}, failed
	}
	// Only failed is wrapped: the condition is that of the commit.
	return nil, Info{}, fmt.Errorf("%w (another attempt may have committed this step: %v)", failed, err) //nolint:errorlint // shown, not matched
}

// In returns the commit of the step in a log, or nil. The commit may not be durable yet.
//
// A commit by a release that did not record when executions were scheduled has only the step's
// names. It counts if it was made since the execution began: an earlier one belongs to an
// earlier execution with the same activity id, which had closed by then. Within ClockSkew
// before that time it can belong to either: sure is false.
func (s *Step) In(log *archive.Log) (rec *archive.Record, sure bool) {
	id, ok := s.Origin.StepID()
	if !ok {
		return nil, true
	}
	rec = log.Find(id)
	switch {
	case rec == nil || s.Origin.Scheduled.IsZero() || !rec.Origin.Scheduled.IsZero():
		return rec, true
	case s.Since.IsZero() || rec.Time.Before(s.Since.Add(-ClockSkew)):
		return nil, true
	}
	return rec, !rec.Time.Before(s.Since)
}

// unknownPast is the error for a log that does not show whether the step was committed.
func unknownPast(u URL, cause error) error {
	return &Error{
		Op: "open", Object: u.Redacted(), Kind: ErrUnknown, Cause: cause,
		Todo: "check the workspace and workdir-mount log before repeating the step, as a new execution",
	}
}

// clockAhead names a commit of the log whose time is in the future; "" without one.
func clockAhead(log *archive.Log) string {
	for r := range log.All() {
		if r.Time.After(time.Now().Add(ClockSkew)) {
			return fmt.Sprintf(" (the clock of host %q was ahead: its commit %s says that it is of %s)", r.Host, r.ID, r.Time.UTC().Format(time.RFC3339))
		}
	}
	return ""
}
