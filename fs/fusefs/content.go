package fusefs

import (
	"cmp"
	"fmt"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/fs"
)

// Open is not implemented, and so costs nothing after the first: the kernel keeps the
// pages, sends neither OPEN nor RELEASE, and truncates for O_TRUNC by SETATTR.
func (s *server) Open(*request, *fuse.OpenIn, *fuse.OpenOut) fuse.Status { return fuse.ENOSYS }

// killing calls change, which takes suid, sgid and security.capability from n if kill is
// set. The kernel then drops the size and the times that it knows, but not the mode
// (fs/fuse/file.c, fuse_write_update_attr), and would go on executing n with privileges:
// the notice makes it ask for the mode.
func (s *server) killing(n *fs.Inode, kill bool, change func() syscall.Errno) syscall.Errno {
	had := kill && s.tree.Privileged(n)
	errno := change()
	if had {
		s.changed(n.Ino())
	}
	return errno
}

// Release follows Create and Tmpfile, and RELEASEDIR is never sent. There is nothing to do: the kernel's lookup count
// keeps the inode.
func (s *server) Release(*request, *fuse.ReleaseIn) fuse.Status { return fuse.OK }

// Flush is not implemented: close has written dirty pages back, and reported what failed,
// before it would send FLUSH (fs/fuse/file.c, fuse_flush).
func (s *server) Flush(*request, *fuse.FlushIn) fuse.Status { return fuse.ENOSYS }

// Fsync is not implemented, nor FsyncDir: fsync has written dirty pages and times back
// before it would send FSYNC, and memory cannot become more durable.
func (s *server) Fsync(*request, *fuse.FsyncIn) fuse.Status { return fuse.ENOSYS }

// awaitContent passes the request on if an operation on the content of n may wait for a
// store.
func (s *server) awaitContent(r *request, n *fs.Inode) {
	if !s.tree.Local(n) {
		r.passOn()
	}
}

func (s *server) Read(r *request, in *fuse.ReadIn, buf []byte) (int, fuse.Status) {
	n, st := s.inode(in.NodeId)
	if st != fuse.OK {
		return 0, st
	}
	if int64(in.Offset) < 0 {
		return 0, fuse.EINVAL
	}
	s.awaitContent(r, n)
	count, errno := s.tree.ReadAt(n, buf, int64(in.Offset))
	if errno != 0 {
		return 0, status(errno)
	}
	if in.Flags&unix.O_NOATIME == 0 {
		s.touch(n)
	}
	return count, fuse.OK
}

func (s *server) Write(r *request, in *fuse.WriteIn, p []byte) (uint32, fuse.Status) {
	if !s.has(fuse.CAP_WRITEBACK_CACHE) {
		defer s.order.enter(r, in.NodeId)()
	}
	count, st := s.write(r, in, p)
	return s.written(in, count, len(p), st)
}

func (s *server) write(r *request, in *fuse.WriteIn, p []byte) (uint32, fuse.Status) {
	n, st := s.inode(in.NodeId)
	if st != fuse.OK {
		return 0, st
	}
	off := int64(in.Offset)
	if off < 0 {
		return 0, fuse.EINVAL
	}
	s.awaitContent(r, n)
	killPriv := in.WriteFlags&fuse.WRITE_KILL_SUIDGID != 0
	var count int
	errno := s.killing(n, killPriv, func() syscall.Errno {
		return s.withRoom(r, func() (errno syscall.Errno) {
			s.gate.enter(r)
			defer s.gate.leave()
			count, errno = s.tree.WriteAt(n, p, off, killPriv)
			return errno
		})
	})
	return uint32(count), status(errno)
}

// written handles the outcome of a WRITE. It records where the kernel's writeback has lost
// bytes: the write(2) that they came from has returned long ago, and nothing makes the tool
// ask again. A frozen tree is one that was given up: it gets no more, and has nothing to
// lose. EROFS alone does not show that: a disk for spilled content may return it too.
func (s *server) written(in *fuse.WriteIn, count uint32, want int, st fuse.Status) (uint32, fuse.Status) {
	if in.WriteFlags&fuse.WRITE_CACHE != 0 && !s.has(fuse.CAP_WRITEBACK_CACHE) {
		s.changed(in.NodeId) // attributes that were asked for before it, which the kernel would keep (fs/fuse/file.c, fuse_writepage_end)
	}
	lost := st != fuse.OK || int(count) < want
	if in.WriteFlags&fuse.WRITE_CACHE != 0 && lost && !s.tree.Frozen() {
		s.lose(in, int64(count), int64(want), st)
	}
	return count, st
}

