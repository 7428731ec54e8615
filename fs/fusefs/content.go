package fusefs

import (
	"cmp"
	"fmt"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/fs"
)

// Open is not implemented, and so costs nothing after the
// first: the kernel keeps the pages, sends neither OPEN nor RELEASE, and truncates
// for O_TRUNC by SETATTR.
func (s *server) Open(<-chan struct{}, *fuse.OpenIn, *fuse.OpenOut) fuse.Status { return fuse.ENOSYS }

// killing calls change, which takes suid, sgid and security.capability from n if
// kill is set. The kernel then drops what it knows of the size and the times, but
// not of the mode (fs/fuse/file.c, fuse_write_update_attr), by which it would go on to
// execute n with privileges: the notice makes it ask.
func (s *server) killing(n *fs.Inode, kill bool, change func() syscall.Errno) syscall.Errno {
	had := kill && s.tree.Privileged(n)
	errno := change()
	if had {
		s.changed(n.Ino())
	}
	return errno
}

// Release follows Create and Tmpfile. There is nothing to do: the kernel's lookup count
// keeps the inode.
func (s *server) Release(<-chan struct{}, *fuse.ReleaseIn) {}

// Flush is not implemented: close writes dirty pages back, and reports what
// failed, before it would ask (fs/fuse/file.c, fuse_flush).
func (s *server) Flush(<-chan struct{}, *fuse.FlushIn) fuse.Status { return fuse.ENOSYS }

// Fsync is not implemented: fsync writes dirty pages and times back before it
// would ask, and memory is as durable as it will be.
func (s *server) Fsync(<-chan struct{}, *fuse.FsyncIn) fuse.Status { return fuse.ENOSYS }

func (s *server) Read(_ <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	n, st := s.inode(in.NodeId)
	if st != fuse.OK {
		return nil, st
	}
	if int64(in.Offset) < 0 {
		return nil, fuse.EINVAL
	}
	count, errno := s.tree.ReadAt(n, buf, int64(in.Offset))
	if errno != 0 {
		return nil, status(errno)
	}
	if in.Flags&unix.O_NOATIME == 0 {
		s.touch(n)
	}
	return fuse.ReadResultData(buf[:count]), fuse.OK
}

func (s *server) Write(_ <-chan struct{}, in *fuse.WriteIn, p []byte) (uint32, fuse.Status) {
	s.begins(in)
	count, st := s.write(in, p, in.Offset)
	return s.written(in, count, len(p), st)
}

// Writev is WRITE whose bytes come in several pieces.
func (s *server) Writev(_ <-chan struct{}, in *fuse.WriteIn, pieces [][]byte) (uint32, fuse.Status) {
	s.begins(in)
	var done uint32
	want := 0
	st := fuse.OK
	for _, p := range pieces {
		want += len(p)
		if st != fuse.OK || int(done) < want-len(p) {
			continue
		}
		var count uint32
		count, st = s.write(in, p, in.Offset+uint64(done))
		done += count
	}
	return s.written(in, done, want, st)
}

func (s *server) write(in *fuse.WriteIn, p []byte, off uint64) (uint32, fuse.Status) {
	n, st := s.inode(in.NodeId)
	if st != fuse.OK {
		return 0, st
	}
	if int64(off) < 0 {
		return 0, fuse.EINVAL
	}
	killPriv := in.WriteFlags&fuse.WRITE_KILL_SUIDGID != 0
	var count int
	errno := s.killing(n, killPriv, func() syscall.Errno {
		return s.withRoom(func() (errno syscall.Errno) {
			count, errno = s.tree.WriteAt(n, p, int64(off), killPriv)
			return errno
		})
	})
	return uint32(count), status(errno)
}

// written is what comes after a WRITE. It notes where the kernel's writeback has lost
// bytes. The write(2) that they came from has returned long ago, and nothing
// makes the tool ask again. A frozen tree is one that was given up: it gets no more,
// and has nothing to lose. EROFS alone does not tell: a disk that content has spilled
// to says it too.
func (s *server) written(in *fuse.WriteIn, count uint32, want int, st fuse.Status) (uint32, fuse.Status) {
	s.keepInStep(in, count)
	lost := st != fuse.OK || int(count) < want
	if in.WriteFlags&fuse.WRITE_CACHE != 0 && lost && !s.tree.Frozen() {
		s.lose(in, int64(count), int64(want), st)
	}
	return count, st
}

