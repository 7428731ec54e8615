package fsupper

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/fs"
)

// treeTarget changes a tree.
type treeTarget struct {
	tree     *fs.Tree
	backing  *fs.BackingDir       // nil if content is copied
	detached map[uint64]*fs.Inode // each with a reference
}

func (to *treeTarget) detach(at spot, _ *fs.Inode) error {
	n, errno := to.tree.Detach(at.dir, at.name)
	if errno == 0 {
		to.detached[n.Ino()] = n
	}
	return orNil(errno)
}

func (to *treeTarget) unlink(at spot, _ *fs.Inode) error {
	return orNil(to.tree.Unlink(at.dir, at.name))
}

func (to *treeTarget) rmdir(at spot) error {
	return orNil(to.tree.Rmdir(at.dir, at.name))
}

func (to *treeTarget) attach(at spot, n *fs.Inode, _ *entry) error {
	if to.detached[n.Ino()] != nil {
		errno := to.tree.Attach(at.dir, at.name, n)
		if errno == 0 {
			delete(to.detached, n.Ino())
			to.tree.Unref(n, 1)
		}
		return orNil(errno)
	}
	errno := to.tree.Link(at.dir, at.name, n)
	if errno == unix.EPERM {
		return inconsistent("it shows a directory of lower that is shown in its own place too")
	}
	return orNil(errno)
}

func (to *treeTarget) create(at spot, e *entry) (*fs.Inode, error) {
	owner := fs.Owner{UID: e.st.Uid, GID: e.st.Gid}
	switch e.kind() {
	case unix.S_IFDIR:
		n, errno := to.tree.Mkdir(at.dir, at.name, e.st.Mode&fs.PermBits, owner)
		return n, orNil(errno)
	case unix.S_IFLNK:
		target, err := readLink(e.dir, e.name)
		if err != nil {
			return nil, err
		}
		n, errno := to.tree.Symlink(at.dir, at.name, target, owner)
		return n, orNil(errno)
	}
	n, errno := to.tree.Mknod(at.dir, at.name, e.st.Mode, uint32(e.st.Rdev), owner)
	return n, orNil(errno)
}

func (to *treeTarget) change(n *fs.Inode, e *entry, c *change) error {
	switch {
	case c.content == nil:
	case c.content.size == 0:
		c.set.Valid, c.set.Size = c.set.Valid|fs.SetSize, 0
	case to.backing == nil:
		if err := to.copy(n, e, c.content); err != nil {
			return err
		}
		c.set.Valid, c.set.Mtime = c.set.Valid|fs.SetMtime, timeOf(e.st.Mtim) // copying has changed it
	default:
		if err := to.adopt(n, e, c.content); err != nil {
			return err
		}
	}
	for _, name := range c.remove {
		if errno := to.tree.RemoveXattr(n, name); errno != 0 {
			return fmt.Errorf("extended attribute %q: %w", name, errno)
		}
	}
	for _, x := range c.xattrs {
		if errno := to.tree.SetXattr(n, x.Name, x.Value, 0); errno != 0 {
			return fmt.Errorf("extended attribute %q: %w", x.Name, errno)
		}
	}
	_, errno := to.tree.SetAttr(n, &c.set)
	return orNil(errno)
}

// adopt makes the file of e the content of n.
func (to *treeTarget) adopt(n *fs.Inode, e *entry, c *content) error {
	f, err := to.backing.Adopt(e.dir, e.name)
	if err != nil {
		return fmt.Errorf("adopt its content: %w", err)
	}
	if errno := to.tree.Adopt(n, f, c.size, e.st.Blocks*512, c.same); errno != 0 {
		return errors.Join(fmt.Errorf("adopt its content: %w", errno), f.Close())
	}
	return nil
}

func (to *treeTarget) setDirTime(dir *fs.Inode, mtime fs.Time) error {
	if to.tree.Attr(dir).Mtime == mtime {
		return nil
	}
	return orNil(to.tree.SetDirTime(dir, mtime))
}

func (to *treeTarget) finish() error {
	for ino := range to.detached {
		return inconsistent("inode %d of lower was moved, but nothing shows it", ino)
	}
	return nil
}
