package fusefs

import (
	"testing"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/fs"
)

// requests makes requests of the bytes that the fuzzer gives.
type requests struct {
	data []byte
	g    *guard
	held map[uint64]uint64 // references that entries have given us, by node
}

// fakeKernel takes notice of nothing.
type fakeKernel struct{}

func (fakeKernel) InodeNotify(uint64, int64, int64) fuse.Status { return fuse.OK }

func (q *requests) byte() byte {
	if len(q.data) == 0 {
		return 0
	}
	b := q.data[0]
	q.data = q.data[1:]
	return b
}

// node is one of the first inodes, or none.
func (q *requests) node() uint64 { return uint64(q.byte() % 12) }

func (q *requests) header() fuse.InHeader {
	return fuse.InHeader{NodeId: q.node(), Caller: fuse.Caller{Owner: fuse.Owner{Uid: uint32(q.byte())}}}
}

func (q *requests) name() string {
	names := [...]string{"a", "b", "c", "", ".", "..", "a/b", "\x00", "user.x", "system.x", string(make([]byte, 256)), "security.capability"}
	return names[int(q.byte())%len(names)]
}

// number is small, huge or negative.
func (q *requests) number() uint64 {
	b := uint64(q.byte())
	switch b >> 6 {
	case 0:
		return b
	case 1:
		return b << 12
	case 2:
		return 1<<63 - 1 - b
	}
	return -b
}

func (q *requests) keep(st fuse.Status, e *fuse.EntryOut) {
	if st == fuse.OK && e.NodeId > 1 {
		q.held[e.NodeId]++
	}
}

func (q *requests) flags() uint32 {
	return [...]uint32{
		unix.O_RDONLY, unix.O_WRONLY, unix.O_RDWR, unix.O_RDWR | unix.O_TRUNC, unix.O_RDONLY | unix.O_TRUNC, unix.O_WRONLY | unix.O_APPEND, 3, ^uint32(0),
	}[q.byte()%8]
}

// one sends one request of any kind.
func (q *requests) one() {
	h := q.header()
	var entry fuse.EntryOut
	switch q.byte() % 32 {
	case 0:
		q.keep(q.g.Lookup(nil, &h, q.name(), &entry), &entry)
	case 1:
		q.keep(q.g.Mkdir(nil, &fuse.MkdirIn{InHeader: h, Mode: uint32(q.number())}, q.name(), &entry), &entry)
	case 2:
		q.keep(q.g.Mknod(nil, &fuse.MknodIn{InHeader: h, Mode: uint32(q.byte())<<12 | 0o644, Rdev: uint32(q.number())}, q.name(), &entry), &entry)
	case 3:
		q.keep(q.g.Symlink(nil, &h, q.name(), q.name(), &entry), &entry)
	case 4:
		q.keep(q.g.Link(nil, &fuse.LinkIn{InHeader: h, Oldnodeid: q.node()}, q.name(), &entry), &entry)
	case 5:
		var out fuse.CreateOut
		q.keep(q.g.Create(nil, &fuse.CreateIn{InHeader: h, Mode: uint32(q.number()), Flags: q.flags()}, q.name(), &out), &out.EntryOut)
	case 6:
		var out fuse.CreateOut
		q.keep(q.g.Tmpfile(nil, &fuse.CreateIn{InHeader: h, Mode: uint32(q.number()), Flags: q.flags()}, &out), &out.EntryOut)
	case 7:
		q.g.Unlink(nil, &h, q.name())
	case 8:
		q.g.Rmdir(nil, &h, q.name())
	case 9:
		q.g.Rename(nil, &fuse.RenameIn{InHeader: h, Newdir: q.node(), Flags: uint32(q.byte() % 9)}, q.name(), q.name())
	case 10:
		if n := q.held[h.NodeId]; n > 0 {
			n = uint64(q.byte())%n + 1
			q.held[h.NodeId] -= n
			q.g.Forget(h.NodeId, n)
		}
	case 11:
		q.g.ReadDir(nil, &fuse.ReadIn{InHeader: h, Offset: q.number()}, fuse.NewDirEntryList(make([]byte, int(q.byte())*8), 0))
	case 12:
		q.listPlus(h)
	case 13:
		q.g.Release(nil, &fuse.ReleaseIn{InHeader: h})
	default:
		q.onInode(h)
	}
}

func (q *requests) listPlus(h fuse.InHeader) {
	list := fuse.NewDirEntryList(make([]byte, int(q.byte())*8), 0)
	if q.g.ReadDirPlus(nil, &fuse.ReadIn{InHeader: h, Offset: q.number()}, list) != fuse.OK {
		return
	}
	_, entries, err := fuse.ParseDirLookupEntries(list.Bytes())
	if err != nil {
		panic(err)
	}
	for i := range entries {
		q.keep(fuse.OK, &entries[i])
	}
}

