package fs

import (
	"container/list"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxDescriptors is how many backing files a process keeps open. It leaves room
// under the common RLIMIT_NOFILE of 1,024.
const maxDescriptors = 512

// descriptors is the cache of open backing files. There is one for all homes,
// because descriptors are a limit of the process.
var descriptors = newDescriptorCache(maxDescriptors)

// descriptorCache opens files when they are used and closes those that were not
// used for the longest time. Those in use do not count as candidates, so that
// the limit is passed by at most the number of operations under way.
type descriptorCache struct {
	mu   sync.Mutex
	max  int       // immutable
	open int       // guarded by mu; descriptors that exist
	idle list.List // guarded by mu; of *descriptor with no user, used last in front
}

// descriptor is an open backing file. Its fields are guarded by the cache's mu,
// but for fd, which is immutable.
type descriptor struct {
	fd    int
	users int
	file  *tmpfsFile
	place *list.Element // in idle; nil while it has users
}

func newDescriptorCache(limit int) *descriptorCache { return &descriptorCache{max: limit} }

// acquire gives the open descriptor of f, to be released. EBADF if f is closed.
func (c *descriptorCache) acquire(f *tmpfsFile, flags int) (*descriptor, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f.closed {
		return nil, syscall.EBADF
	}
	d := f.open
	if d == nil {
		fd, err := c.openLocked(f, flags)
		if err != nil {
			return nil, err
		}
		d = &descriptor{fd: fd, file: f}
		f.open = d
		c.open++
	} else if d.place != nil {
		c.idle.Remove(d.place)
		d.place = nil
	}
	d.users++
	return d, nil
}

// openLocked opens f. If the process or the machine is out of descriptors it
// gives up all idle ones and tries once more.
func (c *descriptorCache) openLocked(f *tmpfsFile, flags int) (int, error) {
	c.shrinkLocked(c.max - 1)
	fd, err := f.openat(flags)
	if err == syscall.EMFILE || err == syscall.ENFILE {
		c.shrinkLocked(0)
		fd, err = f.openat(flags)
	}
	return fd, err
}

// shrinkLocked closes idle descriptors until at most limit exist.
func (c *descriptorCache) shrinkLocked(limit int) {
	for c.open > limit && c.idle.Len() > 0 {
		d := c.idle.Back().Value.(*descriptor)
		c.forgetLocked(d)
		closeFD(d.fd)
	}
}

// forgetLocked takes a descriptor without users out of the cache; the caller
// closes it.
func (c *descriptorCache) forgetLocked(d *descriptor) {
	if d.place != nil {
		c.idle.Remove(d.place)
		d.place = nil
	}
	d.file.open = nil
	c.open--
}

// release gives back what acquire gave.
func (c *descriptorCache) release(d *descriptor) {
	c.mu.Lock()
	d.users--
	drop := d.users == 0 && d.file.closed
	switch {
	case drop:
		c.forgetLocked(d)
	case d.users == 0:
		d.place = c.idle.PushFront(d)
		c.shrinkLocked(c.max)
	}
	c.mu.Unlock()
	if drop {
		closeFD(d.fd)
	}
}

// close ends the use of f for good. A descriptor that is in use is closed by its
// last user. It reports whether f was open to be used until now.
func (c *descriptorCache) close(f *tmpfsFile) bool {
	c.mu.Lock()
	if f.closed {
		c.mu.Unlock()
		return false
	}
	f.closed = true
	d := f.open
	drop := d != nil && d.users == 0
	if drop {
		c.forgetLocked(d)
	}
	c.mu.Unlock()
	if drop {
		closeFD(d.fd)
	}
	return true
}

// dropHome closes the idle descriptors of h's files.
func (c *descriptorCache) dropHome(h *tmpfsHome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for place := c.idle.Front(); place != nil; {
		d := place.Value.(*descriptor)
		place = place.Next()
		if d.file.home == h {
			c.forgetLocked(d)
			closeFD(d.fd)
		}
	}
}

// closeFD closes a descriptor of a memory file, where close(2) has nothing to
// report: there is no disk behind it, and the number is free in any case.
func closeFD(fd int) { _ = unix.Close(fd) }
