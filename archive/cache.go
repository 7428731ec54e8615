package archive

import (
	"container/list"
	"sync"
)

// Cache keeps segments of archives that were read, verified and decompressed, for all
// images of a process. What was used last stays. It holds at most so many bytes, and
// what it holds can be dropped at any time, since it can be read again.
type Cache struct {
	mu   sync.Mutex
	max  int64 // bytes; guarded by mu, as is all below
	used int64
	held map[segmentKey]*cached
	idle list.List // of *cached that are filled, the one used last in front
}

// segmentKey names a segment of one archive.
type segmentKey struct {
	source *Source
	number uint32
}

// cached is a segment in the cache, or on its way to it.
type cached struct {
	key  segmentKey
	done chan struct{} // closed when the fields below are set

	raw  []byte   // not to be changed
	data []uint32 // where the content of each row that lies in it begins in raw
	err  error    // why it could not be read; such a segment is not kept

	at *list.Element // in Cache.idle; guarded by Cache.mu
}

// NewCache makes a cache of at most so many bytes. A segment that alone is larger is
// read and not kept.
func NewCache(bytes int64) *Cache {
	return &Cache{max: bytes, held: map[segmentKey]*cached{}}
}

// Resize changes how many bytes are kept at most.
func (c *Cache) Resize(bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.max = bytes
	c.shrinkLocked()
}

// Used returns how many bytes the cache holds.
func (c *Cache) Used() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.used
}

// claim returns a segment that is there or on its way. Else it returns a new one, which
// is the caller's to fill: mine.
func (c *Cache) claim(key segmentKey) (e *cached, mine bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.held[key]; e != nil {
		if e.at != nil {
			c.idle.MoveToFront(e.at)
		}
		return e, false
	}
	e = &cached{key: key, done: make(chan struct{})}
	c.held[key] = e
	return e, true
}

// filled takes a segment that was claimed, and whose fields are set.
func (c *Cache) filled(e *cached) {
	c.mu.Lock()
	defer c.mu.Unlock()
	defer close(e.done)
	if e.err != nil || e.key.source.closed.Load() {
		delete(c.held, e.key)
		return
	}
	e.at = c.idle.PushFront(e)
	c.used += int64(cap(e.raw))
	c.shrinkLocked()
}

func (c *Cache) shrinkLocked() {
	for c.used > c.max && c.idle.Len() > 0 {
		c.dropLocked(c.idle.Back().Value.(*cached))
	}
}

// dropLocked forgets a segment that is filled. Who reads it still has it.
func (c *Cache) dropLocked(e *cached) {
	c.idle.Remove(e.at)
	delete(c.held, e.key)
	c.used -= int64(cap(e.raw))
}

// forget drops all segments of a source.
func (c *Cache) forget(s *Source) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, e := range c.held {
		if key.source == s && e.at != nil {
			c.dropLocked(e)
		}
	}
}
