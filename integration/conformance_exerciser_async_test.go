package integration

import (
	"encoding/binary"
	"fmt"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// plain reads and writes by the calls themselves.
type plain struct{}

func newPlain() (transfer, error) { return plain{}, nil }

func (plain) read(fd int, p []byte, off int64) (int, error)  { return unix.Pread(fd, p, off) }
func (plain) write(fd int, p []byte, off int64) (int, error) { return unix.Pwrite(fd, p, off) }
func (plain) close()                                         {}

// aio reads and writes by io_submit(2), one request at a time.
type aio struct{ context uintptr }

// Of linux/aio_abi.h.
const (
	iocbRead  = 0 // IOCB_CMD_PREAD
	iocbWrite = 1 // IOCB_CMD_PWRITE
)

// iocb is struct iocb of linux/aio_abi.h, as little-endian machines have it.
type iocb struct {
	_      uint64 // data
	_      uint32 // key
	_      uint32 // rw_flags
	opcode uint16
	_      int16 // priority
	fd     uint32
	buf    uintptr
	bytes  uint64
	offset int64
	_      uint64 // reserved2
	_      uint32 // flags
	_      uint32 // resfd
}

// ioEvent is struct io_event of linux/aio_abi.h.
type ioEvent struct {
	data, obj    uint64
	result, res2 int64
}

func newAIO() (transfer, error) {
	a := &aio{}
	if _, _, errno := unix.Syscall(unix.SYS_IO_SETUP, 1, uintptr(unsafe.Pointer(&a.context)), 0); errno != 0 {
		return nil, fmt.Errorf("io_setup: %w", errno)
	}
	return a, nil
}

func (a *aio) close() { _, _, _ = unix.Syscall(unix.SYS_IO_DESTROY, a.context, 0, 0) }

func (a *aio) read(fd int, p []byte, off int64) (int, error)  { return a.do(iocbRead, fd, p, off) }
func (a *aio) write(fd int, p []byte, off int64) (int, error) { return a.do(iocbWrite, fd, p, off) }

// do submits one request, and waits for its end. The memory of p is not Go's.
func (a *aio) do(opcode uint16, fd int, p []byte, off int64) (int, error) {
	request := &iocb{opcode: opcode, fd: uint32(fd), buf: uintptr(unsafe.Pointer(&p[0])), bytes: uint64(len(p)), offset: off}
	if _, _, errno := unix.Syscall(unix.SYS_IO_SUBMIT, a.context, 1, uintptr(unsafe.Pointer(&request))); errno != 0 {
		return 0, fmt.Errorf("io_submit: %w", errno)
	}
	var event ioEvent
	err := uninterrupted(func() error {
		_, _, errno := unix.Syscall6(unix.SYS_IO_GETEVENTS, a.context, 1, 1, uintptr(unsafe.Pointer(&event)), 0, 0)
		if errno != 0 {
			return errno
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("io_getevents: %w", err)
	}
	return resultOf(event.result)
}

// resultOf returns a count of bytes, or the error that a negative one is.
func resultOf(n int64) (int, error) {
	if n < 0 {
		return 0, unix.Errno(-n)
	}
	return int(n), nil
}

// ring reads and writes by io_uring, one request at a time.
type ring struct {
	fd      int
	rings   []byte // both, in one mapping
	entries []byte // one submission
	params  ringParams
}

// Of linux/io_uring.h.
const (
	ringOffRings     = 0          // IORING_OFF_SQ_RING
	ringOffEntries   = 0x10000000 // IORING_OFF_SQES
	ringSingleMmap   = 1 << 0     // IORING_FEAT_SINGLE_MMAP
	ringGetEvents    = 1 << 0     // IORING_ENTER_GETEVENTS
	ringOpRead       = 22         // IORING_OP_READ
	ringOpWrite      = 23         // IORING_OP_WRITE
	ringEntrySize    = 64
	ringResultOffset = 8 // of res in struct io_uring_cqe
)

// ringParams is struct io_uring_params of linux/io_uring.h.
type ringParams struct {
	sqEntries, cqEntries, flags, sqThreadCPU, sqThreadIdle, features, wqFd uint32
	_                                                                      [3]uint32
	sq, cq                                                                 ringOffsets
}

// ringOffsets is struct io_sqring_offsets, and io_cqring_offsets: they differ in
// what fields 5 to 7 mean.
type ringOffsets struct {
	head, tail, mask, entries, flagsOrOverflow, droppedOrCqes, arrayOrFlags uint32
	_                                                                       [3]uint32
}

func newRing() (transfer, error) {
	r := &ring{}
	fd, _, errno := unix.Syscall(unix.SYS_IO_URING_SETUP, 1, uintptr(unsafe.Pointer(&r.params)), 0)
	if errno != 0 {
		return nil, fmt.Errorf("io_uring_setup: %w: see kernel.io_uring_disabled, and the container's seccomp profile", errno)
	}
	r.fd = int(fd)
	if r.params.features&ringSingleMmap == 0 {
		return nil, fmt.Errorf("io_uring_setup: features %#x: Linux 5.4 or later is needed", r.params.features)
	}
	size := max(r.params.sq.arrayOrFlags+4, r.params.cq.droppedOrCqes+16*r.params.cqEntries)
	var err error
	if r.rings, err = unix.Mmap(r.fd, ringOffRings, int(size), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return nil, fmt.Errorf("mmap of rings: %w", err)
	}
	if r.entries, err = unix.Mmap(r.fd, ringOffEntries, ringEntrySize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); err != nil {
		return nil, fmt.Errorf("mmap of submissions: %w", err)
	}
	return r, nil
}

func (r *ring) close() {
	_, _ = unix.Munmap(r.entries), unix.Munmap(r.rings) // fail on bad addresses only
	unix.Close(r.fd)
}

func (r *ring) read(fd int, p []byte, off int64) (int, error)  { return r.do(ringOpRead, fd, p, off) }
func (r *ring) write(fd int, p []byte, off int64) (int, error) { return r.do(ringOpWrite, fd, p, off) }

// word is a number that the kernel shares with us.
func (r *ring) word(off uint32) *uint32 { return (*uint32)(unsafe.Pointer(&r.rings[off])) }

// do submits one request, the only one, and waits for its end. The memory of p is
// not Go's.
func (r *ring) do(opcode byte, fd int, p []byte, off int64) (int, error) {
	s := r.entries
	clear(s)
	s[0] = opcode
	binary.NativeEndian.PutUint32(s[4:], uint32(fd))
	binary.NativeEndian.PutUint64(s[8:], uint64(off))
	binary.NativeEndian.PutUint64(s[16:], uint64(uintptr(unsafe.Pointer(&p[0]))))
	binary.NativeEndian.PutUint32(s[24:], uint32(len(p)))
	*r.word(r.params.sq.arrayOrFlags) = 0 // the ring has one place
	atomic.AddUint32(r.word(r.params.sq.tail), 1)

	head := r.word(r.params.cq.head)
	for submit := uintptr(1); atomic.LoadUint32(r.word(r.params.cq.tail)) == *head; {
		n, _, errno := unix.Syscall6(unix.SYS_IO_URING_ENTER, uintptr(r.fd), submit, 1, ringGetEvents, 0, 0)
		if errno != 0 && errno != unix.EINTR {
			return 0, fmt.Errorf("io_uring_enter: %w", errno)
		}
		if errno == 0 {
			submit -= min(n, submit)
		}
	}
	at := r.params.cq.droppedOrCqes + *head&*r.word(r.params.cq.mask)*16
	result := int32(binary.NativeEndian.Uint32(r.rings[at+ringResultOffset:]))
	atomic.AddUint32(head, 1)
	return resultOf(int64(result))
}
