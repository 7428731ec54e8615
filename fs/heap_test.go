package fs

import (
	"testing"
	"unsafe"
)

// An inode and its name count as much as they take, in small directories too.
func TestInodeCost(t *testing.T) {
	const files = 20000
	for _, c := range []struct {
		perDir int
		most   float64 // bytes of a file
	}{{20, inodeCost}, {1000, 170}} {
		name := float64(len(benchNames(1)[0]))
		got := heapPerFile(t, files, c.perDir, noContent)
		t.Logf("%d in a directory: %.0f bytes", c.perDir, got)
		if got-name > c.most {
			t.Errorf("a file in a directory of %d takes %.0f bytes beside its name, want at most %.0f", c.perDir, got-name, c.most)
		}
	}
}

// The allocator has sizes of 112 and 128 bytes: one more field costs 16.
func TestInodeIsSmall(t *testing.T) {
	if size := unsafe.Sizeof(Inode{}); size > 112 {
		t.Errorf("an inode has %d bytes, want at most 112", size)
	}
}
