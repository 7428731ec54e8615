package fsupper

import (
	"syscall"

	"github.com/workdir/workdir/fs"
)

// lister lists the paths that a treeTarget would change.
type lister struct {
	tree  *fs.Tree
	list  fs.ChangeList
	moved map[uint64]string // directories of the tree with a new path

	// For files that have several names, or had.
	gone    map[string]bool   // names in the tree that no longer lead to them
	came    map[uint64]string // by number, the first new name
	changed map[uint64]*entry // by number
}

func newLister(t *fs.Tree) *lister {
	return &lister{tree: t, moved: map[uint64]string{}, gone: map[string]bool{}, came: map[uint64]string{}, changed: map[uint64]*entry{}}
}

func (to *lister) detach(at spot, n *fs.Inode) error {
	to.gone[at.path()] = true
	return to.unlink(at, n)
}

func (to *lister) unlink(at spot, n *fs.Inode) error {
	a, p := to.tree.Attr(n), at.path()
	to.list.Gone(p, n.Ino(), a.Mode, a.Size)
	if a.Nlink > 1 {
		to.gone[p] = true
	}
	return nil
}

func (to *lister) rmdir(at spot) error {
	to.list.Gone(at.path(), 0, syscall.S_IFDIR, 0)
	return nil
}

// attach leaves out sockets, which archives do not have.
func (to *lister) attach(at spot, n *fs.Inode, e *entry) error {
	ino, p := uint64(0), at.path()
	if n != nil {
		ino = n.Ino()
	}
	switch e.kind() {
	case syscall.S_IFSOCK:
		return nil
	case syscall.S_IFDIR:
		to.moved[ino] = p
	default:
		if first, ok := to.came[ino]; e.st.Nlink > 1 && (!ok || fs.ComparePaths(p, first) < 0) {
			to.came[ino] = p
		}
	}
	to.list.Came(p, ino, e.st.Mode, e.st.Size)
	return nil
}

// create returns nil: the caller needs nothing more of a new inode.
func (to *lister) create(at spot, e *entry) (*fs.Inode, error) { return nil, to.attach(at, nil, e) }

func (to *lister) change(n *fs.Inode, e *entry, _ *change) error {
	if e.kind() != syscall.S_IFDIR && (e.indexed || e.st.Nlink > 1 || to.tree.Attr(n).Nlink > 1) {
		to.changed[n.Ino()] = e
	} else {
		to.list.Changed(e.path, e.st.Mode, e.st.Size)
	}
	return nil
}

func (to *lister) setDirTime(*fs.Inode, fs.Time) error { return nil }

// finish finds the first name of each file in changed.
func (to *lister) finish() error {
	if len(to.changed) == 0 {
		return nil
	}
	shown := map[string]string{} // paths of directories by their path in the tree
	err := to.tree.Walk(func(p string, n *fs.Inode, a fs.Attr) error {
		final, ok := to.moved[n.Ino()]
		if !ok && p != "" {
			dir, name := fs.Split(p)
			final = fs.Join(shown[dir], name)
		}
		if a.Mode&syscall.S_IFMT == syscall.S_IFDIR {
			shown[p] = final
		} else if to.changed[n.Ino()] != nil && !to.gone[p] {
			if first, ok := to.came[n.Ino()]; !ok || fs.ComparePaths(final, first) < 0 {
				to.came[n.Ino()] = final
			}
		}
		return nil
	})
	for ino, e := range to.changed {
		if p, ok := to.came[ino]; ok {
			to.list.Changed(p, e.st.Mode, e.st.Size)
		}
	}
	return err
}
