package fusefs

import (
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// label is where SELinux keeps the label of a file.
const label = "security.selinux"

// fits is the rule of both getxattr(2) and listxattr(2): an empty buffer asks for the size,
// and a buffer that is too small is ERANGE (which the kernel makes E2BIG if no buffer can
// be large enough).
func fits(size, buf int) (uint32, fuse.Status) {
	if buf > 0 && size > buf {
		return uint32(size), fuse.ERANGE
	}
	return uint32(size), fuse.OK
}

// GetXAttr reports a missing label as unsupported. ls -l asks every file for one, by a
// request each, and stops after this answer. A kernel with SELinux answers by itself.
func (s *server) GetXAttr(_ *request, in *fuse.InHeader, name string, buf []byte) (uint32, fuse.Status) {
	n, st := s.inode(in.NodeId)
	if st != fuse.OK {
		return 0, st
	}
	stored, ok := s.storedXattr(name)
	if !ok {
		return 0, fuse.ENODATA
	}
	value, errno := s.tree.GetXattr(n, stored)
	if errno == syscall.ENODATA && name == label {
		errno = syscall.EOPNOTSUPP
	}
	if errno != 0 {
		return 0, status(errno)
	}
	copy(buf, value)
	return fits(len(value), len(buf))
}

// ListXAttr lists the names, each terminated by a zero byte.
func (s *server) ListXAttr(_ *request, in *fuse.InHeader, buf []byte) (uint32, fuse.Status) {
	n, st := s.inode(in.NodeId)
	if st != fuse.OK {
		return 0, st
	}
	names, errno := s.tree.ListXattr(n)
	if errno != 0 {
		return 0, status(errno)
	}
	size := 0
	for _, name := range names {
		name = s.shownXattr(name)
		if size < len(buf) {
			copy(buf[size:], name+"\x00")
		}
		size += len(name) + 1
	}
	return fits(size, len(buf))
}

func (s *server) SetXAttr(_ *request, in *fuse.InHeader, name string, value []byte, flags uint32) fuse.Status {
	n, st := s.inode(in.NodeId)
	if st != fuse.OK {
		return st
	}
	return status(s.tree.SetXattr(n, name, value, int(flags)))
}

func (s *server) RemoveXAttr(_ *request, in *fuse.InHeader, name string) fuse.Status {
	n, st := s.inode(in.NodeId)
	if st != fuse.OK {
		return st
	}
	return status(s.tree.RemoveXattr(n, name))
}
