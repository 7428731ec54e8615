package fs

import (
	"math"
	"sync/atomic"
	"syscall"
)

// blockSize is the unit of StatFS, in bytes.
const blockSize = 4096

// inodeCost is how much heap an inode with its first name takes, in bytes, apart from the
// bytes of names, targets and extended attributes; each further name takes as much.
// Measured by BenchmarkHeap.
const inodeCost = 256

// budget counts what is used of a limit, and of a shared limit above it.
type budget struct {
	max    int64   // 0: no limit; immutable
	shared *budget // nil: none; immutable
	used   atomic.Int64
}

// take counts n as used. If that exceeds a limit, it returns ENOSPC and counts nothing. A
// negative n returns what was taken.
func (b *budget) take(n int64) syscall.Errno {
	for {
		used := b.used.Load()
		if b.max > 0 && n > 0 && n > b.max-used {
			return syscall.ENOSPC
		}
		if b.used.CompareAndSwap(used, used+n) {
			break
		}
	}
	if b.shared != nil && b.shared.take(n) != 0 {
		b.used.Add(-n)
		return syscall.ENOSPC
	}
	return 0
}

// give returns n to the budget. A negative n takes more and may exceed the limit.
func (b *budget) give(n int64) {
	b.used.Add(-n)
	if b.shared != nil {
		b.shared.give(n)
	}
}

// free returns what is left.
func (b *budget) free() int64 { return max(0, b.max-b.used.Load()) }

// Heap limits what the trees that share it take of the Go heap: inodes, names, symlink
// targets, extended attributes, and the maps of sparse files. An image counts as if there
// were an inode for each row, since all of them may be looked up.
type Heap struct{ budget }

// NewHeap makes a limit for size bytes of live heap; the garbage collector needs as much
// again. 0 is no limit.
func NewHeap(size int64) *Heap { return &Heap{budget{max: size}} }

// Inodes returns how many inodes with short names the limit allows; 0 without a limit.
func (h *Heap) Inodes() int64 { return h.max / inodeCost }

// Free returns how many bytes are not taken.
func (h *Heap) Free() int64 { return h.free() }

// LiftLimits lets what the tree takes of the Go heap, inodes included, exceed every limit
// from now on; it is still counted. It is for work that was done under another limit and
// would otherwise be lost.
func (t *Tree) LiftLimits() { t.unlimited.Store(true) }

// takeNodes counts inodes or further names of them, and text: the bytes of names and
// the like that come with them. ENOSPC.
func (t *Tree) takeNodes(n, text int64) syscall.Errno {
	if t.unlimited.Load() {
		t.giveNodes(-n, -text)
		return 0
	}
	if errno := t.nodes.take(n); errno != 0 {
		return errno
	}
	if errno := t.text.take(text); errno != 0 {
		t.nodes.give(n)
		return errno
	}
	if errno := t.heap.take(n*inodeCost + text); errno != 0 {
		t.nodes.give(n)
		t.text.give(text)
		return errno
	}
	return 0
}

// giveNodes returns what takeNodes counted.
func (t *Tree) giveNodes(n, text int64) {
	t.nodes.give(n)
	t.text.give(text)
	t.heap.give(n*inodeCost + text)
}

// takeText counts bytes that live on the heap: ENOSPC. A negative n returns them.
func (t *Tree) takeText(n int64) syscall.Errno { return t.takeNodes(0, n) }

// giveText returns what takeText counted.
func (t *Tree) giveText(n int64) { t.giveNodes(0, n) }

// takePages counts pages of content as used: ENOSPC.
func (t *Tree) takePages(n int64) syscall.Errno {
	if n > math.MaxInt64/pageSize {
		return syscall.ENOSPC
	}
	return t.bytes.take(n * pageSize)
}

// givePages returns what takePages counted.
func (t *Tree) givePages(n int64) { t.bytes.give(n * pageSize) }

// Usage returns what counts against MaxBytes and MaxInodes: bytes of content, in whole
// pages, and inodes, where a further name of one counts as one more.
func (t *Tree) Usage() (bytes, inodes int64) { return t.bytes.used.Load(), t.nodes.used.Load() }

// StatFS returns the tighter of the tree's limits and those that it shares. Without
// any limit all fields are zero, as on a tmpfs without one.
func (t *Tree) StatFS() StatFS {
	total, free, err := t.home.StatFS()
	if err != nil {
		total, free = 0, 0
	}
	if t.bytes.max > 0 {
		if total == 0 && err == nil {
			total, free = t.bytes.max, t.bytes.free()
		}
		total, free = min(total, t.bytes.max), min(free, t.bytes.free())
	}
	st := StatFS{Blocks: uint64(total / blockSize), Free: uint64(free / blockSize)}
	st.Files, st.Ffree = t.statInodes()
	return st
}

// statInodes returns how many inodes there may be, and how many more.
func (t *Tree) statInodes() (files, free uint64) {
	left := int64(math.MaxInt64)
	if shared := t.heap.shared; shared != nil && shared.max > 0 {
		left = shared.free() / inodeCost
		files = uint64(shared.max / inodeCost)
	}
	if t.nodes.max > 0 {
		left = min(left, t.nodes.free())
		files = uint64(t.nodes.max)
	}
	if files == 0 {
		return 0, 0
	}
	return files, uint64(left)
}
