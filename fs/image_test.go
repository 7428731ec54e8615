package fs

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"pgregory.net/rapid"
)

// onImage makes a tree, in a home of its own, on an image of what fill makes in another.
func onImage(t testing.TB, opts *Options, fill func(tree *Tree)) *Tree {
	t.Helper()
	filled := newTree(t, nil)
	fill(filled)
	return treeOn(t, imageOf(t, filled), opts)
}

// treeOn makes a tree, in a home of its own, on an image.
func treeOn(t testing.TB, img Image, opts *Options) *Tree {
	t.Helper()
	h, err := NewTmpfsHome(testHomeSize, 0)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := NewOn(img, h, opts)
	if err != nil {
		t.Fatal(err)
	}
	return closedAtEnd(t, h, tree)
}

// lookup returns the inode of a path, and a reference to it.
func lookup(t rapid.TB, tree *Tree, path string) *Inode {
	t.Helper()
	n, errno := (&treeSide{tree: tree}).get(path)
	if errno != 0 {
		t.Fatalf("%s: %v", path, errno)
	}
	return n
}

// at calls fn with the inode of a path.
func at(t rapid.TB, tree *Tree, path string, fn func(n *Inode)) {
	t.Helper()
	n := lookup(t, tree, path)
	defer tree.Unref(n, 1)
	fn(n)
}

// some fills a tree with something of each kind:
//
//	a/b/c    100 bytes
//	a/b/deep/x, a/link (to nowhere), a/two and z (one file)
//	big      two chunks and a half
//	dev, d/  which is empty, f with an extended attribute
func some(t testing.TB) func(*Tree) {
	return func(tree *Tree) {
		s := &treeSide{tree: tree}
		for _, dir := range []string{"a", "a/b", "a/b/deep", "d"} {
			ok(t, s.mkdir(dir, 0o755))
		}
		for path, size := range map[string]int{"a/b/c": 100, "a/b/deep/x": 5, "a/two": 10, "big": 5 * chunkSize / 2, "f": 3} {
			ok(t, s.mknod(path, syscall.S_IFREG|0o644))
			ok(t, s.write(path, pattern(size, byte(size)), 0))
		}
		ok(t, s.link("a/two", "z"))
		ok(t, s.symlink("a/link", "nowhere"))
		ok(t, s.setXattr("f", "user.a", "value", 0))
		n, errno := tree.Mknod(tree.Root(), "dev", syscall.S_IFCHR|0o600, 0x103, Owner{})
		ok(t, errno)
		tree.Unref(n, 1)
		for _, path := range []string{"a", "a/b", "big", "f", ""} {
			ok(t, s.setMtime(path, longAgo))
		}
	}
}

// live counts the inodes that take memory.
func live(tree *Tree) (count int) {
	for range tree.inodes.all() {
		count++
	}
	return count
}

func TestTreeOnAnImageHoldsWhatTheImageDoes(t *testing.T) {
	filled := newTree(t, nil)
	some(t)(filled)
	tree := onImage(t, nil, some(t))
	if ours, theirs := describe(&treeSide{tree: tree}), describe(&treeSide{tree: filled}); ours != theirs {
		t.Error(firstDifference(ours, theirs))
	}
	at(t, tree, "dev", func(n *Inode) {
		if a := tree.Attr(n); a.Rdev != 0x103 {
			t.Errorf("%+v", a)
		}
	})
	if got := tree.Changes(); got != (Changes{}) {
		t.Errorf("changes: %+v", got)
	}
	checkTree(t, tree)
	if got := live(tree); got != 1 {
		t.Errorf("%d inodes are in memory that nobody refers to", got-1)
	}
}

// What the kernel has forgotten is the same file when it asks again.
func TestInodeIsDroppedAndMadeAgain(t *testing.T) {
	tree := onImage(t, nil, some(t))
	for _, c := range []struct {
		name, path string
		do         func(n *Inode)
		kept       bool
	}{
		{"looked up", "a/b/c", func(*Inode) {}, false},
		{"read", "f", func(n *Inode) {
			tree.Touch(n)
			if a := tree.Attr(n); a.Atime == a.Mtime {
				t.Error("a read was not noted")
			}
		}, false},
		{"listed", "a/b", func(n *Inode) { names(t, tree, n); tree.Touch(n) }, false},
		{"removed in vain", "a", func(n *Inode) { want(t, tree.Unlink(n, "b"), syscall.EISDIR) }, false},
		{"opened to be made", "a", func(n *Inode) { want(t, second(tree.Mkdir(n, "b", 0, Owner{})), syscall.EEXIST) }, false},
		{"chmod", "a/two", func(n *Inode) { ok(t, second(tree.SetAttr(n, &SetAttr{Valid: SetMode, Mode: 0o600}))) }, true},
		{"utimes", "d", func(n *Inode) { ok(t, second(tree.SetAttr(n, &SetAttr{Valid: SetMtime, Mtime: longAgo}))) }, true},
		{"written", "big", func(n *Inode) { write(t, tree, n, "x", 0) }, true},
		{"xattr", "f", func(n *Inode) { ok(t, tree.RemoveXattr(n, "user.a")) }, true},
		{"name made", "a/b/deep", func(n *Inode) { tree.Unref(mkdir(t, tree, n, "new"), 1) }, true},
	} {
		n := lookup(t, tree, c.path)
		ino := n.Ino()
		c.do(n)
		a := tree.Attr(n)
		tree.Unref(n, 1)
		if got := tree.Get(ino) != nil; got != c.kept {
			t.Errorf("%s: in memory afterwards: %t", c.name, got)
		}
		if !c.kept && n.ref() {
			t.Errorf("%s: what was dropped gives a reference", c.name)
		}
		again, errno := tree.Find(ino)
		ok(t, errno)
		if b := tree.Attr(again); a != b {
			t.Errorf("%s: %+v, was %+v", c.name, b, a)
		}
		tree.Unref(again, 1)
		checkTree(t, tree)
	}
}

