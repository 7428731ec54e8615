package mount

import (
	"context"
	"encoding/json"
	"log/slog"
	"time"
	"unicode/utf8"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/mount/internal/wire"
	"github.com/workdir/workdir/store"
)

// DefaultGrace is how long Close waits for a busy mount.
const DefaultGrace = 10 * time.Second

// Options of Open. nil and the zero value are good.
type Options struct {
	// Dir is the mountpoint, an empty directory. "" makes one under the run directory
	// and removes it at the end. Its path follows from the URL, so that absolute paths
	// in a workspace stay right; where another mount uses it, this one gets another path
	// and logs that.
	Dir string
	// At is an absolute path at which the commands of [Command], and all that they start,
	// see the workspace, in a mount namespace of their own: any number of workspaces at
	// once have it at the same path, and on any host. The program itself sees it at Path
	// alone; arguments and variables are passed as they are, see [Mount.CommandPath].
	// A directory there is covered. Where nothing has the name of the first element, such
	// as /workspace, the directory is made up in the namespace, in whose root directory
	// nothing else can be made then (EROFS); another path that is not there is an error.
	// Other workspaces are mounted in the namespace only where an environment variable is
	// the path of the mountpoint. Whatever a command leaves running there keeps the mount
	// busy. An ordinary user needs user namespaces, in which set-user-ID programs have no
	// effect. "": none.
	At string
	// ReadOnly mounts read-only, enforced by the kernel (EROFS). Read-only mounts
	// of one server that show the same revision, with the same URL, owner and
	// limits, share it: it is fetched once and is in memory once, however many
	// there are.
	ReadOnly bool
	// Presence says whether the workspace has to exist. "": a read-only one must, others
	// may be absent.
	Presence Presence
	// MaxBytes limits the content in memory, in bytes; beyond it tools get
	// ENOSPC. What came with an archive of ours and was not changed does not count. So much is set aside of what the server has for all its mounts, half
	// of the memory limit; Open returns ErrLimit if it is not there. 0: what nobody
	// has set aside, which is shared. Names, targets of symlinks and extended
	// attributes together have the same limit for themselves.
	MaxBytes int64
	// MaxInodes limits the number of files and directories; a further name of a file
	// counts as one. 0: what the server has left for all its mounts, one for each KiB
	// of half of the memory limit, and fewer where names are long.
	MaxInodes int64
	// Spill is a directory on disk for content that memory has no room for, see
	// MaxBytes. "": tools get ENOSPC instead.
	Spill string
	// SpillReserve is how many bytes of the spill directory's disk stay free, for others
	// and for the commit, which needs room too if the store is there. 0: a twentieth of
	// the disk, but at least 256 MiB, or a quarter of a disk of less than 1 GiB; less
	// than 0: nothing.
	SpillReserve int64
	// Cache is a directory on disk for what is fetched of an archive, compressed, so that
	// memory need not hold it; a twentieth of the disk stays free, as for Spill. It is not
	// used where the store's file stays open, as with file URLs. Files in it have no name,
	// and end with the server. "": a sixteenth of the memory limit is for it.
	Cache string
	// CacheBytes is how much of what was read of the archive is kept uncompressed in
	// memory, at most; the kernel caches what tools read as well. It is set aside of what
	// the server has for that, a 32nd of the memory limit, but at least 8 MiB and at most
	// 256 MiB, and is at most half of what is left of it. 0: what nobody has set aside,
	// which is shared.
	CacheBytes int64
	// FetchAll has Open return only once all of the archive was fetched, was found as its
	// digests say, and is kept, in Cache or in memory, so that the mount needs the store
	// no more until it is stored. Open returns ErrLimit if there is no room.
	FetchAll bool
	// KeepEmpty stores an emptied workspace as an empty archive. By default its
	// archive is deleted.
	KeepEmpty bool
	// OnConflict says what a commit does where others have stored the workspace since it
	// was opened.
	OnConflict ConflictPolicy
	// Keep says which of the archives that commits replace stay, as versions: they are
	// read by URL@COMMIT, and brought back by package workspace. What is to be kept and
	// cannot be makes the commit fail. By default none stay.
	Keep store.Keep
	// SaveFailed is the URL of a workspace that gets the work where it could not be stored,
	// after a conflict for one, or where Mount.Fail said why it should not be: an archive as
	// any other, whose record says why (archive.Record.Message). If there is an archive already,
	// a part of the commit's id is added to the name. Where a mount stays busy there is
	// nothing to save yet. "": such work is lost.
	SaveFailed string
	// Command is what the record is to say of how the work was done, such as the line of a
	// command; of what is longer than archive.MaxMessage the beginning.
	Command string
	// Portable refuses to commit what the Python temporal-workdir cannot read.
	Portable bool
	// Owner says whom the files of the archive belong to. nil: to the user who
	// mounts. Another owner is for root. A file whose owner is not the archive's
	// loses set-user-ID and set-group-ID, as by chown(2).
	Owner *Owner
	// AllowOther lets other users into the mount, as far as permissions allow. An
	// ordinary user needs user_allow_other in /etc/fuse.conf for it.
	AllowOther bool
	// Suid lets set-user-ID programs in the mount have their effect; for root.
	Suid bool
	// Dev accepts device nodes, in the archive and in the mount; for root.
	Dev bool
	// Grace is how long Close waits for a busy mount. 0: DefaultGrace.
	Grace time.Duration
	// RunDir is where mountpoints and the records of running servers are, a
	// private directory. "": DefaultRunDir. Mounts with one run directory share
	// one server.
	RunDir string
	// View says how the workspace is shown to tools. ViewAuto, the default, takes the
	// overlay where it can be had and suits the workspace, and else FUSE: Status has the
	// view and the reason. Open returns ErrCannotMount, with the reason, where a view that
	// was asked for by name cannot be had.
	View View
	// Plain is ViewPlain. It gives the workspace as a plain directory instead of a mount, for places
	// where FUSE is forbidden, see docs/plain.md: it is exported when the workspace is
	// opened, and imported when it is closed, in this process. Marks, conditions, log
	// and errors are the same. RunDir is then PlainRunDir by default.
	//
	// What it cannot give: ReadOnly is by mode bits; MaxBytes, the sum of the sizes of
	// the files, and MaxInodes are looked at by Open and Close alone (ErrLimit); Spill
	// is for content on its way to the directory; Dev, Suid and AllowOther are
	// ErrCannotMount; and that nobody writes any more when the workspace is stored is
	// known of those processes alone that are found in /proc.
	Plain bool
	// Origin says whose work this is; the log of the archive keeps it, see
	// [archive.Origin]. With an Execution, and without ReadOnly, the work is a step
	// that takes effect once: where the log has it already, at Open or after a
	// conflict, the error is a *CommittedError. Open sets Origin.Workspace, to
	// [store.URL.Identity].
	//
	// What is in no log cannot be found: a step that changed nothing stored nothing,
	// and is done again; the log of an emptied workspace goes with its archive,
	// unless KeepEmpty is set; and other tools that write the archive leave no log.
	Origin archive.Origin
	// Since is when the execution began at the earliest, by the clock of whoever
	// began it. Where a full log does not reach back so far, and 10 seconds more for
	// clocks that differ, Open gives store.ErrUnknown for a step, rather than let it
	// be done twice. Zero: not known, and not checked; commits by releases that did not
	// record Origin.Scheduled do not count then where Origin has it.
	Since time.Time
	// BeforeStore is asked before the first byte of a commit is sent to the store,
	// and again right before the request that makes it visible, or that deletes the
	// archive of an emptied workspace. An error ends the commit with an error that
	// wraps it and is ErrCommit, and nothing is stored. Where requests are sent again
	// it is asked more often. Its context ends when the commit is cancelled.
	BeforeStore func(context.Context) error
	// Progress is told of long work, at most some times a second, from one
	// goroutine. It may call the mount and may block: it then misses what comes
	// meanwhile, and nothing else waits for it, but Open and Close, for a second.
	Progress func(Progress)
	// Logger gets warnings and what the server has to say, in the same way. nil:
	// slog.Default().
	Logger *slog.Logger

	without []string // as overlay.Config.Without, for tests
}

