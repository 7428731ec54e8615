package fs

import (
	"sync"
	"sync/atomic"
)

// dayOf is the age, in nanoseconds, from which a read renews an atime in any case.
const dayOf = 24 * 60 * 60 * 1e9

// Touch records that n was read: a file's content, a directory's names or a symlink's
// target. As under the kernel's relatime (fs/inode.c, relatime_need_update), the atime is
// renewed if it is not newer than the last change, or a day old. That is not a change, and
// a frozen tree stays as it is.
func (t *Tree) Touch(n *Inode) {
	if t.lockChange(n) != 0 {
		return
	}
	defer n.mu.Unlock()
	if at := nanos(Now()); n.stale(at) {
		n.atime = stampOf(timeOfNanos(at))
		if row, ok := t.Row(n); ok {
			t.atimes.set(t.rows, row, at)
		}
	}
}

// atimes keeps the atimes of inodes of an image that were read and not changed, beyond the
// life of the inode. It takes 8 bytes for each row once anything was read.
type atimes struct {
	make sync.Once
	rows atomic.Pointer[[]atomic.Int64] // nanoseconds since 1970; 0: as the image has it
}

func (a *atimes) set(rows uint64, row uint32, at int64) {
	a.make.Do(func() {
		all := make([]atomic.Int64, rows)
		a.rows.Store(&all)
	})
	(*a.rows.Load())[row].Store(at)
}

// get returns the last time that was set; not ok if none was.
func (a *atimes) get(row uint32) (at Time, ok bool) {
	if all := a.rows.Load(); all != nil {
		if ns := (*all)[row].Load(); ns != 0 {
			return timeOfNanos(ns), true
		}
	}
	return Time{}, false
}

// stale reports whether a read at a time renews the atime.
// Preconditions: n.mu is held.
func (n *Inode) stale(at int64) bool {
	was := nanos(n.atime.time())
	return was <= nanos(n.mtime.time()) || was <= n.ctime || at-was >= dayOf
}