func TestFindOnAnImage(t *testing.T) {
	tree := onImage(t, nil, some(t))
	img := tree.Image().(memImage)
	for row := range img {
		n, errno := tree.Find(uint64(row) + 1)
		if further := img[row].inode != uint32(row); further {
			want(t, errno, syscall.ESTALE)
			continue
		}
		ok(t, errno)
		tree.Unref(n, 1)
	}
	want(t, second(tree.Find(0)), syscall.ESTALE)
	want(t, second(tree.Find(uint64(len(img)+1))), syscall.ESTALE)
	at(t, tree, "z", func(n *Inode) {
		ok(t, tree.Unlink(tree.Root(), "z"))
		found, errno := tree.Find(n.Ino()) // it has another name
		ok(t, errno)
		tree.Unref(found, 1)
		at(t, tree, "a", func(a *Inode) { ok(t, tree.Unlink(a, "two")) })
		want(t, second(tree.Find(n.Ino())), syscall.ESTALE)
	})
	checkTree(t, tree)
	f := lookup(t, tree, "f")
	ok(t, tree.Unlink(tree.Root(), "f"))
	tree.Unref(f, 1)
	want(t, second(tree.Find(f.ino)), syscall.ESTALE)
	made := file(t, tree, tree.Root(), "f", "")
	if made.Ino() != uint64(len(img)+1) {
		t.Errorf("what is made on an image of %d rows has number %d", len(img), made.Ino())
	}
	tree.Unref(made, 1)
}

// A listing continues where it stopped, even if the names became the directory's own
// meanwhile.
func TestListingOfAnImageGoesOn(t *testing.T) {
	const count = 50
	tree := onImage(t, nil, func(tree *Tree) {
		for i := range count {
			tree.Unref(file(t, tree, tree.Root(), fmt.Sprintf("%02d", i), ""), 1)
		}
	})
	var got []string
	next := func(cookie uint64) (last uint64) {
		page := 0
		ok(t, tree.ReadDir(tree.Root(), cookie, func(d Dirent) bool {
			if page++; page > 10 {
				return false
			}
			got, last = append(got, d.Name), d.Cookie
			return true
		}))
		return last
	}
	cookie := next(next(0))
	for _, name := range []string{"03", "19", "20", "41"} {
		ok(t, tree.Unlink(tree.Root(), name))
	}
	ok(t, tree.Rename(tree.Root(), "30", tree.Root(), "renamed", 0))
	tree.Unref(file(t, tree, tree.Root(), "new", ""), 1)
	for cookie > 0 {
		cookie = next(cookie)
	}
	var want []string
	for i := range count {
		switch name := fmt.Sprintf("%02d", i); name {
		case "20", "41":
		case "30":
			want = append(want, "renamed")
		default:
			want = append(want, name)
		}
	}
	if want = append(want, "new"); !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestParentsOnAnImage(t *testing.T) {
	tree := onImage(t, nil, some(t))
	at(t, tree, "a/b/deep", func(deep *Inode) {
		b, errno := tree.Parent(deep)
		ok(t, errno)
		at(t, tree, "a/b", func(n *Inode) {
			if n != b {
				t.Error("it has another parent")
			}
		})
		tree.Unref(b, 1)
		want(t, tree.Rename(tree.Root(), "a", deep, "a", 0), syscall.EINVAL)
		at(t, tree, "a", func(a *Inode) { ok(t, tree.Rename(a, "b", tree.Root(), "b", 0)) })
		ok(t, tree.Rename(tree.Root(), "a", deep, "a", 0))
		checkTree(t, tree, deep)
	})
	at(t, tree, "b/deep/a/two", func(n *Inode) { read(t, tree, n) })
}

// The rows of an image count as inodes, whether they are in memory or not.
func TestLimitsOnAnImage(t *testing.T) {
	filled := newTree(t, nil)
	some(t)(filled)
	img, nodes := imageOf(t, filled), filled.nodes.used.Load()
	text := filled.text.used.Load()
	h, err := NewArenaHome(testHomeSize)
	must(t, err)
	defer func() { must(t, h.Close()) }()
	for _, opts := range []*Options{
		{MaxInodes: nodes - 1},
		{MaxBytes: text - 1},
		{Heap: NewHeap(nodes*inodeCost + text - 1)},
	} {
		if _, err := NewOn(img, h, opts); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%+v: %v", opts, err)
		}
		if opts.Heap != nil && opts.Heap.used.Load() != 0 {
			t.Errorf("%d bytes of the heap are counted", opts.Heap.used.Load())
		}
	}
	heap := NewHeap(nodes*inodeCost + text)
	tree, err := NewOn(img, h, &Options{MaxInodes: nodes, Heap: heap})
	must(t, err)
	if _, inodes := tree.Usage(); inodes != nodes || nodes != int64(len(img)) {
		t.Errorf("%d inodes are counted, %d rows, want %d", inodes, len(img), nodes)
	}
	for range 3 {
		want(t, second(tree.Mkdir(tree.Root(), "e", 0, Owner{})), syscall.ENOSPC)
		ok(t, tree.Rmdir(tree.Root(), "d"))
		tree.Unref(mkdir(t, tree, tree.Root(), "d"), 1)
		checkTree(t, tree)
	}
	closeTree(t, tree)
	if heap.used.Load() != 0 {
		t.Errorf("%d bytes of the heap are counted after the end of the tree", heap.used.Load())
	}
}

