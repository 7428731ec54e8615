package fs

import "syscall"

// move is one rename: names in directories, and their inodes.
type move struct {
	odir, ndir     *Inode
	oname, nname   string
	source, target *Inode // target is nil if the new name does not exist
	flags          uint32
}

// Rename moves a name, replacing an existing one unless RenameNoReplace is given;
// RenameExchange exchanges two. Two names of one inode stay unchanged. Errors: ENOENT,
// EEXIST (RenameNoReplace), ENOTDIR, EISDIR, ENOTEMPTY, ENAMETOOLONG, ENOSPC; EINVAL for a
// directory into itself or below, and for other flags or both at once.
func (t *Tree) Rename(odir *Inode, oname string, ndir *Inode, nname string, flags uint32) syscall.Errno {
	if flags != 0 && flags != RenameNoReplace && flags != RenameExchange {
		return syscall.EINVAL
	}
	m := &move{odir: odir, ndir: ndir, oname: oname, nname: nname, flags: flags}
	errno := t.rename(m)
	for _, n := range []*Inode{m.source, m.target} {
		if n != nil {
			t.Unref(n, 1) // not under Tree.mu: freeing a large file takes time
		}
	}
	return errno
}

func (t *Tree) rename(m *move) syscall.Errno {
	t.mu.Lock()
	defer t.mu.Unlock()
	if errno := t.resolve(m); errno != 0 {
		return errno
	}
	if errno := t.checkMove(m); errno != 0 {
		return errno
	}
	switch {
	case m.source == m.target:
		return 0
	case m.flags == RenameExchange:
		t.exchange(m, Now())
		return 0
	}
	if errno := m.ndir.dir().roomFor(); errno != 0 {
		return errno
	}
	if errno := t.takeText(m.growth()); errno != 0 {
		return errno
	}
	t.replace(m, Now())
	return 0
}

// resolve finds both inodes, the source first, and takes references to them.
// Preconditions: Tree.mu is held for writing.
func (t *Tree) resolve(m *move) syscall.Errno {
	if !m.odir.isDir() || !m.ndir.isDir() {
		return syscall.ENOTDIR
	}
	var errno syscall.Errno
	if m.source, errno = t.findToRemove(m.odir, m.oname); errno != 0 {
		return errno
	}
	target, errno := t.findToChange(m.ndir, m.nname)
	if errno != 0 {
		return errno
	}
	if target != 0 {
		m.target = t.hold(target)
	}
	return 0
}

// checkMove refuses what do_renameat2 and vfs_rename in the kernel's fs/namei.c refuse, in
// the same order.
// Preconditions: Tree.mu is held.
func (t *Tree) checkMove(m *move) syscall.Errno {
	switch {
	case m.flags == RenameNoReplace && m.target != nil:
		return syscall.EEXIST
	case m.flags == RenameExchange && m.target == nil:
		return syscall.ENOENT
	case t.contains(m.source, m.ndir):
		return syscall.EINVAL
	case m.target == nil:
		return 0
	case t.contains(m.target, m.odir) && m.flags == RenameExchange:
		return syscall.EINVAL
	case t.contains(m.target, m.odir):
		return syscall.ENOTEMPTY
	case m.source == m.target, m.flags == RenameExchange:
		return 0
	case m.source.isDir() && !m.target.isDir():
		return syscall.ENOTDIR
	case !m.source.isDir() && m.target.isDir():
		return syscall.EISDIR
	case m.target.isDir() && m.target.dir().live > 0:
		return syscall.ENOTEMPTY
	}
	return 0
}

// growth returns how many more bytes the names will take.
func (m *move) growth() int64 {
	if m.target != nil { // its name stays
		return -int64(len(m.oname))
	}
	return int64(len(m.nname) - len(m.oname))
}

// contains reports whether dir is n or below it.
// Preconditions: Tree.mu is held.
func (t *Tree) contains(n, dir *Inode) bool {
	if !n.isDir() {
		return false
	}
	for ino := dir.ino; ; ino = t.parentOf(ino) {
		switch ino {
		case n.ino:
			return true
		case rootIno:
			return false
		}
	}
}

// replace makes the new name lead to the source, and removes the old one.
// Preconditions: Tree.mu is held for writing; checkMove and roomFor returned 0.
func (t *Tree) replace(m *move, when Time) {
	added := int64(1)
	switch {
	case m.target != nil:
		m.ndir.dir().set(m.nname, m.source.ino)
		t.nameRemoved(m.ndir, m.target, when)
		m.odir.dir().remove(m.oname)
		added = 0
	case m.odir == m.ndir:
		m.odir.dir().rename(m.oname, m.nname)
	default:
		m.ndir.dir().add(m.nname, m.source.ino)
		m.odir.dir().remove(m.oname)
	}
	t.entriesChanged(m.odir, when, -1)
	t.entriesChanged(m.ndir, when, added)
	t.moved(m.source, m.odir, m.ndir, when)
}

// exchange makes each name lead to the other's inode.
// Preconditions: Tree.mu is held for writing; checkMove returned 0.
func (t *Tree) exchange(m *move, when Time) {
	m.odir.dir().set(m.oname, m.target.ino)
	m.ndir.dir().set(m.nname, m.source.ino)
	t.entriesChanged(m.odir, when, 0)
	t.entriesChanged(m.ndir, when, 0)
	t.moved(m.source, m.odir, m.ndir, when)
	t.moved(m.target, m.ndir, m.odir, when)
}

// moved records that n was moved to another directory, or within one.
// Preconditions: Tree.mu is held for writing.
func (t *Tree) moved(n, from, to *Inode, when Time) {
	if n.isDir() && from != to {
		n.dir().parent = to.ino
		t.linked(from, when, -1)
		t.linked(to, when, 1)
	}
	t.linked(n, when, 0)
	t.mark(n, flagMoved)
}
