package store

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/workdir/workdir/archive"
)

// Conditions that callers can tell apart.
var (
	// ErrNotExist: the store was asked, and has no archive of that key.
	ErrNotExist = errors.New("no archive")
	// ErrNoVersion: the archive of that commit is not kept, or not any more.
	ErrNoVersion = errors.New("no such version")
	// ErrConflict: the archive is another one than the caller had seen.
	ErrConflict = errors.New("conflict")
	// ErrUnknown: the store's answer was lost; the write may or may not be done.
	ErrUnknown = errors.New("may have been stored")
	// ErrNotAllowed: this user may not do that in the store.
	ErrNotAllowed = errors.New("not allowed")
	// ErrUnreachable: the store did not answer, or answered that it is out of order.
	ErrUnreachable = errors.New("store cannot be reached")
	// ErrNotArchive: in the archive's place is something that is no file.
	ErrNotArchive = errors.New("not an archive")
	// ErrNotConditional: the store ignores the conditions of a write, so that two
	// commits would overwrite each other; nothing is written to it.
	ErrNotConditional = errors.New("the store ignores conditions")
	// ErrFull: the store has no room for the archive.
	ErrFull = errors.New("no space left in the store")
	// ErrURL: the URL names no workspace, or options or a store that there are not.
	ErrURL = errors.New("bad workspace URL")
)

// ConflictError says which revision was asked for and which one is there, and, after
// Step.Overtaken, whose commits came in between. It is ErrConflict for errors.Is.
type ConflictError struct {
	Key        string
	Want, Have Revision         // Have is empty where the store has no archive or did not say
	Opened     archive.CommitID // the last commit of the archive that was opened, where that is known; "" for none

	// Between are the commits that came in between, newest first, without their results;
	// none where the archive that is there has no log. Further counts those beyond
	// MaxBetween.
	Between []archive.Record
	Further int

	// Paths are those that both have changed, of a commit that was to be merged: the first
	// MaxPaths, in archive order. MorePaths counts the others.
	Paths     []string
	MorePaths int
}

// MaxPaths is how many paths a ConflictError has.
const MaxPaths = 20

// SetPaths notes the paths that both have changed.
func (e *ConflictError) SetPaths(paths []string) {
	n := min(len(paths), MaxPaths)
	e.Paths, e.MorePaths = paths[:n], len(paths)-n
}

// paths says what both have changed, for the message.
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

// Error says what is there instead, by whom, and what to do.
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

// Error is the shape of a store's errors: op object: kind: cause; what to do.
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

// ContextError is for drivers: nil while ctx lives, else its error, and its cause where
// that is another.
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
