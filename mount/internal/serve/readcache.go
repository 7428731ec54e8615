package serve

import (
	"sync"

	"github.com/workdir/workdir/archive"
)

// readCache is the memory for what was read of archives: a cache for all of them, of
// which those with a limit of their own have a part set aside.
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

// get returns a cache of at most so many bytes, which are set aside until it is released,
// but never more than half of what is left; for 0 the one that all others share.
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
