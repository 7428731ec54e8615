package fusefs

import (
	"bytes"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// request is one request of the kernel and its answer. One goroutine uses it at a time. The
// wire format is that of include/uapi/linux/fuse.h; its structures are go-fuse's types.
type request struct {
	in   []byte // as it was read; begins at a multiple of 8
	rest []byte // the part of in after the operation's own structure: names, or data

	fixed   [answerMax / 8]uint64 // the structure at the beginning of the answer
	size    int                   // bytes of fixed that are sent
	payload []byte                // sent after it
	buffer  *buffer               // holds payload; nil if it is elsewhere

	// passOn lets others read and answer the other requests of the connection from now on.
	// Code that may wait for more than the processor calls it first; it may be called
	// again.
	passOn func()
}

// answerMax is the size of the largest structure in an answer, in bytes: that of STATX.
const answerMax = 288

// argument returns the structure at the beginning of the request.
func argument[T any](r *request) *T { return (*T)(unsafe.Pointer(unsafe.SliceData(r.in))) }

// answer returns the structure at the beginning of the answer, cleared.
func answer[T any](r *request) *T {
	out := (*T)(unsafe.Pointer(&r.fixed))
	*out = *new(T)
	r.size = int(unsafe.Sizeof(*out))
	return out
}

// name takes the next name, or text, from rest: it ends with a zero byte.
func (r *request) name() (name string, ok bool) {
	text, rest, ok := bytes.Cut(r.rest, []byte{0})
	r.rest = rest
	return string(text), ok
}

// room returns a payload of the size that the kernel asks for. EINVAL for more than the
// kernel was told it may ask for.
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

// release releases the buffer of the payload.
func (r *request) release() {
	if r.buffer != nil {
		r.buffer.free()
		r.buffer = nil
	}
}

func (r *request) header() *fuse.InHeader { return argument[fuse.InHeader](r) }
