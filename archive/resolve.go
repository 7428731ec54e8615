package archive

import (
	"strings"
	"syscall"

	"github.com/workdir/workdir/fs"
)

// resolver follows symbolic links within a tree as realpath(3) would, to tell
// which ones Python's tarfile refuses with filter="data": those that are absolute
// or that lead out of the directory unpacked into.
type resolver struct {
	tree *fs.Tree
}

// maxFollowed is how many links are followed before it is a loop, as in Linux.
const maxFollowed = 40

// escapes tells whether the link at path leads out of the tree, by its text alone
// or by the links that it passes. A loop counts as leading out, since Python
// refuses one too.
func (r *resolver) escapes(path, target string) (bool, error) {
	if strings.HasPrefix(target, "/") {
		return true, nil
	}
	dir, _ := splitPath(path)
	if climbs(dir, target) {
		return true, nil
	}
	if !strings.Contains(target, "/") {
		return false, nil // a name beside it, whose own entry is looked at by itself
	}
	return r.follow(dir, target)
}

// climbs tells whether target, seen from dir, leads above the root by its text.
func climbs(dir, target string) bool {
	depth := 0
	if dir != "" {
		depth = strings.Count(dir, "/") + 1
	}
	for part := range strings.SplitSeq(target, "/") {
		switch part {
		case "", ".":
		case "..":
			if depth--; depth < 0 {
				return true
			}
		default:
			depth++
		}
	}
	return false
}

// follow walks target from dir, name by name.
func (r *resolver) follow(dir, target string) (bool, error) {
	var at []string
	if dir != "" {
		at = strings.Split(dir, "/")
	}
	todo := strings.Split(target, "/")
	for followed := 0; len(todo) > 0; {
		part := todo[0]
		todo = todo[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			if len(at) == 0 {
				return true, nil
			}
			at = at[:len(at)-1]
			continue
		}
		at = append(at, part)
		link, ok, err := r.readlink(at)
		if err != nil {
			return false, err
		}
		if !ok {
			continue
		}
		if followed++; followed > maxFollowed || strings.HasPrefix(link, "/") {
			return true, nil
		}
		at = at[:len(at)-1]
		todo = append(strings.Split(link, "/"), todo...)
	}
	return false, nil
}

// readlink gives the target of the link at path; ok is false where there is none.
func (r *resolver) readlink(path []string) (target string, ok bool, err error) {
	n := r.tree.Root()
	r.tree.Ref(n)
	defer func() { r.tree.Unref(n, 1) }()
	for _, name := range path {
		next, errno := r.tree.Lookup(n, name)
		switch errno {
		case 0:
		case syscall.ENOENT, syscall.ENOTDIR, syscall.ENAMETOOLONG:
			return "", false, nil
		default:
			return "", false, packErr(strings.Join(path, "/"), errno)
		}
		r.tree.Unref(n, 1)
		n = next
	}
	if r.tree.Attr(n).Mode&syscall.S_IFMT != syscall.S_IFLNK {
		return "", false, nil
	}
	target, errno := r.tree.Readlink(n)
	return target, true, packErr(strings.Join(path, "/"), errno)
}
