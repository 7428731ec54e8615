package mount

import (
	"fmt"

	"github.com/workdir/workdir/mount/internal/host"
	"github.com/workdir/workdir/mount/internal/wire"
)

// Conditions that callers can tell apart with errors.Is. Those of packages
// store and archive pass through Open and Close as well.
var (
	// ErrReadOnly: Commit on a read-only mount.
	ErrReadOnly = wire.ErrReadOnly
	// ErrClosed: the mount has been closed already.
	ErrClosed = wire.ErrClosed
	// ErrAbandoned: Commit after Abandon.
	ErrAbandoned = wire.ErrAbandoned
	// ErrBusy: something still uses the mount; a *BusyError names it. Nothing was
	// stored, and Close can be called again.
	ErrBusy = host.ErrBusy
	// ErrCannotMount: this host, or this mountpoint, does not allow a mount; a
	// *HostError says what is missing.
	ErrCannotMount = host.ErrCannotMount
	// ErrUnmounted: somebody else unmounted or aborted the mount. What was
	// written last may be missing, so nothing was stored.
	ErrUnmounted = wire.ErrUnmounted
	// ErrServerLost: the server process died or stopped answering.
	ErrServerLost = wire.ErrServerLost
	// ErrCommit: the commit failed and nothing was stored; the cause is wrapped.
	// A conflict (store.ErrConflict) and a commit of which nobody knows
	// (store.ErrUnknown) are not among these.
	ErrCommit = wire.ErrCommit
	// ErrLimit: the workspace does not fit into MaxBytes or MaxInodes, or MaxBytes
	// into what the server has left.
	ErrLimit = wire.ErrLimit
	// ErrExist: the workspace of a mount that must be new has an archive already.
	ErrExist = wire.ErrExist
	// ErrNoServer: there is no server process to be had: mount.Init is not called
	// and workdir-mount is not in PATH.
	ErrNoServer = wire.ErrNoServer
	// ErrAlreadyCommitted: the step that Options.Origin names has taken effect; a
	// *CommittedError has its result. Nothing was stored for it once more.
	ErrAlreadyCommitted = wire.ErrAlreadyCommitted
	// ErrNotMounted: the path is in no mount of ours.
	ErrNotMounted = wire.ErrNotMounted
)

// Process is one that uses a mount: its PID, Name, and Use, which is "descriptor",
// "working directory", "root", "mapping" or "mount namespace".
type Process = host.Process

// BusyError says what still uses the mount at Path: the Processes that we may see, which
// may be none. It matches ErrBusy.
type BusyError = host.BusyError

// HostError says What keeps us from mounting at Path, and in Hint what to do. It matches
// ErrCannotMount.
type HostError = host.Error

// CommittedError says that a step has taken effect already, in an earlier attempt or in one
// that overlapped with this one: URL, without secrets, is the workspace's, Record the
// commit's, whose Result is what the step gave, and Revision the archive's whose log has
// it. It matches ErrAlreadyCommitted.
type CommittedError = wire.CommittedError

// ServerLostError says how the server was lost and what became of a commit that
// was under way. It matches ErrServerLost.
type ServerLostError struct {
	PID    int    `json:"pid"`
	Cause  string `json:"cause"`  // how it ended, with the last lines that it printed
	Stored string `json:"stored"` // what is known of the stored archive
}

func (e *ServerLostError) Error() string {
	s := fmt.Sprintf("server process %d was lost (%s)", e.PID, e.Cause)
	if e.Stored != "" {
		s += ": " + e.Stored
	}
	return s
}

// Is makes errors.Is(err, ErrServerLost) true.
func (e *ServerLostError) Is(target error) bool { return target == ErrServerLost }
