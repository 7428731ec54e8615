// Package failure converts errors of a workspace to application errors of Temporal, by one
// table.
package failure

import (
	"errors"
	"fmt"

	"go.temporal.io/sdk/temporal"

	"github.com/workdir/workdir/activity/errtype"
	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/mount"
	"github.com/workdir/workdir/store"
)

// Conditions of package activity, which exports them under the same names.
var (
	// ErrFenced: the attempt is not current any more: it was cancelled, paused, reset, timed out or replaced, or its worker is stopping.
	// Nothing was stored.
	ErrFenced = errors.New("this attempt may not commit")
	// ErrStep: the step's name is invalid, or the attempt has done that step.
	ErrStep = errors.New("bad step")
	// ErrResult: the function's result is too large to be kept with the commit. Nothing was
	// stored.
	ErrResult = errors.New("the result is too large to be kept")
	// ErrNoPlugin: the context is not an activity's, or its worker has no plugin.
	ErrNoPlugin = errors.New("the workspace needs the plugin: give what wdactivity.NewPlugin returns to client.Options.Plugins or worker.Options.Plugins; outside of activities use mount.Open")
)

// errorTable maps an error to its Temporal type: that of the first matching row. Errors that
// neither time nor another worker can cure are not retried. mount.ErrCommit comes last, since
// its cause says more. docs/errors.md has the same rows, and a test compares them.
var errorTable = []struct {
	err   error
	name  string // as docs/errors.md calls it
	typ   string
	retry bool
}{
	{ErrNoPlugin, "wdactivity.ErrNoPlugin", errtype.Plugin, true},
	{ErrFenced, "wdactivity.ErrFenced", errtype.Fenced, true},
	{ErrStep, "wdactivity.ErrStep", errtype.Step, false},
	{ErrResult, "wdactivity.ErrResult", errtype.Limit, false},
	{mount.ErrAlreadyCommitted, "mount.ErrAlreadyCommitted", errtype.AlreadyCommitted, false},
	{store.ErrUnknown, "store.ErrUnknown", errtype.Unknown, true},
	{store.ErrConflict, "store.ErrConflict", errtype.Conflict, true},
	{mount.ErrServerLost, "mount.ErrServerLost", errtype.ServerLost, true},
	{mount.ErrBusy, "mount.ErrBusy", errtype.Busy, true},
	{mount.ErrUnmounted, "mount.ErrUnmounted", errtype.Unmounted, true},
	{mount.ErrAbandoned, "mount.ErrAbandoned", errtype.Closed, true},
	{mount.ErrReadOnly, "mount.ErrReadOnly", errtype.Closed, true},
	{mount.ErrClosed, "mount.ErrClosed", errtype.Closed, true},
	{archive.ErrPortable, "archive.ErrPortable", errtype.Portable, false},
	{mount.ErrLimit, "mount.ErrLimit", errtype.Limit, true},
	{archive.ErrLimit, "archive.ErrLimit", errtype.Limit, false},
	{archive.ErrFormat, "archive.ErrFormat", errtype.Format, false},
	{mount.ErrNotMounted, "mount.ErrNotMounted", errtype.URL, false},
	{store.ErrURL, "store.ErrURL", errtype.URL, false},
	{mount.ErrCannotMount, "mount.ErrCannotMount", errtype.Host, true},
	{mount.ErrNoServer, "mount.ErrNoServer", errtype.Host, true},
	{store.ErrNotAllowed, "store.ErrNotAllowed", errtype.NotAllowed, true},
	{store.ErrNotArchive, "store.ErrNotArchive", errtype.NotArchive, false},
	{store.ErrNotConditional, "store.ErrNotConditional", errtype.NotConditional, false},
	{store.ErrUnreachable, "store.ErrUnreachable", errtype.Unreachable, true},
	{store.ErrFull, "store.ErrFull", errtype.Full, true},
	{store.ErrNotExist, "store.ErrNotExist", errtype.NotExist, false},
	{store.ErrNoVersion, "store.ErrNoVersion", errtype.NoVersion, false},
	{store.ErrRewind, "store.ErrRewind", errtype.Rewind, false},
	{mount.ErrExist, "mount.ErrExist", errtype.Exist, false},
	{mount.ErrCommit, "mount.ErrCommit", errtype.Commit, true},
}

