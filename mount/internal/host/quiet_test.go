package host

import (
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/workdir/workdir/internal/testenv"
)

// Threads that had waited in the kernel once stayed as long as the server.
func TestEndThreads(t *testing.T) {
	const many = 200
	threads := func() int {
		tasks, err := os.ReadDir("/proc/self/task")
		if err != nil {
			t.Fatal(err)
		}
		return len(tasks)
	}
	var pipe [2]int
	if err := syscall.Pipe(pipe[:]); err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(pipe[0])
	var readers sync.WaitGroup
	for range many { // each blocked read(2) has a thread
		readers.Go(func() { _, _ = syscall.Read(pipe[0], make([]byte, 1)) })
	}
	testenv.WaitFor(t, "the threads of the readers", func() bool { return threads() >= many })
	endThreads(idleThreads() - spareThreads)
	if n := threads(); n < many {
		t.Errorf("%d threads: some that were busy have ended", n)
	}
	syscall.Close(pipe[1])
	readers.Wait()
	testenv.WaitFor(t, "the idle threads to end", func() bool {
		endThreads(idleThreads() - spareThreads)
		return threads() < many/2
	})
}

// A process that was busy and has become quiet collects its garbage once, and not again.
func TestTrimWhenQuiet(t *testing.T) {
	forced := func() uint32 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.NumForcedGC
	}
	synctest.Test(t, func(t *testing.T) {
		go TrimWhenQuiet(t.Context())
		synctest.Wait()
		for range 2 * trimBytes / quietBytes {
			garbage = make([]byte, quietBytes)
		}
		before := forced()
		pause(QuietTime + 1)
		if n := forced() - before; n != 0 {
			t.Errorf("%d collections while it was busy", n)
		}
		pause(QuietTime)
		if n := forced() - before; n != 2 {
			t.Errorf("%d collections when it had become quiet, want 2", n)
		}
		pause(10 * QuietTime)
		if n := forced() - before; n != 2 {
			t.Errorf("%d collections in all, want 2", n)
		}
	})
}

var garbage []byte

// pause lets the time in a synctest bubble pass.
func pause(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}
