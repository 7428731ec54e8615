package fusefs

import (
	"context"
	"sync"
)

// changeGate makes requests that would change the tree wait while it is closed. A WRITE
// passes it where it writes, after its turn in writeOrder, and sends no notice to the
// kernel while it is inside: before the kernel takes a notice it may wait for another
// WRITE, which waits at the gate.
type changeGate struct{ mu sync.RWMutex }

// enter lets r in. The caller calls leave.
func (g *changeGate) enter(r *request) {
	if !g.mu.TryRLock() {
		r.passOn()
		g.mu.RLock()
	}
}

func (g *changeGate) leave() { g.mu.RUnlock() }

// Paused calls fn while nothing changes the tree. Tools that would change it wait; what
// they write into the kernel's cache meanwhile arrives later. fn must not wait for a tool.
func (c *Conn) Paused(fn func() error) error {
	g := &c.handler.server.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	return fn()
}

// WriteBack makes the kernel write back the content of files in its cache, including stores
// to mapped memory, and returns when the tree has everything that was there at the call.
// The kernel drops the pages, and reads them again when they are needed.
//
// Before Linux 6.16 the kernel takes a page for written once its WRITE is sent (it copies
// the page, fs/fuse/file.c), so the last writes to a file that is still open may be
// missing.
//
// Preconditions: the caller does not answer requests. Errors: ctx's.
func (c *Conn) WriteBack(ctx context.Context) error {
	for ino := range c.handler.tree.KnownFiles() {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		c.InodeNotify(ino, 0, 0) // fails if the kernel has forgotten the file, which is then written back
	}
	return nil
}
