package fusefs

import (
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/fs"
)

// GetAttr returns all attributes that the tree knows. Under the writeback cache the kernel
// ignores our size, mtime and ctime of a regular file (fs/fuse/inode.c,
// fuse_change_attributes).
func (s *server) GetAttr(_ *request, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	n, st := s.inode(in.NodeId)
	if st != fuse.OK {
		return st
	}
	if errno := s.refuseMore(n, in); errno != 0 {
		return status(errno)
	}
	a, valid := s.attr(n)
	out.AttrValid = valid
	setAttr(&out.Attr, &a)
	return fuse.OK
}

func (s *server) SetAttr(r *request, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	n, st := s.inode(in.NodeId)
	if st != fuse.OK {
		return st
	}
	if in.Valid&fuse.FATTR_SIZE != 0 && int64(in.Size) < 0 {
		return fuse.Status(unix.EFBIG)
	}
	if in.Valid&fuse.FATTR_SIZE != 0 {
		s.awaitContent(r, n)
	}
	when := timeOf(in)
	change := changeOf(in, when)
	if isFileTruncate(in) {
		s.modifies(&change, when)
	}
	s.completeTimes(&change, n, when)
	a, errno := s.tree.SetAttr(n, &change)
	if errno != 0 {
		return status(errno)
	}
	out.AttrValid = s.withLoss(n, &a)
	setAttr(&out.Attr, &a)
	return fuse.OK
}

// timeOf returns the time of a SETATTR: one time for all times of the file that are set to
// the present. If the kernel keeps mtime and ctime, it sends them by its own clock, and
// only atime as "now" (fs/fuse/dir.c, iattr_to_fattr): the time is then the ctime that it
// sends.
func timeOf(in *fuse.SetAttrIn) fs.Time {
	if in.Valid&fuse.FATTR_CTIME != 0 {
		return fs.Time{Sec: int64(in.Ctime), Nsec: in.Ctimensec}
	}
	return fs.Now()
}

// changeOf translates a SETATTR at a time for the tree. FATTR_KILL_SUIDGID comes with a
// chown of anything but a directory, and with a truncate by a caller without CAP_FSETID
// (fs/fuse/dir.c, fuse_do_setattr).
func changeOf(in *fuse.SetAttrIn, when fs.Time) fs.SetAttr {
	c := fs.SetAttr{
		Mode:  in.Mode & fs.PermBits,
		UID:   in.Uid,
		GID:   in.Gid,
		Size:  int64(in.Size),
		Atime: fs.Time{Sec: int64(in.Atime), Nsec: in.Atimensec},
		Mtime: fs.Time{Sec: int64(in.Mtime), Nsec: in.Mtimensec},
		Ctime: fs.Time{Sec: int64(in.Ctime), Nsec: in.Ctimensec},
	}
	for _, f := range [...]struct {
		valid uint32
		mask  fs.AttrMask
	}{
		{fuse.FATTR_MODE, fs.SetMode},
		{fuse.FATTR_UID, fs.SetUID},
		{fuse.FATTR_GID, fs.SetGID},
		{fuse.FATTR_SIZE, fs.SetSize},
		{fuse.FATTR_ATIME | fuse.FATTR_ATIME_NOW, fs.SetAtime},
		{fuse.FATTR_MTIME | fuse.FATTR_MTIME_NOW, fs.SetMtime},
		{fuse.FATTR_CTIME, fs.SetCtime},
		{fuse.FATTR_KILL_SUIDGID, fs.SetKillPriv},
	} {
		if in.Valid&f.valid != 0 {
			c.Valid |= f.mask
		}
	}
	if in.Valid&fuse.FATTR_ATIME_NOW != 0 {
		c.Atime = when
	}
	if in.Valid&fuse.FATTR_MTIME_NOW != 0 {
		c.Mtime = when
	}
	return c
}

