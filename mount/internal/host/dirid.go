package host

import (
	"os"

	"golang.org/x/sys/unix"
)

// DirID identifies a directory for good, whatever its name: the inode number of a removed
// directory may be reused, but by one with a later birth time.
type DirID struct {
	Major uint32 `json:"major"`
	Minor uint32 `json:"minor"`
	Ino   uint64 `json:"ino"`
	Born  int64  `json:"born,omitempty"` // nanoseconds since 1970; 0 where the file system does not know it
}

// DirIDOf returns the identity of a directory. It does not follow a symbolic link.
func DirIDOf(dir string) (DirID, error) { return dirIDAt(unix.AT_FDCWD, dir, dir) }

// DirIDOfFD is DirIDOf for an open directory; path is for messages.
func DirIDOfFD(fd int, path string) (DirID, error) { return dirIDAt(fd, "", path) }

func dirIDAt(fd int, name, path string) (DirID, error) {
	var st unix.Statx_t
	err := unix.Statx(fd, name, unix.AT_SYMLINK_NOFOLLOW|unix.AT_EMPTY_PATH, unix.STATX_INO|unix.STATX_BTIME, &st)
	if err != nil {
		return DirID{}, &os.PathError{Op: "statx", Path: path, Err: err}
	}
	id := DirID{Major: st.Dev_major, Minor: st.Dev_minor, Ino: st.Ino}
	if st.Mask&unix.STATX_BTIME != 0 {
		id.Born = st.Btime.Sec*1e9 + int64(st.Btime.Nsec)
	}
	return id, nil
}