func TestNewOnRefusesNonsense(t *testing.T) {
	h, err := NewArenaHome(testHomeSize)
	must(t, err)
	defer func() { must(t, h.Close()) }()
	for _, img := range []memImage{{}, {{attr: Attr{Mode: syscall.S_IFREG}}}} {
		if _, err := NewOn(img, h, nil); err == nil {
			t.Errorf("an image of %d rows without a root was accepted", len(img))
		}
	}
}

// TestManyAtOnceOnAnImage does everything to an image's inodes from several goroutines, so
// that inodes are dropped and made while they are looked up.
func TestManyAtOnceOnAnImage(t *testing.T) {
	const workers, steps = 8, 1500
	fill := func(tree *Tree) {
		for _, dir := range []string{"", "d0", "d1"} {
			n := tree.Root()
			if dir != "" {
				n = mkdir(t, tree, tree.Root(), dir)
			}
			for i := range 9 {
				tree.Unref(file(t, tree, n, fmt.Sprint("n", i), strings.Repeat("x", 3000*i)), 1)
			}
		}
	}
	for range 5 {
		tree := onImage(t, &Options{MaxBytes: 4 << 20, MaxInodes: 60}, fill)
		dirs := []*Inode{tree.Root(), lookup(t, tree, "d0"), lookup(t, tree, "d1")}
		raceIn(t, tree, dirs, workers, steps)
		for _, n := range dirs[1:] {
			tree.Unref(n, 1)
		}
	}
}

// TestLookupRacesForget looks up and forgets files from several goroutines, one of which
// changes them; no change may be lost.
func TestLookupRacesForget(t *testing.T) {
	const count, workers = 2000, 4
	tree := onImage(t, nil, func(tree *Tree) {
		for i := range count {
			tree.Unref(file(t, tree, tree.Root(), fmt.Sprint(i), ""), 1)
		}
	})
	var at atomic.Int64 // all of them are busy with the same file
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := at.Load(); i < count; i = at.Load() {
				for range 10 {
					n, errno := tree.Lookup(tree.Root(), fmt.Sprint(i))
					ok(t, errno)
					tree.Unref(n, 1)
				}
				if w == 0 {
					n, errno := tree.Lookup(tree.Root(), fmt.Sprint(i))
					ok(t, errno)
					ok(t, tree.SetXattr(n, "user.b", nil, 0))
					tree.Unref(n, 1)
					at.Add(1)
				}
			}
		})
	}
	wg.Wait()
	for i := range count {
		n := lookup(t, tree, fmt.Sprint(i))
		if _, errno := tree.GetXattr(n, "user.b"); errno != 0 {
			t.Errorf("file %d has lost its change: %v", i, errno)
		}
		tree.Unref(n, 1)
	}
	checkTree(t, tree)
}

// A file whose copy up failed has a backing file all the same.
func TestFileThatWasNotCopiedUpIsKept(t *testing.T) {
	tree := onImage(t, nil, some(t))
	n := lookup(t, tree, "big")
	content := read(t, tree, n)
	row, _ := tree.Row(n)
	tree.image.(memImage)[row].base.(*memBase).err = errors.New("the store is gone")
	want(t, second(tree.WriteAt(n, []byte("x"), 0, false)), syscall.EIO)
	tree.image.(memImage)[row].base.(*memBase).err = nil
	tree.Unref(n, 1)
	if tree.Get(n.Ino()) != n {
		t.Error("it was dropped")
	}
	at(t, tree, "big", func(n *Inode) {
		if read(t, tree, n) != content {
			t.Error("other bytes")
		}
	})
	for row, state := range tree.RowStates() {
		if state != 0 {
			t.Errorf("row %d: %b", row, state)
		}
	}
	checkTree(t, tree)
}
