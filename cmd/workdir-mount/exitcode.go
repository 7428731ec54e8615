package main

import (
	"errors"
	"fmt"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/mount"
	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/ui"
	"github.com/workdir/workdir/workspace"
)

// Exit codes. They are a stable interface: see docs/cli.md. Codes below 100 and above 119 come
// from the command that exec runs.
const (
	exitUsage       = 100 // usage or URL
	exitStore       = 101 // store not reachable, not allowed, not a file in the archive's place, or an archive missing or in the way
	exitCannotMount = 102 // this host or this mountpoint does not allow a mount
	exitArchive     = 103 // archive refused
	exitConflict    = 104 // another commit came in between
	exitBusy        = 105 // something still uses the mount
	exitCommit      = 106 // commit failed, nothing stored
	exitServerLost  = 107 // the server process died or stopped answering
	exitLimit       = 108 // the workspace does not fit
	exitUnknown     = 109 // the commit may have been stored
	exitOther       = 110 // anything else of ours
	exitNoResult    = 111 // the step is done, but its result is no longer kept
)

// exitSignal is the number that a shell adds to that of the signal that ended a command.
const exitSignal = 128

// exitTable maps an error to its exit code: that of the first matching row. The rows of a
// commit come before those of its causes, since a store that cannot be reached at a commit is
// a failed commit. docs/errors.md has the same rows, and a test compares them.
var exitTable = []struct {
	err  error
	name string // as docs/errors.md calls it
	code int
}{
	{mount.ErrAlreadyCommitted, "mount.ErrAlreadyCommitted", exitNoResult},
	{store.ErrUnknown, "store.ErrUnknown", exitUnknown},
	{store.ErrConflict, "store.ErrConflict", exitConflict},
	{mount.ErrServerLost, "mount.ErrServerLost", exitServerLost},
	{mount.ErrBusy, "mount.ErrBusy", exitBusy},
	{mount.ErrUnmounted, "mount.ErrUnmounted", exitCommit},
	{mount.ErrAbandoned, "mount.ErrAbandoned", exitCommit},
	{mount.ErrReadOnly, "mount.ErrReadOnly", exitCommit},
	{mount.ErrClosed, "mount.ErrClosed", exitCommit},
	{archive.ErrPortable, "archive.ErrPortable", exitCommit},
	{mount.ErrCommit, "mount.ErrCommit", exitCommit},
	{mount.ErrLimit, "mount.ErrLimit", exitLimit},
	{archive.ErrLimit, "archive.ErrLimit", exitArchive},
	{archive.ErrFormat, "archive.ErrFormat", exitArchive},
	{mount.ErrNotMounted, "mount.ErrNotMounted", exitUsage},
	{store.ErrURL, "store.ErrURL", exitUsage},
	{workspace.ErrPath, "workspace.ErrPath", exitUsage},
	{workspace.ErrNoIndex, "workspace.ErrNoIndex", exitUsage},
	{workspace.ErrTarget, "workspace.ErrTarget", exitUsage},
	{ui.ErrTooMany, "ui.ErrTooMany", exitUsage},
	{mount.ErrCannotMount, "mount.ErrCannotMount", exitCannotMount},
	{mount.ErrNoServer, "mount.ErrNoServer", exitCannotMount},
	{store.ErrNotAllowed, "store.ErrNotAllowed", exitStore},
	{store.ErrNotArchive, "store.ErrNotArchive", exitStore},
	{store.ErrNotConditional, "store.ErrNotConditional", exitStore},
	{store.ErrUnreachable, "store.ErrUnreachable", exitStore},
	{store.ErrFull, "store.ErrFull", exitStore},
	{store.ErrNotExist, "store.ErrNotExist", exitStore},
	{store.ErrNoVersion, "store.ErrNoVersion", exitStore},
	{mount.ErrExist, "mount.ErrExist", exitStore},
}

// usageError is an invalid command line.
type usageError struct {
	command string // "workdir-mount exec"
	err     error
}

func (e *usageError) Error() string {
	return fmt.Sprintf("%v; see %s --help", e.err, e.command)
}

func (e *usageError) Unwrap() error { return e.err }

// statusError is an end with a predetermined exit code, such as that of the command run by
// exec.
type statusError struct {
	code int
	err  error // nil if there is nothing to print
}

func (e *statusError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *statusError) Unwrap() error { return e.err }

// exitCode returns the exit code for the error that a command ended with.
func exitCode(err error) int {
	var status *statusError
	var usage *usageError
	var signal *interruption
	switch {
	case err == nil:
		return 0
	case errors.As(err, &status):
		return status.code
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &signal):
		return exitSignal + int(signal.sig)
	}
	for _, row := range exitTable {
		if errors.Is(err, row.err) {
			return row.code
		}
	}
	return exitOther
}

// errorText is the text of an error for the user, "" if there is nothing to print.
func errorText(err error) string {
	var status *statusError
	if err == nil || errors.As(err, &status) && status.err == nil {
		return ""
	}
	return err.Error()
}
