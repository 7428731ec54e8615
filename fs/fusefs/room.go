package fusefs

import (
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// What a tool has removed is room for what it writes next. The kernel gives an
// inode up by a FORGET, though, which it sends after the tool has its answer, and
// which may be overtaken by what the tool does then.
const (
	roomPatience = 500 * time.Millisecond // how long after a removal who finds no room waits for its FORGET
	freePatience = 50 * time.Millisecond  // and who asks how much is free
	roomPause    = time.Millisecond       // between two looks
)

// wait looks now and then whether there is a reason to wait, until there is none. What
// r waits for is a request of the same connection.
func wait(r *request, reason func() bool) {
	for reason() {
		r.passOn()
		time.Sleep(roomPause)
	}
}

// forgetting tells whether the kernel may be about to give up what was removed no
// longer ago than patience. It may as well be that a tool has it open.
func (s *server) forgetting(patience time.Duration) bool {
	return s.tree.Orphans() > 0 && time.Since(time.Unix(0, s.removal.Load())) < patience
}

// withRoom calls verb, which changes nothing where it finds no room, again for as
// long as a FORGET may make room.
func (s *server) withRoom(r *request, verb func() syscall.Errno) syscall.Errno {
	var errno syscall.Errno
	wait(r, func() bool {
		waiting := s.forgetting(roomPatience)
		errno = verb()
		return errno == syscall.ENOSPC && waiting
	})
	return errno
}

// awaitForgets waits until what was removed right now is given up, so that the
// free space is told as it is.
func (s *server) awaitForgets(r *request) {
	wait(r, func() bool { return s.forgetting(freePatience) })
}

// removing calls verb, by which a name may lead to its inode no more, and notes when.
func (s *server) removing(verb func() syscall.Errno) fuse.Status {
	errno := verb()
	if errno == 0 {
		s.removal.Store(time.Now().UnixNano())
	}
	return status(errno)
}
