package fusefs

import "sync"

// writeOrder keeps the WRITEs of each file in the order in which the kernel sent them,
// where there is no writeback cache.
//
// There a write(2) puts its bytes into the page, and then into a WRITE during which
// the page is not locked (fs/fuse/file.c, fuse_fill_write_pages). Somebody can store
// over them through memory meanwhile, and the WRITE that writes this back is sent later.
// Were it served sooner, the file would have the bytes of the first, and the page, for
// ever, those of the second: what tools see would not be what is stored. The zero value
// is ready for use.
type writeOrder struct {
	mu   sync.Mutex
	last map[uint64]chan struct{} // by node, closed at the end of its newest WRITE; guarded by mu
}

// enter waits for the WRITEs of a node that have entered before. The caller calls leave at
// the end of its own.
// Preconditions: no later request of the connection has begun ([Conn.serial]), as r was not
// passed on.
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
