package fs

import "syscall"

// Unlink removes the name of anything but a directory. The inode is gone with its last name
// and reference. Errors: ENOENT, EISDIR, ENOTDIR, ENAMETOOLONG.
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
		case n.dir().live > 0:
			return syscall.ENOTEMPTY
		}
		return 0
	})
}

// remove removes a name if check returns 0 for its inode.
func (t *Tree) remove(dir *Inode, name string, check func(*Inode) syscall.Errno) syscall.Errno {
	n, errno := t.removeName(dir, name, check)
	if n != nil {
		t.Unref(n, 1) // not under Tree.mu: freeing a large file takes time
	}
	return errno
}

// removeName is remove, and returns the inode of the name with a reference, also beside an
// errno of check.
func (t *Tree) removeName(dir *Inode, name string, check func(*Inode) syscall.Errno) (*Inode, syscall.Errno) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n, errno := t.findToRemove(dir, name)
	if errno != 0 {
		return nil, errno
	}
	if errno := check(n); errno != 0 {
		return n, errno
	}
	when := Now()
	t.dropName(dir, name, when)
	t.nameRemoved(dir, n, when)
	return n, 0
}

// findToRemove is findToChange for a name that must exist: it returns the inode, with a
// reference, or ENOENT.
// Preconditions: Tree.mu is held for writing.
func (t *Tree) findToRemove(dir *Inode, name string) (*Inode, syscall.Errno) {
	ino, errno := t.findToChange(dir, name)
	if errno == 0 && ino == 0 {
		errno = syscall.ENOENT
	}
	if errno != 0 {
		return nil, errno
	}
	return t.hold(ino), 0
}

// dropName removes an existing name. The caller counts the link.
// Preconditions: Tree.mu is held for writing.
func (t *Tree) dropName(dir *Inode, name string, when Time) {
	dir.dir().remove(name)
	t.giveText(int64(len(name)))
	t.entriesChanged(dir, when, -1)
}

// nameRemoved counts down the links of n, which lost a name in dir, and of dir if n is a
// directory. The caller counts the bytes of the name.
// Preconditions: Tree.mu is held for writing.
func (t *Tree) nameRemoved(dir, n *Inode, when Time) {
	if n.isDir() {
		t.linked(n, when, -2)
		t.linked(dir, when, -1)
	} else {
		t.linked(n, when, -1)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.nlink > 0 {
		t.giveNodes(1, 0)
		n.flags |= flagMoved
		return
	}
	t.orphans.Add(1)
	if row, ok := t.Row(n); ok {
		t.gone[row/64] |= 1 << (row % 64)
	}
	if n.flags&flagNew == 0 {
		t.removed.Add(1)
	}
}

// removedLocked reports whether n has lost its last name for good and cannot get another.
// Preconditions: n.mu is held.
func (n *Inode) removedLocked() bool { return n.nlink == 0 && n.flags&flagLinkable == 0 }

// Orphans counts the inodes without a name that are kept by references.
func (t *Tree) Orphans() int64 { return t.orphans.Load() }
