package fs

import (
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
// used lately (the clock algorithm). Those in use stay open, so that the limit is
// passed by at most the number of operations under way.
type descriptorCache struct {
	mu   sync.Mutex
	max  int           // immutable
	ring []*descriptor // guarded by mu; all that are open, in no order
	hand int           // guarded by mu; where in the ring to look for one to close
}

// descriptor is an open backing file. Its fields are guarded by the cache's mu,
// but for fd, which is immutable.
type descriptor struct {
	fd     int
	users  int
	recent bool // used since the hand passed it
	place  int  // in the ring
	file   *tmpfsFile
}

// closedFile stands where a file was closed for good.
var closedFile = &descriptor{fd: -1}

func newDescriptorCache(limit int) *descriptorCache { return &descriptorCache{max: limit} }

// acquire gives the open descriptor of f, to be released. EBADF if f is closed.
func (c *descriptorCache) acquire(f *tmpfsFile, flags int) (*descriptor, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := f.open
	switch d {
	case closedFile:
		return nil, syscall.EBADF
	case nil:
		fd, err := c.openLocked(f, flags)
		if err != nil {
			return nil, err
		}
		d = &descriptor{fd: fd, file: f, place: len(c.ring)}
		f.open = d
		c.ring = append(c.ring, d)
	}
	d.users++
	d.recent = true
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

// shrinkLocked closes descriptors without users until at most limit are open.
func (c *descriptorCache) shrinkLocked(limit int) {
	// The second time round none is recent any more.
	for tries := 2 * len(c.ring); tries > 0 && len(c.ring) > limit; tries-- {
		c.hand %= len(c.ring)
		d := c.ring[c.hand]
		if d.users == 0 && !d.recent {
			c.forgetLocked(d)
			closeFD(d.fd)
			continue
		}
		d.recent = false
		c.hand++
	}
}

// forgetLocked takes a descriptor without users out of the cache; the caller
// closes it.
func (c *descriptorCache) forgetLocked(d *descriptor) {
	last := len(c.ring) - 1
	c.ring[d.place] = c.ring[last]
	c.ring[d.place].place = d.place
	c.ring[last] = nil
	c.ring = c.ring[:last]
	if d.file.open == d {
		d.file.open = nil
	}
}

// release gives back what acquire gave.
func (c *descriptorCache) release(d *descriptor) {
	c.mu.Lock()
	d.users--
	drop := d.users == 0 && d.file.open == closedFile
	if drop {
		c.forgetLocked(d)
	} else if len(c.ring) > c.max {
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
	d := f.open
	if d == closedFile {
		c.mu.Unlock()
		return false
	}
	f.open = closedFile
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

// dropHome closes the descriptors of h's files that have no users.
func (c *descriptorCache) dropHome(h *tmpfsHome) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := len(c.ring) - 1; i >= 0; i-- {
		if d := c.ring[i]; d.file.home == h && d.users == 0 {
			c.forgetLocked(d)
			closeFD(d.fd)
		}
	}
}

// closeFD closes a descriptor of a memory file, where close(2) has nothing to
// report: there is no disk behind it, and the number is free in any case.
func closeFD(fd int) { _ = unix.Close(fd) }
