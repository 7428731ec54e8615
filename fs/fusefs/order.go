package fusefs

import "sync"

// writeOrder keeps the WRITEs of each file in the order in which the kernel sent them, if
// there is no writeback cache.
//
// Without the cache, a write(2) puts its bytes into the page and then into a WRITE, during
// which the page is not locked (fs/fuse/file.c, fuse_fill_write_pages). Meanwhile a store
// through a mapping may overwrite them, and the WRITE for that store is sent later. If it
// were served first, the file would keep the bytes of the earlier one, and the page those
// of the later one forever: tools would see other bytes than are stored. The zero value is
// ready for use.
type writeOrder struct {
	mu   sync.Mutex
	last map[uint64]chan struct{} // by node, closed when its newest WRITE ends; guarded by mu
}

// enter waits for the WRITEs of a node that have entered before. The caller calls leave at
// the end of its own WRITE.
// Preconditions: no later request of the connection has begun ([Conn.serial]), because r
// was not passed on.
func (o *writeOrder) enter(r *request, node uint64) (leave func()) {
	mine := make(chan struct{})
	o.mu.Lock()
	if o.last == nil {
		o.last = map[uint64]chan struct{}{}
	}
	before := o.last[node]
	o.last[node] = mine
	o.mu.Unlock()
	if before != nil {
		r.passOn()
		<-before
	}
	return func() {
		o.mu.Lock()
		if o.last[node] == mine {
			delete(o.last, node)
		}
		o.mu.Unlock()
		close(mine)
	}
}
