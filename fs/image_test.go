package fs

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
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
	t.Cleanup(func() {
		closeTree(t, tree)
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return tree
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
		{"read", "f", func(n *Inode) { read(t, tree, n); tree.Touch(n) }, false},
		{"listed", "a/b", func(n *Inode) { names(t, tree, n); tree.Touch(n) }, false},
		{"lent in vain", "f", func(n *Inode) { want(t, second(tree.Lend(n)), syscall.EOPNOTSUPP) }, false},
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
		again, errno := tree.Find(ino)
		ok(t, errno)
		b := tree.Attr(again)
		if b.Atime = a.Atime; a != b {
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

// A listing goes on where it stopped, though the names became the directory's own
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

// TestRowStates looks at what the packer is told.
func TestRowStates(t *testing.T) {
	const all = RowMoved
	side := func(do func(s *treeSide) syscall.Errno) func(*testing.T, *Tree) {
		return func(t *testing.T, tree *Tree) { ok(t, do(&treeSide{tree: tree})) }
	}
	for _, c := range []struct {
		name   string
		do     func(*testing.T, *Tree)
		states map[string]RowState // by path
		fresh  []string            // what WalkNew finds
	}{
		{"nothing", func(*testing.T, *Tree) {}, nil, nil},
		{"chmod", side(func(s *treeSide) syscall.Errno { return s.chmod("a/b/c", 0o600) }), map[string]RowState{"a/b/c": RowMeta}, nil},
		{"chmod there and back", side(func(s *treeSide) syscall.Errno {
			ok(t, s.chmod("a/b/c", 0o600))
			return s.chmod("a/b/c", 0o644)
		}), nil, nil},
		{"chmod by another name", side(func(s *treeSide) syscall.Errno { return s.chmod("z", 0o600) }), map[string]RowState{"z": RowMeta}, nil},
		{"write", side(func(s *treeSide) syscall.Errno { return s.write("big", []byte("x"), 0) }), map[string]RowState{"big": RowMeta | RowData}, nil},
		{"write with the old time", side(func(s *treeSide) syscall.Errno {
			ok(t, s.write("big", []byte("x"), 0))
			return s.setMtime("big", longAgo)
		}), map[string]RowState{"big": RowMeta | RowData}, nil},
		{"lengthen", side(func(s *treeSide) syscall.Errno { return s.truncate("big", 3*chunkSize) }), map[string]RowState{"big": RowMeta}, nil},
		{"empty", side(func(s *treeSide) syscall.Errno { return s.truncate("f", 0) }), map[string]RowState{"f": RowMeta | RowData}, nil},
		{"xattr", side(func(s *treeSide) syscall.Errno { return s.setXattr("f", "user.a", "other", 0) }), map[string]RowState{"f": RowMeta}, nil},
		{"create", side(func(s *treeSide) syscall.Errno { return s.mknod("a/b/new", syscall.S_IFREG) }), map[string]RowState{"a/b": RowMeta}, []string{"a/b/new"}},
		{"unlink", side(func(s *treeSide) syscall.Errno { return s.unlink("a/b/c") }), map[string]RowState{"a/b": RowMeta, "a/b/c": all}, nil},
		{"unlink and make", side(func(s *treeSide) syscall.Errno {
			ok(t, s.unlink("a/b/c"))
			return s.mknod("a/b/c", syscall.S_IFREG)
		}), map[string]RowState{"a/b": RowMeta, "a/b/c": all}, []string{"a/b/c"}},
		{"unlink of one name", side(func(s *treeSide) syscall.Errno { return s.unlink("a/two") }), map[string]RowState{"a": RowMeta, "a/two": all}, nil},
		{"link", side(func(s *treeSide) syscall.Errno { return s.link("f", "d/f") }), map[string]RowState{"d": RowMeta}, []string{"d/f"}},
		{"rename", side(func(s *treeSide) syscall.Errno { return s.rename("f", "d/g", 0) }), map[string]RowState{"": RowMeta, "d": RowMeta, "f": all}, []string{"d/g"}},
		{"rename there and back", side(func(s *treeSide) syscall.Errno {
			ok(t, s.rename("f", "g", 0))
			ok(t, s.rename("g", "f", 0))
			return s.setMtime("", longAgo)
		}), nil, nil},
		{
			"rename of a directory", side(func(s *treeSide) syscall.Errno {
				ok(t, s.chmod("a/b/c", 0o600))
				return s.rename("a", "d/a", 0)
			}),
			map[string]RowState{"": RowMeta, "d": RowMeta, "a": all, "a/b": all, "a/b/c": all | RowMeta, "a/b/deep": all, "a/b/deep/x": all, "a/link": all, "a/two": all},
			[]string{"d/a", "d/a/b", "d/a/b/c", "d/a/b/deep", "d/a/b/deep/x", "d/a/link", "d/a/two"},
		},
		{"new directory deep down", side(func(s *treeSide) syscall.Errno {
			ok(t, s.mkdir("a/b/deep/new", 0o755))
			return s.rename("a/b/c", "a/b/deep/new/c", 0)
		}), map[string]RowState{"a/b/deep": RowMeta, "a/b": RowMeta, "a/b/c": all}, []string{"a/b/deep/new", "a/b/deep/new/c"}},
		{"exchange", side(func(s *treeSide) syscall.Errno { return s.rename("a/b/c", "f", RenameExchange) }),
			map[string]RowState{"": RowMeta, "a/b": RowMeta, "a/b/c": all, "f": all}, []string{"a/b/c", "f"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tree := onImage(t, nil, some(t))
			waitForTick()
			c.do(t, tree)
			tree.Freeze()
			got := map[string]RowState{}
			for row, state := range tree.RowStates() {
				if state != 0 {
					got[rowPath(tree, uint32(row))] = state
				}
			}
			for path, state := range c.states {
				if got[path] != state {
					t.Errorf("%q: %b, want %b", path, got[path], state)
				}
				delete(got, path)
			}
			if len(got) > 0 {
				t.Errorf("these were said to have changed: %v", got)
			}
			var fresh []string
			must(t, tree.WalkNew(func(path string, n *Inode, a Attr) error {
				fresh = append(fresh, path)
				if a != tree.Attr(n) {
					t.Errorf("%s: other attributes", path)
				}
				return nil
			}))
			if !slices.Equal(fresh, c.fresh) {
				t.Errorf("WalkNew: %q, want %q", fresh, c.fresh)
			}
			checkTree(t, tree)
		})
	}
}

// rowPath is the path that a row had.
func rowPath(tree *Tree, row uint32) string {
	var names []string
	for row != 0 {
		names = append(names, tree.image.Name(row))
		row = uint32(tree.rowParent(uint64(row)+1) - 1)
	}
	slices.Reverse(names)
	return strings.Join(names, "/")
}

func TestBaseRanges(t *testing.T) {
	tree := onImage(t, nil, some(t))
	const size = 5 * chunkSize / 2
	ranges := func(n *Inode) (all []byteRange) {
		tree.BaseRanges(n, func(off, length int64) bool {
			all = append(all, byteRange{off, off + length})
			return len(all) < 2
		})
		return all
	}
	made := file(t, tree, tree.Root(), "new", "content")
	if got := ranges(made); got != nil {
		t.Errorf("of a new file: %v", got)
	}
	tree.Unref(made, 1)
	for _, c := range []struct {
		name string
		do   func(n *Inode) syscall.Errno
		want []byteRange
	}{
		{"nothing", func(*Inode) syscall.Errno { return 0 }, []byteRange{{0, size}}},
		{
			"write", func(n *Inode) syscall.Errno { return second(tree.WriteAt(n, []byte("x"), chunkSize, false)) },
			[]byteRange{{0, chunkSize}, {2 * chunkSize, size}},
		},
		{
			"cut", func(n *Inode) syscall.Errno {
				return second(tree.SetAttr(n, &SetAttr{Valid: SetSize, Size: 2*chunkSize + 7}))
			},
			[]byteRange{{0, chunkSize}, {2 * chunkSize, 2*chunkSize + 7}},
		},
		{
			"punch", func(n *Inode) syscall.Errno {
				return tree.Allocate(n, 0, chunkSize, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE)
			},
			[]byteRange{{2 * chunkSize, 2*chunkSize + 7}},
		},
		{"empty", func(n *Inode) syscall.Errno { return second(tree.SetAttr(n, &SetAttr{Valid: SetSize})) }, nil},
	} {
		at(t, tree, "big", func(n *Inode) { ok(t, c.do(n)) })
		at(t, tree, "big", func(n *Inode) {
			if got := ranges(n); !slices.Equal(got, c.want) {
				t.Errorf("%s: %v, want %v", c.name, got, c.want)
			}
			want(t, tree.SetBase(n, &bytesBase{content: []byte("x")}), syscall.EINVAL)
		})
	}
}

// TestManyAtOnceOnAnImage does everything from several goroutines to what an image has,
// so that inodes are dropped and made while they are asked for.
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
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				r := &racer{tree: tree, dirs: dirs, rng: rand.New(rand.NewPCG(uint64(w), 1))}
				for range steps {
					r.step()
				}
				for _, n := range r.held {
					tree.Unref(n, 1)
				}
			})
		}
		wg.Wait()
		checkTree(t, tree, dirs[1:]...)
		for _, n := range dirs[1:] {
			tree.Unref(n, 1)
		}
	}
}

// TestLookupRacesForget looks up and forgets one file from several goroutines, one of
// which changes it now and then: no change is lost.
func TestLookupRacesForget(t *testing.T) {
	tree := onImage(t, nil, some(t))
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 3000 {
				n, errno := tree.Lookup(tree.Root(), "f")
				ok(t, errno)
				if w == 0 && i == 1500 {
					ok(t, tree.SetXattr(n, "user.b", nil, 0))
				}
				tree.Unref(n, 1)
			}
		})
	}
	wg.Wait()
	at(t, tree, "f", func(n *Inode) { ok(t, second(tree.GetXattr(n, "user.b"))) })
	checkTree(t, tree)
}
