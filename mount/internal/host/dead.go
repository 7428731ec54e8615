package host

import (
	"errors"

	"golang.org/x/sys/unix"
)

// mountsAtOnePlace bounds how many dead mounts that lie on top of each other are detached.
const mountsAtOnePlace = 8

// DetachDead detaches the dead mounts of ours at the path of a record, and reports whether
// nothing else is mounted there. A device in the record is that of the only mount that may
// be detached; without one, all may.
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

// endedAt reports whether no server answers for a mount at the recorded path. An overlay
// goes on without its server, as far as it need not ask: there the record counts, whose
// session is dead.
func (r Record) endedAt(e MountEntry) bool {
	if e.isOverlay() {
		return r.Overlay && r.Dev == e.Dev
	}
	return isDead(string(r.Path))
}

// isDead reports whether the server of the mount at path is gone: the kernel
// answers ENOTCONN by itself then.
func isDead(path string) bool {
	var st unix.Statfs_t
	err := unix.Statfs(path, &st)
	return errors.Is(err, unix.ENOTCONN) || errors.Is(err, unix.ECONNABORTED)
}
