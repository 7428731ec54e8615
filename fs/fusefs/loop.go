package fusefs

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// loop carries the requests of all connections of the process over /dev/fuse.
//
// A few readers wait for all connections at once (epoll). The reader that is woken for a
// connection has it (EPOLLONESHOT): it reads the connection's requests and answers them one
// after another until none is left, and then puts the connection back under watch. So a
// request that takes little time wakes nobody up. If there is always another request,
// another reader is let in before the answer.
//
// A request that may take long is passed on ([request.passOn]): another goroutine takes the
// reader's place, and the reader ends when it has answered. So a request that waits for a
// store, or for another request of the same connection, delays neither this connection nor
// others.
type loop struct {
	epoll int // immutable

	mu    sync.Mutex
	conns map[int32]*Conn // by descriptor; guarded by mu
}

// readersAtMost limits the goroutines that wait, each of which has a thread.
const readersAtMost = 4

// theLoop returns the loop of the process, which is never closed.
var theLoop = sync.OnceValues(func() (*loop, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	l := &loop{epoll: fd, conns: map[int32]*Conn{}}
	for range max(2, min(runtime.GOMAXPROCS(0), readersAtMost)) {
		go l.newReader().run()
	}
	return l, nil
})

// watched are the events of a connection, of which only one reader is told.
const watched = unix.EPOLLIN | unix.EPOLLONESHOT

// add watches a connection.
func (l *loop) add(c *Conn) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conns[int32(c.fd)] = c
	ev := unix.EpollEvent{Events: watched, Fd: int32(c.fd)}
	if err := unix.EpollCtl(l.epoll, unix.EPOLL_CTL_ADD, c.fd, &ev); err != nil {
		delete(l.conns, int32(c.fd))
		return os.NewSyscallError("epoll_ctl", err)
	}
	return nil
}

// watch puts a connection back under watch.
// Preconditions: the caller has it, and then no longer has it.
func (l *loop) watch(c *Conn) {
	c.mu.Unlock() // the kernel keeps others away until the connection is watched
	ev := unix.EpollEvent{Events: watched, Fd: int32(c.fd)}
	_, _, errno := unix.RawSyscall6(unix.SYS_EPOLL_CTL, uintptr(l.epoll), unix.EPOLL_CTL_MOD, uintptr(c.fd), uintptr(unsafe.Pointer(&ev)), 0, 0)
	if errno != 0 {
		panic(fmt.Sprintf("epoll_ctl: %v", errno)) // other errors are only possible for a wrong call
	}
}

// forget stops watching a connection.
// Preconditions: the caller has c, whose descriptor is open.
func (l *loop) forget(c *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, int32(c.fd))
	_ = unix.EpollCtl(l.epoll, unix.EPOLL_CTL_DEL, c.fd, nil) // closing it does the same
}

// wait returns a connection that has a request or has ended, to exactly one reader.
func (l *loop) wait() *Conn {
	var ev [1]unix.EpollEvent
	for {
		n, err := unix.EpollWait(l.epoll, ev[:], -1)
		if err != nil && err != unix.EINTR {
			panic(os.NewSyscallError("epoll_wait", err))
		}
		if n == 1 {
			l.mu.Lock()
			c := l.conns[ev[0].Fd]
			l.mu.Unlock()
			c.mu.Lock()
			return c
		}
	}
}

// reader is one goroutine of a loop.
type reader struct {
	loop   *loop
	buffer *buffer
	conn   *Conn // the connection that it has; nil while it waits, and once another reader has it
	passed bool  // another reader is in its place
	under  *Conn // counts its request as under way without the connection
	r      request
	small  [smallRequest / 8]uint64
}

const (
	// smallRequest is up to which size, in bytes, requests are copied out of the buffer, to
	// free it for the next reader: all requests but those with data.
	smallRequest = 512
	// turn is after how many requests a connection that has more waits for others.
	turn = 256
	// crowd is after how many requests without a pause a connection is assumed to have
	// several callers; it is then served by several readers.
	crowd = 4
)

func (l *loop) newReader() *reader {
	rd := &reader{loop: l}
	rd.r.passOn = rd.passOn
	return rd
}

// run serves connections until a request is passed on.
func (rd *reader) run() {
	for !rd.passed {
		if rd.conn == nil {
			rd.conn = rd.loop.wait()
		}
		rd.serve(rd.conn)
	}
	if rd.buffer != nil {
		rd.buffer.free()
	}
}

// serve answers the requests of a connection as long as the reader has it.
func (rd *reader) serve(c *Conn) {
	for range turn {
		if rd.buffer == nil {
			rd.buffer = readBuffer()
		}
		n, errno := c.read(rd.buffer.bytes)
		switch errno {
		case 0:
			if c.streak++; c.streak > crowd && !c.serial {
				rd.yield()
			}
			rd.one(c, n)
			if rd.conn == nil || rd.passed {
				return
			}
		case unix.EINTR, unix.ENOENT: // the request was withdrawn meanwhile
		case unix.EAGAIN:
			c.streak = 0
			rd.conn = nil
			rd.loop.watch(c)
			return
		default:
			rd.conn = nil
			rd.loop.forget(c)
			go c.end(errno)
			return
		}
	}
	rd.conn = nil
	rd.loop.watch(c)
}

// one answers the request that was read.
func (rd *reader) one(c *Conn, n int) {
	in := rd.buffer.bytes[:n]
	if n <= smallRequest {
		small := unsafe.Slice((*byte)(unsafe.Pointer(&rd.small)), smallRequest)[:n]
		copy(small, in)
		in = small
	}
	rd.r.reset(in)
	c.answer(&rd.r)
	if rd.under != nil {
		rd.under.under.Done()
		rd.under = nil
	}
}

// yield lets another reader take the connection, while this one keeps only its request.
func (rd *reader) yield() {
	c := rd.conn
	rd.count()
	rd.conn = nil
	rd.loop.watch(c)
}

// count counts the request as under way.
func (rd *reader) count() {
	rd.under = rd.conn
	rd.under.under.Add(1)
}

// passOn puts another reader in the place of rd, which keeps only its request.
func (rd *reader) passOn() {
	if rd.passed {
		return
	}
	rd.passed = true
	next := rd.loop.newReader()
	if rd.conn != nil {
		rd.count()
		next.conn, rd.conn = rd.conn, nil
	}
	if len(rd.r.in) <= smallRequest {
		next.buffer, rd.buffer = rd.buffer, nil
	}
	go next.run()
}
