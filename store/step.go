package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/workdir/workdir/archive"
)

// Step is a piece of work that takes effect once, however often it is tried. Its
// commits are found in the logs of archives by Origin, whose Execution is not empty.
type Step struct {
	Origin archive.Origin
	// Since is when the execution began, by a clock that may differ from those of the
	// hosts that committed by ClockSkew. Zero: not known, and the log is taken to reach
	// back that far.
	Since time.Time
}

// ClockSkew is how far the clock of Step.Since may be from those of the hosts that
// commit. It is short because a workspace that fills its log within that time is
// refused to every step.
const ClockSkew = 10 * time.Second

// Done returns the commit of the step in log, the log of the archive that u has,
// once that commit is durable; nil where the step has none.
//
// Errors: ErrUnknown where the log cannot tell, because it has forgotten commits since
// the execution began or because the commit found may be of an earlier execution;
// those of Sync.
func (s *Step) Done(ctx context.Context, st Store, u URL, log *archive.Log) (*archive.Record, error) {
	rec, sure := s.In(log)
	switch {
	case rec != nil && sure:
		return rec, Sync(ctx, st, u.Key)
	case rec != nil:
		return nil, unknownPast(u, fmt.Errorf("commit %s of %s has the names of this step and not the time at which its execution was scheduled: whether it is of this execution, or of an earlier one with the same id, is not known",
			rec.ID, rec.Time.UTC().Format(time.RFC3339)))
	case s.Since.IsZero() || log.ReachesBack(s.Since.Add(-ClockSkew)):
		return nil, nil
	}
	return nil, unknownPast(u, fmt.Errorf("the log has forgotten commits since %s, when the execution began, or within the %v before it that clocks may differ: whether this step is among them is not known%s",
		s.Since.UTC().Format(time.RFC3339), ClockSkew, clockAhead(log)))
}

// Overtaken looks whether another attempt has committed this step, where the commit of
// this one has failed with failed: ErrConflict, or ErrUnknown. It returns that commit, once
// it is durable, and the archive that has it; else failed, with the commits that came in
// between if it is a *ConflictError, or with the reason why the log could not be read. A
// Step without an Execution is no step, and its conflicts stay conflicts.
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
	case errors.Is(err, ErrNotExist), s.Origin.Execution == "": // an archive that was deleted has no log
		return nil, Info{}, failed
	}
	// The condition is the commit's alone.
	return nil, Info{}, fmt.Errorf("%w (whether another attempt has committed this step is not known: %v)", failed, err) //nolint:errorlint // shown, not matched
}

// In returns the commit of the step in a log, nil if there is none. Whether it is
// durable is another question.
//
// A commit by a release that did not record when executions were scheduled has the
// step's names alone. It counts if it was made since the execution began: an earlier
// one is of an earlier execution with the same activity id, which had closed by then.
// Within ClockSkew before, it can be of either: sure is false.
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

// unknownPast is the error for a log that cannot tell whether the step was committed.
func unknownPast(u URL, cause error) error {
	return &Error{
		Op: "open", Object: u.Redacted(), Kind: ErrUnknown, Cause: cause,
		Todo: "look at the workspace and at workdir-mount log before the step is done again, as a new execution",
	}
}

// clockAhead names a commit of the log that is in the future; "" if there is none.
func clockAhead(log *archive.Log) string {
	for r := range log.All() {
		if r.Time.After(time.Now().Add(ClockSkew)) {
			return fmt.Sprintf(" (the clock of host %q was ahead: its commit %s says that it is of %s)", r.Host, r.ID, r.Time.UTC().Format(time.RFC3339))
		}
	}
	return ""
}
