package serve

import (
	"sync"

	"github.com/workdir/workdir/archive"
)

// readCache is the memory for content that was read from archives: a cache for all of them,
// of which those with a limit of their own have a part reserved.
type readCache struct {
	shared *archive.Cache // immutable

	mu   sync.Mutex
	left int64 // bytes of shared; guarded by mu
}

// ownCache is the cache of a base.
type ownCache struct {
	*archive.Cache
	release func()
}

func newReadCache(bytes int64) *readCache {
	return &readCache{shared: archive.NewCache(bytes), left: bytes}
}

// get returns a cache of at most that many bytes, but never more than half of what is left.
// They are reserved until the cache is released. For 0 it returns the cache that all others
// share.
func (c *readCache) get(bytes int64) ownCache {
	if bytes == 0 {
		return ownCache{c.shared, func() {}}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	bytes = min(bytes, c.left/2)
	c.addLocked(-bytes)
	return ownCache{archive.NewCache(bytes), func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.addLocked(bytes)
	}}
}

func (c *readCache) addLocked(bytes int64) {
	c.left += bytes
	c.shared.Resize(c.left)
}
