package fusefs

import (
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// op is an operation's number in the protocol.
type op uint32

// The operations that the kernel sends us. Operations that are not negotiated (locks, poll,
// bmap, DAX) are missing; like those newer than this list, they are answered with ENOSYS.
const (
	opLookup        op = 1
	opForget        op = 2
	opGetAttr       op = 3
	opSetAttr       op = 4
	opReadlink      op = 5
	opSymlink       op = 6
	opMknod         op = 8
	opMkdir         op = 9
	opUnlink        op = 10
	opRmdir         op = 11
	opRename        op = 12
	opLink          op = 13
	opOpen          op = 14
	opRead          op = 15
	opWrite         op = 16
	opStatFs        op = 17
	opRelease       op = 18
	opFsync         op = 20
	opSetXAttr      op = 21
	opGetXAttr      op = 22
	opListXAttr     op = 23
	opRemoveXAttr   op = 24
	opFlush         op = 25
	opInit          op = 26
	opOpenDir       op = 27
	opReadDir       op = 28
	opReleaseDir    op = 29
	opFsyncDir      op = 30
	opAccess        op = 34
	opCreate        op = 35
	opInterrupt     op = 36
	opDestroy       op = 38
	opIoctl         op = 39
	opBatchForget   op = 42
	opFallocate     op = 43
	opReadDirPlus   op = 44
	opRename2       op = 45
	opLseek         op = 46
	opCopyFileRange op = 47
	opTmpfile       op = 51
	opStatx         op = 52
	opCount         op = 53
)

// operation describes how requests of one kind are answered.
type operation struct {
	name    string  // the kernel's; "" for an operation that is not implemented
	size    uintptr // bytes of the structure at the beginning of the request
	changes bool    // read-only mounts refuse it
	silent  bool    // no answer is expected
	do      func(*server, *request) fuse.Status
}

// operations are all operations. A request is counted under the name of its operation.
var operations = [opCount]operation{
	opLookup:        named("LOOKUP", (*server).Lookup),
	opForget:        of[fuse.ForgetIn]("FORGET", (*server).forget).unanswered(),
	opBatchForget:   of[batchForgetIn]("BATCH_FORGET", (*server).batchForget).unanswered(),
	opGetAttr:       filling("GETATTR", (*server).GetAttr),
	opSetAttr:       filling("SETATTR", (*server).SetAttr).changing(),
	opStatx:         filling("STATX", (*server).Statx),
	opStatFs:        filling("STATFS", (*server).StatFs),
	opAccess:        asking("ACCESS", (*server).Access),
	opReadlink:      of[fuse.InHeader]("READLINK", (*server).readlink),
	opSymlink:       of[fuse.InHeader]("SYMLINK", (*server).symlink).changing(),
	opMknod:         named("MKNOD", (*server).Mknod).changing(),
	opMkdir:         named("MKDIR", (*server).Mkdir).changing(),
	opLink:          named("LINK", (*server).Link).changing(),
	opUnlink:        naming("UNLINK", (*server).Unlink).changing(),
	opRmdir:         naming("RMDIR", (*server).Rmdir).changing(),
	opRename:        of[renameIn]("RENAME", (*server).renameOld).changing(),
	opRename2:       of[fuse.RenameIn]("RENAME", (*server).rename2).changing(),
	opCreate:        named("CREATE", (*server).Create).changing(),
	opTmpfile:       filling("TMPFILE", (*server).Tmpfile).changing(),
	opOpen:          filling("OPEN", (*server).Open),
	opRelease:       asking("RELEASE", (*server).Release),
	opFlush:         asking("FLUSH", (*server).Flush),
	opFsync:         asking("FSYNC", (*server).Fsync),
	opRead:          of[fuse.ReadIn]("READ", (*server).read),
	opWrite:         of[fuse.WriteIn]("WRITE", (*server).writeRest).changing(),
	opFallocate:     asking("FALLOCATE", (*server).Fallocate).changing(),
	opLseek:         filling("LSEEK", (*server).Lseek),
	opCopyFileRange: filling("COPY_FILE_RANGE", (*server).CopyFileRange).changing(),
	opIoctl:         asking("IOCTL", (*server).Ioctl),
	opOpenDir:       filling("OPENDIR", (*server).OpenDir),
	opReadDir:       of[fuse.ReadIn]("READDIR", (*server).readDir),
	opReadDirPlus:   of[fuse.ReadIn]("READDIRPLUS", (*server).readDirPlus),
	opReleaseDir:    asking("RELEASEDIR", (*server).Release),
	opFsyncDir:      asking("FSYNCDIR", (*server).Fsync),
	opSetXAttr:      of[setXAttrIn]("SETXATTR", (*server).setXAttr).changing(),
	opGetXAttr:      of[fuse.GetXAttrIn]("GETXATTR", (*server).getXAttr),
	opListXAttr:     of[fuse.GetXAttrIn]("LISTXATTR", (*server).listXAttr),
	opRemoveXAttr:   naming("REMOVEXATTR", (*server).RemoveXAttr).changing(),
	opInterrupt:     of[fuse.InterruptIn]("INTERRUPT", (*server).interrupt).unanswered(),
	opDestroy:       of[fuse.InHeader]("DESTROY", (*server).destroy),
}

func (o op) String() string { return operations[o].name }

// of makes an operation whose request begins with a structure; do handles the rest itself.
func of[In any](name string, do func(*server, *request) fuse.Status) operation {
	return operation{name: name, size: unsafe.Sizeof(*new(In)), do: do}
}

// asking makes an operation with a structure in the request and none in the answer.
func asking[In any](name string, do func(*server, *request, *In) fuse.Status) operation {
	return of[In](name, func(s *server, r *request) fuse.Status { return do(s, r, argument[In](r)) })
}

// filling makes an operation with a structure in both.
func filling[In, Out any](name string, do func(*server, *request, *In, *Out) fuse.Status) operation {
	return of[In](name, func(s *server, r *request) fuse.Status {
		return do(s, r, argument[In](r), answer[Out](r))
	})
}

// naming is asking with a name.
func naming[In any](name string, do func(*server, *request, *In, string) fuse.Status) operation {
	return of[In](name, func(s *server, r *request) fuse.Status {
		of, ok := r.name()
		if !ok {
			return fuse.EIO
		}
		return do(s, r, argument[In](r), of)
	})
}

// named is filling with a name.
func named[In, Out any](name string, do func(*server, *request, *In, string, *Out) fuse.Status) operation {
	return naming[In](name, func(s *server, r *request, in *In, of string) fuse.Status {
		return do(s, r, in, of, answer[Out](r))
	})
}

func (o operation) changing() operation {
	o.changes = true
	return o
}

func (o operation) unanswered() operation {
	o.silent = true
	return o
}

// Structures that go-fuse does not have, or that are longer there than the kernel sends
// them.
type (
	batchForgetIn struct {
		fuse.InHeader
		Count, Dummy uint32
	}
	forgetOne struct{ NodeID, Count uint64 }
	renameIn  struct {
		fuse.InHeader
		Newdir uint64
	}
	setXAttrIn struct { // FUSE_COMPAT_SETXATTR_IN_SIZE
		fuse.InHeader
		Size, Flags uint32
	}
)

// The functions below parse a request for operations that need more than a structure and a
// name.

func (s *server) forget(r *request) fuse.Status {
	s.Forget(r.header().NodeId, argument[fuse.ForgetIn](r).Nlookup)
	return fuse.OK
}

func (s *server) batchForget(r *request) fuse.Status {
	for _, f := range forgets(r) {
		s.Forget(f.NodeID, f.Count)
	}
	return fuse.OK
}

// forgets returns the nodes of a BATCH_FORGET, as many as have arrived.
func forgets(r *request) []forgetOne {
	n := min(int(argument[batchForgetIn](r).Count), len(r.rest)/int(unsafe.Sizeof(forgetOne{})))
	return unsafe.Slice((*forgetOne)(unsafe.Pointer(unsafe.SliceData(r.rest))), n)
}

// interrupt does nothing: every operation ends by itself, and an interrupted one is not
// undone.
func (s *server) interrupt(*request) fuse.Status { return fuse.OK }

func (s *server) destroy(*request) fuse.Status { return fuse.OK }

func (s *server) readlink(r *request) (st fuse.Status) {
	r.payload, st = s.Readlink(r, r.header())
	return st
}

func (s *server) symlink(r *request) fuse.Status {
	name, ok := r.name()
	target, ok2 := r.name()
	if !ok || !ok2 {
		return fuse.EIO
	}
	return s.Symlink(r, r.header(), target, name, answer[fuse.EntryOut](r))
}

func (s *server) renameOld(r *request) fuse.Status {
	in := argument[renameIn](r)
	return s.rename(r, &fuse.RenameIn{InHeader: in.InHeader, Newdir: in.Newdir})
}

func (s *server) rename2(r *request) fuse.Status { return s.rename(r, argument[fuse.RenameIn](r)) }

func (s *server) rename(r *request, in *fuse.RenameIn) fuse.Status {
	from, ok := r.name()
	to, ok2 := r.name()
	if !ok || !ok2 {
		return fuse.EIO
	}
	return s.Rename(r, in, from, to)
}

func (s *server) read(r *request) fuse.Status {
	in := argument[fuse.ReadIn](r)
	buf, st := r.room(in.Size)
	if st != fuse.OK {
		return st
	}
	n, st := s.Read(r, in, buf)
	r.payload = buf[:n]
	return st
}

func (s *server) writeRest(r *request) (st fuse.Status) {
	out := answer[fuse.WriteOut](r)
	out.Size, st = s.Write(r, argument[fuse.WriteIn](r), r.rest)
	return st
}

func (s *server) readDir(r *request) fuse.Status     { return s.listing(r, (*server).ReadDir) }
func (s *server) readDirPlus(r *request) fuse.Status { return s.listing(r, (*server).ReadDirPlus) }

func (s *server) listing(r *request, list func(*server, *request, *fuse.ReadIn, *fuse.DirEntryList) fuse.Status) fuse.Status {
	in := argument[fuse.ReadIn](r)
	buf, st := r.room(in.Size)
	if st != fuse.OK {
		return st
	}
	entries := fuse.NewDirEntryList(buf, in.Offset)
	st = list(s, r, in, entries)
	r.payload = entries.Bytes()
	return st
}

func (s *server) setXAttr(r *request) fuse.Status {
	name, ok := r.name()
	if !ok {
		return fuse.EIO
	}
	return s.SetXAttr(r, r.header(), name, r.rest, argument[setXAttrIn](r).Flags)
}

func (s *server) getXAttr(r *request) fuse.Status {
	name, ok := r.name()
	if !ok {
		return fuse.EIO
	}
	return s.sized(r, func(buf []byte) (uint32, fuse.Status) { return s.GetXAttr(r, r.header(), name, buf) })
}

func (s *server) listXAttr(r *request) fuse.Status {
	return s.sized(r, func(buf []byte) (uint32, fuse.Status) { return s.ListXAttr(r, r.header(), buf) })
}

// sized answers GETXATTR and LISTXATTR, which ask for a size or for up to that many bytes.
func (s *server) sized(r *request, get func(buf []byte) (uint32, fuse.Status)) fuse.Status {
	buf, st := r.room(argument[fuse.GetXAttrIn](r).Size)
	if st != fuse.OK {
		return st
	}
	n, st := get(buf)
	if len(buf) == 0 {
		answer[fuse.GetXAttrOut](r).Size = n
	} else if st == fuse.OK {
		r.payload = buf[:n]
	}
	return st
}
