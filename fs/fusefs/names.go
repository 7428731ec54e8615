package fusefs

import (
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/fs"
)

// Lookup answers "no such name" with an empty entry and not with ENOENT, because only the
// entry is cached (fs/fuse/dir.c, fuse_lookup_name).
func (s *server) Lookup(_ *request, in *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	if name == "." {
		return s.lookupHandle(in.NodeId, out)
	}
	dir, st := s.inode(in.NodeId)
	if st != fuse.OK {
		return st
	}
	lookup := s.tree.Lookup
	if name == ".." {
		lookup = func(dir *fs.Inode, _ string) (*fs.Inode, syscall.Errno) { return s.tree.Parent(dir) }
	}
	n, errno := lookup(dir, name)
	switch errno {
	case 0:
		s.entry(n, out)
	case syscall.ENOENT:
		*out = fuse.EntryOut{EntryValid: cacheFor}
	default:
		return status(errno)
	}
	return fuse.OK
}

// lookupHandle looks up the node of a file handle, which the kernel may have forgotten
// (fs/fuse/inode.c, fuse_get_dentry).
func (s *server) lookupHandle(node uint64, out *fuse.EntryOut) fuse.Status {
	n, errno := s.tree.Find(node)
	if errno != 0 {
		return status(errno)
	}
	s.entry(n, out)
	return fuse.OK
}

// Forget gives back references that entries have passed to the kernel.
func (s *server) Forget(node, count uint64) {
	if n := s.tree.Get(node); n != nil {
		s.tree.Unref(n, count)
	}
}

// newEntry answers an operation that makes a name in a directory.
func (s *server) newEntry(r *request, in *fuse.InHeader, out *fuse.EntryOut, verb func(*fs.Inode) (*fs.Inode, syscall.Errno)) fuse.Status {
	dir, st := s.inode(in.NodeId)
	if st != fuse.OK {
		return st
	}
	var n *fs.Inode
	errno := s.withRoom(r, func() (errno syscall.Errno) {
		n, errno = verb(dir)
		return errno
	})
	if errno != 0 {
		return status(errno)
	}
	s.changed(in.NodeId)
	s.entry(n, out)
	return fuse.OK
}

func (s *server) Mknod(r *request, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	return s.newEntry(r, &in.InHeader, out, func(dir *fs.Inode) (*fs.Inode, syscall.Errno) {
		return s.tree.Mknod(dir, name, in.Mode, in.Rdev, owner(&in.InHeader))
	})
}

func (s *server) Mkdir(r *request, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	return s.newEntry(r, &in.InHeader, out, func(dir *fs.Inode) (*fs.Inode, syscall.Errno) {
		return s.tree.Mkdir(dir, name, in.Mode&fs.PermBits, owner(&in.InHeader))
	})
}

func (s *server) Symlink(r *request, in *fuse.InHeader, target, name string, out *fuse.EntryOut) fuse.Status {
	return s.newEntry(r, in, out, func(dir *fs.Inode) (*fs.Inode, syscall.Errno) {
		return s.tree.Symlink(dir, name, target, owner(in))
	})
}

// Create makes a regular file and opens it. The kernel has looked the name up before and
// holds the directory's lock, so EEXIST means a miscount; it is not a reason to open the
// existing file.
func (s *server) Create(r *request, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	return s.newOpen(r, in, out, func(dir *fs.Inode) (*fs.Inode, syscall.Errno) {
		return s.tree.Mknod(dir, name, unix.S_IFREG|in.Mode&fs.PermBits, 0, owner(&in.InHeader))
	})
}

func (s *server) Tmpfile(r *request, in *fuse.CreateIn, out *fuse.CreateOut) fuse.Status {
	return s.newOpen(r, in, out, func(dir *fs.Inode) (*fs.Inode, syscall.Errno) {
		return s.tree.Tmpfile(dir, in.Mode&fs.PermBits, owner(&in.InHeader))
	})
}

// newOpen is newEntry for an inode that is open from the start.
func (s *server) newOpen(r *request, in *fuse.CreateIn, out *fuse.CreateOut, verb func(*fs.Inode) (*fs.Inode, syscall.Errno)) fuse.Status {
	return s.newEntry(r, &in.InHeader, &out.EntryOut, func(dir *fs.Inode) (*fs.Inode, syscall.Errno) {
		n, errno := verb(dir)
		if errno == 0 && s.mustAskForRoom() {
			out.OpenFlags |= fuse.FOPEN_DIRECT_IO
		}
		return n, errno
	})
}

// Link takes the reference for its entry only after the tree has linked: meanwhile the
// kernel holds another one, by the name that it links.
func (s *server) Link(r *request, in *fuse.LinkIn, name string, out *fuse.EntryOut) fuse.Status {
	n, st := s.inode(in.Oldnodeid)
	if st != fuse.OK {
		return st
	}
	return s.newEntry(r, &in.InHeader, out, func(dir *fs.Inode) (*fs.Inode, syscall.Errno) {
		if errno := s.tree.Link(dir, name, n); errno != 0 {
			return nil, errno
		}
		s.tree.Ref(n)
		return n, 0
	})
}

func (s *server) Unlink(_ *request, in *fuse.InHeader, name string) fuse.Status {
	dir, st := s.inode(in.NodeId)
	if st != fuse.OK {
		return st
	}
	defer s.changed(in.NodeId)
	return s.removing(func() syscall.Errno { return s.tree.Unlink(dir, name) })
}

func (s *server) Rmdir(_ *request, in *fuse.InHeader, name string) fuse.Status {
	dir, st := s.inode(in.NodeId)
	if st != fuse.OK {
		return st
	}
	defer s.changed(in.NodeId)
	return s.removing(func() syscall.Errno { return s.tree.Rmdir(dir, name) })
}

// Rename serves RENAME and RENAME2. RENAME_WHITEOUT is EINVAL, as on file systems without
// whiteouts.
func (s *server) Rename(_ *request, in *fuse.RenameIn, oldName, newName string) fuse.Status {
	odir, st := s.inode(in.NodeId)
	if st != fuse.OK {
		return st
	}
	ndir, st := s.inode(in.Newdir)
	if st != fuse.OK {
		return st
	}
	if in.Flags&^(fs.RenameNoReplace|fs.RenameExchange) != 0 {
		return fuse.EINVAL
	}
	defer s.changed(in.NodeId, in.Newdir)
	return s.removing(func() syscall.Errno {
		return s.tree.Rename(odir, oldName, ndir, newName, in.Flags)
	})
}

func (s *server) Readlink(_ *request, in *fuse.InHeader) ([]byte, fuse.Status) {
	n, st := s.inode(in.NodeId)
	if st != fuse.OK {
		return nil, st
	}
	target, errno := s.tree.Readlink(n)
	s.touch(n)
	return []byte(target), status(errno)
}
