package fsupper

import (
	"cmp"
	iofs "io/fs"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/fs"
)

// dir is a directory of upper in the final shape.
type dir struct {
	parent   *dir // nil: the root
	name     string
	base     *fs.Inode // the directory that it merges with, a reference; nil for none
	redirect string    // where base is, see applier.follow
	inode    *fs.Inode // the directory in the tree; set when it is placed; nil if the target makes none
	children []*dir
	drops    []string // names in base that will lead to something else, or nowhere
	marked   bool     // files in it have extended attributes
}

// path returns the path from the root, without a slash in front.
func (d *dir) path() string {
	if d.parent == nil {
		return ""
	}
	return fs.Join(d.parent.path(), d.name)
}

// was returns the path of base in the tree.
func (d *dir) was() string {
	switch {
	case d.parent == nil:
		return ""
	case strings.HasPrefix(d.redirect, "/"):
		return d.redirect[1:]
	}
	return fs.Join(d.parent.was(), cmp.Or(d.redirect, d.name))
}

// plan finds the final shape, given that the tree has not changed.
func (a *applier) plan() error {
	a.root = &dir{base: a.tree.Root(), inode: a.tree.Root()}
	a.tree.Ref(a.root.base)
	a.dirs[a.root.base.Ino()] = a.root
	return a.scan(a.root)
}

// scan plans a directory and everything below it.
func (a *applier) scan(d *dir) error {
	path := d.path()
	if err := a.scanNames(d, path); err != nil {
		return a.passable(path, err)
	}
	for _, child := range d.children {
		if err := a.scan(child); err != nil {
			return err
		}
	}
	return nil
}

// scanNames plans the names of a directory. Only the lowest directory of the walk is open.
func (a *applier) scanNames(d *dir, path string) error {
	if err := fs.CheckPath(path); err != nil {
		return err
	}
	fd, err := a.upper.openDir(path)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return list(fd, func(name string, kind iofs.FileMode) error {
		if err := a.ctx.Err(); err != nil {
			return err
		}
		return a.passable(fs.Join(path, name), a.scanName(d, fd, name, kind))
	})
}

// scanName plans one name.
func (a *applier) scanName(d *dir, fd int, name string, kind iofs.FileMode) error {
	hidden, err := a.lookup(d.base, name)
	if err != nil {
		return err
	}
	leads := uint64(0) // the inode of the tree to which the name will lead
	switch {
	case kind.IsDir():
		leads, err = a.scanDir(d, fd, name)
	case kind&iofs.ModeCharDevice != 0:
		var st unix.Stat_t
		if st, err = statAt(fd, name); err == nil && isWhiteout(&st) {
			break
		}
		fallthrough
	default:
		leads, err = a.scanFile(d, fd, name, hidden)
	}
	if err == nil && hidden != 0 && hidden != leads {
		d.drops = append(d.drops, name)
	}
	return err
}

// scanDir plans a directory, and returns the number of the directory that it merges with.
func (a *applier) scanDir(parent *dir, fd int, name string) (uint64, error) {
	m, err := a.upper.marks(fd, name)
	if err != nil {
		return 0, err
	}
	base, err := a.merged(parent, name, &m)
	if err != nil {
		return 0, err
	}
	child := &dir{parent: parent, name: name, base: base, redirect: m.redirect}
	if base == nil {
		parent.children = append(parent.children, child)
		return 0, nil
	}
	if other := a.dirs[base.Ino()]; other != nil {
		a.tree.Unref(base, 1)
		return 0, inconsistent("it shows the directory of lower that %q shows", other.path())
	}
	a.dirs[base.Ino()] = child
	parent.children = append(parent.children, child)
	return base.Ino(), nil
}

// merged returns the directory of the tree that a directory of upper merges with, with a
// reference; nil for none (ovl_lookup in the kernel's fs/overlayfs/namei.c).
func (a *applier) merged(parent *dir, name string, m *marks) (*fs.Inode, error) {
	if m.opaque {
		return nil, nil
	}
	base, err := a.follow(parent.base, name, m.redirect)
	if err != nil {
		return nil, err
	}
	isDir := base != nil && a.tree.Attr(base).Mode&syscall.S_IFMT == syscall.S_IFDIR
	switch {
	case !isDir && m.redirect != "":
		err = inconsistent("its redirect %q leads to no directory of lower", m.redirect)
	case !isDir && m.origin != 0:
		err = inconsistent("its origin is inode %d, but lower has no such directory there", m.origin)
	case isDir && m.origin != 0 && m.origin != base.Ino():
		err = inconsistent("its origin is inode %d, but lower has inode %d there", m.origin, base.Ino())
	}
	if base != nil && (!isDir || err != nil) {
		a.tree.Unref(base, 1)
		base = nil
	}
	return base, err
}

// follow returns the inode of the tree below an entry of upper, with a reference; nil for
// none. A redirect is a path from the root, or a name in the directory that the parent
// merges with, not in the one where the entry is shown.
func (a *applier) follow(parent *fs.Inode, name, redirect string) (*fs.Inode, error) {
	switch {
	case strings.HasPrefix(redirect, "/"):
		return a.find(a.tree.Root(), redirect[1:])
	case redirect != "":
		name = redirect
	}
	if parent == nil {
		return nil, nil
	}
	return a.find(parent, name)
}

// find returns what a path leads to from a directory, with a reference; nil for nothing.
func (a *applier) find(dir *fs.Inode, path string) (*fs.Inode, error) {
	n, errno := a.tree.LookupPath(dir, path)
	switch errno {
	case syscall.ENOENT, syscall.ENOTDIR, syscall.EINVAL, syscall.ENAMETOOLONG:
		return nil, nil
	}
	return n, orNil(errno)
}

// lookup returns the number of the inode that a name leads to in a directory of the tree; 0
// for none, or if the directory is nil.
func (a *applier) lookup(dir *fs.Inode, name string) (uint64, error) {
	if dir == nil {
		return 0, nil
	}
	n, errno := a.tree.Lookup(dir, name)
	switch errno {
	case 0:
		defer a.tree.Unref(n, 1)
		return n.Ino(), nil
	case syscall.ENOENT:
		return 0, nil
	}
	return 0, errno
}

// scanFile plans anything but a directory, and returns the number of its origin. hidden is
// what the name leads to in base.
func (a *applier) scanFile(parent *dir, fd int, name string, hidden uint64) (uint64, error) {
	m, err := a.upper.marks(fd, name)
	parent.marked = parent.marked || m.some
	if err != nil || m.origin == 0 {
		return 0, err
	}
	if m.metacopy && m.redirect != "" {
		if err := a.checkRedirect(parent, name, &m); err != nil {
			return 0, err
		}
	}
	if m.origin != hidden {
		a.moved[m.origin] = true
	}
	return m.origin, nil
}

// checkRedirect compares the redirect of a file whose content is in lower with its origin.
func (a *applier) checkRedirect(parent *dir, name string, m *marks) error {
	n, err := a.follow(parent.base, name, m.redirect)
	if err != nil {
		return err
	}
	if n == nil {
		return inconsistent("its redirect %q leads nowhere in lower", m.redirect)
	}
	defer a.tree.Unref(n, 1)
	if n.Ino() != m.origin {
		return inconsistent("its redirect %q leads to inode %d of lower, but its origin is %d", m.redirect, n.Ino(), m.origin)
	}
	return nil
}
