package activity

import (
	"errors"
	"fmt"
	"time"

	"go.temporal.io/sdk/temporal"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/mount"
	"github.com/workdir/workdir/store"
)

// Conditions of this package, for errors.Is in the worker.
var (
	// ErrFenced: the attempt is not the one that Temporal goes by any more: it was
	// cancelled, paused, reset, timed out or replaced, or its worker is stopping.
	// Nothing was stored.
	ErrFenced = errors.New("this attempt may not commit")
	// ErrStep: the step's name is no good, or the attempt has done that step.
	ErrStep = errors.New("bad step")
	// ErrResult: what the function returned is too large to be kept with the
	// commit. Nothing was stored.
	ErrResult = errors.New("the result is too large to be kept")
	// ErrNoPlugin: the context is of no activity, or its worker has no plugin.
	ErrNoPlugin = errors.New("the workspace needs the plugin: give what wdactivity.NewPlugin returns to client.Options.Plugins or worker.Options.Plugins; outside of activities use mount.Open")
)

// Types of the application errors that Temporal gets, for retry policies
// (NonRetryableErrorTypes) and for workflows that look at the error's type.
const (
	TypePlugin           = "workdir.Plugin"
	TypeFenced           = "workdir.Fenced"
	TypeStep             = "workdir.Step"
	TypeAlreadyCommitted = "workdir.AlreadyCommitted"
	TypeUnknown          = "workdir.Unknown"
	TypeConflict         = "workdir.Conflict"
	TypeServerLost       = "workdir.ServerLost"
	TypeBusy             = "workdir.Busy"
	TypeUnmounted        = "workdir.Unmounted"
	TypeClosed           = "workdir.Closed"
	TypePortable         = "workdir.Portable"
	TypeCommit           = "workdir.Commit"
	TypeLimit            = "workdir.Limit"
	TypeFormat           = "workdir.Format"
	TypeURL              = "workdir.URL"
	TypeHost             = "workdir.Host"
	TypeNotAllowed       = "workdir.NotAllowed"
	TypeNotArchive       = "workdir.NotArchive"
	TypeNotConditional   = "workdir.NotConditional"
	TypeUnreachable      = "workdir.Unreachable"
	TypeFull             = "workdir.Full"
	TypeNotExist         = "workdir.NotExist"
	TypeExist            = "workdir.Exist"
	TypeOther            = "workdir.Other"
)

// errorTable says what Temporal is told: the first row that matches. What another
// attempt, perhaps on another worker, can never get over is not retried.
// mount.ErrCommit comes last, since its cause says more. docs/errors.md has the
// same rows, and a test walks both.
var errorTable = []struct {
	err   error
	name  string // as docs/errors.md calls it
	typ   string
	retry bool
}{
	{ErrNoPlugin, "wdactivity.ErrNoPlugin", TypePlugin, true},
	{ErrFenced, "wdactivity.ErrFenced", TypeFenced, true},
	{ErrStep, "wdactivity.ErrStep", TypeStep, false},
	{ErrResult, "wdactivity.ErrResult", TypeLimit, false},
	{mount.ErrAlreadyCommitted, "mount.ErrAlreadyCommitted", TypeAlreadyCommitted, false},
	{store.ErrUnknown, "store.ErrUnknown", TypeUnknown, true},
	{store.ErrConflict, "store.ErrConflict", TypeConflict, true},
	{mount.ErrServerLost, "mount.ErrServerLost", TypeServerLost, true},
	{mount.ErrBusy, "mount.ErrBusy", TypeBusy, true},
	{mount.ErrUnmounted, "mount.ErrUnmounted", TypeUnmounted, true},
	{mount.ErrAbandoned, "mount.ErrAbandoned", TypeClosed, true},
	{mount.ErrReadOnly, "mount.ErrReadOnly", TypeClosed, true},
	{mount.ErrClosed, "mount.ErrClosed", TypeClosed, true},
	{archive.ErrPortable, "archive.ErrPortable", TypePortable, false},
	{mount.ErrLimit, "mount.ErrLimit", TypeLimit, true},
	{archive.ErrLimit, "archive.ErrLimit", TypeLimit, false},
	{archive.ErrFormat, "archive.ErrFormat", TypeFormat, false},
	{mount.ErrNotMounted, "mount.ErrNotMounted", TypeURL, false},
	{store.ErrURL, "store.ErrURL", TypeURL, false},
	{mount.ErrCannotMount, "mount.ErrCannotMount", TypeHost, true},
	{mount.ErrNoServer, "mount.ErrNoServer", TypeHost, true},
	{store.ErrNotAllowed, "store.ErrNotAllowed", TypeNotAllowed, true},
	{store.ErrNotArchive, "store.ErrNotArchive", TypeNotArchive, false},
	{store.ErrNotConditional, "store.ErrNotConditional", TypeNotConditional, false},
	{store.ErrUnreachable, "store.ErrUnreachable", TypeUnreachable, true},
	{store.ErrFull, "store.ErrFull", TypeFull, true},
	{store.ErrNotExist, "store.ErrNotExist", TypeNotExist, false},
	{mount.ErrExist, "mount.ErrExist", TypeExist, false},
	{mount.ErrCommit, "mount.ErrCommit", TypeCommit, true},
}

// toTemporal makes an application error of err, with its text as message. What
// err matches, the application error matches in this process; Temporal gets the
// type and the text alone. An error that is for Temporal already stays as it is.
func toTemporal(err error) error {
	var app *temporal.ApplicationError
	if err == nil || errors.As(err, &app) {
		return err
	}
	typ, retry, brief := TypeOther, true, "error"
	for _, row := range errorTable {
		if errors.Is(err, row.err) {
			typ, retry, brief = row.typ, row.retry, row.err.Error()
			break
		}
	}
	return applicationError(err, typ, retry, brief)
}

