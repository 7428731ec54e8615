package fusefs

import (
	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/workdir/workdir/fs"
)

// OpenDir is not implemented: the kernel then caches listings, and sends neither OPENDIR
// nor RELEASEDIR.
func (s *server) OpenDir(*request, *fuse.OpenIn, *fuse.OpenOut) fuse.Status {
	return fuse.ENOSYS
}

// ReadDir serves kernels that do not ask for attributes with the names.
func (s *server) ReadDir(_ *request, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return s.list(in, func(e fuse.DirEntry, _ *fs.Inode, _ *fs.Attr, _ uint64) bool {
		return out.AddDirEntry(e)
	})
}

// ReadDirPlus passes on one reference for each name, and complete attributes: a zero size
// would truncate the pages of a file. "." and ".." have no node id, which the kernel takes
// as "no reference passed on".
func (s *server) ReadDirPlus(_ *request, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return s.list(in, func(e fuse.DirEntry, n *fs.Inode, a *fs.Attr, valid uint64) bool {
		entry := out.AddDirLookupEntry(e)
		if entry == nil || e.Off <= cookieDotDot {
			return entry != nil
		}
		s.tree.Ref(n)
		setEntry(entry, n.Ino(), a, valid)
		return true
	})
}

// Cookies of the names that the tree does not list.
const (
	cookieDot    = 1
	cookieDotDot = 2
)

// list adds the names of a directory after in.Offset, which is 0 or the cookie of an
// earlier name, until add has no more room. The kernel then asks again.
func (s *server) list(in *fuse.ReadIn, add func(e fuse.DirEntry, n *fs.Inode, a *fs.Attr, valid uint64) bool) fuse.Status {
	dir, st := s.inode(in.NodeId)
	if st != fuse.OK {
		return st
	}
	s.touch(dir)
	each := func(d fs.Dirent) bool {
		a, valid := s.attr(d.Inode)
		return add(fuse.DirEntry{Name: d.Name, Ino: a.Ino, Mode: a.Mode, Off: d.Cookie}, d.Inode, &a, valid)
	}
	if in.Offset < cookieDot && !each(fs.Dirent{Name: ".", Inode: dir, Cookie: cookieDot}) {
		return fuse.OK
	}
	if in.Offset < cookieDotDot {
		parent, errno := s.tree.Parent(dir)
		if errno != 0 {
			return status(errno)
		}
		defer s.tree.Unref(parent, 1) // no reference is passed on for ".."
		if !each(fs.Dirent{Name: "..", Inode: parent, Cookie: cookieDotDot}) {
			return fuse.OK
		}
	}
	return status(s.tree.ReadDir(dir, max(in.Offset, cookieDotDot), each))
}
