package mount

import (
	"sync"
	"time"
)

const (
	maxCallbacks     = 256         // waiting for the one that runs; further ones are dropped
	callbackPatience = time.Second // how long Open and Close wait for callbacks
)

// callbacks runs the user's callbacks one after the other, apart from the connection that
// brought the news: a callback may call the mount, or block, and then delays only later
// callbacks. The zero value is ready.
type callbacks struct {
	mu      sync.Mutex
	waiting []callback // guarded by mu
	running bool       // guarded by mu; a goroutine runs the callbacks
}

type callback struct {
	fn         func()
	superseded bool // by the next one that is superseded too
}

// run runs fn after all earlier callbacks.
func (c *callbacks) run(fn func()) { c.add(callback{fn: fn}) }

// runLatest is run for news that later news of its kind replace.
func (c *callbacks) runLatest(fn func()) { c.add(callback{fn: fn, superseded: true}) }

func (c *callbacks) add(next callback) {
	c.mu.Lock()
	defer c.mu.Unlock()
	last := len(c.waiting) - 1
	switch {
	case last >= 0 && next.superseded && c.waiting[last].superseded:
		c.waiting[last] = next
	case last+1 < maxCallbacks:
		c.waiting = append(c.waiting, next)
	}
	if !c.running {
		c.running = true
		go c.work()
	}
}

func (c *callbacks) work() {
	for {
		c.mu.Lock()
		if len(c.waiting) == 0 {
			c.running = false
			c.mu.Unlock()
			return
		}
		next := c.waiting[0]
		c.waiting = c.waiting[1:]
		c.mu.Unlock()
		next.fn()
	}
}

// flush waits until all earlier callbacks have returned, but no longer than
// callbackPatience: one may be stuck, or be the caller.
func (c *callbacks) flush() {
	c.mu.Lock()
	idle := !c.running
	c.mu.Unlock()
	if idle {
		return
	}
	done := make(chan struct{})
	c.run(func() { close(done) })
	select {
	case <-done:
	case <-time.After(callbackPatience):
	}
}
