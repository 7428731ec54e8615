package fs

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// eachLimit runs a test over trees that may hold so many pages: by their own
// limit or by that of their home.
func eachLimit(t *testing.T, pages int64, test func(t *testing.T, tree *Tree)) {
	t.Helper()
	t.Run("own limit", func(t *testing.T) { eachTree(t, &Options{MaxBytes: pages * pageSize}, test) })
	t.Run("home's limit", func(t *testing.T) {
		eachHome(t, pages*pageSize, func(t *testing.T, h Home) {
			tree, err := New(h, nil)
			must(t, err)
			defer closeTree(t, tree)
			test(t, tree)
		})
	})
}

func TestLimitIsExact(t *testing.T) {
	eachLimit(t, 100, func(t *testing.T, tree *Tree) {
		f := file(t, tree, tree.Root(), "f", string(pattern(int(60*pageSize), 0)))
		g := file(t, tree, tree.Root(), "g", string(pattern(int(39*pageSize), 0)))
		want(t, second(tree.WriteAt(g, pattern(int(2*pageSize), 0), 39*pageSize, false)), syscall.ENOSPC)
		write(t, tree, g, string(pattern(int(pageSize), 0)), 39*pageSize)
		if st := tree.StatFS(); st.Blocks != uint64(100*pageSize/blockSize) || st.Free != 0 {
			t.Errorf("full: %+v", st)
		}
		for _, errno := range []syscall.Errno{
			second(tree.WriteAt(f, []byte("x"), 60*pageSize, false)),
			second(tree.WriteAt(f, []byte("x"), 1<<40, false)),
			tree.Allocate(f, 0, 61*pageSize, 0),
			second(tree.CopyRange(g, 0, f, 60*pageSize, 10)),
		} {
			want(t, errno, syscall.ENOSPC)
		}
		write(t, tree, f, "over what is there", 100)
		if a := tree.Attr(f); a.Size != 60*pageSize {
			t.Errorf("what was refused changed the size: %d", a.Size)
		}
		ok(t, second(tree.SetAttr(f, &SetAttr{Valid: SetSize, Size: 50 * pageSize})))
		ok(t, tree.Allocate(f, 0, 10*pageSize, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE))
		if st := tree.StatFS(); st.Free != uint64(20*pageSize/blockSize) {
			t.Errorf("after 20 pages were given back: %+v", st)
		}
		ok(t, tree.Unlink(tree.Root(), "g"))
		tree.Unref(g, 1)
		if st := tree.StatFS(); st.Free != uint64(60*pageSize/blockSize) {
			t.Errorf("after a file was removed: %+v", st)
		}
		checkTree(t, tree, f)
	})
}

// TestWriteBeyondTheLimitChangesNothing writes across a present page and a hole for which
// there is no memory; a tmpfs alone would write the first part.
func TestWriteBeyondTheLimitChangesNothing(t *testing.T) {
	eachLimit(t, 4, func(t *testing.T, tree *Tree) {
		f := file(t, tree, tree.Root(), "f", string(pattern(int(pageSize), 0)))
		write(t, tree, f, string(pattern(int(pageSize), 0)), 5*pageSize)
		before := read(t, tree, f)
		want(t, second(tree.WriteAt(f, pattern(int(6*pageSize), 1), 0, false)), syscall.ENOSPC)
		want(t, second(tree.WriteAt(f, pattern(int(4*pageSize), 1), 5*pageSize+10, false)), syscall.ENOSPC)
		if got := read(t, tree, f); got != before {
			t.Error("a write that was refused changed the content")
		}
		if st := tree.StatFS(); st.Free != uint64(2*pageSize/blockSize) {
			t.Errorf("a write that was refused took memory: %+v", st)
		}
		checkTree(t, tree, f)
	})
}

func TestCopyUpBeyondTheLimitChangesNothing(t *testing.T) {
	eachLimit(t, 4, func(t *testing.T, tree *Tree) {
		f, b := baseFile(t, tree, "f", 5)
		for _, errno := range []syscall.Errno{
			second(tree.WriteAt(f, []byte("x"), 0, false)),
			tree.Allocate(f, 0, 1, 0),
			tree.Allocate(f, 0, 10, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE),
		} {
			want(t, errno, syscall.ENOSPC)
		}
		if got := read(t, tree, f); got != string(b.content) {
			t.Error("other bytes afterwards")
		}
		if st := tree.StatFS(); st.Free != st.Blocks {
			t.Errorf("it took memory: %+v", st)
		}
		ok(t, second(tree.SetAttr(f, &SetAttr{Valid: SetSize, Size: 4 * pageSize})))
		if got := read(t, tree, f); got != string(b.content[:4*pageSize]) {
			t.Error("cut: other bytes")
		}
		if st := tree.StatFS(); st.Free != st.Blocks {
			t.Errorf("to cut it took memory: %+v", st)
		}
		checkTree(t, tree, f)
	})
}

