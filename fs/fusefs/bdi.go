package fusefs

import (
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// dirtyShare is the share of a memory limit that pages of one mount may take which are
// not written back yet.
const dirtyShare = 32

// TuneBDI sets what the kernel allows a mount in memory: read-ahead of 1 MiB, and
// where memory is not limited as many dirty pages as a disk may have (FUSE mounts
// start at 1 % of memory, and a writer then waits for the server). major and minor are
// the mount's device numbers, as stat(2) tells them. Call it after [Serve], for INIT
// resets the read-ahead.
//
// limit is the memory limit of the control group that tools and server share, in
// bytes; 0 is none. There the kernel's own limit on dirty pages stays, and is lowered
// to a share of the memory limit: dirty pages count against that, the server that
// writes them back needs memory for it, and reclaim can do nothing but wait for the
// server. FUSE pages are none that the group's own dirty limit is for
// (SB_I_CGROUPWB).
//
// It is an optimization, but for a limit: only root of the initial user namespace may
// do it, older kernels lack strict_limit and max_bytes. So errors are ignored.
func TuneBDI(major, minor uint32, limit int64) {
	dir := fmt.Sprintf("/sys/class/bdi/%d:%d/", major, minor)
	setBDI(dir+"read_ahead_kb", 1024)
	if limit == 0 {
		setBDI(dir+"strict_limit", 0)
		setBDI(dir+"max_ratio", 100)
		return
	}
	if most, ok := readBDI(dir + "max_bytes"); ok && most > limit/dirtyShare {
		setBDI(dir+"max_bytes", limit/dirtyShare)
	}
}

func setBDI(name string, value int64) {
	fd, err := unix.Open(name, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	_, _ = unix.Write(fd, []byte(strconv.FormatInt(value, 10)))
	_ = unix.Close(fd)
}

func readBDI(name string) (int64, bool) {
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, false
	}
	defer unix.Close(fd)
	buf := make([]byte, 32)
	n, err := unix.Read(fd, buf)
	if err != nil {
		return 0, false
	}
	value, err := strconv.ParseInt(strings.TrimSpace(string(buf[:n])), 10, 64)
	return value, err == nil
}
