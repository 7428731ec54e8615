package host

import (
	"errors"
	"fmt"
	"strings"

	"github.com/workdir/workdir/internal/printable"
)

// ErrBusy means that something still uses the mount; a *BusyError names it.
var ErrBusy = errors.New("mount is busy")

// ErrCannotMount means that this host, or this mountpoint, does not allow a mount; an
// *Error says what is missing.
var ErrCannotMount = errors.New("cannot mount")

// Process is a process that uses a mount.
type Process struct {
	PID  int    `json:"pid"`
	Name string `json:"name"`
	Use  string `json:"use"` // "descriptor", "working directory", "root", "mapping", "mount namespace"
}

// BusyError says what still uses a mount. It matches ErrBusy.
type BusyError struct {
	Path      string    `json:"path"`
	Processes []Process `json:"processes"` // those that this user may see; may be empty
}

func (e *BusyError) Error() string {
	return fmt.Sprintf("unmount %s: still in use by %s; nothing is stored; end them and close again", e.Path, NameProcesses(e.Processes))
}

// NameProcesses names the processes that use a mount, for a message. An empty list means
// processes that this user may not see.
func NameProcesses(processes []Process) string {
	if len(processes) == 0 {
		return "processes of other users or other mount namespaces"
	}
	names := make([]string, len(processes))
	for i, p := range processes {
		names[i] = fmt.Sprintf("process %d (%s: %s)", p.PID, printable.Name(p.Name), p.Use)
	}
	return strings.Join(names, ", ")
}

// Is makes errors.Is(err, ErrBusy) true.
func (e *BusyError) Is(target error) bool { return target == ErrBusy }

// Error says why a mount is not possible here, and what to do. It matches ErrCannotMount.
type Error struct {
	Path string `json:"path"`
	What string `json:"what"`
	Hint string `json:"hint"`
}

func (e *Error) Error() string {
	s := "mount"
	if e.Path != "" {
		s += " " + e.Path
	}
	s += ": " + e.What
	if e.Hint != "" {
		s += "; " + e.Hint
	}
	return s
}

// Is makes errors.Is(err, ErrCannotMount) true.
func (e *Error) Is(target error) bool { return target == ErrCannotMount }
