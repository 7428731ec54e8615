package fs

import (
	"fmt"
	"iter"
	"strings"
	"syscall"
)

// A path leads from a directory down, its names joined by slashes; the directory itself is
// "". There is no slash in front, none at the end, and no "." or "..".

// Join returns the path of a name in a directory.
func Join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// Split returns the directory and the last name of a path: the reverse of Join.
func Split(path string) (dir, name string) {
	i := strings.LastIndexByte(path, '/')
	return path[:max(0, i)], path[i+1:]
}

// Names iterates over the names of a path. Two adjacent slashes have an empty name between
// them.
func Names(path string) iter.Seq[string] {
	return func(yield func(string) bool) {
		for rest, more := path, path != ""; more; {
			var name string
			if name, rest, more = strings.Cut(rest, "/"); !yield(name) {
				return
			}
		}
	}
}

// LookupPath follows a path from dir down and returns what it leads to, with a reference.
// It follows no symbolic link. Errors as Lookup.
func (t *Tree) LookupPath(dir *Inode, path string) (*Inode, syscall.Errno) {
	t.Ref(dir)
	for name := range Names(path) {
		next, errno := t.Lookup(dir, name)
		t.Unref(dir, 1)
		if errno != 0 {
			return nil, errno
		}
		dir = next
	}
	return dir, 0
}

// maxPath is how many bytes a path has at most: as many as a system call takes (PATH_MAX
// in linux/limits.h, without the zero at its end), and as an archive can have.
const maxPath = 4095

// TooLongError is for a path of more than 4,095 bytes. It is an ENAMETOOLONG.
type TooLongError struct{ Path string }

func (e *TooLongError) Error() string {
	return fmt.Sprintf("%q: %v: %d bytes, over %d", e.Path, syscall.ENAMETOOLONG, len(e.Path), maxPath)
}

// Unwrap returns ENAMETOOLONG.
func (e *TooLongError) Unwrap() error { return syscall.ENAMETOOLONG }

// CheckPath returns a *TooLongError for a path that is too long. Recursive walks call it,
// which also limits their depth.
func CheckPath(path string) error {
	if len(path) > maxPath {
		return &TooLongError{path}
	}
	return nil
}
