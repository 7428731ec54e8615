package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/workdir/workdir/archive"
)

// Conditions that callers can distinguish.
var (
	// ErrNotExist: the store answered that it has no archive of that key.
	ErrNotExist = errors.New("no archive")
	// ErrNoVersion: the archive of that commit is not, or no longer, kept.
	ErrNoVersion = errors.New("no such version")
	// ErrRewind: a workflow was reset, and which state of the workspace its run is to see is
	// not known, or is beneath the work of others.
	ErrRewind = errors.New("cannot rewind")
	// ErrConflict: the archive is not the one that the caller had seen.
	ErrConflict = errors.New("conflict")
	// ErrUnknown: the store's answer was lost; the write may or may not be done.
	ErrUnknown = errors.New("may have been stored")
	// ErrNotAllowed: the store does not allow this user to do that.
	ErrNotAllowed = errors.New("not allowed")
	// ErrUnreachable: the store did not answer, or reported a failure of its own.
	ErrUnreachable = errors.New("store cannot be reached")
	// ErrNotArchive: something other than a file is in the archive's place.
	ErrNotArchive = errors.New("not an archive")
	// ErrNotConditional: the store ignores the conditions of a write, so that two
	// commits would overwrite each other; nothing is written to it.
	ErrNotConditional = errors.New("the store ignores conditions")
	// ErrFull: the store has no space for the archive.
	ErrFull = errors.New("no space left in the store")
	// ErrURL: the URL names no workspace, or has unknown options or an unknown store.
	ErrURL = errors.New("bad workspace URL")
)

// ConflictError has the expected and the actual revision and, after Step.Overtaken, the
// commits in between. It is ErrConflict for errors.Is.
type ConflictError struct {
	Key        string
	Want, Have Revision         // Have is empty if the store has no archive or did not say
	Opened     archive.CommitID // the last commit of the opened archive, if known; "" for none

	// Between are the commits in between, newest first, without their results; none if the
	// current archive has no log. Further counts those beyond MaxBetween.
	Between []archive.Record
	Further int

	// Paths are the paths that both sides have changed, for a commit to be merged: the first
	// MaxPaths, in archive order. MorePaths counts the others.
	Paths     []string
	MorePaths int
}

// MaxPaths is the maximum number of paths in a ConflictError.
const MaxPaths = 20

// SetPaths sets the paths that both sides have changed.
func (e *ConflictError) SetPaths(paths []string) {
	n := min(len(paths), MaxPaths)
	e.Paths, e.MorePaths = paths[:n], len(paths)-n
}

// paths lists the paths that both sides have changed, for the message.
func (e *ConflictError) paths() string {
	if len(e.Paths) == 0 {
		return ""
	}
	quoted := make([]string, 0, len(e.Paths))
	for _, p := range e.Paths {
		quoted = append(quoted, strconv.Quote(p))
	}
	s := "; both changed " + strings.Join(quoted, ", ")
	if e.MorePaths > 0 {
		s += fmt.Sprintf(" and %d more", e.MorePaths)
	}
	return s
}

// Error describes the actual revision, its committers, and what to do.
func (e *ConflictError) Error() string {
	var what string
	switch {
	case e.Want == "":
		what = fmt.Sprintf("another commit made an archive meanwhile (revision %s)", orUnknown(e.Have))
	case e.Have == "":
		what = fmt.Sprintf("revision %s is not there any more", e.Want)
	default:
		what = fmt.Sprintf("another commit came in between (expected revision %s, the store has %s)", e.Want, e.Have)
	}
	return fmt.Sprintf("%v: %s%s%s; open the workspace again and repeat the work", ErrConflict, what, e.between(), e.paths())
}

// Is reports whether target is ErrConflict.
func (e *ConflictError) Is(target error) bool { return target == ErrConflict }

func orUnknown(r Revision) string {
	if r == "" {
		return "unknown"
	}
	return string(r)
}

// Error is the form of a store's errors: op object: kind: cause; what to do.
type Error struct {
	Op, Object string // "open", "s3://bucket/key"
	Kind       error  // one of the conditions above; nil if Cause says it all
	Cause      error  // nil if Kind says it all
	Todo       string // what the user can do; may be empty
}

// Error implements error.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Op + " " + e.Object)
	for _, err := range []error{e.Kind, e.Cause} {
		if err != nil {
			b.WriteString(": " + err.Error())
		}
	}
	if e.Todo != "" {
		b.WriteString("; " + e.Todo)
	}
	return b.String()
}

func (e *Error) Unwrap() []error {
	var errs []error
	for _, err := range []error{e.Kind, e.Cause} {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

// ContextError is for drivers: nil while ctx lives, else its error, and its cause if that is
// different.
func ContextError(ctx context.Context) error {
	err := ctx.Err()
	if err == nil {
		return nil
	}
	if cause := context.Cause(ctx); !errors.Is(cause, err) {
		return fmt.Errorf("%w: %w", err, cause)
	}
	return err
}
