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

// Options of Open. nil means the zero value, which is ready to use.
type Options struct {
	// Dir is the mountpoint, an empty directory. "" makes one under the run directory and
	// removes it at the end. Its path follows from the URL, so that absolute paths in a
	// workspace stay right; if another mount uses it, this one gets another path and logs
	// that.
	Dir string
	// Wait is how long Open waits if another mount of this user on this host has the
	// mountpoint that follows from the URL. So the users of a workspace on one host take
	// turns instead of meeting in a conflict. ErrBusy after that time. It has no effect on
	// a mount with a Dir. 0: the mount gets another path at once.
	Wait time.Duration
	// At is an absolute path at which the commands of [Command], and everything that they
	// start, see the workspace, in a mount namespace of their own. So any number of
	// workspaces can be at the same path at once, and on any host. The program itself sees
	// the workspace only at Path; arguments and variables are passed unchanged, see
	// [Mount.CommandPath]. A directory at that path is covered. If the first element of the
	// path, such as /workspace, does not exist, the directory is made in the namespace
	// only; then nothing else can be made in the root directory of the namespace (EROFS).
	// Any other path that does not exist is an error. Other workspaces are mounted in the
	// namespace only if an environment variable is the path of their mountpoint. A process
	// that a command leaves running there keeps the mount busy. An ordinary user needs user
	// namespaces, in which set-user-ID programs have no effect. "": none.
	At string
	// ReadOnly mounts read-only, enforced by the kernel (EROFS). Read-only mounts of one
	// server that show the same revision, with the same URL, owner and limits, share it: it
	// is fetched once and is in memory once, however many mounts there are.
	ReadOnly bool
	// Presence says whether the workspace must exist. "": a read-only one must, others may
	// be absent.
	Presence Presence
	// MaxBytes limits the content in memory, in bytes; beyond it tools get ENOSPC.
	// Unchanged content of an archive of ours does not count. The server reserves that much
	// of what it has for all its mounts, half of the memory limit; Open returns ErrLimit if
	// it does not have it. 0: all that is not reserved, shared with other mounts. Names,
	// symlink targets and extended attributes together have a separate limit of the same
	// size.
	MaxBytes int64
	// MaxInodes limits the number of files and directories; a further name of a file counts
	// as one. 0: what the server has left for all its mounts: one for each KiB of half of
	// the memory limit, and fewer if names are long.
	MaxInodes int64
	// Spill is a directory on disk for content that does not fit into memory, see MaxBytes.
	// "": tools get ENOSPC instead.
	Spill string
	// SpillReserve is how many bytes of the spill directory's disk stay free, for others
	// and for the commit, which needs room too if the store is on that disk. 0: a twentieth
	// of the disk, but at least 256 MiB, or a quarter of a disk of less than 1 GiB;
	// negative: nothing.
	SpillReserve int64
	// Cache is a directory on disk for the compressed parts of an archive that were
	// fetched, so that memory need not hold them; a twentieth of the disk stays free, as
	// for Spill. It is not used if the store's file stays open, as with file URLs. Files in
	// it have no name, and end with the server. "": a sixteenth of the memory limit holds
	// them.
	Cache string
	// CacheBytes limits how much of the archive's content is kept uncompressed in memory
	// after it was read; the kernel also caches what tools read. The server reserves that
	// much of what it has for this purpose, a 32nd of the memory limit, but at least 8 MiB
	// and at most 256 MiB; a mount gets at most half of what is left of it. 0: all that is
	// not reserved, shared with other mounts.
	CacheBytes int64
	// FetchAll makes Open return only when the whole archive has been fetched, has been
	// verified against its digests, and is kept, in Cache or in memory, so that the mount
	// does not need the store again until it is stored. Open returns ErrLimit if there is
	// no room.
	FetchAll bool
	// KeepEmpty stores an emptied workspace as an empty archive. By default its
	// archive is deleted.
	KeepEmpty bool
	// OnConflict says what a commit does if others have stored the workspace since it was
	// opened.
	OnConflict ConflictPolicy
	// Keep says which of the archives that commits replace are kept as versions: they can
	// be read by URL@COMMIT, and restored by package workspace. If a version cannot be
	// kept, the commit fails. By default none are kept.
	Keep store.Keep
	// SaveFailed is the URL of a workspace that gets the work if it could not be stored,
	// for example after a conflict, or if Mount.Fail said why it should not be stored. It
	// is an archive like any other, whose record has the reason (archive.Record.Message).
	// If there already is an archive, a part of the commit's id is appended to the name. A
	// mount that stays busy has nothing to save yet. "": such work is lost.
	SaveFailed string
	// FromCheckpoint begins with the content of a checkpoint instead of the archive. It is
	// the checkpoint's id, or at least the first 8 digits of it, or LastCheckpoint: the
	// newest checkpoint of this step (see Origin) or, if the mount has no step, of the
	// workspace, if there is one. The commit replaces the archive on which the checkpoint
	// was made, and no other. A checkpoint on an archive that was replaced since is
	// store.ErrConflict; LastCheckpoint skips it, with a warning, and the work begins with
	// the archive. A checkpoint that does not exist is store.ErrNoVersion. A conflict of
	// such a mount is not merged. "": none.
	FromCheckpoint string
	// Redone says that the caller does the work again after a conflict, so that SaveFailed
	// saves nothing then.
	Redone bool
	// Command describes in the record how the work was done, such as a command line. It is
	// cut to archive.MaxMessage bytes.
	Command string
	// Rewind is for work of a workflow run that was reset, which Origin names: it says what
	// the run has in common with the runs before it. The mount shows the workspace as this
	// run has left it, without what was done after the point of the reset: a version, which
	// Keep must have kept. A commit still replaces the newest archive, is made even if
	// nothing was changed, and its record has the version (archive.Record.Opened). It is
	// never merged. See store.Past for the rules. nil: the newest archive is shown.
	Rewind *store.Past
	// Portable refuses to commit what the Python temporal-workdir cannot read.
	Portable bool
	// Owner says who owns the files of the archive. nil: the user who mounts. Only root can
	// choose another owner. A file whose owner differs from the archive's loses set-user-ID
	// and set-group-ID, as by chown(2).
	Owner *Owner
	// AllowOther lets other users into the mount, as far as permissions allow. An ordinary
	// user needs user_allow_other in /etc/fuse.conf.
	AllowOther bool
	// Suid makes set-user-ID bits in the mount take effect; for root.
	Suid bool
	// Dev accepts device nodes, in the archive and in the mount; for root.
	Dev bool
	// Grace is how long Close waits for a busy mount. 0: DefaultGrace.
	Grace time.Duration
	// RunDir is a private directory for mountpoints and the records of running servers. "":
	// DefaultRunDir. Mounts with one run directory share one server.
	RunDir string
	// View says how tools see the workspace. ViewAuto, the default, takes the overlay if
	// the host can make one and it suits the workspace, and otherwise FUSE; Status has the
	// view and the reason. If a view that was asked for by name cannot be had, Open returns
	// ErrCannotMount with the reason.
	View View
	// Plain is ViewPlain: the workspace is a plain directory instead of a mount, for hosts
	// where FUSE is forbidden, see docs/plain.md. It is exported when the workspace is
	// opened, and imported when it is closed, in this process. Marks, conditions, log and
	// errors are the same. RunDir is then PlainRunDir by default.
	//
	// A plain directory has limits: ReadOnly is by mode bits only; MaxBytes, the sum of the
	// sizes of the files, and MaxInodes are checked only by Open and Close (ErrLimit);
	// Spill holds content only on its way to the directory; Dev, Suid and AllowOther are
	// ErrCannotMount; and only processes found in /proc are known to have stopped writing
	// when the workspace is stored.
	Plain bool
	// Origin says whose work this is; the log of the archive keeps it, see
	// [archive.Origin]. With an Execution, and without ReadOnly, the work is a step that
	// takes effect once: if the log already has it, at Open or after a conflict, the error
	// is a *CommittedError. Open sets Origin.Workspace, to [store.URL.Identity].
	//
	// A step that is in no log cannot be found: a step that changed nothing stored nothing,
	// and is done again; the log of an emptied workspace is deleted with its archive,
	// unless KeepEmpty is set; and other tools that write the archive leave no log.
	Origin archive.Origin
	// Since is the earliest time at which the execution can have begun, by the clock of the
	// host that began it. If a full log does not reach back that far, plus 10 seconds for
	// clocks that differ, Open returns store.ErrUnknown for a step rather than let it be
	// done twice. Zero: not known, and not checked; then, if Origin has Scheduled, commits
	// by releases that did not record Origin.Scheduled do not count.
	Since time.Time
	// BeforeStore is called before the first byte of a commit is sent to the store, and
	// again right before the request that makes it visible or that deletes the archive of
	// an emptied workspace. An error ends the commit with an ErrCommit that wraps it, and
	// nothing is stored. It is called again for requests that are sent again. Its context
	// ends when the commit is cancelled.
	BeforeStore func(context.Context) error
	// Progress is called during long work, a few times a second at most, from one
	// goroutine. It may call the mount and may block; it then misses later calls, and
	// delays only Open and Close, for a second.
	Progress func(Progress)
	// Logger gets warnings and messages of the server, in the same way. nil:
	// slog.Default().
	Logger *slog.Logger

	without []string // overlay.Config.Without, for tests
}