// isFileTruncate distinguishes ftruncate(2) and O_TRUNC from truncate(2). O_TRUNC looks
// like truncate(2) to size 0 (fs/fuse/dir.c, fuse_do_setattr) and is taken for the former,
// being more frequent.
func isFileTruncate(in *fuse.SetAttrIn) bool {
	return in.Valid&fuse.FATTR_SIZE != 0 && (in.Valid&fuse.FATTR_FH != 0 || in.Size == 0)
}

// modifies makes c a change of mtime, whatever the size was: ftruncate(2) and O_TRUNC
// always change it, truncate(2) only if it cuts something (do_truncate in the kernel's
// fs/open.c). Under the writeback cache the kernel sends the mtime itself.
func (s *server) modifies(c *fs.SetAttr, when fs.Time) {
	if c.Valid&fs.SetMtime == 0 && !s.has(fuse.CAP_WRITEBACK_CACHE) {
		c.Valid |= fs.SetMtime
		c.Mtime = when
	}
}

// completeTimes makes every SETATTR a change of ctime, even if nothing else differs, unless
// the kernel keeps the times of n and sends those that it has changed. For truncate(2) the
// tree decides whether ctime changes.
func (s *server) completeTimes(c *fs.SetAttr, n *fs.Inode, when fs.Time) {
	if c.Valid != fs.SetSize && c.Valid&fs.SetCtime == 0 && !s.tree.LeavesTimes(n) {
		c.Valid |= fs.SetCtime
		c.Ctime = when
	}
}

// touch records a read that the kernel sent to us. Reads that it answers from its caches do
// not reach us. For a listing or a symlink that does not matter: the kernel asks again
// after each change, and relatime renews no sooner; for a file that was written through the
// cache it does. The kernel drops the atime that it knows with each request of this kind
// (fs/fuse, fuse_invalidate_atime), and keeps none itself.
func (s *server) touch(n *fs.Inode) {
	if !s.readOnly {
		s.tree.Touch(n)
	}
}

// Statx is GETATTR with the time of birth. The kernel sends it only if a caller wants that
// time, and remembers ENOSYS.
func (s *server) Statx(_ *request, in *fuse.StatxIn, out *fuse.StatxOut) fuse.Status {
	n, st := s.inode(in.NodeId)
	if st != fuse.OK {
		return st
	}
	a, valid := s.attr(n)
	out.AttrValid = valid
	out.Statx = fuse.Statx{
		Mask:      unix.STATX_BASIC_STATS | unix.STATX_BTIME,
		Blksize:   blockSize,
		Nlink:     a.Nlink,
		Uid:       a.UID,
		Gid:       a.GID,
		Mode:      uint16(a.Mode),
		Ino:       a.Ino,
		Size:      uint64(a.Size),
		Blocks:    uint64(a.Blocks),
		Atime:     sxTime(a.Atime),
		Btime:     sxTime(a.Btime),
		Ctime:     sxTime(a.Ctime),
		Mtime:     sxTime(a.Mtime),
		RdevMajor: a.Rdev & 0xfff00 >> 8, // the kernel's new_decode_dev
		RdevMinor: a.Rdev&0xff | a.Rdev>>12&0xfff00,
	}
	return fuse.OK
}

func sxTime(t fs.Time) fuse.SxTime { return fuse.SxTime{Sec: uint64(t.Sec), Nsec: t.Nsec} }

// nameMax is the length of the longest name, in bytes.
const nameMax = 255

func (s *server) StatFs(r *request, _ *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	s.awaitForgets(r)
	f := s.tree.StatFS()
	*out = fuse.StatfsOut{
		Blocks:  f.Blocks,
		Bfree:   f.Free,
		Bavail:  f.Free,
		Files:   f.Files,
		Ffree:   f.Ffree,
		Bsize:   blockSize,
		Frsize:  blockSize,
		NameLen: nameMax,
	}
	return fuse.OK
}

// Access is not implemented: the kernel checks permissions.
func (s *server) Access(*request, *fuse.AccessIn) fuse.Status { return fuse.ENOSYS }
