package host

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// The run directory holds one session directory for each client and its server:
//
//	RUN/.lock           held while sessions are made or cleared away
//	RUN/s-PID-RANDOM/   a session
//	    lock            flocked by client and server together; free: both are dead
//	    stderr          what the server process printed: the trace of a crash
//	    control.sock    where the client answers commands of other processes
//	    mounts/spill-N.json  a directory with spill directories of its mounts
//	    mounts/N.json   one record for each mount, written before mounting
//	    layers-N/       layers of the overlay of mount N, attached for a moment
//	RUN/mnt/NAME-DIGEST mountpoints that we made, and plain workspaces, see package mount
const (
	SessionPrefix   = "s-"
	LockName        = "lock"
	StderrName      = "stderr"
	socketName      = "control.sock"
	RecordsName     = "mounts"
	MountpointsName = "mnt"
	layersName      = "layers-"
)

// DefaultRunDir returns /run/workdir for root and /run/user/UID/workdir for others or,
// where these cannot be made, /tmp/workdir-UID.
func DefaultRunDir() string { return RunDirs(os.Geteuid())[0] }

// PlainRunDir returns the run directory of plain workspaces, /tmp/workdir-UID. Their
// content lies in it, and /run is in memory, small, and often mounted noexec.
func PlainRunDir() string { return plainRunDir(os.Geteuid()) }

func plainRunDir(uid int) string { return "/tmp/workdir-" + strconv.Itoa(uid) }

// RunDirs returns the places where a user's run directory may be, the default first.
func RunDirs(uid int) []string {
	parent := "/run"
	if uid != 0 {
		parent = filepath.Join("/run/user", strconv.Itoa(uid))
	}
	fallback := plainRunDir(uid)
	if unix.Access(parent, unix.W_OK|unix.X_OK) != nil {
		return []string{fallback}
	}
	return []string{filepath.Join(parent, "workdir"), fallback}
}

// EnsureRunDir makes the run directory, or checks that it is private to this user. It
// returns its canonical path.
func EnsureRunDir(dir string) (string, error) {
	if dir == "" {
		dir = DefaultRunDir()
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return "", &Error{Path: dir, What: err.Error()}
	}
	w := runDirWalk{at: -1}
	defer w.close()
	if err := w.to(abs); err != nil {
		return "", &Error{Path: abs, What: "make run directory: " + err.Error(), Hint: "choose another run directory"}
	}
	var st unix.Stat_t
	if err := unix.Fstat(w.at, &st); err != nil {
		return "", &Error{Path: w.path, What: "run directory: " + err.Error()}
	}
	if int(st.Uid) != os.Geteuid() || st.Mode&0o077 != 0 {
		return "", &Error{Path: w.path, What: fmt.Sprintf("the run directory must be private: it has owner %d and mode %04o", st.Uid, st.Mode&0o7777),
			Hint: "chmod 700 it, or choose another run directory"}
	}
	return w.path, RefuseOwnMount(w.path, "the run directory")
}
