package fs

import (
	"fmt"
	"slices"
)

// RowState says what has changed in a row of an image; 0 means nothing that an archive
// holds.
type RowState uint8

const (
	// RowMoved means that the path of the name no longer leads to its inode: the name, or a
	// directory above it, was removed, renamed or replaced.
	RowMoved RowState = 1 << iota
	// RowMeta means that attributes or extended attributes of the inode differ. Times of
	// access and change do not count, nor does the number of names.
	RowMeta
	// RowData means that the content is not all base. RowMeta is then set as well.
	RowData
)

// RowStates returns the state of each row of the image; only the row of the inode itself
// has RowMeta and RowData. Its cost depends on what has changed, plus a byte for each row.
// Nobody may change the tree meanwhile.
func (t *Tree) RowStates() []RowState {
	t.mu.RLock()
	defer t.mu.RUnlock()
	states := make([]RowState, t.rows)
	for n := range t.inodes.marked() {
		if row, ok := t.Row(n); ok {
			states[row] |= t.inodeState(n, row)
			t.movedRows(n, row, states)
		}
	}
	return states
}

// inodeState returns RowMeta and RowData of n.
func (t *Tree) inodeState(n *Inode, row uint32) (state RowState) {
	n.mu.Lock()
	defer n.mu.Unlock()
	a, was := n.attrLocked(), t.image.Attr(row)
	if n.isDir() {
		was.Size = a.Size // which follows from the names
	}
	if a.Mode != was.Mode || a.UID != was.UID || a.GID != was.GID || a.Size != was.Size || a.Mtime != was.Mtime {
		state |= RowMeta
	}
	var xattrs []Xattr
	if n.extra != nil {
		xattrs = n.extra.xattrs
	}
	if !slices.EqualFunc(xattrs, t.image.Xattrs(row), equalXattr) {
		state |= RowMeta
	}
	if n.isRegular() && was.Size > 0 && !slices.Equal(n.leftLocked(), []byteRange{{0, was.Size}}) {
		state |= RowMeta | RowData
	}
	return state
}

// movedRows sets RowMoved for the rows in a directory whose names no longer lead to their
// inodes, and for everything below.
// Preconditions: Tree.mu is held.
func (t *Tree) movedRows(n *Inode, row uint32, states []RowState) {
	if !n.isDir() || n.dir().image != nil {
		return
	}
	first, count := t.image.Children(row)
	for child := first; child < first+count; child++ {
		if n.dir().lookup(t.image.Name(child)) != inoOf(t.image, child) {
			t.movedBelow(child, states)
		}
	}
}

// movedBelow sets RowMoved for a row and everything below it, which is one run of rows for
// each level.
func (t *Tree) movedBelow(row uint32, states []RowState) {
	for begin, end := row, row+1; begin < end; {
		var first, last uint32
		for r := begin; r < end; r++ {
			states[r] |= RowMoved
			if child, n := t.image.Children(r); n > 0 {
				if last == 0 {
					first = child
				}
				last = child + n
			}
		}
		begin, end = first, last
	}
}

// leftLocked returns the ranges of the content that are base.
// Preconditions: n.mu is held.
func (n *Inode) leftLocked() []byteRange {
	switch c := n.content.(type) {
	case *upper:
		if b := c.below.Load(); b != nil {
			return b.left
		}
	case Base:
		return []byteRange{{0, n.size}}
	}
	return nil
}

// BaseRanges calls yield for the ranges of n, in order, that are equal to its row of the
// image at the same offset, until yield returns false; a new inode has none. A range begins
// at a multiple of 1 MiB. It ends at another one, where the file was cut, or at the end of
// the row's content.
func (t *Tree) BaseRanges(n *Inode, yield func(off, length int64) bool) {
	if _, ok := t.Row(n); !ok {
		return
	}
	n.mu.Lock()
	left := n.leftLocked()
	n.mu.Unlock()
	for _, r := range left {
		if !yield(r.begin, r.end-r.begin) {
			return
		}
	}
}

// WalkNew calls fn, as Walk does, for all names but those of rows without RowMoved: names
// that were made, linked or renamed, and everything below such directories. Its cost
// depends on what has changed. Without an image these are all names but the root.
func (t *Tree) WalkNew(fn func(path string, n *Inode, a Attr) error) error {
	if errno := t.refuse(); errno != 0 {
		return fmt.Errorf("walk tree: %w", errno)
	}
	w := &newWalk{tree: t, states: t.RowStates(), visit: map[uint64]bool{}, below: map[uint64][]uint64{}, fn: fn}
	w.find()
	return w.walk("", rootIno)
}

// newWalk is one WalkNew. It visits the unmoved directories that have new names, and those
// above them.
type newWalk struct {
	tree   *Tree
	states []RowState
	visit  map[uint64]bool     // the numbers of these, without the root
	below  map[uint64][]uint64 // the same by parent
	fn     func(path string, n *Inode, a Attr) error
}

// find finds what to visit.
func (w *newWalk) find() {
	t := w.tree
	t.mu.RLock()
	defer t.mu.RUnlock()
	for n := range t.inodes.marked() {
		if row, ok := t.Row(n); !ok || !n.isDir() || n.dir().image != nil || w.states[row]&RowMoved != 0 {
			continue
		}
		for ino := n.ino; ino != rootIno; {
			if w.visit[ino] {
				break
			}
			w.visit[ino] = true
			parent := t.parentOf(ino)
			w.below[parent] = append(w.below[parent], ino)
			ino = parent
		}
	}
}

// walk visits a directory.
func (w *newWalk) walk(path string, ino uint64) error {
	t := w.tree
	n := t.hold(ino)
	defer t.Unref(n, 1)
	if n.dir().image != nil {
		inos := w.below[ino]
		slices.Sort(inos) // which is by name
		for _, child := range inos {
			if err := w.walk(Join(path, t.image.Name(uint32(child-1))), child); err != nil {
				return err
			}
		}
		return nil
	}
	for name, child := range t.sorted(n) {
		var err error
		switch {
		case !w.stands(n, name, child):
			err = t.walk(Join(path, name), child, w.fn)
		case w.visit[child]:
			err = w.walk(Join(path, name), child)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// stands reports whether a name in an unmoved directory belongs to a row.
func (w *newWalk) stands(dir *Inode, name string, ino uint64) bool {
	row, ok := w.tree.Row(dir)
	if !ok {
		return false
	}
	first, n := w.tree.image.Children(row)
	return lookupRow(w.tree.image, first, n, name) == ino
}

func equalXattr(a, b Xattr) bool { return a.Name == b.Name && string(a.Value) == string(b.Value) }
