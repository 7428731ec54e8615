package fsdir

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Remove removes a directory with all that is in it. It follows no symbolic link,
// does not go into other file systems, and opens directories that their owner may
// not change. One that is not there is no error. It removes as much as it can, and
// gives the first error.
func Remove(dir string) error {
	err := Clear(dir)
	if errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return err
	}
	return os.Remove(dir)
}

// Clear removes all that is in a directory, as Remove does, and leaves the directory.
func Clear(dir string) error {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: dir, Err: err}
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return &os.PathError{Op: "stat", Path: dir, Err: err}
	}
	if err := clearDir(fd, uint64(st.Dev)); err != nil {
		return fmt.Errorf("remove what is in %s: %w", dir, err)
	}
	return nil
}

// clearDir removes what is in a directory of the file system dev, of which fd is a
// descriptor by O_PATH.
func clearDir(fd int, dev uint64) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if uint64(st.Dev) != dev {
		return unix.EXDEV
	}
	const all = unix.S_IRWXU
	if st.Mode&all != all {
		_ = unix.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), all) // what cannot be removed then says so
	}
	names, err := namesOf(fd)
	if err != nil {
		return err
	}
	for _, name := range names {
		err = errors.Join(err, named(name, removeAt(fd, name, dev)))
	}
	return err
}

// removeAt removes one name.
func removeAt(dir int, name string, dev uint64) error {
	err := again(func() error { return unix.Unlinkat(dir, name, 0) })
	if err == nil || errors.Is(err, unix.ENOENT) {
		return nil
	}
	fd, openErr := openDirAt(dir, name, unix.O_PATH)
	if openErr != nil {
		return err // it is no directory
	}
	defer unix.Close(fd)
	if err := clearDir(fd, dev); err != nil {
		return err
	}
	return again(func() error { return unix.Unlinkat(dir, name, unix.AT_REMOVEDIR) })
}