// Owner is whom the files of an archive are to belong to.
type Owner struct {
	Keep     bool // to those whom the archive names
	UID, GID uint32
}

// Progress of opening or committing a workspace.
type Progress struct {
	Phase Phase `json:"phase"`
	Bytes int64 `json:"bytes"` // done
	Total int64 `json:"total"` // 0: not known
}

// Phase is what a mount is at.
type Phase = wire.Phase

// The phases that report progress. Bytes are of the archive while opening, of
// file content while committing.
const (
	PhaseOpening    = wire.PhaseOpening
	PhaseCommitting = wire.PhaseCommitting
)

// Result says what Close did.
type Result struct {
	// Stored: a new archive is in the store.
	Stored bool `json:"stored"`
	// Deleted: the workspace was empty, and its archive was deleted.
	Deleted bool `json:"deleted"`
	// Merged: others had stored the workspace meanwhile, and what was changed was done to
	// what they had stored; see Options.OnConflict.
	Merged bool `json:"merged,omitempty"`
	// Marked: the workspace was to be stored.
	Marked bool `json:"marked"`
	// Revision is the archive that is now the workspace, as far as this mount
	// knows: the stored one, or the one that was opened.
	Revision store.Revision `json:"revision"`
	// CommitID identifies the commit in the archive's log, if Stored.
	CommitID archive.CommitID `json:"commitId,omitempty"`
	// Changes is what the work changed, stored or not.
	Changes archive.Changes `json:"changes"`
	// Size of the stored archive, in bytes.
	Size int64 `json:"size"`
	// Saved is the URL of the workspace that has the work which was not stored, see
	// Options.SaveFailed; "" where there is none.
	Saved string `json:"saved,omitempty"`
	// Warnings of the commit, such as sockets that were left out.
	Warnings []string `json:"warnings,omitempty"`
	// Traffic with the store, from the open on; nil for one without a network.
	Traffic store.Traffic `json:"traffic,omitempty"`
}

