package fsdir

import (
	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/fs"
)

// Lost holds the attributes that a directory could not take from the tree that was unpacked
// there: set-user-ID bits, owners, times that its file system cannot hold, and extended
// attributes. Nobody changed them, so the next tree must have them too.
type Lost map[fileID]lostAttr

type lostAttr struct {
	attr   fs.Attr // in the tree
	was    stamp   // in the directory
	xattrs map[string][]byte
}

// FindLost compares a tree with the snapshot of the directory to which it was unpacked.
// xattrs are the names that were left out, by path (see UnpackOptions.LeftOut).
func FindLost(tree *fs.Tree, s *Snapshot, xattrs map[string][]string) (Lost, error) {
	lost := Lost{}
	err := tree.Walk(func(path string, n *fs.Inode, a fs.Attr) error {
		id, ok := s.names[path]
		if !ok {
			return nil // a socket; Unpack makes none
		}
		l := lostAttr{attr: a, was: s.inodes[id]}
		for _, name := range xattrs[path] {
			value, errno := tree.GetXattr(n, name)
			if errno != 0 {
				return named(path, errno)
			}
			if l.xattrs == nil {
				l.xattrs = map[string][]byte{}
			}
			l.xattrs[name] = value
		}
		if l.xattrs != nil || !l.was.holds(a) {
			lost[id] = l
		}
		return nil
	})
	return lost, err
}

// holds reports whether a file has all the attributes that it has in the tree.
func (s stamp) holds(a fs.Attr) bool {
	return s.mode&fs.PermBits == a.Mode&fs.PermBits && s.uid == a.UID && s.gid == a.GID && statxTime(s.mtime) == a.Mtime
}

func statxTime(t unix.StatxTimestamp) fs.Time { return fs.Time{Sec: t.Sec, Nsec: t.Nsec} }

// Restore gives the lost attributes to a tree that was loaded from the directory, except
// where they have changed since. s is the snapshot of the directory as it was loaded.
func (l Lost) Restore(tree *fs.Tree, s *Snapshot) error {
	if len(l) == 0 {
		return nil
	}
	for path, id := range s.names {
		one, ok := l[id]
		if !ok {
			continue
		}
		now := s.inodes[id]
		if id.born == (unix.StatxTimestamp{}) && now.ctime != one.was.ctime {
			continue // it may be another file with the inode number of a removed one
		}
		n, errno := tree.LookupPath(tree.Root(), path)
		if errno != 0 {
			return named(path, errno)
		}
		err := one.restore(tree, n, now)
		tree.Unref(n, 1)
		if err != nil {
			return named(path, err)
		}
	}
	return nil
}

func (l lostAttr) restore(tree *fs.Tree, n *fs.Inode, now stamp) error {
	set := &fs.SetAttr{Mode: l.attr.Mode & fs.PermBits, UID: l.attr.UID, GID: l.attr.GID, Mtime: l.attr.Mtime}
	owned := now.uid == l.was.uid && now.gid == l.was.gid
	if owned {
		set.Valid |= fs.SetUID | fs.SetGID
	}
	if now.mtime == l.was.mtime {
		set.Valid |= fs.SetMtime
	}
	if now.mode == l.was.mode && now.mode&unix.S_IFMT != unix.S_IFLNK {
		set.Valid |= fs.SetMode
		if now.mode&unix.S_IFMT == unix.S_IFREG && (!owned || now.mtime != l.was.mtime || now.size != l.was.size) {
			set.Mode &^= suidBits // a write or a chown clears them
		}
	}
	if _, errno := tree.SetAttr(n, set); errno != 0 {
		return errno
	}
	for name, value := range l.xattrs {
		if errno := tree.SetXattr(n, name, value, 0); errno != 0 {
			return errno
		}
	}
	return nil
}
