package fs

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// spooled makes files with base content, as an archive does, and seals the tree.
func spooled(t *testing.T, tree *Tree, contents ...[]byte) []*Inode {
	t.Helper()
	s := newSpool(t, tree)
	var files []*Inode
	for i, content := range contents {
		b, err := s.Add(bytes.NewReader(content))
		must(t, err)
		n := file(t, tree, tree.Root(), fmt.Sprint(i), "")
		ok(t, tree.SetBase(n, b))
		files = append(files, n)
	}
	tree.Seal()
	return files
}

// pagesUsed is what the content of a tree takes, as the tree counts it and as its home
// does.
func pagesUsed(t *testing.T, tree *Tree) int64 {
	t.Helper()
	checkTree(t, tree, held(tree)...)
	total, free, err := tree.home.StatFS()
	must(t, err)
	used := (total - free) / pageSize
	if counted := tree.bytes.used.Load() / pageSize; counted != used {
		t.Errorf("the tree counts %d pages, the home %d", counted, used)
	}
	return used
}

// held is every inode as often as it has references.
func held(tree *Tree) (all []*Inode) {
	for n := range tree.inodes.all() {
		for range n.refs.Load() {
			all = append(all, n)
		}
	}
	return all
}

// Content that came with the archive once took memory until the mount ended, whatever
// became of the files.
func TestDroppedBaseIsFreed(t *testing.T) {
	size := int(3*pageSize) + 100 // so that neighbours share a page
	for _, c := range []struct {
		name string
		drop func(t *testing.T, tree *Tree, n *Inode)
		left int64 // pages of each file; at most, if files share them
		part bool  // only a part of the base is left
	}{
		{"unlink", func(t *testing.T, tree *Tree, n *Inode) {
			ok(t, tree.Unlink(tree.Root(), fmt.Sprint(n.ino-2)))
			tree.Unref(n, 1)
		}, 0, false},
		{"replace", func(t *testing.T, tree *Tree, n *Inode) {
			tree.Unref(file(t, tree, tree.Root(), "new", ""), 1)
			ok(t, tree.Rename(tree.Root(), "new", tree.Root(), fmt.Sprint(n.ino-2), 0))
			tree.Unref(n, 1)
		}, 0, false},
		{"truncate", func(t *testing.T, tree *Tree, n *Inode) {
			ok(t, second(tree.SetAttr(n, &SetAttr{Valid: SetSize})))
		}, 0, false},
		{"cut", func(t *testing.T, tree *Tree, n *Inode) {
			ok(t, second(tree.SetAttr(n, &SetAttr{Valid: SetSize, Size: pageSize})))
		}, 2, true},
		{"write", func(t *testing.T, tree *Tree, n *Inode) { write(t, tree, n, "x", 0) }, 4, false},
		{"allocate", func(t *testing.T, tree *Tree, n *Inode) { ok(t, tree.Allocate(n, 0, pageSize, 0)) }, 4, false},
		{"punch", func(t *testing.T, tree *Tree, n *Inode) {
			ok(t, tree.Allocate(n, 0, 2*pageSize, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE))
		}, 2, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachTree(t, nil, func(t *testing.T, tree *Tree) {
				const count = 20
				var contents [][]byte
				for i := range count {
					contents = append(contents, pattern(size, byte(i)))
				}
				files := spooled(t, tree, contents...)
				all := pagesUsed(t, tree)
				for i, n := range files[:count/2] {
					c.drop(t, tree, n)
					for j, other := range files[i+1:] {
						if read(t, tree, other) != string(contents[i+1+j]) {
							t.Fatalf("when file %d was dropped, file %d changed", i, i+1+j)
						}
					}
				}
				if half := pagesUsed(t, tree); half > all/2+1+count/2*c.left {
					t.Errorf("when half was dropped %d of %d pages are left", half, all)
				}
				for _, n := range files[count/2:] {
					c.drop(t, tree, n)
				}
				if left := pagesUsed(t, tree); left > count*c.left || left < count*c.left && !c.part {
					t.Errorf("when all was dropped %d pages are left, want %d", left, count*c.left)
				}
			})
		})
	}
}

