package fs

import "strings"

// A growing slice leaves more garbage behind than it holds. Directories therefore grow in
// pieces: nothing is copied, and at most one piece is spare.

const (
	runLength = 64   // elements of a piece of a list
	nameBlock = 1024 // bytes of a piece of names, each of which is at most maxName long
)

// list is a slice that grows in pieces. A pointer into it is valid until the next element
// is added. The zero value is ready for use.
type list[T any] struct {
	runs [][]T // each but the last has runLength elements; the first grows as a slice does
	n    int
}

func (l *list[T]) len() int    { return l.n }
func (l *list[T]) at(i int) *T { return &l.runs[i/runLength][i%runLength] }
func (l *list[T]) add(v T) {
	if l.n%runLength == 0 {
		var run []T
		if l.n > 0 {
			run = make([]T, 0, runLength)
		}
		l.runs = append(l.runs, run)
	}
	run := &l.runs[len(l.runs)-1]
	*run = append(*run, v)
	l.n++
}

// nameBytes are the bytes of names, each in one piece. The zero value is ready for use.
type nameBytes struct {
	blocks []*strings.Builder // each of up to nameBlock bytes
}

// len returns how many bytes the names take, including the ends of pieces that were too
// short for the next name.
func (b *nameBytes) len() int {
	if len(b.blocks) == 0 {
		return 0
	}
	last := len(b.blocks) - 1
	return last*nameBlock + b.blocks[last].Len()
}

// add adds a name, and returns where it begins.
func (b *nameBytes) add(name string) (start uint32) {
	if n := len(b.blocks); n == 0 || b.blocks[n-1].Len()+len(name) > nameBlock {
		block := &strings.Builder{}
		if n > 0 {
			block.Grow(nameBlock)
		}
		b.blocks = append(b.blocks, block)
	}
	start = uint32(b.len())
	b.blocks[len(b.blocks)-1].WriteString(name)
	return start
}

// at returns the name of the given length that begins at start.
func (b *nameBytes) at(start uint32, length uint8) string {
	block := b.blocks[start/nameBlock].String()
	return block[start%nameBlock:][:length]
}
