package fusefs

import (
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/workdir/workdir/fs"
)

// Under the writeback cache write(2) puts its bytes into the kernel's pages without asking
// for room. For a full mount there are two remedies:
//
//   - For a file that is made when the mount is nearly full, the kernel sends each write(2),
//     see mustAskForRoom.
//   - A file that has lost written bytes takes no more, see refuseMore.

// nearlyFull is the most room that a nearly full mount has, in bytes: an eighth of the
// total, but no more than this. A kernel that may hold back 1 % of its dirty pages for a
// FUSE mount, which is the default, fills about as much before the server hears of it.
const nearlyFull = 64 << 20

// mustAskForRoom reports whether a file that is made now must be written through
// (FOPEN_DIRECT_IO), so that write(2) itself returns ENOSPC and nothing is lost. It costs a
// request for each write(2), and the kernel, which keeps the times, does not change mtime
// for these (fs/fuse/file.c, fuse_direct_write_iter). Kernels before 6.6 cannot map such a
// file.
func (s *server) mustAskForRoom() bool {
	if !s.has(fuse.CAP_WRITEBACK_CACHE | fuse.CAP_DIRECT_IO_ALLOW_MMAP) {
		return false
	}
	st := s.tree.StatFS()
	return st.Free < min(st.Blocks/8, nearlyFull/blockSize)
}

// refuseMore returns the errno with which a file that has lost written bytes refuses to
// take more, and 0 for any other file and any other question. A file that found no room
// takes more once there is room for what it has lost.
//
// The question is a GETATTR with a handle. write(2) sends one if the kernel may not keep
// the file's attributes, and fails if that fails (fs/fuse/file.c, fuse_cache_write_iter).
// So do read(2) at the end of a file and lseek(2) to it; stat(2) and fstat(2) send one
// without a handle.
func (s *server) refuseMore(n *fs.Inode, in *fuse.GetAttrIn) syscall.Errno {
	if in.Flags()&fuse.FUSE_GETATTR_FH == 0 || !s.has(fuse.CAP_WRITEBACK_CACHE) {
		return 0
	}
	bytes, cause := s.tree.Lost(n)
	if cause == syscall.ENOSPC && s.tree.StatFS().Free*blockSize >= uint64(bytes) {
		return 0
	}
	return cause
}

// withLoss makes a file that has lost written bytes as long as its writer takes it to be,
// so that the bytes do not become readable when the kernel has forgotten the file and asks
// again. It returns how long the kernel may keep the attributes, in seconds: 0 for such a
// file, so that the kernel asks each time.
func (s *server) withLoss(n *fs.Inode, a *fs.Attr) (valid uint64) {
	end := s.tree.LostEnd(n)
	if end == 0 {
		return cacheFor
	}
	a.Size = max(a.Size, end)
	return 0
}
