package fusefs

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// overtaken keeps the kernel's pages in step with a file that two write to at once
// without the writeback cache: one by write(2), the other through memory.
//
// The former's bytes go into the page, and from there into a WRITE during which the
// page is not locked (fs/fuse/file.c, fuse_fill_write_pages). A store over them can
// be written back meanwhile, by a WRITE that was sent later and is served sooner. The
// file then has the bytes of the first, and the page, for ever, those of the second:
// what tools see would not be what is stored. So the pages of a WRITE that was
// overtaken are dropped. Both orders are right, as neither writer had returned.
//
// The kernel numbers requests in the order in which it sends them (fs/fuse/dev.c,
// fuse_dev_queue_req). The zero value is ready for use.
type overtaken struct {
	newest sync.Map // uint64, a node, to *atomic.Uint64, the number of the newest WRITE that wrote pages of it back
}

// begins notes a WRITE that is about to change its node.
func (o *overtaken) begins(in *fuse.WriteIn) {
	if in.WriteFlags&fuse.WRITE_CACHE == 0 {
		return
	}
	newest, known := o.newest.Load(in.NodeId)
	if !known {
		newest, _ = o.newest.LoadOrStore(in.NodeId, new(atomic.Uint64))
	}
	n := newest.(*atomic.Uint64)
	for old := n.Load(); old < in.Unique && !n.CompareAndSwap(old, in.Unique); old = n.Load() {
	}
}

// dropPatience is how long a WRITE that was overtaken waits until its pages are
// dropped.
const dropPatience = 10 * time.Millisecond

// ended drops the pages of a WRITE that has changed its node and was overtaken. One
// that begins after this has looked does not overtake any more. The kernel may hold a
// lock of the pages until the WRITE is answered, so it does not wait for long.
func (o *overtaken) ended(in *fuse.WriteIn, count uint32, kernel notifier) {
	if in.WriteFlags&fuse.WRITE_CACHE != 0 || count == 0 {
		return
	}
	newest, known := o.newest.Load(in.NodeId)
	if !known || newest.(*atomic.Uint64).Load() < in.Unique {
		return
	}
	node, off := in.NodeId, int64(in.Offset) // in is gone with the answer
	dropped := make(chan struct{})
	go func() {
		defer close(dropped)
		kernel.InodeNotify(node, off, int64(count)) // fails where there is nothing to drop
	}()
	limit := time.NewTimer(dropPatience)
	defer limit.Stop()
	select {
	case <-dropped:
	case <-limit.C:
	}
}

// forget is for a node that is gone.
func (o *overtaken) forget(node uint64) { o.newest.Delete(node) }