// lose records which part of a WRITE from the cache was not written, and makes the kernel
// ask before the next write(2) to the file, see refuseMore.
func (s *server) lose(in *fuse.WriteIn, done, want int64, st fuse.Status) {
	n := s.tree.Get(in.NodeId)
	if n == nil {
		s.tree.Poison(fmt.Errorf("write back inode %d, which there is not: %d bytes at %d", in.NodeId, want, in.Offset))
		return
	}
	s.tree.Lose(n, int64(in.Offset)+done, want-done, cmp.Or(syscall.Errno(st), syscall.EIO))
	if s.tree.Attr(n).Nlink > 0 { // a file without names may be on its way out of the kernel, which waits for this answer
		s.kernel.InodeNotify(in.NodeId, -1, 0) // drops the attributes; fails if there are none
	}
}

// modify runs verb, which changes the content of n, and then clears suid, sgid and
// security.capability if kill is set.
func (s *server) modify(n *fs.Inode, kill bool, verb func() syscall.Errno) syscall.Errno {
	return s.killing(n, kill, func() syscall.Errno {
		errno := verb()
		if errno == 0 && kill {
			_, errno = s.tree.SetAttr(n, &fs.SetAttr{Valid: fs.SetKillPriv})
		}
		return errno
	})
}

// unprivileged reports whether a change of content without a flag for it (FALLOCATE,
// COPY_FILE_RANGE) must clear suid and sgid. The kernel leaves that to us, but does not say
// whether the caller has CAP_FSETID: root is assumed to have it.
func (s *server) unprivileged(in *fuse.InHeader) bool {
	return s.has(fuse.CAP_HANDLE_KILLPRIV_V2) && in.Uid != 0
}

// Fallocate leaves the choice of modes to the tree. The kernel has written the range back
// if the mode discards bytes.
func (s *server) Fallocate(r *request, in *fuse.FallocateIn) fuse.Status {
	n, st := s.inode(in.NodeId)
	if st != fuse.OK {
		return st
	}
	off, length := int64(in.Offset), int64(in.Length)
	if off < 0 || length <= 0 {
		return fuse.EINVAL
	}
	defer s.changed(in.NodeId)
	r.passOn()
	return status(s.withRoom(r, func() syscall.Errno {
		return s.modify(n, s.unprivileged(&in.InHeader), func() syscall.Errno {
			return s.tree.Allocate(n, off, length, in.Mode)
		})
	}))
}

// CopyFileRange may copy less than it was asked to. The kernel has written both
// ranges back, and drops its pages of the second.
func (s *server) CopyFileRange(r *request, in *fuse.CopyFileRangeIn, out *fuse.WriteOut) fuse.Status {
	src, st := s.inode(in.NodeId)
	if st != fuse.OK {
		return st
	}
	dst, st := s.inode(in.NodeIdOut)
	if st != fuse.OK {
		return st
	}
	soff, doff := int64(in.OffIn), int64(in.OffOut)
	if soff < 0 || doff < 0 {
		return fuse.EINVAL
	}
	r.passOn()
	var count int64
	errno := s.modify(dst, s.unprivileged(&in.InHeader), func() (errno syscall.Errno) {
		count, errno = s.tree.CopyRange(src, soff, dst, doff, int64(min(in.Len, maxCopy)))
		return errno
	})
	out.Size = uint32(count)
	return status(errno)
}

// maxCopy limits one COPY_FILE_RANGE, in bytes: its answer has 32 bits, and a killed caller
// waits for it.
const maxCopy = 64 << 20

// Ioctl supports no request. ENOSYS would become ENOTTY too, but for good.
func (s *server) Ioctl(*request, *fuse.IoctlIn) fuse.Status {
	return fuse.Status(syscall.ENOTTY)
}
