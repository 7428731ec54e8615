package fs

import (
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// lentTree is a tree in a tmpfs, which alone can lend.
func lentTree(t *testing.T, opts *Options) *Tree {
	t.Helper()
	h, err := NewTmpfsHome(testHomeSize, 0)
	if err != nil {
		t.Fatal(err)
	}
	return treeIn(t, h, opts)
}

func lend(t *testing.T, tree *Tree, n *Inode) int {
	t.Helper()
	fd, errno := tree.Lend(n)
	ok(t, errno)
	t.Cleanup(func() { closeFD(fd) })
	return fd
}

func pwrite(t *testing.T, fd int, s string, off int64) {
	t.Helper()
	if _, err := unix.Pwrite(fd, []byte(s), off); err != nil {
		t.Fatal(err)
	}
}

func TestLentFileIsSeen(t *testing.T) {
	tree := lentTree(t, nil)
	n := file(t, tree, tree.Root(), "n", "before")
	defer tree.Unref(n, 1)
	tree.Seal()
	fd := lend(t, tree, n)
	if tree.Changes().Total() != 0 {
		t.Errorf("lending alone counts as a change: %+v", tree.Changes())
	}
	before := tree.Attr(n)
	pwrite(t, fd, " and after", 6)
	a := tree.Attr(n)
	if a.Size != 16 || a.Blocks != 8 {
		t.Errorf("size %d, blocks %d; want 16, 8", a.Size, a.Blocks)
	}
	if a.Mtime.Sec < before.Mtime.Sec || a.Mtime.Sec == 0 || a.Ctime != a.Mtime {
		t.Errorf("mtime %v, ctime %v, before %v", a.Mtime, a.Ctime, before.Mtime)
	}
	if c := tree.Changes(); c.Modified != 1 {
		t.Errorf("changes %+v, want one file modified", c)
	}
	if got := read(t, tree, n); got != "before and after" {
		t.Errorf("content %q", got)
	}
	pwrite(t, fd, "x", 100<<10)
	tree.Attr(n)
	if used, _ := tree.Usage(); used != 2*pageSize {
		t.Errorf("usage %d bytes, want two pages", used)
	}
	tree.Return(n)
	if got := tree.Attr(n); got.Size != 100<<10+1 {
		t.Errorf("size after the return %d", got.Size)
	}
}

func TestLentFileUnderOtherOperations(t *testing.T) {
	tree := lentTree(t, nil)
	n := file(t, tree, tree.Root(), "n", "")
	defer tree.Unref(n, 1)
	fd := lend(t, tree, n)
	pwrite(t, fd, "0123456789", 0)
	if _, errno := tree.WriteAt(n, []byte("AB"), 10, false); errno != 0 {
		t.Fatal(errno)
	}
	if _, errno := tree.SetAttr(n, &SetAttr{Valid: SetSize, Size: 11}); errno != 0 {
		t.Fatal(errno)
	}
	pwrite(t, fd, "C", 11)
	if got := read(t, tree, n); got != "0123456789AC" {
		t.Errorf("content %q", got)
	}
	past := Time{Sec: 1000, Nsec: 7}
	if _, errno := tree.SetAttr(n, &SetAttr{Valid: SetMtime, Mtime: past}); errno != 0 {
		t.Fatal(errno)
	}
	if a := tree.Attr(n); a.Mtime != past {
		t.Errorf("mtime %v, want the one that was set, %v", a.Mtime, past)
	}
	tree.Return(n)
	if a := tree.Attr(n); a.Mtime != past {
		t.Errorf("mtime after the return %v, want the one that was set, %v", a.Mtime, past)
	}
}

// A lock file is opened to be read and written, and nothing is ever written to it.
func TestEmptyMappedFileIsUnchanged(t *testing.T) {
	tree := lentTree(t, nil)
	n := file(t, tree, tree.Root(), "lock", "")
	defer tree.Unref(n, 1)
	tree.Seal()
	fd := lend(t, tree, n)
	tree.Mapped(n)
	if c := tree.Changes(); c.Total() != 0 {
		t.Errorf("opened: %+v", c)
	}
	pwrite(t, fd, "1234", 0)
	tree.Return(n)
	if c := tree.Changes(); c.Modified != 1 {
		t.Errorf("written: %+v", c)
	}
}

func TestWriteThroughMemoryCounts(t *testing.T) {
	tree := lentTree(t, nil)
	n := file(t, tree, tree.Root(), "n", "before")
	defer tree.Unref(n, 1)
	tree.Seal()
	fd := lend(t, tree, n)
	tree.Mapped(n)
	m, err := unix.Mmap(fd, 0, 6, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	copy(m, "AFTER!")
	if err := unix.Munmap(m); err != nil {
		t.Fatal(err)
	}
	tree.Return(n)
	if got := read(t, tree, n); got != "AFTER!" || tree.Changes().Modified != 1 {
		t.Errorf("content %q, changes %+v", got, tree.Changes())
	}
}

func TestWhatIsNotLent(t *testing.T) {
	tree := lentTree(t, nil)
	suid := file(t, tree, tree.Root(), "suid", "x")
	if _, errno := tree.SetAttr(suid, &SetAttr{Valid: SetMode, Mode: 0o4755}); errno != 0 {
		t.Fatal(errno)
	}
	capable := file(t, tree, tree.Root(), "capable", "x")
	ok(t, tree.SetXattr(capable, "security.capability", []byte("x"), 0))
	spool, err := tree.NewSpool()
	if err != nil {
		t.Fatal(err)
	}
	b, err := spool.Add(strings.NewReader("base"))
	if err != nil {
		t.Fatal(err)
	}
	base := file(t, tree, tree.Root(), "base", "")
	ok(t, tree.SetBase(base, b))
	lent := file(t, tree, tree.Root(), "lent", "x")
	lend(t, tree, lent)
	for name, n := range map[string]*Inode{"suid": suid, "capable": capable, "base": base, "lent": lent} {
		if fd, errno := tree.Lend(n); errno != syscall.EOPNOTSUPP {
			t.Errorf("%s: Lend = %d, %v; want EOPNOTSUPP", name, fd, errno)
		}
	}
	if _, errno := tree.Lend(tree.Root()); errno != syscall.EISDIR {
		t.Errorf("directory: Lend = %v, want EISDIR", errno)
	}
	tree.Return(lent)
	for _, n := range []*Inode{suid, capable, base, lent} {
		tree.Unref(n, 1)
	}
	arena := newTree(t, nil)
	n := file(t, arena, arena.Root(), "n", "x")
	defer arena.Unref(n, 1)
	if _, errno := arena.Lend(n); errno != syscall.EOPNOTSUPP {
		t.Errorf("arena: Lend = %v, want EOPNOTSUPP", errno)
	}
}

// A file that is removed while it is lent stays until it is returned.
func TestLentFileOutlivesItsName(t *testing.T) {
	tree := lentTree(t, nil)
	n := file(t, tree, tree.Root(), "n", "x")
	fd := lend(t, tree, n)
	ok(t, tree.Unlink(tree.Root(), "n"))
	tree.Unref(n, 1)
	pwrite(t, fd, "more", 1)
	if got := read(t, tree, n); got != "xmore" {
		t.Errorf("content %q", got)
	}
	tree.Return(n)
	if used, inodes := tree.Usage(); used != 0 || inodes != 1 {
		t.Errorf("usage at the end: %d bytes, %d inodes", used, inodes)
	}
}
