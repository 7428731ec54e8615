package fusefs

import (
	"math/bits"
	"sync"
)

// Buffers belong to the process, and to a connection only while one of its requests needs
// them. Their sizes are powers of two; unused ones are left to the garbage collector.

const (
	smallestBuffer = 12 // in binary digits
	largestBuffer  = 20 // of [maxTransfer]
)

var buffers [largestBuffer + 1]sync.Pool // of *buffer, by the binary digits of the size

// buffer is a memory buffer from one of the pools.
type buffer struct {
	bytes []byte
	pool  *sync.Pool
}

func (b *buffer) free() { b.pool.Put(b) }

// bufferOf returns a buffer of at least size bytes, with the content of its last use.
func bufferOf(size int) *buffer {
	digits := max(smallestBuffer, bits.Len(uint(max(size, 1)-1)))
	return lend(&buffers[digits], 1<<digits)
}

var readBuffers sync.Pool // of *buffer, for what the kernel sends

// readBuffer returns a buffer for the largest possible request.
func readBuffer() *buffer { return lend(&readBuffers, maxTransfer+requestRoom) }

// requestRoom is how many bytes the kernel requires of a buffer besides the data of a WRITE
// (FUSE_MIN_READ_BUFFER, and headers).
const requestRoom = blockSize

func lend(pool *sync.Pool, size int) *buffer {
	if b, ok := pool.Get().(*buffer); ok {
		return b
	}
	return &buffer{bytes: make([]byte, size), pool: pool}
}