// lose notes what of a WRITE from the cache was not written, and makes the kernel
// ask before the next write(2) to the file, see refuseMore.
func (s *server) lose(in *fuse.WriteIn, done, want int64, st fuse.Status) {
	n := s.tree.Get(in.NodeId)
	if n == nil {
		s.tree.Poison(fmt.Errorf("write back inode %d, which there is not: %d bytes at %d", in.NodeId, want, in.Offset))
		return
	}
	s.tree.Lose(n, int64(in.Offset)+done, want-done, cmp.Or(syscall.Errno(st), syscall.EIO))
	s.kernel.InodeNotify(in.NodeId, -1, 0) // drops the attributes; fails where it has none
}

// begins is what comes before a WRITE, see keepInStep.
func (s *server) begins(in *fuse.WriteIn) {
	if in.WriteFlags&fuse.WRITE_CACHE != 0 && !s.has(fuse.CAP_WRITEBACK_CACHE) {
		s.overtaken.begins(in)
	}
}

// keepInStep makes the kernel drop what a WRITE has made old, where there is no
// writeback cache: pages, see overtaken, and attributes that were asked for before a
// writeback, which the kernel would keep (fs/fuse/file.c, fuse_writepage_end).
func (s *server) keepInStep(in *fuse.WriteIn, count uint32) {
	switch {
	case s.has(fuse.CAP_WRITEBACK_CACHE):
	case in.WriteFlags&fuse.WRITE_CACHE != 0:
		s.changed(in.NodeId)
	default:
		s.overtaken.ended(in, count, s.kernel)
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

// unprivileged says whether a change of content that comes without a flag for it
// (FALLOCATE, COPY_FILE_RANGE) is to clear suid and sgid. The kernel leaves that to
// us, but does not say whether the caller has CAP_FSETID: root is taken to have it.
func (s *server) unprivileged(in *fuse.InHeader) bool {
	return s.has(fuse.CAP_HANDLE_KILLPRIV_V2) && in.Uid != 0
}

// Fallocate leaves it to the tree which modes there are. The kernel has written
// the range back where the mode gives bytes away.
func (s *server) Fallocate(_ <-chan struct{}, in *fuse.FallocateIn) fuse.Status {
	n, st := s.inode(in.NodeId)
	if st != fuse.OK {
		return st
	}
	off, length := int64(in.Offset), int64(in.Length)
	if off < 0 || length <= 0 {
		return fuse.EINVAL
	}
	defer s.changed(in.NodeId)
	return status(s.withRoom(func() syscall.Errno {
		return s.modify(n, s.unprivileged(&in.InHeader), func() syscall.Errno {
			return s.tree.Allocate(n, off, length, in.Mode)
		})
	}))
}

// CopyFileRange may copy less than it was asked to. The kernel has written both
// ranges back, and drops its pages of the second.
func (s *server) CopyFileRange(_ <-chan struct{}, in *fuse.CopyFileRangeIn) (uint32, fuse.Status) {
	src, st := s.inode(in.NodeId)
	if st != fuse.OK {
		return 0, st
	}
	dst, st := s.inode(in.NodeIdOut)
	if st != fuse.OK {
		return 0, st
	}
	soff, doff := int64(in.OffIn), int64(in.OffOut)
	if soff < 0 || doff < 0 {
		return 0, fuse.EINVAL
	}
	var count int64
	errno := s.modify(dst, s.unprivileged(&in.InHeader), func() (errno syscall.Errno) {
		count, errno = s.tree.CopyRange(src, soff, dst, doff, int64(min(in.Len, maxCopy)))
		return errno
	})
	return uint32(count), status(errno)
}

// maxCopy bounds one COPY_FILE_RANGE, in bytes: its answer counts in 32 bits, and a
// caller who is killed waits for it.
const maxCopy = 64 << 20

// Ioctl knows no request. ENOSYS would be ENOTTY as well, once and for all.
func (s *server) Ioctl(<-chan struct{}, *fuse.IoctlIn, []byte, *fuse.IoctlOut, []byte) fuse.Status {
	return fuse.Status(syscall.ENOTTY)
}

// Locks are the kernel's; these are never asked for.

func (s *server) GetLk(<-chan struct{}, *fuse.LkIn, *fuse.LkOut) fuse.Status { return fuse.ENOSYS }
func (s *server) SetLk(<-chan struct{}, *fuse.LkIn) fuse.Status              { return fuse.ENOSYS }
func (s *server) SetLkw(<-chan struct{}, *fuse.LkIn) fuse.Status             { return fuse.ENOSYS }