// openError is toTemporal for an open. An unknown past is not retried there: the
// log does not grow longer by waiting.
func openError(err error) error {
	if errors.Is(err, store.ErrUnknown) {
		return applicationError(err, TypeUnknown, false, store.ErrUnknown.Error())
	}
	return toTemporal(err)
}

func applicationError(err error, typ string, retry bool, brief string) error {
	return temporal.NewApplicationErrorWithOptions(err.Error(), typ, temporal.ApplicationErrorOptions{
		NonRetryable: !retry,
		Cause:        &errorString{err: err, brief: brief},
		Details:      particulars(err),
	})
}

// ConflictDetails are the details of an error of TypeConflict.
type ConflictDetails struct {
	URL  string         `json:"url"`  // without secrets
	Want store.Revision `json:"want"` // what was opened; "" for no archive
	Have store.Revision `json:"have"` // what is there instead; "" for no archive, or not known
	// By are the commits that came in between, newest first, store.MaxBetween at most;
	// none where the archive that is there has no log.
	By      []CommitDetails `json:"by,omitempty"`
	Further int             `json:"further,omitempty"` // how many more there are
}

// CommitDetails say who committed, and how much changed. What is not known is empty.
type CommitDetails struct {
	CommitID     archive.CommitID `json:"commitId"`
	Time         time.Time        `json:"time"`
	Host         string           `json:"host,omitempty"`
	Worker       string           `json:"worker,omitempty"`
	WorkflowID   string           `json:"workflowId,omitempty"`
	RunID        string           `json:"runId,omitempty"`
	ActivityID   string           `json:"activityId,omitempty"`
	ActivityType string           `json:"activityType,omitempty"`
	Execution    string           `json:"execution,omitempty"` // of work that is no activity
	Attempt      int32            `json:"attempt,omitempty"`
	Created      int64            `json:"created"` // entries, as are the next two
	Modified     int64            `json:"modified"`
	Removed      int64            `json:"removed"`
	Bytes        int64            `json:"bytes"` // content of the created and modified files
}

func commitDetails(r *archive.Record) CommitDetails {
	o := &r.Origin
	d := CommitDetails{
		CommitID: r.ID, Time: r.Time, Host: r.Host, Worker: o.Worker, WorkflowID: o.WorkflowID, RunID: o.RunID,
		ActivityID: o.ActivityID, ActivityType: o.ActivityType, Attempt: o.Attempt,
		Created: r.Changed.Created, Modified: r.Changed.Modified, Removed: r.Changed.Removed, Bytes: r.Changed.Bytes,
	}
	if o.ActivityID == "" {
		d.Execution = o.Execution
	}
	return d
}

func conflictDetails(url string, e *store.ConflictError) ConflictDetails {
	d := ConflictDetails{URL: url, Want: e.Want, Have: e.Have, Further: e.Further}
	for i := range e.Between {
		d.By = append(d.By, commitDetails(&e.Between[i]))
	}
	return d
}

// AlreadyCommittedDetails are the details of an error of TypeAlreadyCommitted.
type AlreadyCommittedDetails struct {
	URL      string           `json:"url"` // without secrets
	CommitID archive.CommitID `json:"commitId"`
	Attempt  int32            `json:"attempt"` // which committed
	Revision store.Revision   `json:"revision"`
}

// particulars returns those of an error that a workflow can act on.
func particulars(err error) []any {
	var conflict *store.ConflictError
	var committed *mount.CommittedError
	switch {
	case errors.As(err, &committed):
		return []any{AlreadyCommittedDetails{
			URL: committed.URL, CommitID: committed.Record.ID,
			Attempt: committed.Record.Origin.Attempt, Revision: committed.Revision,
		}}
	case errors.As(err, &conflict):
		var at *workspaceError
		var url string
		if errors.As(err, &at) {
			url = at.url
		}
		return []any{conflictDetails(url, conflict)}
	}
	return nil
}

// fencedError says that an attempt may not go on with a workspace. It matches
// ErrFenced, what ended the attempt, and what came of it.
type fencedError struct {
	op, url    string
	cause, err error // err may be nil
}

func (e *fencedError) Error() string {
	s := fmt.Sprintf("%s %s: %v; nothing is stored: %v", e.op, e.url, ErrFenced, e.cause)
	if errors.Is(e.err, mount.ErrBusy) {
		s += "; " + e.err.Error() // it names what the activity has left behind
	}
	return s
}

func (e *fencedError) Unwrap() []error {
	if e.err == nil {
		return []error{ErrFenced, e.cause}
	}
	return []error{ErrFenced, e.cause, e.err}
}

// workspaceError tells which workspace an error is about, without a word more.
type workspaceError struct {
	url string // without secrets
	err error
}

func (e *workspaceError) Error() string { return e.err.Error() }
func (e *workspaceError) Unwrap() error { return e.err }

// errorString is the original error behind an application error. Its text is short,
// since the application error has the whole one, and it ends the chain that the
// SDK writes into the history.
//
// The SDK gives a cause the name of its Go type, which Temporal shows beside the text
// as if it were one of ours; it makes an exception for the type of this name in the
// standard library (getErrType in the SDK's internal/error.go).
type errorString struct {
	err   error
	brief string
}

func (r *errorString) Error() string { return r.brief }

// Unwrap gives a list, so that errors.Is and errors.As go on and errors.Unwrap
// does not.
func (r *errorString) Unwrap() []error { return []error{r.err} }