// Owner says who owns the files of an archive.
type Owner struct {
	Keep     bool // the owners that the archive names
	UID, GID uint32
}

// Progress of opening or committing a workspace.
type Progress struct {
	Phase Phase `json:"phase"`
	Bytes int64 `json:"bytes"` // done
	Total int64 `json:"total"` // 0 if not known
}

// Phase is a phase of opening or committing.
type Phase = wire.Phase

// The phases that report progress. Bytes are bytes of the archive while opening, and of
// file content while committing.
const (
	PhaseOpening    = wire.PhaseOpening
	PhaseCommitting = wire.PhaseCommitting
)

// Result is the outcome of Close.
type Result struct {
	// Stored: a new archive is in the store.
	Stored bool `json:"stored"`
	// Deleted: the workspace was empty, and its archive was deleted.
	Deleted bool `json:"deleted"`
	// Merged: others had stored the workspace meanwhile, and the changes were applied to
	// what they had stored; see Options.OnConflict.
	Merged bool `json:"merged,omitempty"`
	// Marked: the workspace was meant to be stored.
	Marked bool `json:"marked"`
	// Revision is the current archive of the workspace, as far as this mount knows: the
	// stored one, or the one that was opened.
	Revision store.Revision `json:"revision"`
	// CommitID identifies the commit in the archive's log, if Stored.
	CommitID archive.CommitID `json:"commitId,omitempty"`
	// Changes counts what the work changed, stored or not.
	Changes archive.Changes `json:"changes"`
	// Size of the stored archive, in bytes.
	Size int64 `json:"size"`
	// Saved is the URL of the workspace that has the work that was not stored, see
	// Options.SaveFailed; "" if there is none.
	Saved string `json:"saved,omitempty"`
	// Warnings of the commit, such as sockets that were left out.
	Warnings []string `json:"warnings,omitempty"`
	// Traffic with the store since the open; nil for a store without a network.
	Traffic store.Traffic `json:"traffic,omitempty"`
}

