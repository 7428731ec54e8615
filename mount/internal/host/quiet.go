package host

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// What a server takes for reading archives and for requests is garbage when that is
// over. The collector leaves it to the next collection, which comes once there is as
// much again as lives. So a server that has become quiet would keep memory for nothing
// until it is busy again; and the threads that have waited for disks.
const (
	QuietTime  = 2 * time.Second // between two looks; who makes less garbage than quietBytes meanwhile is quiet
	quietBytes = 1 << 20
	trimBytes  = 16 << 20 // of garbage at most, since the last trim, that make another one worth while
)

// allocated is the sum of all that was ever allocated, in bytes.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// TrimWhenQuiet gives memory and threads back to the kernel whenever the process has
// become quiet, until ctx ends.
func TrimWhenQuiet(ctx context.Context) {
	tick := time.NewTicker(QuietTime)
	defer tick.Stop()
	last := allocated()
	trimmed := last
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		now := allocated()
		quiet := now-last < quietBytes
		if quiet && now-trimmed > trimBytes {
			runtime.GC() // a pool lets go of its buffers with the second collection
			debug.FreeOSMemory()
			now = allocated()
			trimmed = now
		}
		last = now
		if quiet {
			endThreads(idleThreads() - spareThreads)
		}
	}
}

// spareThreads are the idle threads that a quiet server keeps.
const spareThreads = 32

// idleThreads is about how many threads of this process have nothing to do. The runtime
// keeps them for good.
func idleThreads() int {
	samples := []metrics.Sample{{Name: "/sched/threads/total:threads"}, {Name: "/sched/goroutines/not-in-go:goroutines"}}
	metrics.Read(samples)
	return int(samples[0].Value.Uint64()) - int(samples[1].Value.Uint64()) - runtime.GOMAXPROCS(0)
}

// endThreads ends n threads, if n is more than 0: the thread of a goroutine that ends
// locked to it ends, too (runtime.LockOSThread), and goroutines run on idle threads first.
func endThreads(n int) {
	for range n {
		go runtime.LockOSThread()
	}
}
