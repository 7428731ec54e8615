package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks is how many symbolic links a path may have, as in path_resolution(7).
const maxLinks = 40

// runDirWalk goes to a directory name by name and makes what is missing, private to this
// user. It follows only symbolic links of root and of this user: in a world-writable
// directory such as /tmp, links of others could lead anywhere (compare
// fs.protected_symlinks, proc_sys_fs(5)).
type runDirWalk struct {
	at    int    // descriptor of the directory at path; -1 before the first
	path  string // canonical
	links int
}

func (w *runDirWalk) close() {
	if w.at >= 0 {
		_ = unix.Close(w.at)
	}
}

// to goes to a path, relative to where the walk is unless the path is absolute.
func (w *runDirWalk) to(path string) error {
	if filepath.IsAbs(path) {
		if err := w.enter(unix.AT_FDCWD, "/"); err != nil {
			return err
		}
		w.path = "/"
	}
	for name := range strings.SplitSeq(path, "/") {
		if name == "" || name == "." {
			continue
		}
		if err := w.step(name); err != nil {
			return err
		}
	}
	return nil
}

func (w *runDirWalk) enter(dir int, name string) error {
	fd, err := unix.Openat(dir, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return &os.PathError{Op: "open", Path: filepath.Join(w.path, name), Err: err}
	}
	w.close()
	w.at = fd
	return nil
}

// step goes to one name or "..", or to the target of a symbolic link.
func (w *runDirWalk) step(name string) error {
	path := filepath.Join(w.path, name)
	var st unix.Stat_t
	err := unix.Fstatat(w.at, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		if err := unix.Mkdirat(w.at, name, 0o700); err != nil && !errors.Is(err, unix.EEXIST) {
			return &os.PathError{Op: "mkdir", Path: path, Err: err}
		}
		err = unix.Fstatat(w.at, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	}
	if err != nil {
		return &os.PathError{Op: "stat", Path: path, Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK {
		err := w.enter(w.at, name)
		if err == nil {
			w.path = path
		}
		return err
	}
	if st.Uid != 0 && int(st.Uid) != os.Geteuid() {
		return fmt.Errorf("%s is a symbolic link that belongs to user %d, and is not followed", path, st.Uid)
	}
	if w.links++; w.links > maxLinks {
		return &os.PathError{Op: "open", Path: path, Err: unix.ELOOP}
	}
	buf := make([]byte, unix.PathMax)
	n, err := unix.Readlinkat(w.at, name, buf)
	if err != nil {
		return &os.PathError{Op: "readlink", Path: path, Err: err}
	}
	return w.to(string(buf[:n]))
}
