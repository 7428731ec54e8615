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
	if errno := t.changeableDir(dir); errno != 0 {
		return nil, errno
	}
	if errno := checkName(name); errno != 0 {
		return nil, errno
	}
	s := dir.dir.find(name)
	if s == nil {
		return nil, syscall.ENOENT
	}
	n := s.inode
	if errno := check(n); errno != 0 {
		return nil, errno
	}
	when := now()
	dir.dir.remove(s)
	dir.entriesChanged(when, -1)
	t.nameRemoved(dir, n, when)
	return n, 0
}

// nameRemoved counts down the links of n, which lost a name in dir, and of dir,
// which an n that is a directory linked to.
// Preconditions: Tree.mu is held for writing.
func (t *Tree) nameRemoved(dir, n *Inode, when Time) {
	if n.isDir() {
		n.linked(when, -2)
		dir.linked(when, -1)
	} else {
		n.linked(when, -1)
	}
	t.changedNames()
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.nlink > 0:
		n.flags |= flagMoved
	case n.flags&flagNew == 0:
		t.removed.Add(1)
	}
}
