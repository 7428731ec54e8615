package archive

import (
	"context"
	"strings"
	"syscall"

	"github.com/workdir/workdir/fs"
)

// resolver follows symbolic links within a tree as realpath(3) would, to find those that
// Python's tarfile refuses with filter="data": those that are absolute or lead out of the
// directory unpacked into.
//
// Each link on the way of others is followed once, so that all links together take as many
// steps as their targets have names.
type resolver struct {
	tree  *fs.Tree
	dirs  trail // to the last link
	known map[linkAt]*walk
	// held are the visited inodes, with a reference to each: an inode keeps its pointer only
	// while it is referenced.
	held map[uint64]*fs.Inode
}

// hold takes over a reference, and returns the held inode.
func (r *resolver) hold(n *fs.Inode) *fs.Inode {
	if held := r.held[n.Ino()]; held != nil {
		r.tree.Unref(n, 1)
		return held
	}
	if r.held == nil {
		r.held = map[uint64]*fs.Inode{}
	}
	r.held[n.Ino()] = n
	return n
}

// release drops the references to the visited inodes.
func (r *resolver) release() {
	for _, n := range r.held {
		r.tree.Unref(n, 1)
	}
	r.held, r.known, r.dirs = nil, nil, nil
}

// maxFollowed is how many links are followed before they count as a loop, as in Linux.
const maxFollowed = 40

// linkAt is a symbolic link and the directory that its target is relative to; a link with
// several names can have several.
type linkAt struct{ dir, link *fs.Inode }

// walk is the way along a link's target.
type walk struct {
	rest string // of the target
	// the current position: missing names beneath dir that do not exist, or are not
	// directories.
	dir     *fs.Inode
	missing int

	followed int // links
	out      bool
	over     bool
}

// escapes reports whether the link at path leads out of the tree, by its text alone
// or by the links that it passes. A loop counts as leading out, since Python refuses it too.
// Errors: the tree's errno, ctx's.
func (r *resolver) escapes(ctx context.Context, path, target string) (bool, error) {
	if strings.HasPrefix(target, "/") {
		return true, nil
	}
	dir, _ := fs.Split(path)
	if climbs(dir, target) {
		return true, nil
	}
	if !strings.Contains(target, "/") {
		return false, nil // a name in the same directory, whose own entry is checked separately
	}
	from, err := r.directory(dir)
	if err != nil {
		return false, err
	}
	return r.follow(ctx, from, target)
}

// climbs reports whether target, seen from dir, leads above the root by its text.
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

// directory returns the directory of a clean path.
func (r *resolver) directory(path string) (*fs.Inode, error) {
	return r.dirs.follow(r.tree.Root(), path, func(dir *fs.Inode, name string) (*fs.Inode, error) {
		n, errno := r.lookup(dir, name)
		return n, packErr(path, errno)
	})
}

// lookup returns the inode of a name, and holds it.
func (r *resolver) lookup(dir *fs.Inode, name string) (*fs.Inode, syscall.Errno) {
	n, errno := r.tree.Lookup(dir, name)
	if errno != 0 {
		return nil, errno
	}
	return r.hold(n), 0
}

// follow reports whether target, seen from dir, leads out. Links on the way wait on a stack
// for the links that they pass.
func (r *resolver) follow(ctx context.Context, dir *fs.Inode, target string) (bool, error) {
	stack := []*walk{{dir: dir, rest: target}}
	for {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		w := stack[len(stack)-1]
		at, err := r.advance(w)
		if err != nil {
			return false, err
		}
		if passed := r.known[at]; at.link == nil || w.out {
			w.over, w.rest = true, ""
			if stack = stack[:len(stack)-1]; len(stack) == 0 {
				return w.out, nil
			}
			stack[len(stack)-1].pass(w)
		} else if passed != nil {
			w.pass(passed)
		} else if passed, err = r.enter(at); err != nil {
			return false, err
		} else {
			stack = append(stack, passed)
		}
	}
}

// enter begins to follow a link that has not been followed yet.
func (r *resolver) enter(at linkAt) (*walk, error) {
	target, errno := r.tree.Readlink(at.link)
	if errno != 0 {
		return nil, packErr("a symbolic link", errno)
	}
	w := &walk{dir: at.dir, rest: target, out: strings.HasPrefix(target, "/")}
	if r.known == nil {
		r.known = map[linkAt]*walk{}
	}
	r.known[at] = w
	return w, nil
}

// pass continues from where the link of passed leads. If that walk has not finished, it is on
// its own way: a loop.
func (w *walk) pass(passed *walk) {
	w.followed += 1 + passed.followed
	w.out = w.out || passed.out || !passed.over || w.followed > maxFollowed
	w.dir, w.missing = passed.dir, passed.missing
}

// advance continues until it meets a link, nothing is left, or it leads out.
func (r *resolver) advance(w *walk) (met linkAt, err error) {
	for w.rest != "" && !w.out {
		var name string
		name, w.rest, _ = strings.Cut(w.rest, "/")
		switch {
		case name == "" || name == ".":
		case name == "..":
			err = r.up(w)
		case w.missing > 0:
			w.missing++
		default:
			met, err = r.down(w, name)
		}
		if err != nil || met.link != nil {
			return met, err
		}
	}
	return linkAt{}, nil
}

func (r *resolver) up(w *walk) error {
	switch {
	case w.missing > 0:
		w.missing--
	case w.dir == r.tree.Root():
		w.out = true
	default:
		n, errno := r.tree.Parent(w.dir)
		if errno != 0 {
			return packErr("..", errno)
		}
		w.dir = r.hold(n)
	}
	return nil
}

// down goes to a name, unless it is a link.
func (r *resolver) down(w *walk, name string) (met linkAt, err error) {
	n, errno := r.lookup(w.dir, name)
	switch errno {
	case 0:
	case syscall.ENOENT, syscall.ENAMETOOLONG:
		w.missing = 1
		return linkAt{}, nil
	default:
		return linkAt{}, packErr(name, errno)
	}
	switch r.tree.Attr(n).Mode & syscall.S_IFMT {
	case syscall.S_IFLNK:
		return linkAt{w.dir, n}, nil
	case syscall.S_IFDIR:
		w.dir = n
	default:
		w.missing = 1
	}
	return linkAt{}, nil
}