// Status of a mount.
type Status struct {
	URL        string            `json:"url"` // without secrets
	Path       string            `json:"path"`
	RawPath    []byte            `json:"rawPath,omitempty"` // Path if it is not UTF-8, as JSON strings must be
	ReadOnly   bool              `json:"readOnly"`
	Marked     bool              `json:"marked"`
	Abandoned  bool              `json:"abandoned"`
	State      string            `json:"state"` // "mounted", "unmounting", "committing", "closed"; of commands and List, also StateLost, StateSilent
	Revision   store.Revision    `json:"revision"`
	ReadError  string            `json:"readError,omitempty"` // why the last read of the archive failed, for which tools got EIO
	Base       *BaseStatus       `json:"base,omitempty"`      // the archive, if it is read on demand; nil if it was read whole
	Changes    archive.Changes   `json:"changes"`
	Bytes      int64             `json:"bytes"` // content, in whole pages; of all mounts that share the content together
	Inodes     int64             `json:"inodes"`
	MaxBytes   int64             `json:"maxBytes"` // what this mount, or all mounts that share a home, may use
	MaxInodes  int64             `json:"maxInodes"`
	ServerPID  int               `json:"serverPid"`
	ClientPID  int               `json:"clientPid"`
	Opened     time.Time         `json:"opened"`
	View       View              `json:"view,omitempty"`       // ViewOverlay, ViewFUSE or ViewPlain; "" where nobody answers
	ViewReason string            `json:"viewReason,omitempty"` // why it is not the overlay
	Origin     *archive.Origin   `json:"origin,omitempty"`     // whose work it is; nil where Options.Origin does not say
	Requests   map[string]uint64 `json:"requests,omitempty"`   // FUSE requests by operation
	Traffic    store.Traffic     `json:"traffic,omitempty"`    // with the store; nil for a store without a network; for shared content, counted for the first mount
}

// BaseStatus says how much of the archive below a mount can be read without the store.
type BaseStatus struct {
	Bytes int64 `json:"bytes"` // of the archive
	Here  int64 `json:"here"`  // of them, kept by this server or in an open file
}

// UnmarshalJSON sets Path from RawPath, if there is one.
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

// RawPath returns what the JSON of a path needs beside it: the bytes if it is not UTF-8,
// else nil.
func RawPath(path string) []byte {
	if utf8.ValidString(path) {
		return nil
	}
	return []byte(path)
}
