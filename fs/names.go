package fs

import "syscall"

// maxTarget is the longest target of a symlink in bytes: PATH_MAX less the NUL.
const maxTarget = 4095

// Lookup returns the inode of a name in dir, with a reference. Errors: ENOENT, ENOTDIR,
// ENAMETOOLONG; EINVAL for "." and "..".
func (t *Tree) Lookup(dir *Inode, name string) (*Inode, syscall.Errno) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if errno := t.readableDir(dir); errno != 0 {
		return nil, errno
	}
	if errno := checkName(name); errno != 0 {
		return nil, errno
	}
	ino := dir.dir().lookup(name)
	if ino == 0 {
		return nil, syscall.ENOENT
	}
	return t.hold(ino), 0
}

// Find returns the inode of a number, with a reference, if it has a name. Otherwise ESTALE:
// it is gone, or is known only to those who hold it.
func (t *Tree) Find(ino uint64) (*Inode, syscall.Errno) {
	t.mu.RLock() // no name is removed meanwhile
	defer t.mu.RUnlock()
	if errno := t.refuse(); errno != 0 {
		return nil, errno
	}
	if n := t.inodes.get(ino); t.lives(ino) || n != nil && n.isNamed() {
		return t.hold(ino), 0
	}
	return nil, syscall.ESTALE
}

func (n *Inode) isNamed() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.nlink > 0
}

// Parent returns the parent of a directory, with a reference; the root is its own. Errors:
// ENOTDIR, ENOENT if dir was removed.
func (t *Tree) Parent(dir *Inode) (*Inode, syscall.Errno) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if errno := t.readableDir(dir); errno != 0 {
		return nil, errno
	}
	return t.hold(dir.dir().parent), 0
}

// ReadDir calls fn for the names of dir after cookie (0: all) until fn returns false. "."
// and ".." are not among them; cookies 1 and 2 are theirs. A name that is made during a
// listing comes after all others, a changed one keeps its place, and cookies stay valid
// whatever is removed. fn runs under the tree's lock: it may call only Ref and Attr. The
// inode is valid until fn returns, or longer with Ref. Errors: ENOTDIR, ENOENT if dir was
// removed.
func (t *Tree) ReadDir(dir *Inode, cookie uint64, fn func(Dirent) bool) syscall.Errno {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if errno := t.readableDir(dir); errno != 0 {
		return errno
	}
	dir.dir().each(cookie, func(name string, ino, cookie uint64) bool {
		n := t.hold(ino)
		defer t.Unref(n, 1)
		return fn(Dirent{name, n, cookie})
	})
	return 0
}

// Mknod makes a file of any kind but a directory or a symlink, and returns it with a
// reference. mode is the full mode; without S_IFMT it is a regular file. Errors: EEXIST,
// ENOENT if dir was removed, ENOTDIR, ENAMETOOLONG, ENOSPC; EPERM for a directory, EINVAL
// for any other kind.
func (t *Tree) Mknod(dir *Inode, name string, mode, rdev uint32, o Owner) (*Inode, syscall.Errno) {
	var more *extra
	switch mode & syscall.S_IFMT {
	case 0:
		mode |= syscall.S_IFREG
	case syscall.S_IFREG, syscall.S_IFIFO, syscall.S_IFSOCK:
	case syscall.S_IFCHR, syscall.S_IFBLK:
		more = &extra{rdev: rdev}
	case syscall.S_IFDIR:
		return nil, syscall.EPERM
	default:
		return nil, syscall.EINVAL
	}
	return t.create(dir, name, mode, o, more)
}

// Mkdir makes a directory and returns it with a reference. In a setgid directory the new
// one is setgid too and inherits the group. Errors as Mknod.
func (t *Tree) Mkdir(dir *Inode, name string, mode uint32, o Owner) (*Inode, syscall.Errno) {
	return t.create(dir, name, syscall.S_IFDIR|mode&PermBits, o, nil)
}

// Symlink makes a symlink and returns it with a reference. Errors as Mknod; ENOENT for an
// empty target, ENAMETOOLONG for a target of more than 4,095 bytes.
func (t *Tree) Symlink(dir *Inode, name, target string, o Owner) (*Inode, syscall.Errno) {
	switch {
	case target == "":
		return nil, syscall.ENOENT
	case len(target) > maxTarget:
		return nil, syscall.ENAMETOOLONG
	}
	return t.create(dir, name, syscall.S_IFLNK|0o777, o, &extra{target: target})
}

// Tmpfile makes a regular file without a name, as O_TMPFILE does, and returns it with a
// reference. Link gives it its first name. dir may have been removed. Errors: ENOTDIR,
// ENOSPC.
func (t *Tree) Tmpfile(dir *Inode, mode uint32, o Owner) (*Inode, syscall.Errno) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if errno := t.refuseChange(); errno != 0 {
		return nil, errno
	}
	if !dir.isDir() {
		return nil, syscall.ENOTDIR
	}
	if errno := t.takeNodes(1, 0); errno != 0 {
		return nil, errno
	}
	n := t.newChild(dir, syscall.S_IFREG|mode&PermBits, o, nil, Now())
	n.flags |= flagLinkable
	t.inodes.add(n)
	return n, 0
}

