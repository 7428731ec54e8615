package archive

import (
	"strings"

	"github.com/workdir/workdir/fs"
)

// cleanName returns the path that an archive's name stands for, without "./", leading, doubled
// or trailing slashes; the root is "". slash reports that the name can only be a directory's.
// Names that are empty, hold a NUL or climb with ".." are refused with a *FormatError.
func cleanName(raw string) (path string, slash bool, err error) {
	if err := checkName(raw); err != nil {
		return "", false, err
	}
	slash = strings.HasSuffix(raw, "/") || strings.HasSuffix(raw, "/.")
	path = strings.Trim(raw, "/")
	if !dirty(path) {
		return path, slash, nil
	}
	parts := make([]string, 0, 16)
	for part := range strings.SplitSeq(path, "/") {
		switch part {
		case "", ".":
		case "..":
			return "", false, formatErr(raw, `the name climbs out of its directory with ".."`)
		default:
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, "/"), slash, nil
}

// dirty reports whether a component of path is empty, "." or "..".
func dirty(path string) bool {
	for part := range strings.SplitSeq(path, "/") {
		if part == "" || part == "." || part == ".." {
			return true
		}
	}
	return false
}

func checkName(raw string) error {
	switch {
	case raw == "":
		return formatErr("", "an entry has an empty name")
	case strings.IndexByte(raw, 0) >= 0:
		return formatErr(raw, "the name holds a NUL byte")
	}
	return nil
}

// trail is the chain of directories to the last path that was followed, without the root:
// entries mostly come directory by directory.
type trail []step

// step is one directory of a trail.
type step struct {
	name string
	dir  *fs.Inode
}

// follow returns the directory of a clean path. It calls enter for each directory that is
// not on the trail, and returns its first error.
func (t *trail) follow(root *fs.Inode, path string, enter func(dir *fs.Inode, name string) (*fs.Inode, error)) (*fs.Inode, error) {
	dir, depth := root, 0
	for name := range fs.Names(path) {
		if depth == len(*t) || (*t)[depth].name != name {
			*t = (*t)[:depth]
			next, err := enter(dir, name)
			if err != nil {
				return nil, err
			}
			*t = append(*t, step{name, next})
		}
		dir = (*t)[depth].dir
		depth++
	}
	return dir, nil
}
