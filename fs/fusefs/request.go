package fusefs

import (
	"bytes"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// request is one request of the kernel, and the answer to it: for one goroutine at a
// time. The wire format is that of include/uapi/linux/fuse.h, whose structures are
// go-fuse's types.
type request struct {
	in   []byte // as it was read; begins at a multiple of 8
	rest []byte // of in, what follows the operation's own structure: names, or data

	fixed   [answerMax / 8]uint64 // the structure that the answer begins with
	size    int                   // bytes of fixed that are answered
	payload []byte                // answered behind it
	buffer  *buffer               // holds payload; nil where that is somewhere else

	// passOn has other requests of the connection read and answered from now on, by
	// somebody else. Whatever may wait for more than the processor calls it first; it
	// may be called again.
	passOn func()
}

// answerMax is the size of the largest structure in an answer, in bytes: that of STATX.
const answerMax = 288

// argument is the structure that a request begins with.
func argument[T any](r *request) *T { return (*T)(unsafe.Pointer(unsafe.SliceData(r.in))) }

// answer is the structure that the answer begins with, zeros for now.
func answer[T any](r *request) *T {
	out := (*T)(unsafe.Pointer(&r.fixed))
	*out = *new(T)
	r.size = int(unsafe.Sizeof(*out))
	return out
}

// name takes the next name, or text, from the rest: it ends with a zero byte.
func (r *request) name() (name string, ok bool) {
	text, rest, ok := bytes.Cut(r.rest, []byte{0})
	r.rest = rest
	return string(text), ok
}

// room returns a payload of a size that the kernel asks for. EINVAL for more than it
// was told that there is.
func (r *request) room(size uint32) ([]byte, fuse.Status) {
	if size > maxTransfer {
		return nil, fuse.EINVAL
	}
	r.buffer = bufferOf(int(size))
	r.payload = r.buffer.bytes[:size]
	return r.payload, fuse.OK
}

// reset makes r a request without an answer.
func (r *request) reset(in []byte) {
	r.in, r.rest, r.size, r.payload = in, nil, 0, nil
	r.release()
}

// release gives back what holds the payload.
func (r *request) release() {
	if r.buffer != nil {
		r.buffer.free()
		r.buffer = nil
	}
}

func (r *request) header() *fuse.InHeader { return argument[fuse.InHeader](r) }