// What lives on the heap once counted against nothing, empty extended attributes and
// the names of links among it.
func TestTextCountsAgainstTheLimits(t *testing.T) {
	const long = 200
	name, target := strings.Repeat("n", long), strings.Repeat("t", 4000)
	value := func(n int) []byte { return []byte(strings.Repeat("v", n)) }
	for _, c := range []struct {
		name   string
		text   int64 // that it takes
		inodes int64
		do     func(tree *Tree, f *Inode) syscall.Errno
		undo   func(tree *Tree, f *Inode) syscall.Errno
	}{
		{
			"name", long, 1,
			func(tree *Tree, _ *Inode) syscall.Errno { return made(tree)(tree.Mkdir(tree.Root(), name, 0, Owner{})) },
			func(tree *Tree, _ *Inode) syscall.Errno { return tree.Rmdir(tree.Root(), name) },
		},
		{
			"link", long, 1,
			func(tree *Tree, f *Inode) syscall.Errno { return tree.Link(tree.Root(), name, f) },
			func(tree *Tree, _ *Inode) syscall.Errno { return tree.Unlink(tree.Root(), name) },
		},
		{
			"target", 1 + 4000, 1,
			func(tree *Tree, _ *Inode) syscall.Errno {
				return made(tree)(tree.Symlink(tree.Root(), "s", target, Owner{}))
			},
			func(tree *Tree, _ *Inode) syscall.Errno { return tree.Unlink(tree.Root(), "s") },
		},
		{
			"longer name", long - 1, 0,
			func(tree *Tree, _ *Inode) syscall.Errno { return tree.Rename(tree.Root(), "f", tree.Root(), name, 0) },
			func(tree *Tree, _ *Inode) syscall.Errno { return tree.Rename(tree.Root(), name, tree.Root(), "f", 0) },
		},
		{
			"name in another directory", long - 1, 0,
			func(tree *Tree, _ *Inode) syscall.Errno {
				return tree.Rename(tree.Root(), "f", child(tree, "d"), name, 0)
			},
			func(tree *Tree, _ *Inode) syscall.Errno {
				return tree.Rename(child(tree, "d"), name, tree.Root(), "f", 0)
			},
		},
		{
			"xattr", 6 + 50 + xattrCost, 0,
			func(tree *Tree, f *Inode) syscall.Errno { return tree.SetXattr(f, "user.a", value(50), 0) },
			func(tree *Tree, f *Inode) syscall.Errno { return tree.RemoveXattr(f, "user.a") },
		},
		{
			"empty xattr", 6 + xattrCost, 0,
			func(tree *Tree, f *Inode) syscall.Errno { return tree.SetXattr(f, "user.a", nil, 0) },
			func(tree *Tree, f *Inode) syscall.Errno { return tree.RemoveXattr(f, "user.a") },
		},
		{
			"longer xattr", 10, 0,
			func(tree *Tree, f *Inode) syscall.Errno { return tree.SetXattr(f, "user.z", value(10), 0) },
			func(tree *Tree, f *Inode) syscall.Errno { return tree.SetXattr(f, "user.z", nil, 0) },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			checkTextLimits(t, c.text, c.inodes, c.do, c.undo)
		})
	}
}

