package fs

import (
	"math"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// A tool that met ENOSPC, removed the file and went on was refused its commit for good: a
// loss outlived the file that had it.
func TestLossEndsWithTheContent(t *testing.T) {
	cut := func(size int64) func(*testing.T, *Tree, *Inode) {
		return func(t *testing.T, tree *Tree, n *Inode) {
			_, errno := tree.SetAttr(n, &SetAttr{Valid: SetSize, Size: size})
			ok(t, errno)
		}
	}
	write := func(off, length int64) func(*testing.T, *Tree, *Inode) {
		return func(t *testing.T, tree *Tree, n *Inode) {
			_, errno := tree.WriteAt(n, make([]byte, length), off, false)
			ok(t, errno)
		}
	}
	allocate := func(off, length int64, mode uint32) func(*testing.T, *Tree, *Inode) {
		return func(t *testing.T, tree *Tree, n *Inode) { ok(t, tree.Allocate(n, off, length, mode)) }
	}
	for _, c := range []struct {
		name string
		do   func(t *testing.T, tree *Tree, n *Inode)
		left int64 // of bytes 4 to 14, the file being 6 long
	}{
		{"nothing", func(*testing.T, *Tree, *Inode) {}, 10},
		{"removed", func(t *testing.T, tree *Tree, _ *Inode) { ok(t, tree.Unlink(tree.Root(), "f")) }, 0},
		{"replaced", func(t *testing.T, tree *Tree, _ *Inode) {
			tree.Unref(file(t, tree, tree.Root(), "g", "new"), 1)
			ok(t, tree.Rename(tree.Root(), "g", tree.Root(), "f", 0))
		}, 0},
		{"a second name removed", func(t *testing.T, tree *Tree, n *Inode) {
			ok(t, tree.Link(tree.Root(), "g", n))
			ok(t, tree.Unlink(tree.Root(), "f"))
		}, 10},
		{"cut to nothing", cut(0), 0},
		{"cut before it", cut(4), 0},
		{"cut in it", cut(8), 4},
		{"made longer", cut(20), 10},
		{"written again", write(0, 14), 0},
		{"written again beyond it", write(4, 100), 0},
		{"written again at its begin", write(0, 8), 6},
		{"written again in the middle", write(8, 2), 8},
		{"written elsewhere", write(100, 10), 10},
		{"made zero", allocate(0, 20, unix.FALLOC_FL_ZERO_RANGE), 0},
		{"made a hole, where the file is", allocate(0, 20, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE), 8},
		{"allocated", allocate(0, 20, 0), 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			tree := newTree(t, nil)
			n := file(t, tree, tree.Root(), "f", "123456")
			tree.Lose(n, 4, 10, syscall.ENOSPC)
			if bytes, cause := tree.Lost(n); bytes != 10 || cause != syscall.ENOSPC || tree.Err() == nil {
				t.Fatalf("before: %d bytes lost by %v, %v", bytes, cause, tree.Err())
			}
			named := `"f"`
			if c.name == "a second name removed" {
				named = `"g"`
			}
			c.do(t, tree, n)
			if tree.Attr(n).Nlink == 0 {
				tree.Unref(n, 1)
			} else if bytes, _ := tree.Lost(n); bytes != c.left {
				t.Errorf("%d bytes are lost, want %d", bytes, c.left)
			}
			if err := tree.Err(); (err != nil) != (c.left > 0) || err != nil && !strings.Contains(err.Error(), named) {
				t.Errorf("tree: %v", err)
			}
			if left := len(tree.losses.all()); (left > 0) != (c.left > 0) {
				t.Errorf("%d files are remembered", left)
			}
		})
	}
}

// The recorded losses equal a map of single bytes, up to the limit on the number of ranges,
// beyond which more counts as lost.
func TestLossesAgainstBytes(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	const size = 4096
	for range 200 {
		var ls losses
		n, lost := &Inode{}, [size]bool{}
		for range 60 {
			begin := r.Int64N(size)
			s := byteRange{begin, min(size, begin+1+r.Int64N(size/8))}
			add := r.IntN(2) == 0
			if add {
				ls.add(n, s, syscall.EIO)
			} else {
				ls.cut(n, s)
			}
			want := int64(0)
			for i := range lost {
				if int64(i) >= s.begin && int64(i) < s.end {
					lost[i] = add
				}
				if lost[i] {
					want++
				}
			}
			if bytes, _ := ls.sum(n); bytes != want {
				t.Fatalf("%d bytes are lost, want %d", bytes, want)
			}
		}
	}
}

func TestLossesAreBounded(t *testing.T) {
	var ls losses
	n := &Inode{}
	for i := range int64(10 * maxRanges) {
		ls.add(n, byteRange{2 * i, 2*i + 1}, syscall.EIO)
	}
	if ranges := ls.all()[n].ranges; len(ranges) > maxRanges {
		t.Errorf("%d ranges are remembered", len(ranges))
	}
	if !ls.cut(n, byteRange{0, math.MaxInt64}) {
		t.Error("something is left")
	}
}
