package fs

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
	for n := range t.inodes.all() {
		n.mu.Lock()
		n.flags &^= flagsChanged
		if n.nlink == 0 {
			n.flags |= flagNew // should it be given a name, that is new
		}
		n.mu.Unlock()
	}
	t.removed.Store(0)
	t.changed.Store(false)
}

// Changed tells, cheaply, whether anything is different from the sealed tree, or
// was meanwhile. That is more than Changes counts: also the times of a directory
// in which a name was made and removed again.
func (t *Tree) Changed() bool { return t.changed.Load() }

// Changes counts the inodes that changed since Seal, whatever number of names
// they have. It looks at every inode.
//
// Created are those that were made and have a name. Removed are those that were
// there and have no name any more. Modified are those that were there, have a
// name, and of which the content, the attributes, the extended attributes or
// the names were changed, even if they were changed back. These alone are no
// change: an attribute that is set to the value it has, the access and change
// times, and in a directory the size and times that follow from its names.
func (t *Tree) Changes() Changes {
	c := Changes{Removed: t.removed.Load()}
	for n := range t.inodes.all() {
		n.mu.Lock()
		t.refreshLocked(n)
		flags, named, size := n.flags, n.nlink > 0, n.size
		n.mu.Unlock()
		if !named || flags&flagsChanged == 0 {
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
	return t.root.dir.live == 0
}

// markLocked notes what changed of n.
// Preconditions: n.mu is held.
func (t *Tree) markLocked(n *Inode, flags uint32) {
	n.flags |= flags
	if n.nlink > 0 {
		t.changedNames()
	}
}

// changedNames notes that a name was made or removed.
func (t *Tree) changedNames() {
	if !t.changed.Load() {
		t.changed.Store(true)
	}
}

// mark notes what changed of n.
func (t *Tree) mark(n *Inode, flags uint32) {
	n.mu.Lock()
	defer n.mu.Unlock()
	t.markLocked(n, flags)
}
