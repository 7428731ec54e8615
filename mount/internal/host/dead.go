package host

import (
	"errors"

	"golang.org/x/sys/unix"
)

// mountsAtOnePlace limits how many dead mounts on top of each other are detached.
const mountsAtOnePlace = 8

// DetachDead detaches our dead mounts at the path of a record, and reports whether nothing
// else is mounted there. If the record has a device, only the mount of that device may be
// detached.
func DetachDead(r Record) bool {
	path := string(r.Path)
	for range mountsAtOnePlace {
		if IsNoMountpoint(path) {
			break
		}
		table, err := MountTable("self")
		if err != nil {
			return false
		}
		e, ok := TopMountAt(table, path)
		if !ok {
			break
		}
		if !e.IsOurs() || r.Dev != "" && r.Dev != e.Dev || !r.endedAt(e) || Detach(path) != nil {
			return false
		}
	}
	return true
}

// endedAt reports whether the mount at the recorded path has lost its server. An overlay
// keeps working without its server as long as it needs no answer; for one, the record
// decides: its session is dead.
func (r Record) endedAt(e MountEntry) bool {
	if e.isOverlay() {
		return r.Overlay && r.Dev == e.Dev
	}
	return isDead(string(r.Path))
}

// isDead reports whether the server of the mount at path is gone: the kernel then answers
// ENOTCONN by itself.
func isDead(path string) bool {
	var st unix.Statfs_t
	err := unix.Statfs(path, &st)
	return errors.Is(err, unix.ENOTCONN) || errors.Is(err, unix.ECONNABORTED)
}