// Status of a mount.
type Status struct {
	URL        string            `json:"url"` // without secrets
	Path       string            `json:"path"`
	RawPath    []byte            `json:"rawPath,omitempty"` // Path where it is not UTF-8, as strings of JSON are
	ReadOnly   bool              `json:"readOnly"`
	Marked     bool              `json:"marked"`
	Abandoned  bool              `json:"abandoned"`
	State      string            `json:"state"` // "mounted", "unmounting", "committing", "closed"; of commands and List, also StateLost, StateSilent
	Revision   store.Revision    `json:"revision"`
	ReadError  string            `json:"readError,omitempty"` // why the archive could not be read last, where tools got EIO
	Base       *BaseStatus       `json:"base,omitempty"`      // the archive that is read where it is touched; nil if it was read whole
	Changes    archive.Changes   `json:"changes"`
	Bytes      int64             `json:"bytes"` // content, in whole pages; mounts that share their content have it together
	Inodes     int64             `json:"inodes"`
	MaxBytes   int64             `json:"maxBytes"` // what this mount, or all mounts that share a home, may take
	MaxInodes  int64             `json:"maxInodes"`
	ServerPID  int               `json:"serverPid"`
	ClientPID  int               `json:"clientPid"`
	Opened     time.Time         `json:"opened"`
	View       View              `json:"view,omitempty"`       // ViewOverlay, ViewFUSE or ViewPlain; "" where nobody answers
	ViewReason string            `json:"viewReason,omitempty"` // why it is not the overlay
	Origin     *archive.Origin   `json:"origin,omitempty"`     // whose work it is; nil where Options.Origin does not say
	Requests   map[string]uint64 `json:"requests,omitempty"`   // FUSE requests by operation
	Traffic    store.Traffic     `json:"traffic,omitempty"`    // with the store; nil for one without a network; of shared content, with the mount that came first
}

// BaseStatus says how much of the archive that a mount stands on needs no store any more.
type BaseStatus struct {
	Bytes int64 `json:"bytes"` // of the archive
	Here  int64 `json:"here"`  // of them, kept by this server or by the open file
}

// UnmarshalJSON gives Path the bytes of RawPath, if there are any.
func (s *Status) UnmarshalJSON(b []byte) error {
	type fields Status
	if err := json.Unmarshal(b, (*fields)(s)); err != nil {
		return err
	}
	if s.RawPath != nil {
		s.Path = string(s.RawPath)
	}
	return nil
}

// RawPath is what the JSON of a path has beside it where it is not UTF-8; else nil.
func RawPath(path string) []byte {
	if utf8.ValidString(path) {
		return nil
	}
	return []byte(path)
}
