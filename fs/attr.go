package fs

import (
	"math"
	"syscall"
)

// Attr returns the attributes of n. A removed inode has no links; the kernel refuses
// link(2) to an inode that it has seen like that.
func (t *Tree) Attr(n *Inode) Attr {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.attrLocked()
}

// SetAttr changes all attributes that s names, or none, and returns the attributes
// afterwards. Errors: EISDIR and EINVAL for the size of an inode without one, EINVAL for a
// negative size, ENOSPC if no backing file can be made.
func (t *Tree) SetAttr(n *Inode, s *SetAttr) (Attr, syscall.Errno) {
	var resized bool
	var errno syscall.Errno
	if s.Valid&SetSize != 0 {
		resized, errno = t.lockResized(n, s.Size)
	} else {
		errno = t.lockChange(n)
	}
	if errno != 0 {
		return Attr{}, errno
	}
	defer n.mu.Unlock()
	if s.Valid&SetSize != 0 {
		t.replacedLocked(n, s.Size, math.MaxInt64)
	}
	if s.Valid == 0 || (s.Valid == SetSize && !resized) {
		return n.attrLocked(), 0
	}
	t.keepLocked(n)
	when := Now()
	if resized && !t.LeavesTimes(n) {
		n.modifiedLocked(when)
	}
	owned, timed := t.setOwnerAndMode(n, s), setTimes(n, s)
	if owned || timed && s.Valid&SetSize == 0 { // a time that comes with a size belongs to the change of size
		n.flags |= flagMeta
	}
	switch {
	case s.Valid&SetCtime != 0:
		n.ctime = nanos(s.Ctime)
	case !t.LeavesTimes(n):
		n.ctime = nanos(when)
	}
	return n.attrLocked(), 0
}

// LeaveTimes makes SetAttr the only verb that changes mtime and ctime of regular files from
// now on; it changes only those that it is given. It is for a kernel that caches writes:
// the kernel keeps these times by its own clock and sends them before or after the content,
// so a WRITE that set them would leave a file newer than any tool has seen it. Names and
// extended attributes change ctime as before.
func (t *Tree) LeaveTimes() { t.timesLeft.Store(true) }

// LeavesTimes reports whether LeaveTimes applies to n.
func (t *Tree) LeavesTimes(n *Inode) bool { return n.isRegular() && t.timesLeft.Load() }

// setOwnerAndMode reports whether anything has changed.
// Preconditions: n.mu is held.
func (t *Tree) setOwnerAndMode(n *Inode, s *SetAttr) bool {
	perm, uid, gid := n.perm, n.uid, n.gid
	killed := s.Valid&SetKillPriv != 0 && t.killPrivLocked(n)
	if s.Valid&SetMode != 0 {
		n.perm = uint16(s.Mode & PermBits)
	}
	if s.Valid&SetUID != 0 {
		n.uid = s.UID
	}
	if s.Valid&SetGID != 0 {
		n.gid = s.GID
	}
	return killed || perm != n.perm || uid != n.uid || gid != n.gid
}

// setTimes reports whether the mtime has changed.
// Preconditions: n.mu is held.
func setTimes(n *Inode, s *SetAttr) bool {
	before := n.mtime
	if s.Valid&SetAtime != 0 {
		n.atime = stampOf(s.Atime)
	}
	if s.Valid&SetMtime != 0 {
		n.mtime = stampOf(s.Mtime)
	}
	return s.Valid&SetMtime != 0 && before != n.mtime
}

// killPrivLocked clears suid, sgid if the group may execute, and security.capability, and
// reports whether any of them was set. The rule is that of setattr_should_drop_suidgid in
// the kernel's fs/attr.c for an unprivileged caller.
// Preconditions: n.mu is held.
func (t *Tree) killPrivLocked(n *Inode) bool {
	perm := n.perm &^ syscall.S_ISUID
	if perm&syscall.S_IXGRP != 0 {
		perm &^= syscall.S_ISGID
	}
	changed := perm != n.perm
	n.perm = perm
	if t.dropXattrLocked(n, "security.capability") {
		changed = true
	}
	if changed {
		n.flags |= flagMeta
		t.keepLocked(n)
	}
	return changed
}

// Privileged reports whether n has suid, sgid or security.capability.
func (t *Tree) Privileged(n *Inode) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.privilegedLocked()
}

// Preconditions: n.mu is held.
func (n *Inode) privilegedLocked() bool {
	_, capable := n.findXattr("security.capability")
	return capable || n.perm&(syscall.S_ISUID|syscall.S_ISGID) != 0
}