// Link gives n another name. It returns no reference: the caller has n. Errors as Mknod;
// EPERM for a directory, ENOENT if n has lost its last name.
func (t *Tree) Link(dir *Inode, name string, n *Inode) syscall.Errno {
	t.mu.Lock()
	defer t.mu.Unlock()
	if errno := t.mayAdd(dir, name); errno != 0 {
		return errno
	}
	switch {
	case n.isDir():
		return syscall.EPERM
	case n.nlink == 0 && !n.linkable():
		return syscall.ENOENT
	}
	if errno := t.takeName(n, name); errno != 0 {
		return errno
	}
	when := Now()
	t.linked(n, when, 1)
	t.addName(dir, name, n, when)
	t.mark(n, flagMoved)
	return 0
}

// linkable reports whether n was made by Tmpfile and never linked.
// Preconditions: Tree.mu is held.
func (n *Inode) linkable() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.flags&flagLinkable != 0
}

// takeName counts another name of n: ENOSPC. The first name is counted with its inode, see
// takeNodes.
// Preconditions: Tree.mu is held for writing.
func (t *Tree) takeName(n *Inode, name string) syscall.Errno {
	if n.nlink == 0 {
		return t.takeText(int64(len(name)))
	}
	return t.takeNodes(1, int64(len(name)))
}

// Readlink returns the target of a symlink. EINVAL for anything else.
func (t *Tree) Readlink(n *Inode) (string, syscall.Errno) {
	if errno := t.refuse(); errno != 0 {
		return "", errno
	}
	if !n.is(syscall.S_IFLNK) {
		return "", syscall.EINVAL
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.extra.target, 0
}

// create makes an inode and its first name.
func (t *Tree) create(dir *Inode, name string, mode uint32, o Owner, more *extra) (*Inode, syscall.Errno) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if errno := t.mayAdd(dir, name); errno != 0 {
		return nil, errno
	}
	if errno := t.takeNodes(1, int64(len(name))+more.targetBytes()); errno != 0 {
		return nil, errno
	}
	when := Now()
	n := t.newChild(dir, mode, o, more, when)
	n.nlink = 1
	if n.isDir() {
		n.nlink = 2
		n.dir().parent = dir.ino
		t.linked(dir, when, 1)
	}
	t.inodes.add(n)
	t.addName(dir, name, n, when)
	return n, 0
}

// newChild makes an inode, with a reference, that has no name and is not in the table yet.
// It inherits the group as in inode_init_owner in the kernel's fs/inode.c.
// Preconditions: Tree.mu is held for writing, and takeNodes has counted the inode.
func (t *Tree) newChild(dir *Inode, mode uint32, o Owner, more *extra, when Time) *Inode {
	dir.mu.Lock()
	if dir.perm&syscall.S_ISGID != 0 {
		o.GID = dir.gid
		if mode&syscall.S_IFMT == syscall.S_IFDIR {
			mode |= syscall.S_ISGID
		}
	}
	dir.mu.Unlock()
	n := newInode(mode, o, when)
	n.refs.Store(1)
	n.flags = flagNew
	if more != nil {
		n.extra = more
		n.size = more.targetBytes()
	}
	return n
}

// readableDir returns why dir cannot be read, 0 if it can.
// Preconditions: Tree.mu is held.
func (t *Tree) readableDir(dir *Inode) syscall.Errno {
	if errno := t.refuse(); errno != 0 {
		return errno
	}
	return liveDir(dir)
}

// findToChange returns the number of the inode that a name leads to in a directory that is
// to be changed; 0 if the name does not exist. An errno says why there cannot be such a
// name.
// Preconditions: Tree.mu is held for writing.
func (t *Tree) findToChange(dir *Inode, name string) (uint64, syscall.Errno) {
	if errno := t.refuseChange(); errno != 0 {
		return 0, errno
	}
	if errno := liveDir(dir); errno != 0 {
		return 0, errno
	}
	if errno := checkName(name); errno != 0 {
		return 0, errno
	}
	t.note(dir)
	return dir.dir().lookup(name), 0
}

// liveDir returns why dir cannot have names: it is not a directory, or it was removed.
func liveDir(dir *Inode) syscall.Errno {
	switch {
	case !dir.isDir():
		return syscall.ENOTDIR
	case dir.nlink == 0:
		return syscall.ENOENT
	}
	return 0
}

// mayAdd returns why a name cannot be added, 0 if it can.
// Preconditions: Tree.mu is held for writing.
func (t *Tree) mayAdd(dir *Inode, name string) syscall.Errno {
	ino, errno := t.findToChange(dir, name)
	switch {
	case errno != 0:
		return errno
	case ino != 0:
		return syscall.EEXIST
	}
	return dir.dir().roomFor()
}

// addName adds a name. The caller counts the link.
// Preconditions: mayAdd returned 0.
func (t *Tree) addName(dir *Inode, name string, n *Inode, when Time) {
	dir.dir().add(name, n.ino)
	t.entriesChanged(dir, when, 1)
}
