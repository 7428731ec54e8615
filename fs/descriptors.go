package fs

import (
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// maxDescriptors is how many backing files a process keeps open. It leaves room
// under the common RLIMIT_NOFILE of 1,024.
const maxDescriptors = 512

// descriptors is the cache of open backing files. All homes share it, because the limit of
// descriptors belongs to the process.
var descriptors = newDescriptorCache(maxDescriptors)

// descriptorCache opens files when they are used and closes those that have not been used
// for a while (the clock algorithm). Files in use stay open, so the limit is exceeded by at
// most the number of operations under way. No file is opened or closed under its lock: a
// file in a spill directory may wait for a disk, and all other homes would wait too.
type descriptorCache struct {
	mu   sync.Mutex
	max  int           // immutable
	ring []*descriptor // guarded by mu; all that are open or being opened, in no order
	hand int           // guarded by mu; where in the ring the search for one to close goes on
}

// descriptor is a backing file that is open or being opened. Its fields are guarded by the
// cache's mu, but fd and err do not change once it is open.
type descriptor struct {
	fd      int
	err     error         // why it could not be opened
	opening chan struct{} // closed when fd or err is set, then nil
	users   int
	recent  bool // used since the hand passed it
	place   int  // its index in the ring; -1 if it is not there
	file    *tmpfsFile
}

// closedFile marks a file that was closed for good.
var closedFile = &descriptor{fd: -1}

func newDescriptorCache(limit int) *descriptorCache { return &descriptorCache{max: limit} }

// acquire returns the open descriptor of f, to be released. EBADF if f is closed.
func (c *descriptorCache) acquire(f *tmpfsFile, flags int) (*descriptor, error) {
	c.mu.Lock()
	d := f.open
	if d == closedFile {
		c.mu.Unlock()
		return nil, syscall.EBADF
	}
	first := d == nil
	var idle []int
	if first {
		idle = c.shrinkLocked(c.max - 1)
		d = &descriptor{fd: -1, opening: make(chan struct{}), file: f, place: len(c.ring)}
		f.open = d
		c.ring = append(c.ring, d)
	}
	d.users++
	d.recent = true
	opening := d.opening
	c.mu.Unlock()
	closeAll(idle)
	switch {
	case first:
		c.open(d, flags)
	case opening != nil:
		<-opening
	}
	if d.err != nil {
		c.release(d)
		return nil, d.err
	}
	return d, nil
}

// open opens the file of d. If the process or the machine is out of descriptors, it closes
// all idle ones and tries once more.
func (c *descriptorCache) open(d *descriptor, flags int) {
	fd, err := d.file.openat(flags)
	if err == syscall.EMFILE || err == syscall.ENFILE {
		c.mu.Lock()
		idle := c.shrinkLocked(0)
		c.mu.Unlock()
		closeAll(idle)
		fd, err = d.file.openat(flags)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	d.fd, d.err = fd, err
	if err != nil {
		d.fd = -1
		c.forgetLocked(d) // the next caller tries again
	}
	close(d.opening)
	d.opening = nil
}

// shrinkLocked takes unused descriptors out of the cache until at most limit are left, and
// returns them for the caller to close.
func (c *descriptorCache) shrinkLocked(limit int) (idle []int) {
	// The second time round, none is recent any more.
	for tries := 2 * len(c.ring); tries > 0 && len(c.ring) > limit; tries-- {
		c.hand %= len(c.ring)
		d := c.ring[c.hand]
		if d.users == 0 && !d.recent {
			c.forgetLocked(d)
			idle = append(idle, d.fd)
			continue
		}
		d.recent = false
		c.hand++
	}
	return idle
}

// forgetLocked takes a descriptor out of the cache; the caller closes it.
func (c *descriptorCache) forgetLocked(d *descriptor) {
	if d.place < 0 {
		return
	}
	last := len(c.ring) - 1
	c.ring[d.place] = c.ring[last]
	c.ring[d.place].place = d.place
	c.ring[last] = nil
	c.ring = c.ring[:last]
	d.place = -1
	if d.file.open == d {
		d.file.open = nil
	}
}

// release releases a descriptor that acquire returned.
func (c *descriptorCache) release(d *descriptor) {
	var idle []int
	c.mu.Lock()
	d.users--
	switch {
	case d.users == 0 && d.file.open == closedFile:
		c.forgetLocked(d)
		idle = append(idle, d.fd)
	case len(c.ring) > c.max:
		idle = c.shrinkLocked(c.max)
	}
	c.mu.Unlock()
	closeAll(idle)
}

// close ends the use of f for good. The last user of a descriptor closes it. close reports
// whether f was usable until now.
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

// dropHome closes the unused descriptors of h's files.
func (c *descriptorCache) dropHome(h *tmpfsHome) {
	var idle []int
	c.mu.Lock()
	for i := len(c.ring) - 1; i >= 0; i-- {
		if d := c.ring[i]; d.file.home == h && d.users == 0 {
			c.forgetLocked(d)
			idle = append(idle, d.fd)
		}
	}
	c.mu.Unlock()
	closeAll(idle)
}

func closeAll(fds []int) {
	for _, fd := range fds {
		closeFD(fd)
	}
}

// closeFD closes the descriptor of a backing file. An error of close(2) does not matter:
// nobody wants the content after this process, and the number is free in any case. It
// ignores -1, a file that was not opened.
func closeFD(fd int) {
	if fd >= 0 {
		_ = unix.Close(fd)
	}
}
