package serve

import (
	"sync/atomic"

	"github.com/workdir/workdir/mount/internal/host"
)

// A connection waits for requests with some buffers, each as large as the largest
// request: 3 MiB for requests of 1 MiB. The first mounts of a server have them so
// large; where there are more, each has less, which takes a quarter of that and
// costs large transfers that are not passed through some of their speed.
const (
	largeTransfer  = host.MaxIO // bytes
	smallTransfer  = 256 << 10  // bytes
	largeTransfers = 16         // mounts

	waitingBuffers = 3 // that a connection has, at least
)

// transfers counts the mounts with large requests, and what mounts that are gone had
// for buffers.
type transfers struct {
	large atomic.Int64
	gone  atomic.Uint64 // bytes
}

// take gives the size of the largest request of a new mount, in bytes, to be given
// back.
func (t *transfers) take() int {
	if t.large.Add(1) <= largeTransfers {
		return largeTransfer
	}
	t.large.Add(-1)
	return smallTransfer
}

// give takes back what take gave.
func (t *transfers) give(size int) {
	t.gone.Add(waitingBuffers * uint64(size))
	if size == largeTransfer {
		t.large.Add(-1)
	}
}

// garbage tells how much garbage there may have been so far, in bytes: all that was
// allocated, and the buffers of mounts that are gone, which had lived long.
func (t *transfers) garbage() uint64 { return host.Allocated() + t.gone.Load() }
