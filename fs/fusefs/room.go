package fusefs

import (
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// What a tool has removed is room for what it writes next. But the kernel releases an inode
// by a FORGET, which it sends after the tool has its answer, and which the tool's next
// request may overtake.
const (
	roomPatience = 500 * time.Millisecond // how long after a removal a request without room waits for its FORGET
	freePatience = 50 * time.Millisecond  // and a request for the free space
	roomPause    = time.Millisecond       // between two checks
)

// wait polls until there is no reason to wait any more. r waits for a request of the same
// connection.
func wait(r *request, reason func() bool) {
	for reason() {
		r.passOn()
		time.Sleep(roomPause)
	}
}

// forgetting reports whether the kernel may be about to release something that was removed
// no longer ago than patience. A tool may also have it open.
func (s *server) forgetting(patience time.Duration) bool {
	return s.tree.Orphans() > 0 && time.Since(time.Unix(0, s.removal.Load())) < patience
}

// withRoom calls verb, and repeats it as long as it finds no room and a FORGET may make
// room. A verb that finds no room must have changed nothing.
func (s *server) withRoom(r *request, verb func() syscall.Errno) syscall.Errno {
	var errno syscall.Errno
	wait(r, func() bool {
		waiting := s.forgetting(roomPatience)
		errno = verb()
		return errno == syscall.ENOSPC && waiting
	})
	return errno
}

// awaitForgets waits until everything that was just removed is released, so that the free
// space is reported correctly.
func (s *server) awaitForgets(r *request) {
	wait(r, func() bool { return s.forgetting(freePatience) })
}

// removing calls verb, after which a name may no longer lead to its inode, and records
// when.
func (s *server) removing(verb func() syscall.Errno) fuse.Status {
	errno := verb()
	if errno == 0 {
		s.removal.Store(time.Now().UnixNano())
	}
	return status(errno)
}
