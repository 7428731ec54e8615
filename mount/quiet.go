package mount

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// What a server takes for reading archives and for requests is garbage when that is
// over. The collector leaves it to the next collection, which comes once there is as
// much again as lives; and buffers that wait for requests live, though hardly
// anything of them was ever touched. So a server that has become quiet would keep
// memory for nothing until it is busy again.
const (
	quietTime  = 2 * time.Second // between two looks; who makes less garbage than quietBytes meanwhile is quiet
	quietBytes = 1 << 20
	trimBytes  = 16 << 20 // of garbage at most, since the last trim, that make another one worth while
)

// allocated is the sum of all that was ever allocated, in bytes.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// trimWhenQuiet gives memory back to the kernel whenever the process has become
// quiet, until ctx ends. garbage tells how much garbage there may have been so far, in
// bytes.
func trimWhenQuiet(ctx context.Context, garbage func() uint64) {
	tick := time.NewTicker(quietTime)
	defer tick.Stop()
	last := garbage()
	trimmed := last
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := garbage()
		if quiet := now-last < quietBytes; quiet && now-trimmed > trimBytes {
			runtime.GC() // a pool lets go of its buffers with the second collection
			debug.FreeOSMemory()
			now = garbage()
			trimmed = now
		}
		last = now
	}
}
