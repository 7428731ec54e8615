package fs

import "syscall"

// Seal makes what there is now the opened revision: nothing counts as changed.
// Spools write out what they hold back, and give up their buffers.
func (t *Tree) Seal() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.spoolMu.Lock()
	for _, s := range t.spools {
		s.settle()
	}
	t.spoolMu.Unlock()
	for n := range t.inodes.marked() {
		n.mu.Lock()
		n.flags &^= flagsChanged
		if n.nlink == 0 {
			n.flags |= flagNew // should it be given a name, that is new
		}
		if n.ino > t.rows { // RowStates looks for what rows are not
			t.inodes.unmark(n.ino)
		}
		n.mu.Unlock()
	}
	t.removed.Store(0)
	if t.image == nil {
		t.sealed = map[uint64]map[string]sealedName{}
	}
}

// Changes counts the inodes that changed since Seal, whatever number of names
// they have. It looks at what was touched since then.
//
// Created are those that were made and have a name. Removed are those that were
// there and have no name any more. Modified are those that were there, have a
// name, and of which the content, the attributes, the extended attributes or
// the names were changed, even if they were changed back. These alone are no
// change: a socket, which no archive holds, an attribute that is set to the value it has,
// the access and change times, in a directory the size and times that follow from its names, and in a file
// the time of a truncation to the size that it has, such as O_TRUNC of an empty one.
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

// Empty tells whether the root directory has no names.
func (t *Tree) Empty() bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.root.dir().live == 0
}

// mark notes what changed of n.
func (t *Tree) mark(n *Inode, flags uint8) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.flags |= flags
	t.keepLocked(n)
}
