package fusefs

import (
	"sync"
	"sync/atomic"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// overtaken keeps the kernel's pages in step with the tree where there is no
// writeback cache.
//
// There a write(2) puts its bytes into the page, and then into a WRITE during which
// the page is not locked (fs/fuse/file.c, fuse_fill_write_pages). Somebody can store
// over them through memory meanwhile, and the WRITE that writes this back, though it
// is sent later, be served sooner. The file would have the bytes of the first, and
// the page, for ever, those of the second: what tools see would not be what is stored.
// So a WRITE that was overtaken drops what it has in common with the writebacks that
// overtook it. Both orders are right, for none of the two had returned.
//
// The kernel numbers requests in the order in which it sends them (fs/fuse/dev.c,
// fuse_dev_queue_req). The zero value is ready for use.
type overtaken struct {
	newest atomic.Uint64 // number of the newest writeback

	mu      sync.Mutex
	last    [128]writeback // a ring; guarded by mu
	next    int            // place of the oldest; guarded by mu
	dropped uint64         // number of the newest that is not in last any more; guarded by mu
}

// writeback is a WRITE of pages that were stored to through memory.
type writeback struct {
	unique, node uint64
	begin, end   int64 // in bytes
}

// begins notes a writeback that is about to change its node.
func (o *overtaken) begins(in *fuse.WriteIn) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.dropped = max(o.dropped, o.last[o.next].unique)
	o.last[o.next] = writeback{in.Unique, in.NodeId, int64(in.Offset), int64(in.Offset) + int64(in.Size)}
	o.next = (o.next + 1) % len(o.last)
	if o.newest.Load() < in.Unique {
		o.newest.Store(in.Unique)
	}
}

// ended drops the pages of a WRITE of write(2) that has changed its node, as far as it
// was overtaken. A writeback that begins after this has looked does not overtake it.
// Those pages are not locked by the WRITE, or they could not have been written back.
func (o *overtaken) ended(in *fuse.WriteIn, count uint32, kernel notifier) {
	if o.newest.Load() < in.Unique || count == 0 {
		return
	}
	begin, end := int64(in.Offset), int64(in.Offset)+int64(count)
	common, all := o.since(in.Unique, in.NodeId, begin, end)
	for _, w := range common {
		kernel.InodeNotify(w.node, w.begin, w.end-w.begin) // fails where there is nothing to drop
	}
	if !all {
		go kernel.InodeNotify(in.NodeId, begin, end-begin) // the WRITE may have locked a part of it until it is answered
	}
}

// since gives what writebacks of a node that have a higher number have in common with
// a range of it, and whether that is all: what is long ago is not known.
func (o *overtaken) since(unique, node uint64, begin, end int64) (common []writeback, all bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, w := range o.last {
		w.begin, w.end = max(w.begin, begin), min(w.end, end)
		if w.node == node && w.unique > unique && w.begin < w.end {
			common = append(common, w)
		}
	}
	return common, o.dropped < unique
}
