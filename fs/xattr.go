package fs

import (
	"bytes"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Limits of extended attributes, in bytes (include/uapi/linux/limits.h).
const (
	maxXattrName  = 255     // XATTR_NAME_MAX
	maxXattrValue = 1 << 16 // XATTR_SIZE_MAX
	maxXattrList  = 1 << 16 // XATTR_LIST_MAX: all names of an inode, with a NUL each
)

// Xattr is one extended attribute. Its value is never modified in place.
type Xattr struct {
	Name  string
	Value []byte
}

// xattrCost is how much an extended attribute takes besides its name and value, in bytes.
const xattrCost = 64

// bytes returns what it takes of the tree's limit.
func (x Xattr) bytes() int64 { return xattrCost + int64(len(x.Name)+len(x.Value)) }

// list returns what its name takes of maxXattrList.
func (x Xattr) list() uint32 { return uint32(len(x.Name) + 1) }

func (e *extra) xattrBytes() (sum int64) {
	for _, x := range e.xattrs {
		sum += x.bytes()
	}
	return sum
}

// checkXattr refuses names that tmpfs has no handler for, and names that the kernel refuses
// before it looks for a handler.
func checkXattr(name string) syscall.Errno {
	if len(name) == 0 || len(name) > maxXattrName {
		return syscall.ERANGE
	}
	for _, space := range []string{"user.", "trusted.", "security."} {
		rest, ok := strings.CutPrefix(name, space)
		switch {
		case ok && rest == "", ok && strings.Contains(rest, "\x00"):
			return syscall.EINVAL
		case ok:
			return 0
		}
	}
	return syscall.EOPNOTSUPP
}

// findXattr returns the index of an attribute, or where it would be inserted.
// Preconditions: n.mu is held.
func (n *Inode) findXattr(name string) (int, bool) {
	if n.extra == nil {
		return 0, false
	}
	return slices.BinarySearchFunc(n.extra.xattrs, name, func(x Xattr, name string) int {
		return strings.Compare(x.Name, name)
	})
}

// GetXattr returns the value of an extended attribute, which the caller must not modify.
// Errors: ENODATA, EOPNOTSUPP for a namespace that tmpfs does not have, ERANGE for a name
// that is too long.
func (t *Tree) GetXattr(n *Inode, name string) ([]byte, syscall.Errno) {
	if errno := t.refuse(); errno != 0 {
		return nil, errno
	}
	if errno := checkXattr(name); errno != 0 {
		return nil, errno
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	i, ok := n.findXattr(name)
	if !ok {
		return nil, syscall.ENODATA
	}
	return n.extra.xattrs[i].Value, 0
}

// SetXattr sets an extended attribute; flags are XATTR_CREATE and XATTR_REPLACE. Errors:
// EEXIST, ENODATA, E2BIG for a value of more than 64 KiB, ENOSPC for more than 64 KiB of
// names and at the tree's limit, and those of GetXattr.
func (t *Tree) SetXattr(n *Inode, name string, value []byte, flags int) syscall.Errno {
	switch {
	case flags&^(unix.XATTR_CREATE|unix.XATTR_REPLACE) != 0:
		return syscall.EINVAL
	case len(value) > maxXattrValue && len(name) <= maxXattrName:
		return syscall.E2BIG
	}
	if errno := checkXattr(name); errno != 0 {
		return errno
	}
	if errno := t.lockChange(n); errno != 0 {
		return errno
	}
	defer n.mu.Unlock()
	i, found := n.findXattr(name)
	switch {
	case found && flags&unix.XATTR_CREATE != 0:
		return syscall.EEXIST
	case !found && flags&unix.XATTR_REPLACE != 0:
		return syscall.ENODATA
	}
	if errno := t.storeXattrLocked(n, i, found, Xattr{name, bytes.Clone(value)}); errno != 0 {
		return errno
	}
	n.ctime = nanos(Now())
	t.keepLocked(n)
	return 0
}

// storeXattrLocked puts x at index i, replacing the one there if found.
// Preconditions: n.mu is held.
func (t *Tree) storeXattrLocked(n *Inode, i int, found bool, x Xattr) syscall.Errno {
	if found {
		old := n.extra.xattrs[i]
		if bytes.Equal(old.Value, x.Value) {
			return 0
		}
		if errno := t.takeText(x.bytes() - old.bytes()); errno != 0 {
			return errno
		}
		n.extra.xattrs[i] = x
		n.flags |= flagMeta
		return 0
	}
	more := n.moreLocked()
	if more.listed+x.list() > maxXattrList {
		return syscall.ENOSPC
	}
	if errno := t.takeText(x.bytes()); errno != 0 {
		return errno
	}
	more.xattrs = slices.Insert(more.xattrs, i, x)
	more.listed += x.list()
	n.flags |= flagMeta
	return 0
}

// RemoveXattr removes an extended attribute. Errors as GetXattr.
func (t *Tree) RemoveXattr(n *Inode, name string) syscall.Errno {
	if errno := checkXattr(name); errno != 0 {
		return errno
	}
	if errno := t.lockChange(n); errno != 0 {
		return errno
	}
	defer n.mu.Unlock()
	if !t.dropXattrLocked(n, name) {
		return syscall.ENODATA
	}
	n.ctime = nanos(Now())
	n.flags |= flagMeta
	t.keepLocked(n)
	return 0
}

// dropXattrLocked reports whether the attribute existed.
// Preconditions: n.mu is held.
func (t *Tree) dropXattrLocked(n *Inode, name string) bool {
	i, found := n.findXattr(name)
	if !found {
		return false
	}
	x := n.extra.xattrs[i]
	t.giveText(x.bytes())
	n.extra.xattrs = slices.Delete(n.extra.xattrs, i, i+1)
	n.extra.listed -= x.list()
	return true
}

// ListXattr returns the names of the extended attributes, sorted.
func (t *Tree) ListXattr(n *Inode) ([]string, syscall.Errno) {
	if errno := t.refuse(); errno != 0 {
		return nil, errno
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.extra == nil {
		return nil, 0
	}
	names := make([]string, len(n.extra.xattrs))
	for i, x := range n.extra.xattrs {
		names[i] = x.Name
	}
	return names, 0
}
