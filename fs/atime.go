package fs

// dayOf is how old an atime may become before a read renews it, in nanoseconds.
const dayOf = 24 * 60 * 60 * 1e9

// Touch notes that n was read: a file's content, a directory's names or a
// symlink's target. Its atime follows as under the kernel's relatime (fs/inode.c,
// relatime_need_update): if it is not newer than the last change, or a day old. It
// is no change, and nothing happens where nothing may be changed.
func (t *Tree) Touch(n *Inode) {
	if t.lockChange(n) != 0 {
		return
	}
	defer n.mu.Unlock()
	if at := nanos(now()); n.stale(at) {
		n.atime = stampOf(timeOfNanos(at))
	}
}

// stale tells whether a read at a time is to be noted.
// Preconditions: n.mu is held.
func (n *Inode) stale(at int64) bool {
	was := nanos(n.atime.time())
	return was <= nanos(n.mtime.time()) || was <= n.ctime || at-was >= dayOf
}
