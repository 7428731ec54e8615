package fs

import (
	"syscall"
	"testing"

	"pgregory.net/rapid"
)

// homes are the kinds of home that every test of content runs over.
var homes = map[string]func(size int64) (Home, error){
	"tmpfs": func(size int64) (Home, error) { return NewTmpfsHome(size, 0) },
	"arena": NewArenaHome,
}

// makers make the two kinds of tree, both empty.
var makers = map[string]func(Home, *Options) (*Tree, error){
	"filled":      New,
	"on an image": newOnNothing,
}

// newOnNothing makes a tree on an image without names.
func newOnNothing(h Home, opts *Options) (*Tree, error) {
	a := Attr{Mode: syscall.S_IFDIR | 0o755, Nlink: 2, Mtime: Now()}
	if opts != nil {
		a.UID, a.GID = opts.Owner.UID, opts.Owner.GID
	}
	a.Atime, a.Ctime, a.Btime = a.Mtime, a.Mtime, a.Mtime
	return NewOn(memImage{{attr: a}}, h, opts)
}

const testHomeSize = 64 << 20

// eachHome runs a test over every kind of home, of the given size, and looks
// afterwards whether all of it was given back.
func eachHome(t *testing.T, size int64, test func(t *testing.T, h Home)) {
	t.Helper()
	for name, newHome := range homes {
		t.Run(name, func(t *testing.T) {
			h, err := newHome(size)
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := h.Close(); err != nil {
					t.Error(err)
				}
			}()
			test(t, h)
			total, free, err := h.StatFS()
			if err != nil || total != free {
				t.Errorf("StatFS at the end: %d of %d bytes free, %v", free, total, err)
			}
		})
	}
}

// eachTree runs a test over both kinds of tree in every kind of home.
func eachTree(t *testing.T, opts *Options, test func(t *testing.T, tree *Tree)) {
	t.Helper()
	for kind, newTree := range makers {
		t.Run(kind, func(t *testing.T) {
			eachHome(t, testHomeSize, func(t *testing.T, h Home) {
				tree, err := newTree(h, opts)
				if err != nil {
					t.Fatal(err)
				}
				defer closeTree(t, tree)
				test(t, tree)
			})
		})
	}
}

// newTree makes a tree on an image in an arena, for tests in which neither matters.
func newTree(t testing.TB, opts *Options) *Tree {
	t.Helper()
	h, err := NewArenaHome(testHomeSize)
	if err != nil {
		t.Fatal(err)
	}
	return treeIn(t, h, opts)
}

// treeIn makes a tree in a home; both are closed at the end of the test.
func treeIn(t testing.TB, h Home, opts *Options) *Tree {
	t.Helper()
	tree, err := newOnNothing(h, opts)
	if err != nil {
		t.Fatal(err)
	}
	return closedAtEnd(t, h, tree)
}

// closedAtEnd closes a tree, and then its home, at the end of the test.
func closedAtEnd(t testing.TB, h Home, tree *Tree) *Tree {
	t.Cleanup(func() {
		closeTree(t, tree)
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return tree
}

func closeTree(t testing.TB, tree *Tree) {
	t.Helper()
	if err := tree.Close(); err != nil {
		t.Error(err)
	}
	if used := tree.bytes.used.Load(); used != 0 {
		t.Errorf("after Close %d bytes are counted as used", used)
	}
}

// child is the inode of a name in the root, to which the test has a reference or which was
// made by it.
func child(tree *Tree, name string) *Inode { return tree.inodes.get(tree.root.dir().lookup(name)) }

// ok fails the test on an errno.
func ok(t rapid.TB, errno syscall.Errno) {
	t.Helper()
	if errno != 0 {
		t.Fatalf("got %v", errno)
	}
}

// want fails the test on another errno.
func want(t rapid.TB, got, want syscall.Errno) {
	t.Helper()
	if got != want {
		t.Fatalf("got errno %d (%v), want %d (%v)", int(got), got, int(want), want)
	}
}

// file makes a regular file with content. The test keeps the reference.
func file(t rapid.TB, tree *Tree, dir *Inode, name, content string) *Inode {
	t.Helper()
	n, errno := tree.Mknod(dir, name, syscall.S_IFREG|0o644, 0, Owner{})
	ok(t, errno)
	if content != "" {
		write(t, tree, n, content, 0)
	}
	return n
}

// mkdir makes a directory. The test keeps the reference.
func mkdir(t rapid.TB, tree *Tree, dir *Inode, name string) *Inode {
	t.Helper()
	n, errno := tree.Mkdir(dir, name, 0o755, Owner{})
	ok(t, errno)
	return n
}

func write(t rapid.TB, tree *Tree, n *Inode, content string, off int64) {
	t.Helper()
	got, errno := tree.WriteAt(n, []byte(content), off, false)
	if errno != 0 || got != len(content) {
		t.Fatalf("WriteAt(%d bytes, %d) = %d, %v", len(content), off, got, errno)
	}
}

// read returns all content of a file.
func read(t rapid.TB, tree *Tree, n *Inode) string {
	t.Helper()
	size := tree.Attr(n).Size
	buf := make([]byte, size+1)
	got, errno := tree.ReadAt(n, buf, 0)
	ok(t, errno)
	if int64(got) != size {
		t.Fatalf("ReadAt gave %d bytes of %d", got, size)
	}
	return string(buf[:got])
}

// names lists a directory in the order of ReadDir.
func names(t rapid.TB, tree *Tree, dir *Inode) []string {
	t.Helper()
	var names []string
	ok(t, tree.ReadDir(dir, 0, func(d Dirent) bool {
		names = append(names, d.Name)
		return true
	}))
	return names
}
