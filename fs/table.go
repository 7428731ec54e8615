package fs

import (
	"iter"
	"math/bits"
	"sync"
	"sync/atomic"
)

// chunkInodes is how many inode numbers a chunk of the table covers. A chunk takes 4 KiB,
// and is freed when none of its inodes lives.
const chunkInodes = 512

// table maps inode numbers to inodes. Reading takes no lock. Of an image it has those
// inodes that are referenced and those that were changed.
type table struct {
	chunks atomic.Pointer[[]atomic.Pointer[tableChunk]]

	mu    sync.Mutex // guards changes; a leaf
	last  uint64     // the highest number assigned; guarded by mu
	empty uint64     // number of the chunk that became empty last; guarded by mu
}

type tableChunk struct {
	inodes [chunkInodes]atomic.Pointer[Inode]
	marks  [chunkInodes / 64]atomic.Uint64 // a bit for each inode that Tree.Changes must look at
	live   int                             // guarded by table.mu
}

// get returns the inode of a number, nil for none.
func (t *table) get(ino uint64) *Inode {
	c := t.chunk(ino / chunkInodes)
	if c == nil {
		return nil
	}
	return c.inodes[ino%chunkInodes].Load()
}

func (t *table) chunk(i uint64) *tableChunk {
	chunks := t.chunks.Load()
	if chunks == nil || i >= uint64(len(*chunks)) {
		return nil
	}
	return (*chunks)[i].Load()
}

// add gives n the next number, and marks it.
func (t *table) add(n *Inode) {
	t.mu.Lock()
	t.last++
	n.ino = t.last
	c := t.chunkLocked(n.ino / chunkInodes)
	c.live++
	c.inodes[n.ino%chunkInodes].Store(n)
	if n.ino%chunkInodes == 0 {
		t.dropLocked(n.ino/chunkInodes - 1)
	}
	t.mu.Unlock()
	t.mark(n.ino)
}

// enter makes n the inode of its number. If another one lives there, it takes a reference
// to that one and returns it instead.
func (t *table) enter(n *Inode) *Inode {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.chunkLocked(n.ino / chunkInodes)
	place := &c.inodes[n.ino%chunkInodes]
	was := place.Load()
	if was != nil && was.ref() {
		return was
	}
	if was == nil {
		c.live++
	}
	place.Store(n)
	return n
}

// chunkLocked returns a chunk and makes it if necessary.
func (t *table) chunkLocked(i uint64) *tableChunk {
	c := t.chunk(i)
	if c == nil {
		c = &tableChunk{}
		t.growLocked(i).Store(c)
	}
	return c
}

// growLocked returns the place of a chunk and makes room for it.
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

// remove removes n if it is still there.
func (t *table) remove(n *Inode) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.chunk(n.ino / chunkInodes)
	if c == nil || c.inodes[n.ino%chunkInodes].Load() != n {
		return
	}
	c.inodes[n.ino%chunkInodes].Store(nil)
	c.unmark(n.ino)
	c.live--
	t.dropLocked(n.ino / chunkInodes)
}

// dropLocked frees an empty chunk as soon as another one is empty. The last one stays,
// because a walk makes and drops the inodes of a directory one by one.
func (t *table) dropLocked(i uint64) {
	if c := t.chunk(i); c == nil || c.live > 0 || i >= t.last/chunkInodes || i == t.empty {
		return
	}
	if c := t.chunk(t.empty); c != nil && c.live == 0 && t.empty < t.last/chunkInodes {
		(*t.chunks.Load())[t.empty].Store(nil)
	}
	t.empty = i
}

// mark makes marked yield the inode of a number, which lives.
func (t *table) mark(ino uint64) {
	word, bit := &t.chunk(ino / chunkInodes).marks[ino%chunkInodes/64], uint64(1)<<(ino%64)
	if word.Load()&bit == 0 {
		word.Or(bit)
	}
}

// unmark removes the mark of an inode.
func (t *table) unmark(ino uint64) {
	if c := t.chunk(ino / chunkInodes); c != nil {
		c.unmark(ino)
	}
}

func (c *tableChunk) unmark(ino uint64) {
	c.marks[ino%chunkInodes/64].And(^(uint64(1) << (ino % 64)))
}

// all iterates over the inodes by number. An inode that is added or removed meanwhile may
// or may not be among them.
func (t *table) all() iter.Seq[*Inode] {
	return t.each(func(*tableChunk, int) uint64 { return ^uint64(0) })
}

// marked iterates over the marked inodes.
func (t *table) marked() iter.Seq[*Inode] {
	return t.each(func(c *tableChunk, word int) uint64 { return c.marks[word].Load() })
}

// each iterates over the inodes whose bit is set in the result of choose, which covers 64
// inodes of a chunk.
func (t *table) each(choose func(c *tableChunk, word int) uint64) iter.Seq[*Inode] {
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
			for word := range c.marks {
				for chosen := choose(c, word); chosen != 0; chosen &= chosen - 1 {
					n := c.inodes[word*64+bits.TrailingZeros64(chosen)].Load()
					if n != nil && !yield(n) {
						return
					}
				}
			}
		}
	}
}
