package fusefs

import (
	"bytes"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// BDI holds the kernel's settings for the read-ahead and writeback of a mount
// (/sys/class/bdi). Only root of the initial user namespace may change them, and older
// kernels have fewer of them: a setting that is not allowed or does not exist stays as it
// is.
type BDI struct{ dir string }

// BDIOf returns the BDI of a mount by its device number, "major:minor". It exists as long
// as the mount.
func BDIOf(dev string) BDI { return BDI{"/sys/class/bdi/" + dev + "/"} }

// ReadAhead sets the read-ahead to 1 MiB. Call it after [Serve]: INIT resets it.
func (b BDI) ReadAhead() { b.set("read_ahead_kb", 1024) }

// The shares of a memory limit that the dirty pages of one mount should take, and may take
// at most.
const (
	dirtyShare = 32
	dirtyMost  = 8
)

// FitDirty sets how many pages of the mount may be dirty, and reports whether the memory
// has room for them; if not, the mount should be served with WriteThrough.
//
// limit is the memory limit of the control group that tools and server share, in bytes; 0
// is none. Without a limit the mount may have as many dirty pages as a disk: FUSE mounts
// start with 1 % of memory, at which a writer waits for the server. Under a limit that 1 %
// stays, and is lowered to a share of the limit: dirty pages count against the limit, the
// server needs memory to write them back, and reclaim can do nothing but wait for the
// server. FUSE ignores the group's own limit on dirty pages (SB_I_CGROUPWB).
func (b BDI) FitDirty(limit int64) bool {
	if limit == 0 {
		b.set("strict_limit", 0)
		b.set("max_ratio", 100)
		return true
	}
	if b.mostDirty() > limit/dirtyShare {
		b.set("max_bytes", limit/dirtyShare)
	}
	return b.mostDirty() <= limit/dirtyMost
}

// mostDirty returns how much may be dirty, in bytes. Kernels before 6.2 do not tell; the
// result is then their default.
func (b BDI) mostDirty() int64 {
	if text, err := os.ReadFile(b.dir + "max_bytes"); err == nil {
		if most, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64); err == nil {
			return most
		}
	}
	vmstat, _ := os.ReadFile("/proc/vmstat") // without it nothing is known, and nothing is changed
	for line := range bytes.Lines(vmstat) {
		if pages, ok := strings.CutPrefix(string(line), "nr_dirty_threshold "); ok {
			n, _ := strconv.ParseInt(strings.TrimSpace(pages), 10, 64)
			return n * int64(os.Getpagesize()) / 100
		}
	}
	return 0
}

func (b BDI) set(name string, value int64) {
	fd, err := unix.Open(b.dir+name, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	_, _ = unix.Write(fd, []byte(strconv.FormatInt(value, 10)))
	_ = unix.Close(fd)
}