// checkTextLimits does something that takes so many bytes of text and so many inodes, and
// undoes it, in trees with just as much room and with less.
func checkTextLimits(t *testing.T, text, inodes int64, do, undo func(*Tree, *Inode) syscall.Errno) {
	t.Helper()
	const names, bytes, nodes = 3, 2 + 6 + xattrCost, 3 // of "f", "d" and an empty "user.z", which exist already
	limits := []*Options{
		{MaxBytes: bytes + text, MaxInodes: nodes + inodes, Heap: NewHeap(names*inodeCost + bytes + inodes*inodeCost + text)},
		{MaxBytes: bytes + text - 1},
		{Heap: NewHeap(names*inodeCost + bytes + inodes*inodeCost + text - 1)},
	}
	if inodes > 0 {
		limits = append(limits, &Options{MaxInodes: nodes})
	}
	for i, opts := range limits {
		tree := newTree(t, opts)
		f := file(t, tree, tree.Root(), "f", "")
		tree.Unref(mkdir(t, tree, tree.Root(), "d"), 1)
		ok(t, tree.SetXattr(f, "user.z", nil, 0))
		if i > 0 {
			want(t, do(tree, f), syscall.ENOSPC)
		} else {
			for range 3 {
				ok(t, do(tree, f))
				checkTree(t, tree, f)
				ok(t, undo(tree, f))
			}
		}
		checkTree(t, tree, f)
		must(t, tree.Close())
		if opts.Heap != nil && opts.Heap.used.Load() != 0 {
			t.Errorf("%d bytes of the heap are counted after the end of the tree", opts.Heap.used.Load())
		}
	}
}

// made returns the reference to what was made.
func made(tree *Tree) func(*Inode, syscall.Errno) syscall.Errno {
	return func(n *Inode, errno syscall.Errno) syscall.Errno {
		if errno == 0 {
			tree.Unref(n, 1)
		}
		return errno
	}
}

// Two trees once had the limit of one each.
func TestTreesShareTheHeap(t *testing.T) {
	heap := NewHeap(10 * inodeCost)
	one, other := newTree(t, &Options{Heap: heap}), newTree(t, &Options{Heap: heap, MaxInodes: 100})
	for i := range 6 {
		tree := []*Tree{one, other}[i%2]
		tree.Unref(mkdir(t, tree, tree.Root(), fmt.Sprint(i)), 1)
	}
	if st := one.StatFS(); st.Files != 10 || st.Ffree != 1 {
		t.Errorf("%+v", st)
	}
	if st := other.StatFS(); st.Files != 100 || st.Ffree != 1 {
		t.Errorf("with a limit of its own: %+v", st)
	}
	tree := other
	tree.Unref(mkdir(t, tree, tree.Root(), "x"), 1)
	want(t, made(one)(one.Mkdir(one.Root(), "y", 0, Owner{})), syscall.ENOSPC)
	must(t, other.Close())
	one.Unref(mkdir(t, one, one.Root(), "y"), 1)
	if _, err := New(one.home, &Options{Heap: NewHeap(1)}); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a tree on a heap that is full: %v", err)
	}
}

// Removed names once stayed until there were as many as had names, and nine more,
// in each directory.
func TestRemovedNamesTakeLittle(t *testing.T) {
	tree := newTree(t, nil)
	long := func(i int) string { return fmt.Sprintf("%0255d", i) }
	for i := range 8 {
		file(t, tree, tree.Root(), long(i), "")
	}
	file(t, tree, tree.Root(), "short", "")
	for i := range 8 {
		ok(t, tree.Unlink(tree.Root(), long(i)))
	}
	for range 10 {
		ok(t, tree.Rename(tree.Root(), "short", tree.Root(), long(0), 0))
		ok(t, tree.Rename(tree.Root(), long(0), tree.Root(), "short", 0))
	}
	if d := tree.Root().dir(); d.names.len() > d.text+maxName {
		t.Errorf("%d bytes of names for %d that live", d.names.len(), d.text)
	}
	ok(t, tree.Unlink(tree.Root(), "short"))
	if d := tree.Root().dir(); d.slots.len() != 0 || d.names.len() != 0 {
		t.Errorf("an empty directory has room for %d names, and %d bytes of them", d.slots.len(), d.names.len())
	}
}

// TestXattrNamesFitIntoAList makes as many names as listxattr(2) can return.
func TestXattrNamesFitIntoAList(t *testing.T) {
	tree := newTree(t, nil)
	f := file(t, tree, tree.Root(), "f", "")
	for i := range maxXattrList / (maxXattrName + 1) {
		ok(t, tree.SetXattr(f, fmt.Sprintf("user.%0250d", i), nil, 0))
	}
	want(t, tree.SetXattr(f, "user.a", nil, 0), syscall.ENOSPC)
	if list, errno := tree.ListXattr(f); len(list) != 256 || errno != 0 {
		t.Errorf("%d names, %v", len(list), errno)
	}
}

