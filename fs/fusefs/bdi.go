package fusefs

import (
	"bytes"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// BDI is what the kernel keeps of a mount to read ahead and to write back
// (/sys/class/bdi). Only root of the initial user namespace may set it, and older
// kernels have less of it: what is not allowed or not there stays as it is.
type BDI struct{ dir string }

// BDIOf returns the BDI of a mount by its device number, "major:minor". It is there
// from the mount on.
func BDIOf(dev string) BDI { return BDI{"/sys/class/bdi/" + dev + "/"} }

// ReadAhead sets it to 1 MiB. Call it after [Serve], for INIT resets it.
func (b BDI) ReadAhead() { b.set("read_ahead_kb", 1024) }

// The shares of a memory limit that the pages of one mount which are not written back
// yet should take, and may take at most.
const (
	dirtyShare = 32
	dirtyMost  = 8
)

// FitDirty sets how many pages of the mount may be dirty, and reports whether the
// memory can spare as many; if not, the mount should be served with WriteThrough.
//
// limit is the memory limit of the control group that tools and server share, in
// bytes; 0 is none. Without one the mount may have as many dirty pages as a disk: FUSE
// mounts start at 1 % of memory, and a writer then waits for the server. In a limit
// that 1 % stays, and is lowered to a share of the limit: dirty pages count against it,
// the server that writes them back needs memory for that, and reclaim can do nothing
// but wait for the server. Of the group's own limit on dirty pages FUSE knows nothing
// (SB_I_CGROUPWB).
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

// mostDirty is how much may be dirty, in bytes. Kernels before 6.2 do not say; it is
// what they start with.
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
