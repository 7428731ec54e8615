package fusefs

import (
	"sync/atomic"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"github.com/workdir/workdir/fs"
)

// cacheFor is how long the kernel may keep names, attributes and the absence of names, in
// seconds: a year, which stands for forever. Only the kernel changes a mounted tree, and it
// keeps its caches in step with its own changes.
const cacheFor = 365 * 24 * 60 * 60

// generation goes with every node id. An inode number belongs to one file for good, even if
// the tree makes its inode anew, so one generation is enough.
const generation = 1

// server answers FUSE requests from a tree. It is used only behind a [handler].
type server struct {
	tree   *fs.Tree
	wanted uint64 // capabilities that we request; immutable

	readOnly bool // immutable; no atime changes
	lower    bool // immutable; see Options.Lower

	// Set by negotiated, before the first request.
	caps   uint64 // those of wanted that the kernel has
	kernel notifier

	shown shown
	order writeOrder
	gate  changeGate

	removal atomic.Int64 // time of the last removal of a name, nanoseconds since 1970; see withRoom
}

// notifier sends notices to the kernel. A call may make the kernel send requests and wait
// for their answers.
type notifier interface {
	// InodeNotify makes the kernel drop pages of a node, and write them back first if they
	// are dirty: WRITE requests must be served meanwhile, on other threads.
	InodeNotify(node uint64, off, length int64) fuse.Status
}

// negotiated takes the capabilities that the kernel offered in INIT, and the way to send it
// notices. A transport calls it once, before the first operation, and sends the returned
// capabilities to the kernel.
func (s *server) negotiated(offered uint64, kernel notifier) (caps uint64) {
	s.caps = s.wanted & offered
	s.kernel = kernel
	if s.has(fuse.CAP_WRITEBACK_CACHE) {
		s.tree.LeaveTimes()
	}
	return s.caps
}

// has reports whether both the kernel and we have all of the capabilities.
func (s *server) has(capabilities uint64) bool { return s.caps&capabilities == capabilities }

// inode returns the inode of a node id. The kernel holds a reference on every node that it
// names, so ESTALE means that one side has miscounted.
func (s *server) inode(node uint64) (*fs.Inode, fuse.Status) {
	if n := s.tree.Get(node); n != nil {
		return n, fuse.OK
	}
	return nil, fuse.Status(syscall.ESTALE)
}

// entry fills out for n. The caller has taken the reference that goes with it.
func (s *server) entry(n *fs.Inode, out *fuse.EntryOut) {
	a, valid := s.attr(n)
	setEntry(out, n.Ino(), &a, valid)
}

// attr returns the attributes of n for the kernel, and how long the kernel may keep them,
// in seconds. The order matters: a file that changes from now on must already be among
// those shown.
func (s *server) attr(n *fs.Inode) (a fs.Attr, valid uint64) {
	s.shows(n.Ino())
	a = s.tree.Attr(n)
	a.Ino = s.shownIno(a.Ino)
	return a, s.withLoss(n, &a)
}

func setEntry(out *fuse.EntryOut, node uint64, a *fs.Attr, valid uint64) {
	out.NodeId = node
	out.Generation = generation
	out.EntryValid = cacheFor
	out.AttrValid = valid
	setAttr(&out.Attr, a)
}

// blockSize is st_blksize and the unit of statfs(2), in bytes.
const blockSize = 4096

func setAttr(out *fuse.Attr, a *fs.Attr) {
	*out = fuse.Attr{
		Ino:       a.Ino,
		Size:      uint64(a.Size),
		Blocks:    uint64(a.Blocks),
		Atime:     uint64(a.Atime.Sec),
		Mtime:     uint64(a.Mtime.Sec),
		Ctime:     uint64(a.Ctime.Sec),
		Atimensec: a.Atime.Nsec,
		Mtimensec: a.Mtime.Nsec,
		Ctimensec: a.Ctime.Nsec,
		Mode:      a.Mode,
		Nlink:     a.Nlink,
		Owner:     fuse.Owner{Uid: a.UID, Gid: a.GID},
		Rdev:      a.Rdev,
		Blksize:   blockSize,
	}
}

func owner(in *fuse.InHeader) fs.Owner { return fs.Owner{UID: in.Uid, GID: in.Gid} }
