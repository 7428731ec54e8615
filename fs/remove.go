package fs

import "syscall"

// Unlink removes a name that is no directory's. The inode is gone with its last
// name and reference. Errors: ENOENT, EISDIR, ENOTDIR, ENAMETOOLONG.
func (t *Tree) Unlink(dir *Inode, name string) syscall.Errno {
	return t.remove(dir, name, func(n *Inode) syscall.Errno {
		if n.isDir() {
			return syscall.EISDIR
		}
		return 0
	})
}

// Rmdir removes an empty directory. Errors: ENOENT, ENOTDIR, ENOTEMPTY,
// ENAMETOOLONG.
func (t *Tree) Rmdir(dir *Inode, name string) syscall.Errno {
	return t.remove(dir, name, func(n *Inode) syscall.Errno {
		switch {
		case !n.isDir():
			return syscall.ENOTDIR
		case n.dir.live > 0:
			return syscall.ENOTEMPTY
		}
		return 0
	})
}

// remove removes a name if check finds nothing against it.
func (t *Tree) remove(dir *Inode, name string, check func(*Inode) syscall.Errno) syscall.Errno {
	n, errno := t.removeName(dir, name, check)
	if errno == 0 {
		t.reap(n) // not under Tree.mu: to free a large file takes time
	}
	return errno
}

func (t *Tree) removeName(dir *Inode, name string, check func(*Inode) syscall.Errno) (*Inode, syscall.Errno) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, errno := t.findToChange(dir, name)
	switch {
	case errno != 0:
		return nil, errno
	case s == nil:
		return nil, syscall.ENOENT
	}
	n := s.inode
	if errno := check(n); errno != 0 {
		return nil, errno
	}
	when := now()
	dir.dir.remove(s)
	t.giveText(int64(len(name)))
	dir.entriesChanged(when, -1)
	t.nameRemoved(dir, n, when)
	return n, 0
}

// nameRemoved counts down the links of n, which lost a name in dir, and of dir,
// which an n that is a directory linked to. The bytes of the name are the caller's.
// Preconditions: Tree.mu is held for writing.
func (t *Tree) nameRemoved(dir, n *Inode, when Time) {
	if n.isDir() {
		n.linked(when, -2)
		dir.linked(when, -1)
	} else {
		n.linked(when, -1)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.nlink > 0 {
		t.links.Add(-1)
		t.heap.give(inodeCost)
		n.flags |= flagMoved
		return
	}
	t.orphans.Add(1)
	if n.flags&flagNew == 0 {
		t.removed.Add(1)
	}
}

// Removed tells whether n has lost its last name for good: it can get no other.
func (t *Tree) Removed(n *Inode) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.removedLocked()
}

// Preconditions: n.mu is held.
func (n *Inode) removedLocked() bool { return n.nlink == 0 && n.flags&flagLinkable == 0 }

// Orphans counts the inodes that lost their last name and are kept by references.
func (t *Tree) Orphans() int64 { return t.orphans.Load() }

// Freed tells whether FreeRemoved has freed the content of n.
func (t *Tree) Freed(n *Inode) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.flags&flagFreed != 0
}

// FreeRemoved frees the content of n if it is Removed, whatever references are
// left. It is for a caller who knows that nobody has n open, nor will: what reads
// it all the same finds zeros.
func (t *Tree) FreeRemoved(n *Inode) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !n.removedLocked() || n.lentLocked() != nil {
		return
	}
	n.flags |= flagFreed
	t.dropContentLocked(n)
}
