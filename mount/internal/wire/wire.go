package wire

import (
	"encoding/json"
	"log/slog"
	"time"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/internal/ipc"
	"github.com/workdir/workdir/mount/internal/host"
	"github.com/workdir/workdir/store"
)

// Version changes with every change of what client and server, or a
// remote command and a client, say to each other. They are usually one binary.
const Version = 9

// ServerName is Args[0] of a program that is run again as a server.
const ServerName = "workdir-server"

// Descriptors that a server process is started with.
const (
	SocketFD = 3
	LockFD   = 4 // the session's lock, held by being open
)

// Calls of the client to its server.
const (
	CallHello   = "hello"
	CallPing    = "ping"
	CallOpen    = "open"
	CallClose   = "close"
	CallStatus  = "status"
	CallChanges = "changes" // is answered by CallChanged, until there are no more
	CallRevoke  = "revoke"

	CallCheckpoint = "checkpoint"
)

// Calls and notifications of the server to its client.
const (
	CallDecide   = "decide"  // nobody uses the mount any more: is it to be stored?
	CallConfirm  = "confirm" // may this commit be made visible now?
	CallChanged  = "changed" // some of what CallChanges asked for
	CallEnded    = "ended"   // something else has unmounted the mount
	NoteProgress = "progress"
	NoteLog      = "log"
)

// HelloRequest is the first call.
type HelloRequest struct {
	Protocol int      `json:"protocol"`
	Session  ipc.Path `json:"session"`
}

// HelloReply is the answer to it.
type HelloReply struct {
	Protocol int `json:"protocol"`
	PID      int `json:"pid"`
}

// OpenRequest is Options as the server needs them.
type OpenRequest struct {
	ID        uint64    `json:"id"`
	URL       store.URL `json:"url"`
	MemDir    ipc.Path  `json:"memDir,omitempty"` // where the archives of a mem URL are
	Dir       ipc.Path  `json:"dir"`              // canonical
	Made      bool      `json:"made"`             // Dir is the server's to remove
	Source    string    `json:"source"`           // of the mount, for the mount table
	UID       uint32    `json:"uid"`              // to whom the files belong
	GID       uint32    `json:"gid"`
	KeepOwner bool      `json:"keepOwner,omitempty"` // to those whom the archive names
	host.Flags
	MustExist    bool       `json:"mustExist,omitempty"`
	MustBeNew    bool       `json:"mustBeNew,omitempty"`
	View         View       `json:"view,omitempty"`    // with ViewPlain there is a Spill
	Without      []string   `json:"without,omitempty"` // as overlay.Config.Without
	KeepEmpty    bool       `json:"keepEmpty,omitempty"`
	Merge        bool       `json:"merge,omitempty"` // with what others have stored meanwhile
	Keep         store.Keep `json:"keep"`
	Portable     bool       `json:"portable,omitempty"`
	MaxBytes     int64      `json:"maxBytes,omitempty"`
	MaxInodes    int64      `json:"maxInodes,omitempty"`
	Spill        ipc.Path   `json:"spill,omitempty"` // canonical
	SpillReserve int64      `json:"spillReserve,omitempty"`
	Cache        ipc.Path   `json:"cache,omitempty"` // canonical
	CacheBytes   int64      `json:"cacheBytes,omitempty"`
	FetchAll     bool       `json:"fetchAll,omitempty"`
	GraceNS      int64      `json:"graceNs"`

	Command        string `json:"command,omitempty"`        // for the record
	FromCheckpoint string `json:"fromCheckpoint,omitempty"` // the beginning of an id, or LastCheckpoint

	Origin archive.Origin `json:"origin"`
	Since  time.Time      `json:"since,omitzero"`
	Rewind *store.Past    `json:"rewind,omitempty"` // of the run of Origin; nil: it was not reset
}

// OpenReply is what the client learns of a mount.
type OpenReply struct {
	Revision store.Revision `json:"revision"`
	Warnings []string       `json:"warnings,omitempty"`
	Record   host.Record    `json:"record"` // as it is in the session's directory

	Rewound archive.CommitID `json:"rewound,omitempty"` // the commit that is shown in place of the newest one
	Resumed archive.CommitID `json:"resumed,omitempty"` // the checkpoint that the mount shows
}

// LastCheckpoint is the newest checkpoint, see OpenRequest.
const LastCheckpoint = "last"

// CheckpointRequest asks for a checkpoint.
type CheckpointRequest struct {
	MountID
	Message string `json:"message,omitempty"`
}

// Checkpoint is mount.Checkpoint.
type Checkpoint struct {
	ID       archive.CommitID `json:"id"`
	Size     int64            `json:"size"`
	Changes  archive.Changes  `json:"changes"`
	Warnings []string         `json:"warnings,omitempty"`
}

// Decision is what a client wants of a mount that nobody uses any more.
type Decision struct {
	Commit   bool             `json:"commit"`
	CommitID archive.CommitID `json:"commitId,omitempty"`
	Result   []byte           `json:"result,omitempty"` // of the step
	Message  string           `json:"message,omitempty"`
	Save     store.URL        `json:"save,omitzero"`    // where work goes that is not stored; zero: nowhere
	Redone   bool             `json:"redone,omitempty"` // after a conflict the work is done again, and nothing saved
	Why      string           `json:"why,omitempty"`    // it is not to be stored, and goes to Save
}

// CloseReply carries the result beside an error: a commit that failed has
// changes too.
type CloseReply struct {
	Result Result          `json:"result"`
	Err    json.RawMessage `json:"err,omitempty"`
	Again  bool            `json:"again,omitempty"` // the mount is as it was, and close can be called again
}

// MountID names a mount of this session.
type MountID struct {
	ID uint64 `json:"id"`
}

// ProgressNote tells how far a mount is.
type ProgressNote struct {
	ID       uint64   `json:"id"`
	Progress Progress `json:"progress"`
}

// LogNote is for the log of a mount, or of the session.
type LogNote struct {
	ID      uint64     `json:"id"` // 0: the server itself
	Level   slog.Level `json:"level"`
	Message string     `json:"message"`
	Attrs   [][2]string
}

// ChangesRequest asks for the paths that are different in a mount.
type ChangesRequest struct {
	ID   uint64 `json:"id"`
	List uint64 `json:"list"` // a number for SomeChanges
}

// SomeChanges are some of the paths, in their order.
type SomeChanges struct {
	List    uint64   `json:"list"`
	Changes []Change `json:"changes"`
}

// Change is mount.Change.
type Change struct {
	Path   ipc.Path `json:"path"`
	From   ipc.Path `json:"from,omitempty"`
	Change string   `json:"change"`
	Kind   string   `json:"kind"`
	Size   int64    `json:"size"`
}

// Step returns the step that the mount is for; false where it is for none. A mount
// that stores nothing is for none.
func (r *OpenRequest) Step() (*store.Step, bool) {
	_, ok := r.Origin.StepID()
	return &store.Step{Origin: r.Origin, Since: r.Since}, ok && !r.ReadOnly
}

// Decode reads the body of a call.
func Decode[T any](body json.RawMessage) (T, error) {
	var v T
	err := json.Unmarshal(body, &v)
	return v, err
}
