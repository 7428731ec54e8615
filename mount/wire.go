package mount

import (
	"context"
	"encoding/json"
	"errors"
	iofs "io/fs"
	"log/slog"
	"syscall"
	"time"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/fs"
	"github.com/workdir/workdir/internal/ipc"
	"github.com/workdir/workdir/mount/internal/host"
	"github.com/workdir/workdir/store"
)

// protocolVersion changes with every change of what client and server, or a
// remote command and a client, say to each other. They are usually one binary.
const protocolVersion = 5

// Calls of the client to its server.
const (
	callHello  = "hello"
	callPing   = "ping"
	callOpen   = "open"
	callClose  = "close"
	callStatus = "status"
	callRevoke = "revoke"
)

// Calls and notifications of the server to its client.
const (
	callDecide   = "decide"  // nobody uses the mount any more: is it to be stored?
	callConfirm  = "confirm" // may this commit be made visible now?
	callEnded    = "ended"   // something else has unmounted the mount
	noteProgress = "progress"
	noteLog      = "log"
)

type helloRequest struct {
	Protocol int      `json:"protocol"`
	Session  ipc.Path `json:"session"`
}

type helloReply struct {
	Protocol int `json:"protocol"`
	PID      int `json:"pid"`
}

// openRequest is Options as the server needs them.
type openRequest struct {
	ID        uint64    `json:"id"`
	URL       store.URL `json:"url"`
	MemDir    ipc.Path  `json:"memDir,omitempty"` // where the archives of a mem URL are
	Dir       ipc.Path  `json:"dir"`              // canonical
	Made      bool      `json:"made"`             // Dir is the server's to remove
	Owner     fs.Owner  `json:"owner"`
	KeepOwner bool      `json:"keepOwner,omitempty"`
	host.Flags
	Presence     Presence `json:"presence"`        // not PresenceDefault
	Plain        bool     `json:"plain,omitempty"` // then there is a Spill
	KeepEmpty    bool     `json:"keepEmpty,omitempty"`
	Portable     bool     `json:"portable,omitempty"`
	MaxBytes     int64    `json:"maxBytes,omitempty"`
	MaxInodes    int64    `json:"maxInodes,omitempty"`
	Spill        ipc.Path `json:"spill,omitempty"` // canonical
	SpillReserve int64    `json:"spillReserve,omitempty"`
	Cache        ipc.Path `json:"cache,omitempty"` // canonical
	CacheBytes   int64    `json:"cacheBytes,omitempty"`
	FetchAll     bool     `json:"fetchAll,omitempty"`
	GraceNS      int64    `json:"graceNs"`

	Origin archive.Origin `json:"origin"`
	Since  time.Time      `json:"since,omitzero"`
}

type openReply struct {
	Revision store.Revision `json:"revision"`
	Warnings []string       `json:"warnings,omitempty"`
	Record   host.Record    `json:"record"` // as it is in the session's directory
}

// decision is what a client wants of a mount that nobody uses any more.
type decision struct {
	Commit   bool             `json:"commit"`
	CommitID archive.CommitID `json:"commitId,omitempty"`
	Result   []byte           `json:"result,omitempty"` // of the step
}

// closeReply carries the result beside an error: a commit that failed has
// changes too.
type closeReply struct {
	Result Result          `json:"result"`
	Err    json.RawMessage `json:"err,omitempty"`
	Again  bool            `json:"again,omitempty"` // the mount is as it was, and close can be called again
}

// mountID names a mount of this session.
type mountID struct {
	ID uint64 `json:"id"`
}

type progressNote struct {
	ID       uint64   `json:"id"`
	Progress Progress `json:"progress"`
}

type logNote struct {
	ID      uint64     `json:"id"` // 0: the server itself
	Level   slog.Level `json:"level"`
	Message string     `json:"message"`
	Attrs   [][2]string
}

// wireKinds are the conditions that survive the way between two processes.
var wireKinds = []struct {
	name string
	err  error
}{
	{"conflict", store.ErrConflict},
	{"unknown", store.ErrUnknown},
	{"no-archive", store.ErrNotExist},
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
	{"busy", ErrBusy},
	{"cannot-mount", ErrCannotMount},
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

// wireError is an error on its way: its text, the conditions that it matches,
// and the particulars of the types that callers look into.
type wireError struct {
	Text     string               `json:"text"`
	Kinds    []string             `json:"kinds,omitempty"`
	Conflict *store.ConflictError `json:"conflict,omitempty"`
	Busy     *BusyError           `json:"busy,omitempty"`
	Host     *HostError           `json:"host,omitempty"`

	Committed *CommittedError `json:"committed,omitempty"`
}

// Error gives the text of the other side.
func (e *wireError) Error() string { return e.Text }

// Unwrap gives the conditions and the particulars.
func (e *wireError) Unwrap() []error {
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
		for _, k := range wireKinds {
			if k.name == name {
				errs = append(errs, k.err)
			}
		}
	}
	return errs
}

func encodeError(err error) json.RawMessage {
	w := wireError{Text: err.Error()}
	for _, k := range wireKinds {
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
		b, _ = json.Marshal(wireError{Text: err.Error()}) // a struct of strings always encodes
	}
	return b
}

func decodeError(raw json.RawMessage) error {
	var w wireError
	if err := json.Unmarshal(raw, &w); err != nil {
		return errors.New(string(raw))
	}
	return &w
}

// codec carries our errors over ipc.
var codec = ipc.Codec{Encode: encodeError, Decode: decodeError}

// decode reads the body of a call.
func decode[T any](body json.RawMessage) (T, error) {
	var v T
	err := json.Unmarshal(body, &v)
	return v, err
}
