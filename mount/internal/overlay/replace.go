package overlay

import "golang.org/x/sys/unix"

// ReplaceByDead detaches the top overlay at dir and puts a FUSE mount in its place that
// answers every request with ENOTCONN, because its server, which has the open /dev/fuse, is
// gone. It takes over fuse and returns the number of the new device.
func ReplaceByDead(dir string, fuse int, source, subtype string) (device string, err error) {
	fd, err := Lower(fuse, source, subtype, unix.Getpagesize())
	if err == nil {
		defer unix.Close(fd)
		device, err = deviceOf(fd)
	}
	unix.Close(fuse)
	if err != nil {
		return "", err
	}
	// Beneath the overlay, so that the bare directory is never visible (Linux 6.5).
	err = attach(fd, dir, moveBeneath)
	if detachErr := unix.Unmount(dir, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); detachErr != nil {
		return "", detachErr
	}
	if err != nil {
		err = attach(fd, dir, 0)
	}
	return device, err
}

// moveBeneath is MOVE_MOUNT_BENEATH of <linux/mount.h>.
const moveBeneath = 0x200

// attach attaches a mount at a directory.
func attach(fd int, dir string, flags int) error {
	return unix.MoveMount(fd, "", unix.AT_FDCWD, dir, unix.MOVE_MOUNT_F_EMPTY_PATH|flags)
}
