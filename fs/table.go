package fs

import (
	"iter"
	"sync"
	"sync/atomic"
)

// chunkInodes is how many inode numbers a chunk of the table covers. A chunk
// takes 4 KiB, and is freed when none of its inodes lives.
const chunkInodes = 512

// table leads from inode numbers to inodes. Reading takes no lock.
type table struct {
	chunks atomic.Pointer[[]atomic.Pointer[tableChunk]]

	mu    sync.Mutex   // guards changes; a leaf
	last  uint64       // the highest number given out; guarded by mu
	count atomic.Int64 // inodes that live
}

type tableChunk struct {
	inodes [chunkInodes]atomic.Pointer[Inode]
	live   int // guarded by table.mu
}

// get gives the inode of a number, nil if there is none.
func (t *table) get(ino uint64) *Inode {
	c := t.chunk(ino)
	if c == nil {
		return nil
	}
	return c.inodes[ino%chunkInodes].Load()
}

func (t *table) chunk(ino uint64) *tableChunk {
	chunks := t.chunks.Load()
	if chunks == nil || ino/chunkInodes >= uint64(len(*chunks)) {
		return nil
	}
	return (*chunks)[ino/chunkInodes].Load()
}

// add gives n the next number.
func (t *table) add(n *Inode) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last++
	n.ino = t.last
	c := t.chunk(n.ino)
	if c == nil {
		c = &tableChunk{}
		t.growLocked(n.ino / chunkInodes).Store(c)
		t.dropLocked(n.ino/chunkInodes - 1)
	}
	c.live++
	c.inodes[n.ino%chunkInodes].Store(n)
	t.count.Add(1)
}

// growLocked gives the place of a chunk, making room for it.
func (t *table) growLocked(i uint64) *atomic.Pointer[tableChunk] {
	chunks := t.chunks.Load()
	if chunks == nil || i >= uint64(len(*chunks)) {
		grown := make([]atomic.Pointer[tableChunk], max(4, 2*i))
		if chunks != nil {
			for j := range *chunks {
				grown[j].Store((*chunks)[j].Load())
			}
		}
		t.chunks.Store(&grown)
		chunks = &grown
	}
	return &(*chunks)[i]
}

// remove takes n out. It reports false if somebody else did so before.
func (t *table) remove(n *Inode) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.chunk(n.ino)
	if c == nil || c.inodes[n.ino%chunkInodes].Load() != n {
		return false
	}
	c.inodes[n.ino%chunkInodes].Store(nil)
	t.count.Add(-1)
	c.live--
	t.dropLocked(n.ino / chunkInodes)
	return true
}

// dropLocked frees a chunk, counted from 0, of which no inode lives or will.
func (t *table) dropLocked(i uint64) {
	chunks := *t.chunks.Load()
	if i >= t.last/chunkInodes { // also for -1: there is no chunk before the first
		return
	}
	if c := chunks[i].Load(); c != nil && c.live == 0 {
		chunks[i].Store(nil)
	}
}

// all goes through the inodes by number. One that is added or removed meanwhile
// may be among them or not.
func (t *table) all() iter.Seq[*Inode] {
	return func(yield func(*Inode) bool) {
		chunks := t.chunks.Load()
		if chunks == nil {
			return
		}
		for i := range *chunks {
			c := (*chunks)[i].Load()
			if c == nil {
				continue
			}
			for j := range c.inodes {
				if n := c.inodes[j].Load(); n != nil && !yield(n) {
					return
				}
			}
		}
	}
}
