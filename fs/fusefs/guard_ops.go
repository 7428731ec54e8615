package fusefs

import "github.com/hanwen/go-fuse/v2/fuse"

// The methods of RawFileSystem, each of the same three lines around the operation
// of the same name. Nothing but these may be called by a transport.

func (g *guard) Lookup(cancel <-chan struct{}, in *fuse.InHeader, name string, out *fuse.EntryOut) (st fuse.Status) {
	if st = g.enter(opLookup); st != fuse.OK {
		return st
	}
	defer g.leave(opLookup, &st)
	return g.ops.Lookup(cancel, in, name, out)
}

func (g *guard) GetAttr(cancel <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) (st fuse.Status) {
	if st = g.enter(opGetAttr); st != fuse.OK {
		return st
	}
	defer g.leave(opGetAttr, &st)
	return g.ops.GetAttr(cancel, in, out)
}

func (g *guard) SetAttr(cancel <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) (st fuse.Status) {
	if st = g.enter(opSetAttr); st != fuse.OK {
		return st
	}
	defer g.leave(opSetAttr, &st)
	return g.ops.SetAttr(cancel, in, out)
}

func (g *guard) Statx(cancel <-chan struct{}, in *fuse.StatxIn, out *fuse.StatxOut) (st fuse.Status) {
	if st = g.enter(opStatx); st != fuse.OK {
		return st
	}
	defer g.leave(opStatx, &st)
	return g.ops.Statx(cancel, in, out)
}

func (g *guard) StatFs(cancel <-chan struct{}, in *fuse.InHeader, out *fuse.StatfsOut) (st fuse.Status) {
	if st = g.enter(opStatFs); st != fuse.OK {
		return st
	}
	defer g.leave(opStatFs, &st)
	return g.ops.StatFs(cancel, in, out)
}

func (g *guard) Access(cancel <-chan struct{}, in *fuse.AccessIn) (st fuse.Status) {
	if st = g.enter(opAccess); st != fuse.OK {
		return st
	}
	defer g.leave(opAccess, &st)
	return g.ops.Access(cancel, in)
}

func (g *guard) Mknod(cancel <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) (st fuse.Status) {
	if st = g.enter(opMknod); st != fuse.OK {
		return st
	}
	defer g.leave(opMknod, &st)
	return g.ops.Mknod(cancel, in, name, out)
}

func (g *guard) Mkdir(cancel <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) (st fuse.Status) {
	if st = g.enter(opMkdir); st != fuse.OK {
		return st
	}
	defer g.leave(opMkdir, &st)
	return g.ops.Mkdir(cancel, in, name, out)
}

func (g *guard) Symlink(cancel <-chan struct{}, in *fuse.InHeader, target string, name string, out *fuse.EntryOut) (st fuse.Status) {
	if st = g.enter(opSymlink); st != fuse.OK {
		return st
	}
	defer g.leave(opSymlink, &st)
	return g.ops.Symlink(cancel, in, target, name, out)
}

func (g *guard) Link(cancel <-chan struct{}, in *fuse.LinkIn, name string, out *fuse.EntryOut) (st fuse.Status) {
	if st = g.enter(opLink); st != fuse.OK {
		return st
	}
	defer g.leave(opLink, &st)
	return g.ops.Link(cancel, in, name, out)
}

func (g *guard) Unlink(cancel <-chan struct{}, in *fuse.InHeader, name string) (st fuse.Status) {
	if st = g.enter(opUnlink); st != fuse.OK {
		return st
	}
	defer g.leave(opUnlink, &st)
	return g.ops.Unlink(cancel, in, name)
}

func (g *guard) Rmdir(cancel <-chan struct{}, in *fuse.InHeader, name string) (st fuse.Status) {
	if st = g.enter(opRmdir); st != fuse.OK {
		return st
	}
	defer g.leave(opRmdir, &st)
	return g.ops.Rmdir(cancel, in, name)
}

func (g *guard) Rename(cancel <-chan struct{}, in *fuse.RenameIn, oldName string, newName string) (st fuse.Status) {
	if st = g.enter(opRename); st != fuse.OK {
		return st
	}
	defer g.leave(opRename, &st)
	return g.ops.Rename(cancel, in, oldName, newName)
}

