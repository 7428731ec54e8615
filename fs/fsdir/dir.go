package fsdir

import (
	"errors"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/internal/eintr"
)

// Dir is an open directory. All access goes through its descriptor, so it stays the same
// directory even if the path that led to it is changed.
type Dir struct {
	fd   int    // opened with O_RDONLY; immutable
	path string // for messages; immutable
}

// OpenDir opens a directory. The caller closes it.
func OpenDir(path string) (*Dir, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return &Dir{fd, path}, nil
}

// OpenCanonical opens a directory by an absolute path without symbolic links; it returns
// ENOTDIR if a name in the path is one.
func OpenCanonical(path string) (*Dir, error) {
	root, err := unix.Open("/", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: "/", Err: err}
	}
	defer unix.Close(root)
	d := &Dir{path: path}
	rest := strings.Trim(path, "/")
	if rest == "" {
		rest = "."
	}
	err = beneath(root, rest, func(dir int, name string) (err error) {
		d.fd, err = openDirAt(dir, name, unix.O_RDONLY)
		return err
	})
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return d, nil
}

// Close closes the directory.
func (d *Dir) Close() { _ = unix.Close(d.fd) }

// FD returns the descriptor, for a search for the processes that use the directory.
func (d *Dir) FD() int { return d.fd }

// IsEmpty reports whether the directory is empty.
func (d *Dir) IsEmpty() (bool, error) {
	names, err := namesOf(d.fd)
	if err != nil {
		return false, &os.PathError{Op: "read", Path: d.path, Err: err}
	}
	return len(names) == 0, nil
}

// Files returns the files of the directory. The caller closes them after the tree that was
// filled from them.
func (d *Dir) Files() (*Files, error) {
	fd, err := unix.FcntlInt(uintptr(d.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "dup", Path: d.path, Err: err}
	}
	return &Files{root: fd}, nil
}

// descent walks a directory of any depth and keeps only the lowest directory open. It goes
// up by "..", and only to the directory that it came from; if ".." leads anywhere else, the
// error is ErrChanged.
type descent struct {
	root  int      // immutable; not closed
	at    int      // where the walk is
	above []diskID // the directories above at, the highest first
}

func newDescent(root int) *descent { return &descent{root: root, at: root} }

// enter goes down to a directory; access is O_RDONLY or O_PATH. On error the walk stays
// where it is.
func (d *descent) enter(name string, access int) error {
	above, err := idOf(d.at)
	if err != nil {
		return err
	}
	fd, err := openDirAt(d.at, name, access)
	if err != nil {
		return err
	}
	d.moveTo(fd)
	d.above = append(d.above, above)
	return nil
}

// leave goes up one directory. After an error the walk cannot go on.
func (d *descent) leave(access int) error {
	last := len(d.above) - 1
	want := d.above[last]
	fd := d.root
	if last > 0 {
		var err error
		if fd, err = openDirAt(d.at, "..", access); err != nil {
			return err
		}
	}
	d.moveTo(fd)
	d.above = d.above[:last]
	if now, err := idOf(fd); err != nil || now != want {
		return errors.Join(ErrChanged, err)
	}
	return nil
}

func (d *descent) moveTo(fd int) {
	if d.at != d.root {
		_ = unix.Close(d.at)
	}
	d.at = fd
}

func (d *descent) close() { d.moveTo(d.root) }

func idOf(fd int) (diskID, error) {
	var st unix.Stat_t
	err := eintr.Retry(func() error { return unix.Fstat(fd, &st) })
	return diskID{uint64(st.Dev), st.Ino}, err
}
