package mount

import (
	"os"
	"sync"
	"syscall"
	"testing"
)

// The threads that had waited for the requests of mounts stayed as long as the server.
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
	for range many { // each read(2) that blocks has a thread
		readers.Go(func() { _, _ = syscall.Read(pipe[0], make([]byte, 1)) })
	}
	waitFor(t, "the threads of the readers", func() bool { return threads() >= many })
	endThreads(idleThreads() - spareThreads)
	if n := threads(); n < many {
		t.Errorf("%d threads: some that were busy have ended", n)
	}
	syscall.Close(pipe[1])
	readers.Wait()
	waitFor(t, "the idle threads to end", func() bool {
		endThreads(idleThreads() - spareThreads)
		return threads() < many/2
	})
}