func (g *guard) Create(cancel <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) (st fuse.Status) {
	if st = g.enter(opCreate); st != fuse.OK {
		return st
	}
	defer g.leave(opCreate, &st)
	return g.ops.Create(cancel, in, name, out)
}

func (g *guard) Tmpfile(cancel <-chan struct{}, in *fuse.CreateIn, out *fuse.CreateOut) (st fuse.Status) {
	if st = g.enter(opTmpfile); st != fuse.OK {
		return st
	}
	defer g.leave(opTmpfile, &st)
	return g.ops.Tmpfile(cancel, in, out)
}

func (g *guard) Open(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) (st fuse.Status) {
	if st = g.enter(opOpen); st != fuse.OK {
		return st
	}
	defer g.leave(opOpen, &st)
	return g.ops.Open(cancel, in, out)
}

func (g *guard) Flush(cancel <-chan struct{}, in *fuse.FlushIn) (st fuse.Status) {
	if st = g.enter(opFlush); st != fuse.OK {
		return st
	}
	defer g.leave(opFlush, &st)
	return g.ops.Flush(cancel, in)
}

func (g *guard) Fsync(cancel <-chan struct{}, in *fuse.FsyncIn) (st fuse.Status) {
	if st = g.enter(opFsync); st != fuse.OK {
		return st
	}
	defer g.leave(opFsync, &st)
	return g.ops.Fsync(cancel, in)
}

func (g *guard) Fallocate(cancel <-chan struct{}, in *fuse.FallocateIn) (st fuse.Status) {
	if st = g.enter(opFallocate); st != fuse.OK {
		return st
	}
	defer g.leave(opFallocate, &st)
	return g.ops.Fallocate(cancel, in)
}

func (g *guard) Lseek(cancel <-chan struct{}, in *fuse.LseekIn, out *fuse.LseekOut) (st fuse.Status) {
	if st = g.enter(opLseek); st != fuse.OK {
		return st
	}
	defer g.leave(opLseek, &st)
	return g.ops.Lseek(cancel, in, out)
}

func (g *guard) Ioctl(cancel <-chan struct{}, in *fuse.IoctlIn, inbuf []byte, out *fuse.IoctlOut, outbuf []byte) (st fuse.Status) {
	if st = g.enter(opIoctl); st != fuse.OK {
		return st
	}
	defer g.leave(opIoctl, &st)
	return g.ops.Ioctl(cancel, in, inbuf, out, outbuf)
}

func (g *guard) OpenDir(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) (st fuse.Status) {
	if st = g.enter(opOpenDir); st != fuse.OK {
		return st
	}
	defer g.leave(opOpenDir, &st)
	return g.ops.OpenDir(cancel, in, out)
}

func (g *guard) ReadDir(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) (st fuse.Status) {
	if st = g.enter(opReadDir); st != fuse.OK {
		return st
	}
	defer g.leave(opReadDir, &st)
	return g.ops.ReadDir(cancel, in, out)
}

func (g *guard) ReadDirPlus(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) (st fuse.Status) {
	if st = g.enter(opReaddirPlus); st != fuse.OK {
		return st
	}
	defer g.leave(opReaddirPlus, &st)
	return g.ops.ReadDirPlus(cancel, in, out)
}

func (g *guard) FsyncDir(cancel <-chan struct{}, in *fuse.FsyncIn) (st fuse.Status) {
	if st = g.enter(opFsyncDir); st != fuse.OK {
		return st
	}
	defer g.leave(opFsyncDir, &st)
	return g.ops.FsyncDir(cancel, in)
}

func (g *guard) SetXAttr(cancel <-chan struct{}, in *fuse.SetXAttrIn, name string, value []byte) (st fuse.Status) {
	if st = g.enter(opSetXAttr); st != fuse.OK {
		return st
	}
	defer g.leave(opSetXAttr, &st)
	return g.ops.SetXAttr(cancel, in, name, value)
}

func (g *guard) RemoveXAttr(cancel <-chan struct{}, in *fuse.InHeader, name string) (st fuse.Status) {
	if st = g.enter(opRemoveXAttr); st != fuse.OK {
		return st
	}
	defer g.leave(opRemoveXAttr, &st)
	return g.ops.RemoveXAttr(cancel, in, name)
}

