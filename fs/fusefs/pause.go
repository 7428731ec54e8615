package fusefs

import (
	"context"
	"sync"
)

// changeGate keeps what would change the tree waiting while it is closed. A WRITE passes it where it
// writes, behind its turn in writeOrder and with nothing to tell the kernel while it is inside:
// the kernel may wait for another WRITE, which waits at the gate, before it takes a notice.
type changeGate struct{ mu sync.RWMutex }

// enter lets r in, who calls leave.
func (g *changeGate) enter(r *request) {
	if !g.mu.TryRLock() {
		r.passOn()
		g.mu.RLock()
	}
}

func (g *changeGate) leave() { g.mu.RUnlock() }

// Paused calls fn while nothing changes the tree. Tools that would change it wait; what they
// write into the kernel's cache meanwhile comes later. fn must not wait for a tool.
func (c *Conn) Paused(fn func() error) error {
	g := &c.handler.server.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	return fn()
}

// WriteBack has the kernel write back what it holds of files in its cache, stores to mapped
// memory among them, and returns when the tree has what was there at the call. The kernel drops
// the pages, and reads them anew where they are needed.
//
// Kernels before 6.16 take a page for written once its WRITE is sent (they copy it,
// fs/fuse/file.c), so that there the last of a file that is still open may be missing.
//
// Preconditions: the caller is not one of those who answer requests. Errors: ctx's.
func (c *Conn) WriteBack(ctx context.Context) error {
	for ino := range c.handler.tree.KnownFiles() {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		c.InodeNotify(ino, 0, 0) // fails where the kernel does not know the file any more, which then is written back
	}
	return nil
}
