package wire

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	iofs "io/fs"
	"syscall"
	"time"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/internal/ipc"
	"github.com/workdir/workdir/mount/internal/host"
	"github.com/workdir/workdir/store"
)

// Conditions that are passed on. Package mount describes them.
var (
	ErrReadOnly         = errors.New("mount is read-only")
	ErrClosed           = errors.New("mount is closed")
	ErrAbandoned        = errors.New("mount is abandoned")
	ErrUnmounted        = errors.New("unmounted by something else")
	ErrServerLost       = errors.New("server process lost")
	ErrCommit           = errors.New("commit failed, nothing was stored")
	ErrLimit            = errors.New("limit reached")
	ErrExist            = errors.New("workspace exists already")
	ErrNoServer         = errors.New("no server process")
	ErrAlreadyCommitted = errors.New("already committed")
	ErrNotMounted       = errors.New("not in a mounted workspace")
)

// CommittedError says that a step has already taken effect, in an earlier or an overlapping
// attempt. It matches ErrAlreadyCommitted.
type CommittedError struct {
	URL      string         `json:"url"`      // without secrets
	Record   archive.Record `json:"record"`   // of the commit; its Result is the result of the step
	Revision store.Revision `json:"revision"` // of the archive whose log has it
}

func (e *CommittedError) Error() string {
	s := fmt.Sprintf("%s: %v", e.URL, ErrAlreadyCommitted)
	if n := e.Record.Origin.Attempt; n > 0 {
		s += fmt.Sprintf(" by attempt %d", n)
	}
	s += fmt.Sprintf(" at %s (commit %s)", e.Record.Time.UTC().Format(time.RFC3339), e.Record.ID)
	if e.Record.Dropped {
		s += "; its result is not kept any more"
	}
	return s
}

// Is makes errors.Is(err, ErrAlreadyCommitted) true.
func (e *CommittedError) Is(target error) bool { return target == ErrAlreadyCommitted }

// NewCommittedError returns the error for a step that is in the log of a revision.
func NewCommittedError(url store.URL, rec *archive.Record, rev store.Revision) *CommittedError {
	e := &CommittedError{URL: url.Redacted(), Record: *rec, Revision: rev}
	e.Record.Root = archive.RootAttr{} // the step's caller has no use for a directory's attributes
	return e
}

// kinds are the conditions that keep their identity between two processes.
var kinds = []struct {
	name string
	err  error
}{
	{"conflict", store.ErrConflict},
	{"unknown", store.ErrUnknown},
	{"no-archive", store.ErrNotExist},
	{"no-version", store.ErrNoVersion},
	{"rewind", store.ErrRewind},
	{"not-allowed", store.ErrNotAllowed},
	{"unreachable", store.ErrUnreachable},
	{"not-archive", store.ErrNotArchive},
	{"not-conditional", store.ErrNotConditional},
	{"full", store.ErrFull},
	{"url", store.ErrURL},
	{"format", archive.ErrFormat},
	{"archive-limit", archive.ErrLimit},
	{"portable", archive.ErrPortable},
	{"stalled", archive.ErrStalled},
	{"already-committed", ErrAlreadyCommitted},
	{"busy", host.ErrBusy},
	{"cannot-mount", host.ErrCannotMount},
	{"unmounted", ErrUnmounted},
	{"server-lost", ErrServerLost},
	{"commit", ErrCommit},
	{"limit", ErrLimit},
	{"read-only", ErrReadOnly},
	{"closed", ErrClosed},
	{"abandoned", ErrAbandoned},
	{"not-mounted", ErrNotMounted},
	{"no-server", ErrNoServer},
	{"exist", ErrExist},
	{"not-exist", iofs.ErrNotExist},
	{"permission", iofs.ErrPermission},
	{"no-space", syscall.ENOSPC},
	{"canceled", context.Canceled},
	{"deadline", context.DeadlineExceeded},
}

// encodedError is an encoded error: its text, the conditions that it matches, and the
// particulars of the types that callers use.
type encodedError struct {
	Text     string               `json:"text"`
	Kinds    []string             `json:"kinds,omitempty"`
	Conflict *store.ConflictError `json:"conflict,omitempty"`
	Busy     *host.BusyError      `json:"busy,omitempty"`
	Host     *host.Error          `json:"host,omitempty"`

	Committed *CommittedError `json:"committed,omitempty"`
}

// Error returns the text of the other side.
func (e *encodedError) Error() string { return e.Text }

// Unwrap returns the conditions and the particulars.
func (e *encodedError) Unwrap() []error {
	var errs []error
	if e.Conflict != nil {
		errs = append(errs, e.Conflict)
	}
	if e.Busy != nil {
		errs = append(errs, e.Busy)
	}
	if e.Host != nil {
		errs = append(errs, e.Host)
	}
	if e.Committed != nil {
		errs = append(errs, e.Committed)
	}
	for _, name := range e.Kinds {
		for _, k := range kinds {
			if k.name == name {
				errs = append(errs, k.err)
			}
		}
	}
	return errs
}

// EncodeError encodes an error for DecodeError on the other side.
func EncodeError(err error) json.RawMessage {
	w := encodedError{Text: err.Error()}
	for _, k := range kinds {
		if errors.Is(err, k.err) {
			w.Kinds = append(w.Kinds, k.name)
		}
	}
	errors.As(err, &w.Conflict)
	errors.As(err, &w.Busy)
	errors.As(err, &w.Host)
	errors.As(err, &w.Committed)
	b, merr := json.Marshal(w)
	if merr != nil {
		b, _ = json.Marshal(encodedError{Text: err.Error()}) // encoding a struct of strings never fails
	}
	return b
}

// DecodeError returns an error that equals the one given to EncodeError in its text and for
// errors.Is and errors.As.
func DecodeError(raw json.RawMessage) error {
	var w encodedError
	if err := json.Unmarshal(raw, &w); err != nil {
		return errors.New(string(raw))
	}
	return &w
}

// Codec carries our errors over ipc.
var Codec = ipc.Codec{Encode: EncodeError, Decode: DecodeError}
