package fsupper

import (
	"errors"
	"fmt"
	iofs "io/fs"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/fs"
)

// dropAll removes the names that lead elsewhere in the final shape, in a directory and
// below.
func (a *applier) dropAll(d *dir) error {
	for _, name := range d.drops {
		if err := a.drop(spot{d.base, d.was(), name}); err != nil {
			return named(fs.Join(d.path(), name), err)
		}
	}
	d.drops = nil
	for _, child := range d.children {
		if err := a.dropAll(child); err != nil {
			return err
		}
	}
	return nil
}

// drop removes a name and everything below it, except what has a place in the final shape.
func (a *applier) drop(at spot) error {
	if err := a.ctx.Err(); err != nil {
		return err
	}
	n, errno := a.tree.Lookup(at.dir, at.name)
	if errno != 0 {
		return errno
	}
	defer a.tree.Unref(n, 1)
	attr := a.tree.Attr(n)
	switch isDir := attr.Mode&syscall.S_IFMT == syscall.S_IFDIR; {
	case isDir && a.dirs[n.Ino()] != nil, !isDir && attr.Nlink == 1 && a.moved[n.Ino()]:
		return a.to.detach(at, n)
	case !isDir:
		return a.to.unlink(at, n)
	}
	var names []string
	errno = a.tree.ReadDir(n, 0, func(e fs.Dirent) bool {
		names = append(names, e.Name)
		return true
	})
	if errno != 0 {
		return errno
	}
	path := at.path()
	for _, below := range names {
		if err := a.drop(spot{n, path, below}); err != nil {
			return err
		}
	}
	return a.to.rmdir(at)
}

// place puts a directory in its place and fills it.
func (a *applier) place(d *dir) error {
	path := d.path()
	mtime, err := a.placeHere(d, path)
	if err != nil {
		return a.passable(path, err)
	}
	if d.base == nil && d.inode != nil {
		defer a.tree.Unref(d.inode, 1)
	}
	for _, child := range d.children {
		if err := a.place(child); err != nil {
			return err
		}
	}
	return named(path, a.to.setDirTime(d.inode, mtime)) // after its names, which change it
}

// placeHere is place without the directories below. It returns the final mtime of the
// directory, which upper keeps only until files are moved out of it.
func (a *applier) placeHere(d *dir, path string) (mtime fs.Time, err error) {
	fd, err := a.upper.openDir(path)
	if err != nil {
		return mtime, err
	}
	defer unix.Close(fd)
	e, err := a.upper.entry(fd, ".", path, false)
	if err != nil {
		return mtime, err
	}
	if err := a.directory(d, e); err != nil {
		return mtime, err
	}
	return timeOf(e.st.Mtim), list(fd, func(name string, kind iofs.FileMode) error {
		if err := a.ctx.Err(); err != nil || kind.IsDir() {
			return err
		}
		at := spot{d.inode, path, name}
		return a.passable(at.path(), a.placeFile(d, fd, at))
	})
}

// directory puts d, which is e in upper, in its place.
func (a *applier) directory(d *dir, e *entry) (err error) {
	switch {
	case d.parent == nil:
		if e.st.Mode&fs.PermBits == a.opts.RootPerm && a.opts.RootPerm != 0 {
			e.st.Mode = a.tree.Attr(d.inode).Mode
		}
	case d.base == nil:
		d.inode, err = a.to.create(spot{d.parent.inode, d.parent.path(), d.name}, e)
	default:
		d.inode = d.base
		err = a.name(spot{d.parent.inode, d.parent.path(), d.name}, d.base, e)
	}
	if err != nil {
		return err
	}
	return a.update(d.inode, e)
}

// name makes a name lead to n, which is e in upper, unless it already does.
func (a *applier) name(at spot, n *fs.Inode, e *entry) error {
	leads, err := a.lookup(at.dir, at.name)
	if err != nil || n != nil && leads == n.Ino() {
		return err
	}
	return a.to.attach(at, n, e)
}

// placeFile puts anything but a directory in its place.
func (a *applier) placeFile(d *dir, fd int, at spot) error {
	e, err := a.upper.entry(fd, at.name, at.path(), !d.marked)
	if err != nil || isWhiteout(&e.st) {
		return err
	}
	if n, known := a.links[e.st.Ino]; known {
		return a.name(at, n, e)
	}
	var n *fs.Inode
	if e.origin == 0 {
		n, err = a.to.create(at, e)
	} else if n, err = a.original(e); err == nil {
		err = a.name(at, n, e)
	}
	if n != nil {
		defer a.tree.Unref(n, 1)
	}
	if err != nil {
		return err
	}
	return a.fill(n, e)
}

// fill gives n the state that it has in upper, and remembers n if it may have more names.
func (a *applier) fill(n *fs.Inode, e *entry) error {
	if e.st.Nlink > 1 {
		if a.links[e.st.Ino] = n; n != nil {
			a.tree.Ref(n)
		}
	}
	return a.update(n, e)
}

// original returns the inode of the tree that an entry was copied from, with a reference.
func (a *applier) original(e *entry) (*fs.Inode, error) {
	n, errno := a.tree.Find(e.origin)
	switch {
	case errno == syscall.ESTALE:
		return nil, fmt.Errorf("%w: inode %d", errNotThere, e.origin)
	case errno != 0:
		return nil, errno
	}
	err := error(nil)
	if kind := a.tree.Attr(n).Mode & syscall.S_IFMT; kind != e.kind() {
		err = inconsistent("its origin is inode %d, which is of another kind (%#o, not %#o)", e.origin, kind, e.kind())
	} else if !a.taken.add(e.origin) {
		err = inconsistent("its origin is inode %d, which another file stands for", e.origin)
	}
	if err != nil {
		a.tree.Unref(n, 1)
		return nil, err
	}
	return n, nil
}

// indexed applies the files of the index to which no name in upper leads: they stand for
// files whose remaining names are all in lower.
func (a *applier) indexed(index int) error {
	err := list(index, func(name string, kind iofs.FileMode) error {
		if err := a.ctx.Err(); err != nil || kind.IsDir() {
			return err
		}
		return a.passable("index/"+name, a.placeIndexed(index, name))
	})
	return a.passable("index", err)
}

func (a *applier) placeIndexed(index int, name string) error {
	node, err := indexNode(name)
	if err != nil || node == 0 {
		return err
	}
	e, err := a.upper.entry(index, name, "index/"+name, false)
	if err != nil || isWhiteout(&e.st) {
		return err
	}
	if _, known := a.links[e.st.Ino]; known {
		return nil
	}
	e.origin, e.indexed = node, true
	n, err := a.original(e)
	if errors.Is(err, errNotThere) {
		return nil // it has lost its last name
	}
	if err != nil {
		return err
	}
	defer a.tree.Unref(n, 1)
	return a.update(n, e)
}