// onInode sends a request about one inode.
func (q *requests) onInode(h fuse.InHeader) {
	buf := make([]byte, q.byte())
	switch q.byte() % 15 {
	case 0:
		q.g.GetAttr(nil, &fuse.GetAttrIn{InHeader: h}, &fuse.AttrOut{})
	case 1:
		in := fuse.SetAttrIn{SetAttrInCommon: fuse.SetAttrInCommon{
			InHeader: h, Valid: uint32(q.byte())<<4 | uint32(q.byte()), Size: q.number(), Mtime: q.number(), Mode: uint32(q.number()),
		}}
		q.g.SetAttr(nil, &in, &fuse.AttrOut{})
	case 2:
		q.g.Statx(nil, &fuse.StatxIn{InHeader: h}, &fuse.StatxOut{})
	case 3:
		q.g.StatFs(nil, &h, &fuse.StatfsOut{})
	case 4:
		q.g.Readlink(nil, &h)
	case 5:
		q.g.Read(nil, &fuse.ReadIn{InHeader: h, Offset: q.number()}, buf)
	case 6:
		in := fuse.WriteIn{InHeader: h, Offset: q.number(), WriteFlags: uint32(q.byte() &^ fuse.WRITE_CACHE)}
		q.g.Writev(nil, &in, [][]byte{buf, buf[:len(buf)/2]})
	case 7:
		q.g.Fallocate(nil, &fuse.FallocateIn{InHeader: h, Offset: q.number(), Length: q.number(), Mode: uint32(q.byte())})
	case 8:
		q.g.Lseek(nil, &fuse.LseekIn{InHeader: h, Offset: q.number(), Whence: uint32(q.byte() % 6)}, &fuse.LseekOut{})
	case 9:
		q.g.CopyFileRange(nil, &fuse.CopyFileRangeIn{InHeader: h, NodeIdOut: q.node(), OffIn: q.number(), OffOut: q.number(), Len: q.number()})
	case 10:
		q.g.GetXAttr(nil, &h, q.name(), buf)
	case 11:
		q.g.ListXAttr(nil, &h, buf)
	case 12:
		q.g.SetXAttr(nil, &fuse.SetXAttrIn{InHeader: h, Flags: uint32(q.byte() % 4)}, q.name(), buf)
	case 13:
		q.g.RemoveXAttr(nil, &h, q.name())
	case 14:
		q.g.Ioctl(nil, &fuse.IoctlIn{InHeader: h}, buf, &fuse.IoctlOut{}, buf)
	}
}

// FuzzRequests holds the adapter to this: whatever comes through the device, no
// operation panics, and when the kernel has forgotten everything, nothing but the
// named inodes is left.
func FuzzRequests(f *testing.F) {
	f.Add([]byte("\x01\x00\x05\x00\x00\x00\x01\x00\x01\x00\x01\x02\x00\x01"))
	f.Add([]byte("mknod, write, rename, and so on, in any order of bytes that comes to mind"))
	f.Add([]byte("\x01\x00\x01\x00\x00\x02\x00\x01\x00\x00\x03\x00\x0b\x00\x40\x03\x00\x0c\x40\x00\x02\x00\x08\x00\x01\x00\x08\x00")) // mkdir a and a/a, two listings, rmdir
	f.Fuzz(func(t *testing.T, data []byte) {
		q := &requests{data: data, g: testGuard(t, &Options{}), held: map[uint64]uint64{}}
		q.g.ops.(*server).negotiated(^uint64(0), fakeKernel{})
		q.run(t)
	})
}

// run sends the requests, and in the end those by which a kernel lets go.
func (q *requests) run(t *testing.T) {
	t.Helper()
	for len(q.data) > 0 {
		q.one()
	}
	for node, n := range q.held {
		if n > 0 {
			q.g.Forget(node, n)
		}
	}
	if q.g.tree.Poisoned() {
		t.Fatalf("an operation panicked: %v", q.g.tree.Err())
	}
	checkForgotten(t, q.g.tree)
}

// checkForgotten checks a tree of which the kernel has forgotten everything: what
// counts as its inodes are the names that can be reached, and none is left when they are
// removed.
func checkForgotten(t *testing.T, tree *fs.Tree) {
	t.Helper()
	names := int64(0)
	err := tree.Walk(func(string, *fs.Inode, fs.Attr) error {
		names++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, inodes := tree.Usage(); inodes != names {
		t.Errorf("when all is forgotten %d inodes are counted, and there are %d names", inodes, names)
	}
	empty(t, tree, tree.Root())
	if _, inodes := tree.Usage(); inodes != 1 {
		t.Errorf("the tree is empty, and has %d inodes", inodes)
	}
}

// empty removes all names in a directory.
func empty(t *testing.T, tree *fs.Tree, dir *fs.Inode) {
	t.Helper()
	var names []string
	errno := tree.ReadDir(dir, 0, func(d fs.Dirent) bool {
		names = append(names, d.Name)
		return true
	})
	for _, name := range names {
		var n *fs.Inode
		if n, errno = tree.Lookup(dir, name); errno != 0 {
			break
		}
		remove := tree.Unlink
		if tree.Attr(n).Mode&unix.S_IFMT == unix.S_IFDIR {
			empty(t, tree, n)
			remove = tree.Rmdir
		}
		tree.Unref(n, 1)
		if errno = remove(dir, name); errno != 0 {
			break
		}
	}
	if errno != 0 {
		t.Fatal(errno)
	}
}
