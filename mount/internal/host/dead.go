package host

import (
	"errors"

	"golang.org/x/sys/unix"
)

// mountsAtOnePlace bounds how many dead mounts that lie on top of each other are detached.
const mountsAtOnePlace = 8

// DetachDead detaches the dead mounts of ours at a path, and reports whether nothing else
// is mounted there. dev, "major:minor", is the only one that may be detached; "": any.
func DetachDead(path, dev string) bool {
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
		if !e.IsOurs() || dev != "" && dev != e.Dev || !isDead(path) || Detach(path) != nil {
			return false
		}
	}
	return true
}

// isDead reports whether the server of the mount at path is gone: the kernel
// answers ENOTCONN by itself then.
func isDead(path string) bool {
	var st unix.Statfs_t
	err := unix.Statfs(path, &st)
	return errors.Is(err, unix.ENOTCONN) || errors.Is(err, unix.ECONNABORTED)
}
