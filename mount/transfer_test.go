package mount

import (
	"runtime"
	"testing"
	"testing/synctest"
	"time"
)

func TestTransfers(t *testing.T) {
	var all transfers
	var sizes []int
	for range largeTransfers {
		if size := all.take(); size != largeTransfer {
			t.Fatalf("one of the first mounts has requests of %d bytes", size)
		}
	}
	for range 3 {
		sizes = append(sizes, all.take())
	}
	for _, size := range sizes {
		if size != smallTransfer {
			t.Errorf("a later one has requests of %d bytes", size)
		}
		all.give(size)
	}
	all.give(largeTransfer)
	all.give(0) // of a mount that was not made
	if first, second := all.take(), all.take(); first != largeTransfer || second != smallTransfer {
		t.Errorf("after one large one is gone: %d, %d", first, second)
	}
}

// A process that was busy and is not any more collects its garbage once, and then no
// more.
func TestTrimWhenQuiet(t *testing.T) {
	forced := func() uint32 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.NumForcedGC
	}
	synctest.Test(t, func(t *testing.T) {
		var all transfers
		go trimWhenQuiet(t.Context(), all.garbage)
		synctest.Wait()
		for range 2 * trimBytes / quietBytes {
			garbage = make([]byte, quietBytes)
		}
		before := forced()
		pause(quietTime + 1)
		if n := forced() - before; n != 0 {
			t.Errorf("%d collections while it was busy", n)
		}
		pause(quietTime)
		if n := forced() - before; n != 2 {
			t.Errorf("%d collections when it had become quiet, want 2", n)
		}
		pause(10 * quietTime)
		if n := forced() - before; n != 2 {
			t.Errorf("%d collections in all, want 2", n)
		}
		for range 10 { // mounts end, which allocates nothing
			all.give(all.take())
		}
		pause(quietTime)
		pause(quietTime)
		if n := forced() - before; n != 4 {
			t.Errorf("%d collections after mounts have ended, want 4", n)
		}
	})
}

var garbage []byte

// pause lets the time of a synctest bubble go on.
func pause(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}
