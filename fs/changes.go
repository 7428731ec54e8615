package fs

import "syscall"

// Seal makes the present state the opened revision: nothing counts as changed. Spools write
// out what they hold back, and free their buffers.
func (t *Tree) Seal() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.spoolMu.Lock()
	for _, s := range t.spools {
		s.finish()
	}
	t.spoolMu.Unlock()
	for n := range t.inodes.marked() {
		n.mu.Lock()
		n.flags &^= flagsChanged
		if n.nlink == 0 {
			n.flags |= flagNew // new, if it is given a name
		}
		if n.ino > t.rows { // for rows, RowStates finds out
			t.inodes.unmark(n.ino)
		}
		n.mu.Unlock()
	}
	t.removed.Store(0)
	if t.image == nil {
		t.sealed = map[uint64]map[string]sealedName{}
		t.sizes.clear()
	}
}

// Changes counts the inodes that changed since Seal, whatever number of names they have.
// Its cost depends on what was touched since then.
//
// Created are those that were made and have a name. Removed are those that existed at Seal
// and have no name any more. Modified are those that existed, have a name, and whose
// content, attributes, extended attributes or names were changed, even if they were changed
// back. The following alone are not changes: a socket, which no archive holds; an attribute
// that is set to its present value; the access and change times; the size and times of a
// directory, which follow from its names; and the time of a truncation that leaves the size
// of a file as it is, such as O_TRUNC of an empty one.
func (t *Tree) Changes() Changes {
	c := Changes{Removed: t.removed.Load()}
	for n := range t.inodes.marked() {
		n.mu.Lock()
		flags, named, size := n.flags, n.nlink > 0, n.size
		n.mu.Unlock()
		if !named || flags&flagsChanged == 0 || n.is(syscall.S_IFSOCK) {
			continue
		}
		if flags&flagNew != 0 {
			c.Created++
		} else {
			c.Modified++
		}
		if n.isRegular() {
			c.Bytes += size
		}
	}
	return c
}

// Empty reports whether the root directory has no names.
func (t *Tree) Empty() bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.root.dir().live == 0
}

// mark records a change of n.
func (t *Tree) mark(n *Inode, flags uint8) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.flags |= flags
	t.keepLocked(n)
}
