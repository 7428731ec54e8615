package fusefs

import (
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/fs"
)

// backer makes the kernel read and write a file by itself (passthrough).
type backer interface {
	notifier
	RegisterBackingFd(*fuse.BackingMap) (int32, syscall.Errno)
	UnregisterBackingFd(id int32) syscall.Errno
}

// lending knows which inodes are open, and which of them are lent to the kernel.
// The kernel refuses to mix passed-through and cached opens of one inode (EIO,
// fs/fuse/iomode.c), so what the first open chose holds until the last RELEASE.
type lending struct {
	tree   *fs.Tree // immutable
	kernel backer   // set before the first operation

	mu   sync.Mutex            // above all locks of the tree
	open map[uint64]*openInode // guarded by mu
	off  bool                  // guarded by mu; the kernel cannot, or may not for us

	// mapped has the nodes that are lent and may be written to through memory, of
	// which the kernel tells nobody: neither us, nor the part of itself that caches
	// attributes. A map without a lock, because listings ask it under the tree's.
	mapped sync.Map
}

func newLending(tree *fs.Tree) *lending {
	return &lending{tree: tree, open: map[uint64]*openInode{}}
}

// use takes what INIT has settled.
func (l *lending) use(kernel backer, can bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kernel, l.off = kernel, !can
}

// openInode is an inode that is open.
type openInode struct {
	chosen  chan struct{} // closed when the next two are set, immutable after it
	lent    bool
	backing int32
	inode   *fs.Inode // immutable
	opens   int       // guarded by the mu of the lending
}

// opener says who opens a file, and what for.
type opener struct {
	uid   uint32
	flags uint32 // of open(2)
}

// acquire counts an open of n, and says how it is to be answered. ESTALE, which
// makes the kernel look up the name again, where the content of n is gone, see
// removed.
func (l *lending) acquire(node uint64, n *fs.Inode, by opener, out *fuse.OpenOut) fuse.Status {
	l.mu.Lock()
	o := l.open[node]
	first := o == nil
	if first && l.tree.Freed(n) {
		l.mu.Unlock()
		return fuse.Status(syscall.ESTALE)
	}
	if first {
		o = &openInode{chosen: make(chan struct{}), inode: n}
		l.open[node] = o
	}
	o.opens++
	off := l.off
	l.mu.Unlock()
	if first {
		if !off {
			l.lend(o)
		}
		if !o.lent && l.tree.WasLent(n) {
			// Pages may be older than what was written past them. Now nobody uses
			// them. If each open(2) dropped them, it would drop the page of a write(2)
			// that is on its way, and a READ could bring it back as it was before.
			l.kernel.InodeNotify(node, 0, 0) // fails where there are none
		}
		close(o.chosen)
	}
	<-o.chosen
	if !o.lent {
		out.OpenFlags = fuse.FOPEN_KEEP_CACHE
		return fuse.OK
	}
	if by.flags&unix.O_ACCMODE == unix.O_RDWR {
		l.setMapped(node, o)
	}
	out.OpenFlags = fuse.FOPEN_PASSTHROUGH
	if l.mustAsk(n, by) {
		out.OpenFlags |= fuse.FOPEN_DIRECT_IO
	}
	out.BackingID = o.backing
	return fuse.OK
}

// mustAsk says whether the kernel is to send READ and WRITE for an open of n, though
// n is lent (fs/fuse/file.c, fuse_file_write_iter): where n has got suid, sgid or
// security.capability since then. The kernel does not clear them in a file that it
// writes to by itself, and WRITE says whether to. Root's writes leave suid and sgid.
func (l *lending) mustAsk(n *fs.Inode, by opener) bool {
	return by.flags&unix.O_ACCMODE != unix.O_RDONLY && by.uid != 0 && l.tree.Privileged(n)
}

// setMapped notes that a lent inode may be written to through memory.
func (l *lending) setMapped(node uint64, o *openInode) {
	if _, known := l.mapped.LoadOrStore(node, nil); known {
		return
	}
	l.tree.Mapped(o.inode)
	l.kernel.InodeNotify(node, -1, 0) // drops the attributes alone; fails where it has none
}

