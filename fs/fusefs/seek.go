package fusefs

import (
	"math"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/fs"
)

// Lseek serves SEEK_DATA and SEEK_HOLE; the kernel does the others.
//
// The kernel sends LSEEK without writing its dirty pages back first (fs/fuse/file.c,
// fuse_lseek). So a hole in the tree may be data that has not arrived yet, and cp, tar and
// grep would skip it. Under the writeback cache we therefore make the kernel write back the
// hole that the answer depends on, and look again. Data in the tree is always data, and its
// pages stay cached.
func (s *server) Lseek(r *request, in *fuse.LseekIn, out *fuse.LseekOut) fuse.Status {
	n, st := s.inode(in.NodeId)
	if st != fuse.OK {
		return st
	}
	for {
		off, errno := s.tree.Seek(n, int64(in.Offset), int(in.Whence))
		out.Offset = uint64(off)
		if errno != 0 && errno != syscall.ENXIO || !s.has(fuse.CAP_WRITEBACK_CACHE) {
			return status(errno)
		}
		from, to := s.holeOf(n, in, off, errno)
		if from >= to {
			return status(errno)
		}
		r.passOn() // the WRITEs are served meanwhile
		if st := s.kernel.InodeNotify(in.NodeId, from, to-from); st != fuse.OK {
			return st
		}
		again, errnoAgain := s.tree.Seek(n, int64(in.Offset), int(in.Whence))
		if again == off && errnoAgain == errno {
			return status(errno)
		}
	}
}

// holeOf returns the range of n, in bytes, that must be a hole if off and errno are the
// answer to in: the one that SEEK_DATA skipped, or the one that SEEK_HOLE found.
func (s *server) holeOf(n *fs.Inode, in *fuse.LseekIn, off int64, errno syscall.Errno) (from, to int64) {
	asked := int64(in.Offset)
	switch {
	case errno != 0:
		return asked, math.MaxInt64
	case in.Whence == unix.SEEK_DATA:
		return asked, off
	}
	next, errno := s.tree.Seek(n, off, unix.SEEK_DATA)
	if errno != 0 {
		next = math.MaxInt64
	}
	return off, next
}
