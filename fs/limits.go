package fs

import (
	"math"
	"sync/atomic"
	"syscall"
)

// blockSize is the unit of StatFS, in bytes.
const blockSize = 4096

// budget counts what is used of a limit.
type budget struct {
	max  int64 // 0: no limit; immutable
	used atomic.Int64
}

// take counts n as used, unless that is beyond the limit: ENOSPC.
func (b *budget) take(n int64) syscall.Errno {
	for {
		used := b.used.Load()
		if b.max > 0 && n > 0 && n > b.max-used {
			return syscall.ENOSPC
		}
		if b.used.CompareAndSwap(used, used+n) {
			return 0
		}
	}
}

// give takes back what was counted; less than nothing counts more, whatever the
// limit.
func (b *budget) give(n int64) { b.used.Add(-n) }

// free is what is left.
func (b *budget) free() int64 { return max(0, b.max-b.used.Load()) }

// takePages counts pages of content as used: ENOSPC.
func (t *Tree) takePages(n int64) syscall.Errno {
	if n > math.MaxInt64/pageSize {
		return syscall.ENOSPC
	}
	return t.bytes.take(n * pageSize)
}

// givePages takes back what takePages counted.
func (t *Tree) givePages(n int64) { t.bytes.give(n * pageSize) }

// Usage tells what the tree takes: bytes of content and extended attributes, in
// whole pages, and inodes.
func (t *Tree) Usage() (bytes, inodes int64) {
	return t.bytes.used.Load(), t.inodes.count.Load()
}

// StatFS tells the tighter of the tree's limits and its home's. Without any
// limit all fields are zero, as on a tmpfs without one.
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
	if limit := t.maxInodes; limit > 0 {
		st.Files = uint64(limit)
		st.Ffree = uint64(max(0, limit-t.inodes.count.Load()))
	}
	return st
}