func (g *guard) GetLk(cancel <-chan struct{}, in *fuse.LkIn, out *fuse.LkOut) (st fuse.Status) {
	if st = g.enter(opLock); st != fuse.OK {
		return st
	}
	defer g.leave(opLock, &st)
	return g.ops.GetLk(cancel, in, out)
}

func (g *guard) SetLk(cancel <-chan struct{}, in *fuse.LkIn) (st fuse.Status) {
	if st = g.enter(opLock); st != fuse.OK {
		return st
	}
	defer g.leave(opLock, &st)
	return g.ops.SetLk(cancel, in)
}

func (g *guard) SetLkw(cancel <-chan struct{}, in *fuse.LkIn) (st fuse.Status) {
	if st = g.enter(opLock); st != fuse.OK {
		return st
	}
	defer g.leave(opLock, &st)
	return g.ops.SetLkw(cancel, in)
}

func (g *guard) Read(cancel <-chan struct{}, in *fuse.ReadIn, buf []byte) (res fuse.ReadResult, st fuse.Status) {
	if st = g.enter(opRead); st != fuse.OK {
		return nil, st
	}
	defer g.leave(opRead, &st)
	return g.ops.Read(cancel, in, buf)
}

func (g *guard) Readlink(cancel <-chan struct{}, in *fuse.InHeader) (target []byte, st fuse.Status) {
	if st = g.enter(opReadlink); st != fuse.OK {
		return nil, st
	}
	defer g.leave(opReadlink, &st)
	return g.ops.Readlink(cancel, in)
}

func (g *guard) GetXAttr(cancel <-chan struct{}, in *fuse.InHeader, name string, buf []byte) (n uint32, st fuse.Status) {
	if st = g.enter(opGetXAttr); st != fuse.OK {
		return 0, st
	}
	defer g.leave(opGetXAttr, &st)
	return g.ops.GetXAttr(cancel, in, name, buf)
}

func (g *guard) ListXAttr(cancel <-chan struct{}, in *fuse.InHeader, buf []byte) (n uint32, st fuse.Status) {
	if st = g.enter(opListXAttr); st != fuse.OK {
		return 0, st
	}
	defer g.leave(opListXAttr, &st)
	return g.ops.ListXAttr(cancel, in, buf)
}

func (g *guard) Write(cancel <-chan struct{}, in *fuse.WriteIn, p []byte) (n uint32, st fuse.Status) {
	if st = g.enter(opWrite); st != fuse.OK {
		return 0, st
	}
	defer g.leave(opWrite, &st)
	return g.ops.Write(cancel, in, p)
}

func (g *guard) Writev(cancel <-chan struct{}, in *fuse.WriteIn, p [][]byte) (n uint32, st fuse.Status) {
	if st = g.enter(opWrite); st != fuse.OK {
		return 0, st
	}
	defer g.leave(opWrite, &st)
	return g.ops.Writev(cancel, in, p)
}

func (g *guard) CopyFileRange(cancel <-chan struct{}, in *fuse.CopyFileRangeIn) (n uint32, st fuse.Status) {
	if st = g.enter(opCopyFileRange); st != fuse.OK {
		return 0, st
	}
	defer g.leave(opCopyFileRange, &st)
	return g.ops.CopyFileRange(cancel, in)
}

// Forget, Release and ReleaseDir have no status to give.

func (g *guard) Forget(node, count uint64) {
	st := g.enter(opForget)
	if st != fuse.OK {
		return
	}
	defer g.leave(opForget, &st)
	g.ops.Forget(node, count)
}

func (g *guard) Release(cancel <-chan struct{}, in *fuse.ReleaseIn) {
	st := g.enter(opRelease)
	if st != fuse.OK {
		return
	}
	defer g.leave(opRelease, &st)
	g.ops.Release(cancel, in)
}

func (g *guard) ReleaseDir(in *fuse.ReleaseIn) {
	st := g.enter(opReleaseDir)
	if st != fuse.OK {
		return
	}
	defer g.leave(opReleaseDir, &st)
	g.ops.ReleaseDir(in)
}

// What go-fuse calls for itself.

func (g *guard) String() string      { return "workdir" }
func (g *guard) SetDebug(bool)       {}
func (g *guard) Init(s *fuse.Server) { g.ops.Init(s) }
func (g *guard) OnUnmount()          {}
