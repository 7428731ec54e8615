package fs

import (
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// SetInodes changes how many files and directories a tmpfs home may have (nr_inodes=);
// further names of a file count, as on any tmpfs. ENOTSUP for another home, ENOSPC if more
// exist.
func SetInodes(h Home, inodes int64) error {
	tmpfs, ok := h.(*tmpfsHome)
	if !ok {
		return syscall.ENOTSUP
	}
	return tmpfs.reconfigure("nr_inodes", inodes+1) // the kernel also counts the root directory
}

// reconfigure changes a numeric option of the tmpfs (mm/shmem.c, shmem_reconfigure). ENOSPC
// if more is in use.
func (h *tmpfsHome) reconfigure(option string, value int64) error {
	ctx, err := unix.Fspick(int(h.root.Load()), "", unix.FSPICK_EMPTY_PATH|unix.FSPICK_CLOEXEC)
	if err != nil {
		return err
	}
	defer closeFD(ctx)
	if err := unix.FsconfigSetString(ctx, option, strconv.FormatInt(value, 10)); err != nil {
		return err
	}
	err = unix.FsconfigReconfigure(ctx)
	if err == syscall.EINVAL {
		return syscall.ENOSPC
	}
	return err
}
