package fsupper

import (
	"syscall"

	"github.com/workdir/workdir/fs"
)

// counter counts what a treeTarget would change, as fs.Tree.Changes does.
type counter struct {
	tree     *fs.Tree
	changes  fs.Changes
	names    map[uint64]int64 // for files of the tree that have gained or lost names: how many they have
	modified map[uint64]int64 // inodes of the tree that differ, and the sizes of the regular files among them
}

func (to *counter) detach(at spot, n *fs.Inode) error {
	if to.tree.Attr(n).Mode&syscall.S_IFMT == syscall.S_IFDIR {
		to.note(n)
		return nil
	}
	return to.unlink(at, n)
}

func (to *counter) unlink(_ spot, n *fs.Inode) error {
	to.addNames(n, -1)
	return nil
}

func (to *counter) addNames(n *fs.Inode, by int64) {
	count, known := to.names[n.Ino()]
	if !known {
		count = int64(to.tree.Attr(n).Nlink)
	}
	to.names[n.Ino()] = count + by
	to.note(n)
}

// note records that n differs, with the size that it has or is known to get.
func (to *counter) note(n *fs.Inode) {
	if _, known := to.modified[n.Ino()]; !known {
		at, size := to.tree.Attr(n), int64(0)
		if at.Mode&syscall.S_IFMT == syscall.S_IFREG {
			size = at.Size
		}
		to.modified[n.Ino()] = size
	}
}

func (to *counter) rmdir(spot) error {
	to.changes.Removed++
	return nil
}

func (to *counter) attach(_ spot, n *fs.Inode, _ *entry) error {
	if n != nil && to.tree.Attr(n).Mode&syscall.S_IFMT != syscall.S_IFDIR {
		to.addNames(n, 1)
	}
	return nil
}

// create returns nil: the caller needs nothing more of a new inode. Archives have no
// sockets.
func (to *counter) create(_ spot, e *entry) (*fs.Inode, error) {
	if e.kind() != syscall.S_IFSOCK {
		to.changes.Created++
	}
	if e.kind() == syscall.S_IFREG {
		to.changes.Bytes += e.st.Size
	}
	return nil, nil
}

func (to *counter) change(n *fs.Inode, _ *entry, c *change) error {
	to.note(n)
	if c.content != nil {
		to.modified[n.Ino()] = c.content.size
	}
	return nil
}

func (to *counter) setDirTime(*fs.Inode, fs.Time) error { return nil }
func (to *counter) finish() error                       { return nil }

// sum returns the changes.
func (to *counter) sum() fs.Changes {
	c := to.changes
	for ino, size := range to.modified {
		if count, known := to.names[ino]; known && count <= 0 {
			c.Removed++
			continue
		}
		c.Modified++
		c.Bytes += size
	}
	return c
}
