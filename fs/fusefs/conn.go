package fusefs

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/fs"
)

// ErrAborted is what [Conn.Wait] returns where the connection was aborted through
// /sys/fs/fuse/connections. An abort by umount -f cannot be told from an ordinary
// unmount here.
var ErrAborted = errors.New("connection was aborted")

const (
	// maxTransfer is the size of the largest READ and WRITE, in bytes: what
	// /proc/sys/fs/fuse/max_pages_limit allows by default. The max_read option of
	// the mount should be the same.
	maxTransfer = 1 << 20
	// maxBackground is how many writeback and read-ahead requests the kernel may
	// have under way. go-fuse's default of 12 stalls a writer of large files.
	maxBackground = 64
)

// Options of a connection. The zero value is good.
type Options struct {
	// ReadOnly answers everything that would change the tree with EROFS, and
	// leaves the writeback cache off. The mount should be read-only as well.
	ReadOnly bool
	// Lower serves the tree, of which it is what [fs.Tree.Traits] returns, as the lower
	// layer of a kernel overlay, see lower.go. It goes with ReadOnly. nil: the tree is
	// shown as it is.
	Lower *fs.Traits
	// WriteThrough keeps the writeback cache off: each write(2) waits for a WRITE, and
	// the kernel holds no pages back but those that are stored to through memory.
	WriteThrough bool
	// MaxTransfer is the size of the largest READ and WRITE, in bytes. The buffers
	// that a connection waits for requests with, three or more, are as large. 0 is
	// 1 MiB, and more than that is not had.
	MaxTransfer int
	// Logger gets panics and protocol errors; nil is slog.Default.
	Logger *slog.Logger
	// Disable names what is to be kept from the kernel, so that tests can walk the
	// paths of older kernels: see [features].
	Disable []string
}

// Conn is a FUSE connection that is being served.
type Conn struct {
	guard *guard
	done  chan struct{}
	err   error // set before done is closed
}

// Serve answers the FUSE connection on fd, an open /dev/fuse that is mounted
// already, and returns once the kernel's INIT is answered. fd belongs to Serve
// from now on, whatever the outcome. It is an error if fd is not mounted.
//
// The tree must outlive the connection; it is not closed with it.
func Serve(fd int, t *fs.Tree, opts *Options) (*Conn, error) {
	if opts == nil {
		opts = &Options{}
	}
	g, mo, err := newGuard(t, opts)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("serve fuse: %w", err)
	}
	return serve(fd, g, mo)
}

// serve is Serve for operations that are made already.
func serve(fd int, g *guard, mo *fuse.MountOptions) (*Conn, error) {
	probe, err := prepare(fd)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("serve fuse: descriptor %d: %w", fd, err)
	}
	srv, err := fuse.NewServer(g, fmt.Sprintf("/dev/fd/%d", fd), mo)
	if err != nil {
		unix.Close(probe)
		return nil, fmt.Errorf("serve fuse: %w", err)
	}
	c := &Conn{guard: g, done: make(chan struct{})}
	go func() {
		srv.Serve()
		c.err = endOf(probe)
		close(c.done)
	}()
	return c, nil
}

// prepare makes fd fit for go-fuse, which reads it with plain blocking reads, and
// gives a second descriptor of it. go-fuse's loop keeps to itself why it ended;
// the second descriptor can be asked.
func prepare(fd int) (probe int, err error) {
	if fd <= 0 {
		return -1, unix.EBADF
	}
	if err := unix.SetNonblock(fd, false); err != nil {
		return -1, err
	}
	return unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 3)
}

// endOf tells how the connection behind fd ended, and closes fd: nil for an end
// that an unmount brings (ENODEV). A connection that is still alive, because the
// loop died of something else, ends with the close.
func endOf(fd int) error {
	defer unix.Close(fd)
	if err := poll(fd); err != nil {
		return err
	}
	buf := probeBuffers.Get().(*probeBuffer)
	defer probeBuffers.Put(buf)
	_, err := unix.Read(fd, buf[:])
	switch {
	case errors.Is(err, unix.ENODEV):
		return nil
	case errors.Is(err, unix.ECONNABORTED):
		return ErrAborted
	}
	return fmt.Errorf("fuse connection ended: %w", err)
}

// probeBuffer is what endOf reads with. Shorter than the longest request, a buffer
// is refused before the kernel looks at anything else.
type probeBuffer [maxTransfer + blockSize]byte

var probeBuffers = sync.Pool{New: func() any { return new(probeBuffer) }}

// poll returns nil if the connection behind fd is gone, which the kernel shows as
// POLLERR (fs/fuse/dev.c, fuse_dev_poll).
func poll(fd int) error {
	p := []unix.PollFd{{Fd: int32(fd)}}
	for {
		_, err := unix.Poll(p, 0)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return fmt.Errorf("poll fuse connection: %w", err)
		case p[0].Revents&unix.POLLERR == 0:
			return errors.New("fuse loop ended before its connection")
		}
		return nil
	}
}

// WaitMount waits until the INIT exchange is done. Serve has done it already, and
// a transport that does it later will wait here.
func (c *Conn) WaitMount() error { return nil }

// Done is closed when the connection has ended: unmounted everywhere, or aborted.
// No operation of it is under way then.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Wait waits until the connection has ended. nil means that it ended as an
// unmount ends it; ErrAborted, that it was aborted.
func (c *Conn) Wait() error {
	<-c.done
	return c.err
}

// Stats gives the number of requests so far by the operation's name ("LOOKUP").
// Names forgotten in a batch count one by one.
func (c *Conn) Stats() map[string]uint64 { return c.guard.stats() }
