package fs

import (
	"bytes"
	"errors"
	"math"
	"slices"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// A write of one byte into a file once cost as much memory as the file.
func TestChangeCostsTheChunksThatItHasAPartOf(t *testing.T) {
	const size = 4*chunkSize + 100
	punch := func(off, length int64) func(*Tree, *Inode) syscall.Errno {
		return func(tree *Tree, n *Inode) syscall.Errno {
			return tree.Allocate(n, off, length, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE)
		}
	}
	put := func(off int64, length int) func(*Tree, *Inode) syscall.Errno {
		return func(tree *Tree, n *Inode) syscall.Errno {
			return second(tree.WriteAt(n, make([]byte, length), off, false))
		}
	}
	resize := func(size int64) func(*Tree, *Inode) syscall.Errno {
		return func(tree *Tree, n *Inode) syscall.Errno {
			return second(tree.SetAttr(n, &SetAttr{Valid: SetSize, Size: size}))
		}
	}
	for _, c := range []struct {
		name  string
		do    func(*Tree, *Inode) syscall.Errno
		pages int64 // of the backing file
		reads int64 // bytes of the base
		left  []byteRange
	}{
		{"a byte", put(chunkSize+5, 1), chunkSize / pageSize, chunkSize, []byteRange{{0, chunkSize}, {2 * chunkSize, size}}},
		{"across a border", put(2*chunkSize-1, 2), 2 * chunkSize / pageSize, 2 * chunkSize, []byteRange{{0, chunkSize}, {3 * chunkSize, size}}},
		{"a whole chunk", put(chunkSize, chunkSize), chunkSize / pageSize, 0, []byteRange{{0, chunkSize}, {2 * chunkSize, size}}},
		{"append", put(size, 5), 1, 100, []byteRange{{0, 4 * chunkSize}}},
		{"far beyond the end", put(10*chunkSize, 1), 1, 0, []byteRange{{0, size}}},
		{"punch whole chunks", punch(chunkSize, 2*chunkSize), 0, 0, []byteRange{{0, chunkSize}, {3 * chunkSize, size}}},
		{"punch the end", punch(4*chunkSize, math.MaxInt64-4*chunkSize), 0, 0, []byteRange{{0, 4 * chunkSize}}},
		{"punch all", punch(0, size), 0, 0, nil},
		{"cut", resize(chunkSize + 7), 0, 0, []byteRange{{0, chunkSize + 7}}},
		{"lengthen", resize(9 * chunkSize), 0, 0, []byteRange{{0, size}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachTree(t, nil, func(t *testing.T, tree *Tree) {
				b := &countedBase{bytesBase: bytesBase{content: pattern(size, 1), hole: size}}
				f := file(t, tree, tree.Root(), "f", "")
				ok(t, tree.SetBase(f, b))
				ok(t, c.do(tree, f))
				if got := f.content.(*upper).pages; got != c.pages {
					t.Errorf("it took %d pages, want %d", got, c.pages)
				}
				if b.read != c.reads {
					t.Errorf("it read %d bytes of the base, want %d", b.read, c.reads)
				}
				if got := f.leftLocked(); !slices.Equal(got, c.left) {
					t.Errorf("base are %v, want %v", got, c.left)
				}
				checkTree(t, tree, f)
				if size := tree.Attr(f).Size; size > 0 {
					ok(t, put(0, int(size))(tree, f))
				}
				if got := f.leftLocked(); got != nil || f.baseLocked() != nil {
					t.Errorf("when all is written base are %v", got)
				}
			})
		})
	}
}

// countedBase counts the bytes that are read.
type countedBase struct {
	bytesBase
	read int64
}

func (b *countedBase) ReadAt(p []byte, off int64) (int, error) {
	n, err := b.bytesBase.ReadAt(p, off)
	b.read += int64(n)
	return n, err
}

// TestWriteOverBaseThatFailsShowsBase checks that what a failed write has left in the
// backing file is never seen.
func TestWriteOverBaseThatFailsShowsBase(t *testing.T) {
	eachHome(t, testHomeSize, func(t *testing.T, h Home) {
		home := &failingHome{Home: h}
		tree, err := New(home, nil)
		must(t, err)
		defer closeTree(t, tree)
		content := append(pattern(chunkSize, 1), make([]byte, 2*chunkSize)...)
		f := file(t, tree, tree.Root(), "f", "")
		ok(t, tree.SetBase(f, &bytesBase{content: content, hole: chunkSize}))
		home.err = errors.New("no more")
		want(t, second(tree.WriteAt(f, pattern(3*chunkSize, 7), 0, false)), syscall.EIO)
		home.err = nil
		checkTree(t, tree, f)
		write(t, tree, f, "x", chunkSize)
		content[chunkSize] = 'x'
		if read(t, tree, f) != string(content) {
			t.Error("other bytes")
		}
	})
}

// TestExtents does random things to a file with a base of several chunks, and compares
// it with bytes.
func TestExtents(t *testing.T) {
	home := newTree(t, nil).home
	position := rapid.Map(rapid.Int64Range(0, 3), func(half int64) int64 { return half * chunkSize / 2 })
	offset := rapid.Custom(func(t *rapid.T) int64 {
		return max(0, position.Draw(t, "at")+rapid.SampledFrom([]int64{-pageSize, -1, 0, 0, 1, pageSize}).Draw(t, "by"))
	})
	got, some := make([]byte, 8*chunkSize), pattern(4*chunkSize, 1)
	rapid.Check(t, func(t *rapid.T) {
		tree, err := New(home, nil)
		must(t, err)
		defer func() { must(t, tree.Close()) }()
		spool, err := tree.NewSpool()
		must(t, err)
		content := bytes.Clone(some[:offset.Draw(t, "size")])
		if hole, data := int(offset.Draw(t, "hole")), len(content); hole < data {
			clear(content[hole:min(data, hole+chunkSize)])
		}
		f, errno := tree.Mknod(tree.Root(), "f", syscall.S_IFREG, 0, Owner{})
		ok(t, errno)
		base, err := spool.Add(bytes.NewReader(content))
		must(t, err)
		ok(t, tree.SetBase(f, base))
		t.Repeat(map[string]func(*rapid.T){
			"write": func(t *rapid.T) {
				off, p := offset.Draw(t, "off"), some[len(content)%100:][:offset.Draw(t, "length")+1]
				content = append(content, make([]byte, max(0, int(off)+len(p)-len(content)))...)
				copy(content[off:], p)
				ok(t, second(tree.WriteAt(f, p, off, false)))
			},
			"resize": func(t *rapid.T) {
				size := int(offset.Draw(t, "size"))
				content = append(content[:min(size, len(content))], make([]byte, max(0, size-len(content)))...)
				ok(t, second(tree.SetAttr(f, &SetAttr{Valid: SetSize, Size: int64(size)})))
			},
			"zero": func(t *rapid.T) {
				off, length := offset.Draw(t, "off"), offset.Draw(t, "length")+1
				mode := rapid.SampledFrom([]uint32{unix.FALLOC_FL_PUNCH_HOLE, unix.FALLOC_FL_ZERO_RANGE}).Draw(t, "mode")
				clear(content[min(len(content), int(off)):min(len(content), int(off+length))])
				ok(t, tree.Allocate(f, off, length, mode|unix.FALLOC_FL_KEEP_SIZE))
			},
			"allocate": func(t *rapid.T) {
				ok(t, tree.Allocate(f, offset.Draw(t, "off"), offset.Draw(t, "length")+1, unix.FALLOC_FL_KEEP_SIZE))
			},
			"": func(t *rapid.T) {
				if n, errno := tree.ReadAt(f, got, 0); errno != 0 || !bytes.Equal(got[:n], content) {
					t.Fatalf("other bytes: %d, %v", n, errno)
				}
				pos := int64(0)
				for r, errno := range tree.Data(f, 0, int64(len(content))) {
					ok(t, errno)
					if !isZero(content[pos:r.Off]) {
						t.Fatalf("the hole from %d to %d has data", pos, r.Off)
					}
					pos = r.End()
				}
				if !isZero(content[pos:]) {
					t.Fatalf("the hole from %d has data", pos)
				}
				checkTree(t, tree, f)
			},
		})
	})
}

func isZero(p []byte) bool { return bytes.Count(p, []byte{0}) == len(p) }

// TestReadsWhileBaseIsDropped reads a file, all of whose bytes are the same at all
// times, while its base is dropped piece by piece.
func TestReadsWhileBaseIsDropped(t *testing.T) {
	eachTree(t, nil, func(t *testing.T, tree *Tree) {
		const size = 8 * chunkSize
		content := bytes.Repeat([]byte("x"), size)
		f := spooled(t, tree, content)[0]
		var group sync.WaitGroup
		done := make(chan struct{})
		for range 2 {
			group.Go(func() {
				p := make([]byte, size)
				for {
					select {
					case <-done:
						return
					default:
					}
					if n, errno := tree.ReadAt(f, p, 0); n != size || errno != 0 || !bytes.Equal(p, content) {
						t.Errorf("read %d bytes, %v, the same %t", n, errno, bytes.Equal(p, content))
						return
					}
				}
			})
		}
		for off := int64(chunkSize / 2); off < size; off += chunkSize {
			write(t, tree, f, "x", off)
		}
		close(done)
		group.Wait()
		checkTree(t, tree, f)
	})
}