// ToTemporal converts err to an application error, with its text as message. In this process
// the application error matches everything that err matches; Temporal gets only the type and
// the text. An application error is returned unchanged. One that err merely wraps does not
// count: Temporal would not look for it.
func ToTemporal(err error) error {
	if _, ok := err.(*temporal.ApplicationError); ok || err == nil { //nolint:errorlint // wrapping errors would be lost
		return err
	}
	typ, retry, brief := errtype.Other, true, "error"
	for _, row := range errorTable {
		if errors.Is(err, row.err) {
			typ, retry, brief = row.typ, row.retry, row.err.Error()
			break
		}
	}
	return Application(err, typ, retry, brief)
}

// OfOpen is ToTemporal for an open. There an unknown past is not retried, since waiting does
// not extend the log. An open that was interrupted is retried in any case.
func OfOpen(err error) error {
	if errors.Is(err, store.ErrUnknown) && !errors.Is(err, ErrFenced) {
		return Application(err, errtype.Unknown, false, store.ErrUnknown.Error())
	}
	return ToTemporal(err)
}

// Application returns err as an application error of a type. brief is the text of its cause,
// since err's own is the message.
func Application(err error, typ string, retry bool, brief string) error {
	return temporal.NewApplicationErrorWithOptions(err.Error(), typ, temporal.ApplicationErrorOptions{
		NonRetryable: !retry,
		Cause:        &errorString{err: err, brief: brief},
		Details:      particulars(err),
	})
}

func commitDetails(r *archive.Record) errtype.CommitDetails {
	o := &r.Origin
	d := errtype.CommitDetails{
		CommitID: string(r.ID), Time: r.Time, Host: r.Host, Worker: o.Worker, WorkflowID: o.WorkflowID, RunID: o.RunID,
		ActivityID: o.ActivityID, ActivityType: o.ActivityType, Attempt: o.Attempt,
		Created: r.Changed.Created, Modified: r.Changed.Modified, Removed: r.Changed.Removed, Bytes: r.Changed.Bytes,
	}
	if o.ActivityID == "" {
		d.Execution = o.Execution
	}
	return d
}

func conflictDetails(url string, e *store.ConflictError) errtype.ConflictDetails {
	d := errtype.ConflictDetails{URL: url, Want: string(e.Want), Have: string(e.Have), Further: e.Further}
	for i := range e.Between {
		d.By = append(d.By, commitDetails(&e.Between[i]))
	}
	return d
}

// particulars returns the details of an error that a workflow can act on.
func particulars(err error) []any {
	var conflict *store.ConflictError
	var committed *mount.CommittedError
	switch {
	case errors.As(err, &committed):
		return []any{errtype.AlreadyCommittedDetails{
			URL: committed.URL, CommitID: string(committed.Record.ID),
			Attempt: committed.Record.Origin.Attempt, Revision: string(committed.Revision),
		}}
	case errors.As(err, &conflict):
		var at *At
		var url string
		if errors.As(err, &at) {
			url = at.URL
		}
		return []any{conflictDetails(url, conflict)}
	}
	return nil
}

// Fenced says that an attempt may not continue with a workspace. It matches ErrFenced, the
// reason why the attempt ended, and the resulting error.
type Fenced struct {
	Op, URL    string
	Cause, Err error // Err may be nil
}

func (e *Fenced) Error() string {
	s := fmt.Sprintf("%s %s: %v; nothing is stored: %v", e.Op, e.URL, ErrFenced, e.Cause)
	if errors.Is(e.Err, mount.ErrBusy) {
		s += "; " + e.Err.Error() // it names processes that the activity has left behind
	}
	return s
}

func (e *Fenced) Unwrap() []error {
	if e.Err == nil {
		return []error{ErrFenced, e.Cause}
	}
	return []error{ErrFenced, e.Cause, e.Err}
}

// At says which workspace an error is about; the message stays the same.
type At struct {
	URL string // without secrets
	Err error
}

func (e *At) Error() string { return e.Err.Error() }
func (e *At) Unwrap() error { return e.Err }

// errorString is the original error behind an application error. Its text is short, since the
// application error has the full one, and it ends the chain that the SDK writes into the
// history.
//
// The SDK labels a cause with the name of its Go type, which Temporal shows beside the text as
// if it were one of our types; it makes an exception for the standard library's type of this
// name (getErrType in the SDK's internal/error.go).
type errorString struct {
	err   error
	brief string
}

func (r *errorString) Error() string { return r.brief }

// Unwrap returns a list, which errors.Is and errors.As follow but errors.Unwrap does not.
func (r *errorString) Unwrap() []error { return []error{r.err} }
