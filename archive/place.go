package archive

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"

	"github.com/workdir/workdir/fs"
)

// How entries are created in the tree, and replace earlier ones.

// mkdir creates the directory name in dir, or reuses the existing one, which was counted then.
func (l *unpacker) mkdir(dir *fs.Inode, path, name string, h *header) error {
	n, errno := l.tree.Lookup(dir, name)
	if errno == 0 {
		l.tree.Unref(n, 1)
		if l.dirs[n] != nil {
			return l.directory(n, h)
		}
		if err := l.remove(dir, name, h); err != nil {
			return err
		}
	}
	if err := l.meter.name(path); err != nil {
		return err
	}
	n, errno = l.tree.Mkdir(dir, name, h.mode, l.owner(h))
	if errno != 0 {
		return treeErr(h.name, errno)
	}
	l.dirs[n] = &dirState{}
	return l.directory(n, h)
}

// directory sets the attributes of the directory n from its entry h.
func (l *unpacker) directory(n *fs.Inode, h *header) error {
	*l.dirs[n] = dirState{mtime: h.mtime, known: true, given: true}
	names, errno := l.tree.ListXattr(n)
	if errno != 0 {
		return treeErr(h.name, errno)
	}
	for _, name := range slices.Backward(names) { // removing the last one is cheapest
		if errno := l.tree.RemoveXattr(n, name); errno != 0 {
			return treeErr(h.name, errno)
		}
	}
	if err := l.setAttr(n, h); err != nil {
		return err
	}
	return l.setXattrs(n, h)
}

// link makes a hard link to an earlier file of any kind, as link(2) does. A name that the file
// already has is kept.
func (l *unpacker) link(dir *fs.Inode, path, name string, h *header) error {
	target, _, err := cleanName(h.link)
	if err != nil {
		return formatErr(h.name, "it is a hard link to %s, which no entry can be", quote(h.link))
	}
	l.warnAbsolute(h, h.link)
	n, err := l.find(target, h)
	if err != nil {
		return err
	}
	defer l.tree.Unref(n, 1)
	there, errno := l.tree.Lookup(dir, name)
	if errno == 0 {
		l.tree.Unref(there, 1)
	}
	switch {
	case there == n:
		return nil
	case l.dirs[n] != nil:
		return formatErr(h.name, "it is a hard link to %s, which is a directory", quote(target))
	case strings.HasPrefix(target, path+"/"):
		return formatErr(h.name, "it is a hard link to what it replaces")
	}
	if err := l.remove(dir, name, h); err != nil {
		return err
	}
	return treeErr(h.name, l.tree.Link(dir, name, n))
}

// find returns the inode of a clean path, with a reference.
func (l *unpacker) find(path string, h *header) (*fs.Inode, error) {
	n, errno := l.tree.LookupPath(l.tree.Root(), path)
	switch errno {
	case syscall.ENOENT, syscall.ENOTDIR, syscall.ENAMETOOLONG:
		return nil, formatErr(h.name, "it is a hard link to %s, which is no file before it in the archive", quote(path))
	}
	return n, treeErr(h.name, errno)
}

// create creates an entry that is neither a directory nor a hard link.
func (l *unpacker) create(dir *fs.Inode, name string, h *header) error {
	n, err := l.make(dir, name, h)
	if errors.Is(err, errExists) {
		if err := l.remove(dir, name, h); err != nil {
			return err
		}
		n, err = l.make(dir, name, h)
	}
	if err != nil {
		return err
	}
	defer l.tree.Unref(n, 1)
	if h.kind == kindFile && h.size > 0 {
		if err := l.content(n, h); err != nil {
			return err
		}
	}
	if err := l.setAttr(n, h); err != nil {
		return err
	}
	return l.setXattrs(n, h)
}

const errExists = syscall.EEXIST

func (l *unpacker) make(dir *fs.Inode, name string, h *header) (n *fs.Inode, err error) {
	var errno syscall.Errno
	if h.kind == kindSymlink {
		n, errno = l.tree.Symlink(dir, name, h.link, l.owner(h))
	} else {
		n, errno = l.tree.Mknod(dir, name, h.kind.format()|l.mode(h), h.rdev, l.owner(h))
	}
	if errno == errExists {
		return nil, errExists
	}
	return n, treeErr(h.name, errno)
}

// content streams the data of the current entry into the spool.
func (l *unpacker) content(n *fs.Inode, h *header) (err error) {
	if l.spool == nil {
		if l.spool, err = l.tree.NewSpool(); err != nil {
			return fmt.Errorf("unpack %s: %w", quote(h.name), err)
		}
	}
	src := &contentReader{l: l}
	var base fs.Base
	if h.holes {
		base, err = l.spool.AddSparse(src, h.size, h.sparse)
	} else {
		base, err = l.spool.Add(src)
	}
	switch {
	case src.err != nil:
		return src.err
	case err != nil:
		return fmt.Errorf("unpack %s: %w", quote(h.name), err)
	case base.Size() != h.size:
		return formatErr(h.name, "it has %d bytes and says %d", base.Size(), h.size)
	}
	return treeErr(h.name, l.tree.SetBase(n, base))
}

// contentReader reads the data of the current entry and keeps the first error, to distinguish
// it from the spool's own.
type contentReader struct {
	l   *unpacker
	err error
}

func (c *contentReader) Read(p []byte) (int, error) {
	n, err := c.l.tar.Read(p)
	if err != nil && err != io.EOF {
		c.err = err
	}
	c.l.progress(progressStep)
	return n, err
}

// remove removes name in dir with everything beneath it; the name need not exist.
func (l *unpacker) remove(dir *fs.Inode, name string, h *header) error {
	errno := l.tree.Unlink(dir, name)
	switch errno {
	case 0, syscall.ENOENT:
		return nil
	case syscall.EISDIR:
	default:
		return treeErr(h.name, errno)
	}
	n, errno := l.tree.Lookup(dir, name)
	if errno != 0 {
		return treeErr(h.name, errno)
	}
	defer l.tree.Unref(n, 1)
	l.trail = nil
	if err := l.empty(n, h); err != nil {
		return err
	}
	delete(l.dirs, n)
	l.tree.Unref(n, 1)
	return treeErr(h.name, l.tree.Rmdir(dir, name))
}

// empty removes all names in dir.
func (l *unpacker) empty(dir *fs.Inode, h *header) error {
	var names []string
	errno := l.tree.ReadDir(dir, 0, func(e fs.Dirent) bool {
		names = append(names, e.Name)
		return true
	})
	if errno != 0 {
		return treeErr(h.name, errno)
	}
	if len(names) > 0 {
		l.warn.warn(h.name, "a later entry takes the place of a directory, whose content is left out")
	}
	for _, name := range names {
		if err := l.remove(dir, name, h); err != nil {
			return err
		}
	}
	return nil
}
