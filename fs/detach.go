package fs

import "syscall"

// Detach removes a name and leaves its inode unchanged, whatever it holds, for Attach to
// give it another name: the two halves of a rename. So renames that cross each other, such
// as a to b and b to a, need no temporary names. The caller gets a reference. Until every
// detached inode is attached again the tree is incomplete, and nobody else may use it.
// Errors: ENOENT, ENOTDIR, ENAMETOOLONG.
func (t *Tree) Detach(dir *Inode, name string) (*Inode, syscall.Errno) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n, errno := t.findToRemove(dir, name)
	if errno != 0 {
		return nil, errno
	}
	when := Now()
	t.dropName(dir, name, when)
	if n.isDir() {
		t.linked(dir, when, -1)
	}
	t.mark(n, flagMoved)
	return n, 0
}

// Attach gives n, which was detached, a name. The caller keeps its reference. Errors as
// Mknod; EINVAL for a directory into itself or below.
func (t *Tree) Attach(dir *Inode, name string, n *Inode) syscall.Errno {
	t.mu.Lock()
	defer t.mu.Unlock()
	if errno := t.mayAdd(dir, name); errno != 0 {
		return errno
	}
	if t.contains(n, dir) {
		return syscall.EINVAL
	}
	if errno := t.takeText(int64(len(name))); errno != 0 {
		return errno
	}
	when := Now()
	if n.isDir() {
		n.dir().parent = dir.ino
		t.linked(dir, when, 1)
	}
	t.linked(n, when, 0)
	t.addName(dir, name, n, when)
	return 0
}

// SetDirTime sets the mtime of a directory as a change of its names does: that alone does
// not count as a change. ENOTDIR.
func (t *Tree) SetDirTime(dir *Inode, mtime Time) syscall.Errno {
	if !dir.isDir() {
		return syscall.ENOTDIR
	}
	if errno := t.lockChange(dir); errno != 0 {
		return errno
	}
	defer dir.mu.Unlock()
	dir.mtime, dir.ctime = stampOf(mtime), nanos(Now())
	t.keepLocked(dir)
	return 0
}