// attrValid is how long the kernel may keep the attributes of a node, in seconds.
func (l *lending) attrValid(node uint64) uint64 {
	if l != nil {
		if _, mapped := l.mapped.Load(node); mapped {
			return 0
		}
	}
	return cacheFor
}

// changedAttrValid is attrValid for the answer to a change of a node. The kernel takes
// its attributes for the newest (fs/fuse/dir.c, fuse_do_setattr), though pages of a
// file that is open and not lent, when they are written back at the same time, change
// them again.
func (l *lending) changedAttrValid(node uint64) uint64 {
	if l != nil && l.cached(node) {
		return 0
	}
	return l.attrValid(node)
}

// cached tells whether a node is open, and the kernel has pages of it.
func (l *lending) cached(node uint64) bool {
	l.mu.Lock()
	o := l.open[node]
	l.mu.Unlock()
	if o == nil {
		return false
	}
	select {
	case <-o.chosen:
		return !o.lent
	default:
		return true // it may be
	}
}

// lend lends the content of an inode to the kernel, where that is possible.
func (l *lending) lend(o *openInode) {
	fd, errno := l.tree.Lend(o.inode)
	if errno != 0 {
		return
	}
	defer unix.Close(fd) // the kernel has its own reference
	id, errno := l.kernel.RegisterBackingFd(&fuse.BackingMap{Fd: int32(fd)})
	if errno != 0 {
		l.tree.Return(o.inode)
		if errno == syscall.EPERM || errno == syscall.EOPNOTSUPP || errno == syscall.ENOTTY {
			l.mu.Lock()
			l.off = true
			l.mu.Unlock()
		}
		return
	}
	o.lent, o.backing = true, id
}

// release is the end of one open.
func (l *lending) release(node uint64) {
	if o := l.returned(node); o != nil {
		l.removed(o.inode)
	}
}

// removed frees the content of an inode that lost a name, if that was the last,
// nobody has it open, and room is short. Else a tool that has removed a file and goes
// on writing would find no room: the FORGET that frees the inode comes after the
// answer to UNLINK. While there is room it is left to the FORGET, for an open that
// runs beside the removal is ESTALE once the content is gone, which the kernel tries
// again but once (fs/namei.c, do_filp_open).
func (l *lending) removed(n *fs.Inode) {
	if !l.tree.Removed(n) || !l.taken(1, 2) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.open[n.Ino()] == nil { // nor will it be, see acquire
		l.tree.FreeRemoved(n)
	}
}

// awaitRelease waits for the RELEASE of a removed inode, on a mount that is nearly
// full: the kernel sends it after close(2) has returned, so the UNLINK may overtake
// it, and the write that comes next finds no room and asks nobody. A tool that has
// the file open still waits in vain.
func (l *lending) awaitRelease(n *fs.Inode) {
	until := time.Now().Add(roomPatience)
	wait(func() bool {
		return l.tree.Removed(n) && l.isOpen(n) && l.taken(7, 8) && time.Now().Before(until)
	})
}

func (l *lending) isOpen(n *fs.Inode) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.open[n.Ino()] != nil
}

// taken tells whether more than num/den of the room is taken.
func (l *lending) taken(num, den uint64) bool {
	st := l.tree.StatFS()
	return st.Free < st.Blocks-st.Blocks/den*num
}

// returned counts down the opens of a node, and takes back what was lent with the
// last. It gives what is not open any more, nil for what is.
func (l *lending) returned(node uint64) *openInode {
	l.mu.Lock()
	defer l.mu.Unlock()
	o := l.open[node]
	if o == nil {
		return nil // no open that we know of
	}
	if o.opens--; o.opens > 0 {
		return nil
	}
	delete(l.open, node)
	l.mapped.Delete(node)
	if o.lent {
		_ = l.kernel.UnregisterBackingFd(o.backing) // it fails only where the connection has ended
		l.tree.Return(o.inode)                      // before the next open can ask for it
	}
	return o
}
