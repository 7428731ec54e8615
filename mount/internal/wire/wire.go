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

// Version changes with every change of the protocol between client and server, or between a
// command and the client that owns a mount. They are usually one binary.
const Version = 9

// ServerName is Args[0] of a program that runs again as a server.
const ServerName = "workdir-server"

// Descriptors with which a server process is started.
const (
	SocketFD = 3
	LockFD   = 4 // the session's lock, held as long as it is open
)

// Calls of the client to its server.
const (
	CallHello   = "hello"
	CallPing    = "ping"
	CallOpen    = "open"
	CallClose   = "close"
	CallStatus  = "status"
	CallChanges = "changes" // answered by CallChanged, once for each page
	CallRevoke  = "revoke"

	CallCheckpoint = "checkpoint"
)

// Calls and notifications of the server to its client.
const (
	CallDecide   = "decide"  // nobody uses the mount any more: should it be stored?
	CallConfirm  = "confirm" // may this commit be made visible now?
	CallChanged  = "changed" // one page of the answer to CallChanges
	CallEnded    = "ended"   // something other than close has unmounted the mount
	NoteProgress = "progress"
	NoteLog      = "log"
)

// HelloRequest is the first call.
type HelloRequest struct {
	Protocol int      `json:"protocol"`
	Session  ipc.Path `json:"session"`
}

// HelloReply is the reply to HelloRequest.
type HelloReply struct {
	Protocol int `json:"protocol"`
	PID      int `json:"pid"`
}

// OpenRequest is Options for the server.
type OpenRequest struct {
	ID        uint64    `json:"id"`
	URL       store.URL `json:"url"`
	MemDir    ipc.Path  `json:"memDir,omitempty"` // directory of the archives of a mem URL
	Dir       ipc.Path  `json:"dir"`              // canonical
	Made      bool      `json:"made"`             // the server removes Dir
	Source    string    `json:"source"`           // of the mount, for the mount table
	UID       uint32    `json:"uid"`              // owner of the files
	GID       uint32    `json:"gid"`
	KeepOwner bool      `json:"keepOwner,omitempty"` // the owners that the archive names
	host.Flags
	MustExist    bool       `json:"mustExist,omitempty"`
	MustBeNew    bool       `json:"mustBeNew,omitempty"`
	View         View       `json:"view,omitempty"`    // ViewPlain always has a Spill
	Without      []string   `json:"without,omitempty"` // overlay.Config.Without
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

// OpenReply describes the mount to the client.
type OpenReply struct {
	Revision store.Revision `json:"revision"`
	Warnings []string       `json:"warnings,omitempty"`
	Record   host.Record    `json:"record"` // as in the session's directory

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

// Decision is what the client wants done with a mount that nobody uses any more.
type Decision struct {
	Commit   bool             `json:"commit"`
	CommitID archive.CommitID `json:"commitId,omitempty"`
	Result   []byte           `json:"result,omitempty"` // of the step
	Message  string           `json:"message,omitempty"`
	Save     store.URL        `json:"save,omitzero"`    // where work goes that is not stored; zero for none
	Redone   bool             `json:"redone,omitempty"` // after a conflict the work is done again, and nothing saved
	Why      string           `json:"why,omitempty"`    // it is not to be stored, and goes to Save
}

// CloseReply has the result even beside an error: a commit that failed has changes too.
type CloseReply struct {
	Result Result          `json:"result"`
	Err    json.RawMessage `json:"err,omitempty"`
	Again  bool            `json:"again,omitempty"` // the mount is as before, and close can be called again
}

// MountID names a mount of this session.
type MountID struct {
	ID uint64 `json:"id"`
}

// ProgressNote reports the progress of a mount.
type ProgressNote struct {
	ID       uint64   `json:"id"`
	Progress Progress `json:"progress"`
}

// LogNote is a message for the log of a mount, or of the session.
type LogNote struct {
	ID      uint64     `json:"id"` // 0: the server itself
	Level   slog.Level `json:"level"`
	Message string     `json:"message"`
	Attrs   [][2]string
}

// ChangesRequest asks for the paths that differ in a mount.
type ChangesRequest struct {
	ID   uint64 `json:"id"`
	List uint64 `json:"list"` // a number for SomeChanges
}

// SomeChanges is one page of the paths, in their order.
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

// Step returns the step of the mount; false if it has none. A mount that stores nothing has
// none.
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
