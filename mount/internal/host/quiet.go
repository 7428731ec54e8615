package host

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// Memory that a server has taken to read archives and to serve requests is garbage
// afterwards. The collector leaves it until as much garbage as live memory has come
// together. So a server that has become quiet would keep that memory until it is busy
// again, and with it the threads that waited for disks.
const (
	QuietTime  = 2 * time.Second // between two checks; a process that makes less garbage than quietBytes meanwhile is quiet
	quietBytes = 1 << 20
	trimBytes  = 16 << 20 // bytes of garbage since the last trim that make another one worthwhile
)

// allocated returns the total of all allocations so far, in bytes.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// TrimWhenQuiet returns memory and threads to the kernel whenever the process has become
// quiet, until ctx ends.
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
			runtime.GC() // a pool releases its buffers in the second collection
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

// spareThreads is how many idle threads a quiet server keeps.
const spareThreads = 32

// idleThreads estimates how many threads of this process have nothing to do. The runtime
// keeps them for good.
func idleThreads() int {
	samples := []metrics.Sample{{Name: "/sched/threads/total:threads"}, {Name: "/sched/goroutines/not-in-go:goroutines"}}
	metrics.Read(samples)
	return int(samples[0].Value.Uint64()) - int(samples[1].Value.Uint64()) - runtime.GOMAXPROCS(0)
}

// endThreads ends n threads, if n is positive. A thread ends with a goroutine that ends
// locked to it (runtime.LockOSThread), and goroutines run on idle threads first.
func endThreads(n int) {
	for range n {
		go runtime.LockOSThread()
	}
}