// Removed content stays for holders of the file, and for its other names.
func TestBaseStaysWhileItIsUsed(t *testing.T) {
	eachTree(t, nil, func(t *testing.T, tree *Tree) {
		content := pattern(int(3*pageSize), 1)
		n := spooled(t, tree, content)[0]
		ok(t, tree.Link(tree.Root(), "other", n))
		ok(t, tree.Unlink(tree.Root(), "0"))
		tree.Ref(n)
		tree.Unref(n, 1)
		ok(t, tree.Unlink(tree.Root(), "other"))
		if read(t, tree, n) != string(content) || pagesUsed(t, tree) != 3 {
			t.Error("it is gone, though somebody has it open")
		}
		tree.Unref(n, 1)
		if left := pagesUsed(t, tree); left != 0 {
			t.Errorf("%d pages are left", left)
		}
	})
}

// While the archive is read, later entries replace earlier ones, which may be partly
// unwritten.
func TestBaseIsFreedWhileTheSpoolIsFilled(t *testing.T) {
	eachTree(t, nil, func(t *testing.T, tree *Tree) {
		s := newSpool(t, tree)
		var last []byte
		add := func(i int) {
			last = pattern(i*1000%200000, byte(i))
			b, err := s.Add(bytes.NewReader(last))
			must(t, err)
			n := file(t, tree, tree.Root(), "f", "")
			ok(t, tree.SetBase(n, b))
			tree.Unref(n, 1)
		}
		for i := range 100 {
			add(i)
			ok(t, tree.Unlink(tree.Root(), "f"))
			checkTree(t, tree)
		}
		tree.Seal()
		if left := pagesUsed(t, tree); left != 0 {
			t.Errorf("%d pages are left", left)
		}
		add(199)
		tree.Seal()
		n, errno := tree.Lookup(tree.Root(), "f")
		ok(t, errno)
		if read(t, tree, n) != string(last) || pagesUsed(t, tree) != pagesOf(int64(len(last))) {
			t.Error("what was added to the empty spool is wrong")
		}
		tree.Unref(n, 1)
	})
}

func TestSparseBaseIsFreed(t *testing.T) {
	eachTree(t, nil, func(t *testing.T, tree *Tree) {
		files := spooled(t, tree, blocks("dzdzzd", 10), blocks("zzz", 0), blocks("zd", 0))
		text := tree.heap.used.Load()
		for i, n := range files {
			ok(t, tree.Unlink(tree.Root(), fmt.Sprint(i)))
			tree.Unref(n, 1)
		}
		if left := pagesUsed(t, tree); left != 0 || text-tree.heap.used.Load() != 3*(inodeCost+1)+4*runCost {
			t.Errorf("%d pages are left, and %d of %d bytes of the heap", left, tree.heap.used.Load(), text)
		}
	})
}

// Reading base content while it is dropped returns the bytes from before or from after, and
// never the zeros of freed memory.
func TestReadersNeverSeeFreedBase(t *testing.T) {
	eachTree(t, nil, func(t *testing.T, tree *Tree) {
		const count, size = 200, 20000
		one := bytes.Repeat([]byte{1}, size)
		var contents [][]byte
		for range count {
			contents = append(contents, one)
		}
		files := spooled(t, tree, contents...)
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				p := make([]byte, size)
				for range 20 * count {
					n := files[rand.IntN(count)]
					got, errno := tree.ReadAt(n, p, 0)
					if errno != 0 || bytes.IndexByte(p[:got], 0) >= 0 {
						t.Errorf("read %d bytes, zeros among them, %v", got, errno)
						return
					}
				}
			})
		}
		wg.Go(func() {
			for i, n := range files {
				var errno syscall.Errno
				if i%2 == 0 {
					errno = second(tree.SetAttr(n, &SetAttr{Valid: SetSize}))
				} else {
					errno = second(tree.WriteAt(n, []byte{1}, int64(i), false))
				}
				if errno != 0 {
					t.Error(errno)
				}
			}
		})
		wg.Wait()
	})
}
