package fsupper

import (
	"bytes"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/fs"
)

// change is how an inode differs. The mtime of a directory does not count.
type change struct {
	set     fs.SetAttr
	remove  []string // names of extended attributes
	xattrs  []fs.Xattr
	content *content // nil if it is the same
}

func (c *change) none() bool {
	return c.set.Valid == 0 && len(c.remove)+len(c.xattrs) == 0 && c.content == nil
}

// update gives n the state of e. A nil n is one that the target has created and counted.
func (a *applier) update(n *fs.Inode, e *entry) error {
	if e.flags {
		a.warn(e.path, "file attributes of chattr(1) are left out")
	}
	if n == nil {
		return nil
	}
	c, err := a.compare(n, e)
	if err != nil || c.none() {
		return err
	}
	return a.to.change(n, e, c)
}

// compare returns how e differs from n.
func (a *applier) compare(n *fs.Inode, e *entry) (*change, error) {
	c, at := &change{}, a.tree.Attr(n)
	s := &c.set
	if at.Mode != e.st.Mode && e.kind() != unix.S_IFLNK {
		s.Valid, s.Mode = s.Valid|fs.SetMode, e.st.Mode&fs.PermBits
	}
	if at.UID != e.st.Uid {
		s.Valid, s.UID = s.Valid|fs.SetUID, e.st.Uid
	}
	if at.GID != e.st.Gid {
		s.Valid, s.GID = s.Valid|fs.SetGID, e.st.Gid
	}
	if mtime := timeOf(e.st.Mtim); at.Mtime != mtime && e.kind() != unix.S_IFDIR {
		s.Valid, s.Mtime = s.Valid|fs.SetMtime, mtime
	}
	err := a.compareXattrs(n, e, c)
	if err == nil && e.kind() == unix.S_IFREG {
		err = a.compareContent(n, &at, e, c)
	}
	return c, err
}

func timeOf(t unix.Timespec) fs.Time { return fs.Time{Sec: t.Sec, Nsec: uint32(t.Nsec)} }

// labels are extended attributes that a security module keeps for itself: they belong to
// the host, and every file has them.
var labels = map[string]bool{
	"security.selinux": true, "security.SMACK64": true, "security.ima": true, "security.evm": true,
}

// userName returns the name under which users see an extended attribute of upper; false if
// no tree holds such an attribute.
func (a *applier) userName(e *entry, key string) (string, bool) {
	if rest, ok := strings.CutPrefix(key, escapedPrefix); ok {
		return ownPrefix + rest, true
	}
	class, _, _ := strings.Cut(key, ".")
	switch {
	case labels[key]:
		return "", false
	case class == "user", class == "trusted", class == "security":
		return key, true
	case strings.HasPrefix(key, "system.posix_acl_"):
		a.warn(e.path, "POSIX ACLs are left out")
	default:
		a.warn(e.path, "extended attributes "+class+".* are left out")
	}
	return "", false
}

// compareXattrs finds the extended attributes that differ. Attributes of the tree with the
// overlay's own names were not shown, so they stay.
func (a *applier) compareXattrs(n *fs.Inode, e *entry, c *change) error {
	old, errno := a.tree.ListXattr(n)
	if errno != 0 {
		return errno
	}
	gone := map[string]bool{}
	for _, name := range old {
		if !labels[name] && !strings.HasPrefix(name, ownPrefix) {
			gone[name] = true
		}
	}
	for _, key := range e.xattrs {
		name, ok := a.userName(e, key)
		if !ok {
			continue
		}
		delete(gone, name)
		value, err := a.upper.xattr(xattrPath(e.dir, e.name), key)
		if err != nil {
			return err
		}
		was, errno := a.tree.GetXattr(n, name)
		if errno != 0 && errno != syscall.ENODATA {
			return errno
		}
		if errno == syscall.ENODATA || !bytes.Equal(was, value) {
			c.xattrs = append(c.xattrs, fs.Xattr{Name: name, Value: bytes.Clone(value)})
		}
	}
	for _, name := range old {
		if gone[name] {
			c.remove = append(c.remove, name)
		}
	}
	return nil
}
