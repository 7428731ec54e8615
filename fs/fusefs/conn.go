package fusefs

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/fs"
)

// ErrAborted is what [Conn.Wait] returns if the connection was aborted through
// /sys/fs/fuse/connections. An abort by umount -f looks like an ordinary unmount here.
var ErrAborted = errors.New("connection was aborted")

const (
	// maxTransfer is the size of the largest READ and WRITE, in bytes: the most that
	// /proc/sys/fs/fuse/max_pages_limit allows by default. The max_read option of the mount
	// should be the same.
	maxTransfer = 1 << 20
	// maxBackground is how many writeback and read-ahead requests the kernel may
	// have under way. Its default of 12 stalls a writer of large files.
	maxBackground = 64
)

// Options of a connection. The zero value is ready to use.
type Options struct {
	// ReadOnly answers every change of the tree with EROFS, and leaves the writeback cache
	// off. The mount should be read-only as well.
	ReadOnly bool
	// Lower serves the tree as the lower layer of a kernel overlay, see lower.go. It is the
	// result of [fs.Tree.Traits], and needs ReadOnly. nil: the tree is shown as it is.
	Lower *fs.Traits
	// WriteThrough keeps the writeback cache off: each write(2) waits for a WRITE, and the
	// kernel holds back only pages that are written through a mapping.
	WriteThrough bool
	// Logger gets panics and protocol errors; nil is slog.Default.
	Logger *slog.Logger
	// Disable names features to keep from the kernel, so that tests can take the code paths
	// of older kernels: see [features].
	Disable []string
}

// Conn is a FUSE connection that is being served.
type Conn struct {
	fd      int // immutable; non-blocking
	handler *handler
	serial  bool // requests begin in the order in which the kernel sent them; immutable after INIT

	mu     sync.Mutex     // held by the reader that has the connection, so nobody waits for it
	streak int            // requests since the connection last had none; guarded by mu
	under  sync.WaitGroup // requests that are under way while another reader has the connection; grows under mu

	done chan struct{}
	err  error // set before done is closed
}

// Serve answers the FUSE connection on fd, an open /dev/fuse that is already mounted, and
// returns once the kernel's INIT is answered. fd belongs to Serve from now on, whatever the
// outcome. It is an error if fd is not mounted.
//
// The tree must outlive the connection, which does not close it.
func Serve(fd int, t *fs.Tree, opts *Options) (*Conn, error) {
	if opts == nil {
		opts = &Options{}
	}
	h, err := newHandler(t, opts)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("serve fuse: %w", err)
	}
	return serve(fd, h)
}

// serve is Serve for operations that already exist.
func serve(fd int, h *handler) (*Conn, error) {
	c := &Conn{fd: fd, handler: h, done: make(chan struct{})}
	err := c.start()
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("serve fuse: descriptor %d: %w", fd, err)
	}
	return c, nil
}

func (c *Conn) start() error {
	if err := unix.SetNonblock(c.fd, true); err != nil {
		return err
	}
	if err := c.initialize(); err != nil {
		return err
	}
	l, err := theLoop()
	if err != nil {
		return err
	}
	return l.add(c)
}

// read reads one request. EAGAIN if there is none.
func (c *Conn) read(buf []byte) (int, unix.Errno) {
	n, _, errno := unix.RawSyscall(unix.SYS_READ, uintptr(c.fd), uintptr(unsafe.Pointer(unsafe.SliceData(buf))), uintptr(len(buf)))
	return int(n), errno
}

// quickWrite is up to how many bytes are copied to the kernel without telling the
// scheduler, which would take longer.
const quickWrite = 64 << 10

// write sends an answer, or a notice that the kernel did not ask for; a notice may wait for
// answers to other requests.
func (c *Conn) write(mayWait bool, parts ...[]byte) unix.Errno {
	var iov [3]unix.Iovec
	n, size := 0, 0
	for _, p := range parts {
		if len(p) > 0 {
			iov[n] = unix.Iovec{Base: unsafe.SliceData(p), Len: uint64(len(p))}
			n, size = n+1, size+len(p)
		}
	}
	call := unix.RawSyscall
	if mayWait || size > quickWrite {
		call = unix.Syscall
	}
	_, _, errno := call(unix.SYS_WRITEV, uintptr(c.fd), uintptr(unsafe.Pointer(&iov)), uintptr(n))
	return errno
}

// answer handles r and sends the result.
func (c *Conn) answer(r *request) {
	st, answered := c.handler.handle(r)
	if answered {
		c.reply(r, st)
	}
	r.release()
}

// reply answers r. The kernel may have forgotten the request and then does not take the
// answer: the caller of a RELEASE does not wait, and an aborted connection has no callers.
func (c *Conn) reply(r *request, st fuse.Status) {
	if st != fuse.OK {
		r.size, r.payload = 0, nil
	}
	head := fuse.OutHeader{Length: uint32(outHeaderSize + r.size + len(r.payload)), Status: -int32(st), Unique: r.header().Unique}
	fixed := unsafe.Slice((*byte)(unsafe.Pointer(&r.fixed)), r.size)
	switch errno := c.write(false, bytesOf(&head), fixed, r.payload); errno {
	case 0, unix.ENOENT, unix.ENODEV, unix.ECONNABORTED, unix.EPERM:
	default:
		c.handler.logger.Error("an answer was refused", "op", op(r.header().Opcode).String(), "status", int(st), "error", error(errno))
	}
}

