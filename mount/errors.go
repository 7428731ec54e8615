package mount

import (
	"fmt"

	"github.com/workdir/workdir/mount/internal/host"
	"github.com/workdir/workdir/mount/internal/wire"
)

// Conditions for errors.Is. Those of packages store and archive pass through Open and Close
// as well.
var (
	// ErrReadOnly: Commit on a read-only mount.
	ErrReadOnly = wire.ErrReadOnly
	// ErrClosed: the mount has been closed already.
	ErrClosed = wire.ErrClosed
	// ErrAbandoned: Commit after Abandon.
	ErrAbandoned = wire.ErrAbandoned
	// ErrBusy: something still uses the mount; a *BusyError names it. Nothing was
	// stored, and Close can be called again. From Open: another mount had the mountpoint
	// for all of Options.Wait.
	ErrBusy = host.ErrBusy
	// ErrCannotMount: this host, or this mountpoint, does not allow a mount; a
	// *HostError says what is missing.
	ErrCannotMount = host.ErrCannotMount
	// ErrUnmounted: somebody else unmounted or aborted the mount. What was
	// written last may be missing, so nothing was stored.
	ErrUnmounted = wire.ErrUnmounted
	// ErrServerLost: the server process died or stopped answering.
	ErrServerLost = wire.ErrServerLost
	// ErrCommit: the commit failed and nothing was stored; the cause is wrapped. A conflict
	// (store.ErrConflict) and a commit of unknown outcome (store.ErrUnknown) do not match
	// it.
	ErrCommit = wire.ErrCommit
	// ErrLimit: the workspace does not fit into MaxBytes or MaxInodes, or MaxBytes
	// into what the server has left.
	ErrLimit = wire.ErrLimit
	// ErrExist: the workspace must be new, but already has an archive.
	ErrExist = wire.ErrExist
	// ErrNoServer: no server process can be started: mount.Init is not called and
	// workdir-mount is not in PATH.
	ErrNoServer = wire.ErrNoServer
	// ErrAlreadyCommitted: the step of Options.Origin has already taken effect; a
	// *CommittedError has its result. It was not stored again.
	ErrAlreadyCommitted = wire.ErrAlreadyCommitted
	// ErrNotMounted: the path is not in a mount of ours.
	ErrNotMounted = wire.ErrNotMounted
)

// Process is a process that uses a mount: its PID, Name, and Use, which is "descriptor",
// "working directory", "root", "mapping" or "mount namespace".
type Process = host.Process

// BusyError says what still uses the mount at Path: the Processes that this user may see,
// possibly none. It matches ErrBusy.
type BusyError = host.BusyError

// HostError says why nothing can be mounted at Path (What), and what to do (Hint). It
// matches ErrCannotMount.
type HostError = host.Error

// CommittedError says that a step has already taken effect, in an earlier or an overlapping
// attempt. URL is the workspace's, without secrets; Record is the commit's, and its Result
// is the result of the step; Revision is that of the archive whose log has the commit. It
// matches ErrAlreadyCommitted.
type CommittedError = wire.CommittedError

// ServerLostError says how the server was lost and what became of a commit that
// was under way. It matches ErrServerLost.
type ServerLostError struct {
	PID    int    `json:"pid"`
	Cause  string `json:"cause"`  // how it ended, with the last lines of its output
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