func TestMaxInodes(t *testing.T) {
	tree := newTree(t, &Options{MaxInodes: 4})
	d := mkdir(t, tree, tree.Root(), "d")
	f := file(t, tree, d, "f", "")
	ok(t, tree.Link(d, "g", f))
	for _, errno := range []syscall.Errno{
		tree.Link(d, "h", f),
		second(tree.Mknod(d, "h", syscall.S_IFREG, 0, Owner{})), second(tree.Mkdir(d, "h", 0, Owner{})),
		second(tree.Symlink(d, "h", "x", Owner{})), second(tree.Tmpfile(d, 0, Owner{})),
	} {
		want(t, errno, syscall.ENOSPC)
	}
	if st := tree.StatFS(); st.Files != 4 || st.Ffree != 0 {
		t.Errorf("full: %+v", st)
	}
	ok(t, tree.Unlink(d, "f"))
	if st := tree.StatFS(); st.Ffree != 1 {
		t.Errorf("after a link is gone: %+v", st)
	}
	tmp, errno := tree.Tmpfile(d, 0, Owner{})
	ok(t, errno)
	ok(t, tree.Unlink(d, "g"))
	want(t, second(tree.Tmpfile(d, 0, Owner{})), syscall.ENOSPC)
	ok(t, tree.Link(d, "t", tmp)) // the first name of a file is counted with it
	tree.Unref(tmp, 1)
	tree.Unref(f, 1)
	if st := tree.StatFS(); st.Ffree != 1 {
		t.Errorf("after a file is gone: %+v", st)
	}
	f = file(t, tree, d, "f", "")
	if f.Ino() != 5 {
		t.Errorf("the fifth inode has number %d", f.Ino())
	}
}

func TestStatFSTellsTheTighterLimit(t *testing.T) {
	blocks := func(pages int64) uint64 { return uint64(pages * pageSize / blockSize) }
	eachHome(t, 100*pageSize, func(t *testing.T, h Home) {
		full, err := New(h, nil)
		must(t, err)
		defer closeTree(t, full)
		tree, err := New(h, &Options{MaxBytes: 50 * pageSize})
		must(t, err)
		defer closeTree(t, tree)
		if st := tree.StatFS(); st != (StatFS{Blocks: blocks(50), Free: blocks(50)}) {
			t.Errorf("the tree's limit: %+v", st)
		}
		file(t, full, full.Root(), "f", string(pattern(int(70*pageSize), 0)))
		if st := tree.StatFS(); st != (StatFS{Blocks: blocks(50), Free: blocks(30)}) {
			t.Errorf("what another tree left: %+v", st)
		}
		if st := full.StatFS(); st != (StatFS{Blocks: blocks(100), Free: blocks(30)}) {
			t.Errorf("the home's limit: %+v", st)
		}
	})
}

func TestNewRefusesNonsense(t *testing.T) {
	if _, err := New(nil, nil); err == nil {
		t.Error("no home was accepted")
	}
	h, err := NewArenaHome(testHomeSize)
	must(t, err)
	defer func() { must(t, h.Close()) }()
	for _, opts := range []*Options{{MaxBytes: -1}, {MaxInodes: -1}} {
		if _, err := New(h, opts); err == nil {
			t.Errorf("%+v was accepted", opts)
		}
	}
}

func TestCloseReportsWhatTheHomeSays(t *testing.T) {
	h, err := NewArenaHome(testHomeSize)
	must(t, err)
	tree, err := New(h, nil)
	must(t, err)
	f := file(t, tree, tree.Root(), "f", "content")
	must(t, f.content.(*upper).Close())
	if err := tree.Close(); !errors.Is(err, syscall.EBADF) {
		t.Errorf("Close: %v", err)
	}
	must(t, h.Close())
}

// A range that is made zero and has no room for more than it had is zero all the same,
// and a change: a commit that did not see it left the old bytes in the archive.
func TestZeroRangeWithoutRoom(t *testing.T) {
	eachLimit(t, 10, func(t *testing.T, tree *Tree) {
		f := file(t, tree, tree.Root(), "f", string(pattern(int(8*pageSize), 0)))
		tree.Seal()
		want(t, tree.Allocate(f, 0, 20*pageSize, unix.FALLOC_FL_ZERO_RANGE), syscall.ENOSPC)
		p := make([]byte, 1)
		if n, errno := tree.ReadAt(f, p, 0); n != 1 || errno != 0 {
			t.Fatal(n, errno)
		}
		if zero, changed := p[0] == 0 && tree.Attr(f).Blocks == 0, tree.Changes().Modified == 1; zero != changed {
			t.Errorf("the content is zero: %v, and counts as changed: %v", zero, changed)
		}
		checkTree(t, tree, f)
	})
}