// InodeNotify implements notifier.
func (c *Conn) InodeNotify(node uint64, off, length int64) fuse.Status {
	body := fuse.NotifyInvalInodeOut{Ino: node, Off: off, Length: length}
	head := fuse.OutHeader{Length: uint32(outHeaderSize) + uint32(unsafe.Sizeof(body)), Status: -fuse.NOTIFY_INVAL_INODE}
	return fuse.Status(c.write(true, bytesOf(&head), bytesOf(&body)))
}

const (
	headerSize    = int(unsafe.Sizeof(fuse.InHeader{}))
	outHeaderSize = int(unsafe.Sizeof(fuse.OutHeader{}))
)

func bytesOf[T any](v *T) []byte { return unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v)) }

// end ends a connection after a read has failed with why. It waits for the requests that
// are under way.
func (c *Conn) end(why unix.Errno) {
	if why == unix.ECONNABORTED {
		why = c.lastErrno()
	}
	switch why {
	case unix.ENODEV:
	case unix.ECONNABORTED:
		c.err = ErrAborted
	default:
		c.err = fmt.Errorf("fuse connection ended: %w", os.NewSyscallError("read", why))
	}
	c.under.Wait()
	unix.Close(c.fd)
	close(c.done)
}

// lastErrno returns the errno of a read once the connection is over for good: ECONNABORTED
// after an abort, ENODEV after an unmount. While an unmount is shutting the connection
// down, a read that takes the last request (a RELEASE, for which nobody waits) fails with
// ECONNABORTED as well (fuse_dev_do_read in fs/fuse/dev.c: the device's queue is closed
// before the connection's). EPOLLERR shows that both are closed.
func (c *Conn) lastErrno() unix.Errno {
	for {
		over := []unix.PollFd{{Fd: int32(c.fd)}}
		if _, err := unix.Poll(over, -1); err != nil && err != unix.EINTR {
			return unix.ECONNABORTED
		}
		if over[0].Revents == 0 {
			continue
		}
		b := readBuffer()
		_, errno := c.read(b.bytes)
		b.free()
		return errno
	}
}

// WaitMount waits until the INIT exchange is done. Serve has already done it; a transport
// that does it later would wait here.
func (c *Conn) WaitMount() error { return nil }

// Done returns a channel that is closed when the connection has ended: unmounted
// everywhere, or aborted. No operation of it is under way then.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Wait waits until the connection has ended. It returns nil if the connection ended as by
// an unmount, and ErrAborted if it was aborted.
func (c *Conn) Wait() error {
	<-c.done
	return c.err
}

// Stats returns the number of requests so far by name of operation ("LOOKUP"). Nodes
// forgotten in a batch count one by one.
func (c *Conn) Stats() map[string]uint64 { return c.handler.stats() }

// leastMinor is the oldest minor version of the protocol that has all structures as they
// are here (Linux 5.2).
const leastMinor = 31

// initialize answers INIT, which is the first request of every connection.
func (c *Conn) initialize() error {
	b := readBuffer()
	defer b.free()
	var n int
	for {
		poll := []unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLIN}}
		if _, err := unix.Poll(poll, -1); err != nil && err != unix.EINTR {
			return os.NewSyscallError("poll", err)
		}
		var errno unix.Errno
		if n, errno = c.read(b.bytes); errno == 0 {
			break
		} else if errno != unix.EAGAIN && errno != unix.EINTR {
			return os.NewSyscallError("read", errno)
		}
	}
	r := &request{in: b.bytes[:n]}
	if n < headerSize || op(r.header().Opcode) != opInit || n < headerSize+initFlags {
		return fmt.Errorf("the first request has %d bytes, and is no INIT", n)
	}
	in := argument[fuse.InitIn](r)
	offered := uint64(in.Flags)
	if n >= headerSize+initFlags2 && in.Flags&fuse.CAP_INIT_EXT != 0 {
		offered |= uint64(in.Flags2) << 32
	}
	if in.Major != 7 || in.Minor < leastMinor {
		c.reply(r, fuse.Status(unix.EPROTO))
		return fmt.Errorf("the kernel speaks FUSE %d.%d, which is too old: Linux 5.2 is the first that is not", in.Major, in.Minor)
	}
	caps := c.handler.server.negotiated(offered, c)
	c.serial = caps&fuse.CAP_WRITEBACK_CACHE == 0 && !c.handler.server.readOnly // see writeOrder
	*answer[fuse.InitOut](r) = fuse.InitOut{
		Major:               7,
		Minor:               min(in.Minor, ourMinor),
		MaxReadAhead:        min(in.MaxReadAhead, maxTransfer),
		Flags:               uint32(caps) | fuse.CAP_INIT_EXT&in.Flags,
		Flags2:              uint32(caps >> 32),
		MaxBackground:       maxBackground,
		CongestionThreshold: maxBackground * 3 / 4,
		MaxWrite:            maxTransfer,
		MaxPages:            uint16(maxTransfer / os.Getpagesize()),
		TimeGran:            1,
	}
	c.reply(r, fuse.OK)
	return nil
}

const (
	ourMinor   = 45 // the structures of the protocol are known up to here
	initFlags  = 16 // bytes of INIT, after the header, up to its flags
	initFlags2 = 20 // and up to its second flags
)
