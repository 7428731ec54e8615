package serve

import (
	"testing"
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
	before := all.gone.Load()
	all.give(largeTransfer)
	if gone := all.gone.Load() - before; gone < largeTransfer {
		t.Errorf("its buffers are %d bytes of garbage", gone)
	}
	all.give(0) // of a mount that was not made
	if first, second := all.take(), all.take(); first != largeTransfer || second != smallTransfer {
		t.Errorf("after one large one is gone: %d, %d", first, second)
	}
}
