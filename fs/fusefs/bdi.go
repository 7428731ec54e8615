package fusefs

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// TuneBDI sets what the kernel allows a mount in memory: read-ahead of 1 MiB, and
// as many dirty pages as a disk may have (FUSE mounts start at 1 % of memory, and
// a writer then waits for the server). major and minor are the mount's device
// numbers, as stat(2) tells them. Call it after [Serve], for INIT resets the
// read-ahead.
//
// It is an optimization: only root of the initial user namespace may do it, older
// kernels lack strict_limit, and nothing depends on it. So errors are ignored.
func TuneBDI(major, minor uint32) {
	dir := fmt.Sprintf("/sys/class/bdi/%d:%d/", major, minor)
	for _, s := range []struct{ name, value string }{
		{"read_ahead_kb", "1024"},
		{"strict_limit", "0"},
		{"max_ratio", "100"},
	} {
		fd, err := unix.Open(dir+s.name, unix.O_WRONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			continue
		}
		_, _ = unix.Write(fd, []byte(s.value))
		_ = unix.Close(fd)
	}
}
