package fs

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"syscall"
)

// Image is a frozen tree, kept elsewhere, on which a Tree can stand. It has a row for each
// name, breadth first: row 0 is the root, and the names of a directory are contiguous and
// sorted by their bytes.
//
// The methods may be called from several goroutines. They are called under locks and must
// return at once, so names and attributes are in memory. Only ReadAt of a Base reads. A
// Tree does not check an image.
type Image interface {
	Len() int                              // number of rows; at least 1
	Inode(row uint32) uint32               // the row of its inode: row itself, or an earlier one if row is a further name of a file
	Attr(row uint32) Attr                  // of an inode's row; Ino is row + 1; all four times are that of the last change; Size of a directory is ignored
	Children(row uint32) (first, n uint32) // the names of a directory; none for anything else
	Name(row uint32) string                // "" for the root
	Target(row uint32) string              // of a symbolic link
	Xattrs(row uint32) []Xattr             // sorted by name; not to be modified
	Content(row uint32) Base               // of a regular file with a size above 0
}

// NewOn makes a tree with the content of img, sealed: nothing counts as changed. The number
// of an inode is that of its row plus one; new inodes have higher numbers. An inode takes
// memory while it is referenced or once it was changed. ENOSPC if the limits have no room
// for the image, each row of which counts as an inode. Otherwise as New.
func NewOn(img Image, home Home, opts *Options) (*Tree, error) {
	t, err := makeTree(home, opts)
	if err != nil {
		return nil, err
	}
	if img.Len() < 1 || img.Attr(0).Mode&syscall.S_IFMT != syscall.S_IFDIR {
		return nil, errors.New("make tree: the image has no root directory")
	}
	t.image, t.rows = img, uint64(img.Len())
	if errno := t.takeNodes(int64(t.rows), t.survey()); errno != 0 {
		return nil, fmt.Errorf("make tree of %d names: %w", t.rows, errno)
	}
	t.gone = make([]uint64, (t.rows+63)/64)
	t.inodes.last = t.rows
	t.root = t.hold(rootIno)
	return t, nil
}

// survey finds the directories of the image, and returns how many bytes its names, targets
// and extended attributes take.
func (t *Tree) survey() (text int64) {
	for row := range uint32(t.rows) {
		text += int64(len(t.image.Name(row)))
		if t.image.Inode(row) != row {
			continue
		}
		if _, n := t.image.Children(row); n > 0 {
			t.dirs = append(t.dirs, row)
		}
		text += int64(len(t.target(row)))
		for _, x := range t.image.Xattrs(row) {
			text += x.bytes()
		}
	}
	t.dirs = slices.Clip(t.dirs)
	return text
}

// target returns the target of a symlink; "" for anything else.
func (t *Tree) target(row uint32) string {
	if t.image.Attr(row).Mode&syscall.S_IFMT != syscall.S_IFLNK {
		return ""
	}
	return t.image.Target(row)
}

// Image returns what the tree stands on; nil if it was filled by verbs.
func (t *Tree) Image() Image { return t.image }

// Row returns the row of n in the image; false if n was made since.
func (t *Tree) Row(n *Inode) (row uint32, ok bool) {
	return uint32(n.ino - 1), n.ino <= t.rows
}

// inoOf returns the number of the inode that a row leads to.
func inoOf(img Image, row uint32) uint64 { return uint64(img.Inode(row)) + 1 }

// rowParent returns the number of the parent of a directory in the image; the root is its
// own.
func (t *Tree) rowParent(ino uint64) uint64 {
	if ino == rootIno {
		return rootIno
	}
	after := sort.Search(len(t.dirs), func(i int) bool {
		first, _ := t.image.Children(t.dirs[i])
		return uint64(first) > ino-1
	})
	return uint64(t.dirs[after-1]) + 1
}

// parentOf returns the number of the parent of a directory.
// Preconditions: Tree.mu is held.
func (t *Tree) parentOf(ino uint64) uint64 {
	if n := t.inodes.get(ino); n != nil {
		return n.dir().parent
	}
	return t.rowParent(ino)
}

// hold returns the inode of a number, with a reference.
// Preconditions: a name leads to the inode and cannot be removed meanwhile.
func (t *Tree) hold(ino uint64) *Inode {
	if n := t.inodes.get(ino); n != nil && n.ref() {
		return n
	}
	return t.inodes.enter(t.fromRow(ino))
}

// fromRow makes an inode, with a reference, from its row.
func (t *Tree) fromRow(ino uint64) *Inode {
	row := uint32(ino - 1)
	a := t.image.Attr(row)
	n := &Inode{
		ino: ino, size: a.Size, ctime: nanos(a.Ctime), btime: nanos(a.Btime), nlink: a.Nlink,
		kind: kindOf(a.Mode), perm: uint16(a.Mode & PermBits), uid: a.UID, gid: a.GID,
		atime: stampOf(a.Atime), mtime: stampOf(a.Mtime),
	}
	n.refs.Store(1)
	if at, ok := t.atimes.get(row); ok {
		n.atime = stampOf(at)
	}
	switch a.Mode & syscall.S_IFMT {
	case syscall.S_IFDIR:
		first, count := t.image.Children(row)
		n.extra = &extra{dir: &directory{parent: t.rowParent(ino), image: t.image, first: first, live: int(count)}}
		n.size = emptyDirSize + int64(count)*direntSize
	case syscall.S_IFREG:
		if n.size > 0 {
			n.content = t.image.Content(row)
		}
	case syscall.S_IFLNK:
		n.extra = &extra{target: t.image.Target(row)}
		n.size = n.extra.targetBytes()
	case syscall.S_IFCHR, syscall.S_IFBLK:
		n.extra = &extra{rdev: a.Rdev}
	}
	for _, x := range t.image.Xattrs(row) {
		more := n.moreLocked()
		more.xattrs = append(more.xattrs, x)
		more.listed += x.list()
	}
	return n
}

// lives reports whether a number belongs to a row whose inode has a name.
// Preconditions: Tree.mu is held.
func (t *Tree) lives(ino uint64) bool {
	row := uint32(ino - 1)
	return ino > 0 && ino <= t.rows && t.image.Inode(row) == row && t.gone[row/64]&(1<<(row%64)) == 0
}

// keepLocked records that n is about to differ from its row, and from its state at Seal.
// Preconditions: n.mu is held.
func (t *Tree) keepLocked(n *Inode) {
	n.flags |= flagKept
	t.inodes.mark(n.ino)
}

// idleLocked reports whether n can be made again from its row at any time.
// Preconditions: n.mu is held.
func (t *Tree) idleLocked(n *Inode) bool { return n.ino <= t.rows && n.flags&flagKept == 0 }
