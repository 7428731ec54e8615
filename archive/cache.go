package archive

import (
	"container/list"
	"sync"
)

// Cache is an LRU cache of segments that were read, verified and decompressed, for all images
// of a process. Its size is limited in bytes, and any segment can be dropped at any time,
// since it can be re-read.
type Cache struct {
	mu   sync.Mutex
	max  int64 // bytes; guarded by mu, as is all below
	used int64
	held map[segmentKey]*cached
	idle list.List // of filled *cached, most recently used first
}

// segmentKey names a segment of one archive.
type segmentKey struct {
	source *Source
	number uint32
}

// cached is a segment in the cache, or one that is being read into it.
type cached struct {
	key  segmentKey
	done chan struct{} // closed when the fields below are set

	raw  []byte   // read-only
	data []uint32 // where the content of each row in it begins in raw
	err  error    // why it could not be read; a failed segment is not kept

	at *list.Element // in Cache.idle; guarded by Cache.mu
}

// NewCache returns a cache of at most that many bytes. A larger segment is read but not kept.
func NewCache(bytes int64) *Cache {
	return &Cache{max: bytes, held: map[segmentKey]*cached{}}
}

// Resize changes the maximum number of bytes.
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

// claim returns a segment that is cached or being read. Otherwise it returns a new one, and
// mine is true: the caller must fill it.
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

// filled publishes a claimed segment whose fields the caller has set.
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

// dropLocked removes a filled segment. Its current readers keep it.
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
