package fs

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestInodesAreNumberedAndNeverAgain(t *testing.T) {
	tree := newTree(t, nil)
	if n := tree.Get(1); n != tree.Root() {
		t.Errorf("number 1 is %v", n)
	}
	last := tree.Root().Ino()
	for range 3 * chunkInodes {
		f := file(t, tree, tree.Root(), "f", "")
		if f.Ino() != last+1 {
			t.Fatalf("after %d comes %d", last, f.Ino())
		}
		last = f.Ino()
		if tree.Get(last) != f {
			t.Fatalf("Get(%d) gives another inode", last)
		}
		ok(t, tree.Unlink(tree.Root(), "f"))
		tree.Unref(f, 1)
		if tree.Get(last) != nil {
			t.Fatalf("inode %d is there after it was removed", last)
		}
	}
	for _, ino := range []uint64{0, last + 1, last + chunkInodes, math.MaxUint64} {
		if n := tree.Get(ino); n != nil {
			t.Errorf("Get(%d) = %v", ino, n)
		}
	}
	chunks := 0
	for i := range *tree.inodes.chunks.Load() {
		if (*tree.inodes.chunks.Load())[i].Load() != nil {
			chunks++
		}
	}
	if chunks > 3 { // the root's, the last, and one that is empty
		t.Errorf("%d chunks are kept", chunks)
	}
}

func TestInodeLivesByNameOrReference(t *testing.T) {
	eachTree(t, nil, func(t *testing.T, tree *Tree) {
		f := file(t, tree, tree.Root(), "f", "content")
		again, errno := tree.Lookup(tree.Root(), "f")
		ok(t, errno)
		if again != f {
			t.Fatal("Lookup gives another inode")
		}
		tree.Ref(f)
		ok(t, tree.Unlink(tree.Root(), "f"))
		if a := tree.Attr(f); a.Nlink != 0 {
			t.Errorf("a removed file has %d links", a.Nlink)
		}
		tree.Unref(f, 2)
		write(t, tree, f, "CON", 0)
		if got := read(t, tree, f); got != "CONtent" {
			t.Errorf("a removed file that is open holds %q", got)
		}
		want(t, tree.Link(tree.Root(), "f", f), syscall.ENOENT)
		tree.Unref(f, 1)
		if tree.Get(f.Ino()) != nil || tree.bytes.used.Load() != 0 {
			t.Error("it is there after its last reference")
		}
	})
}

func TestUnrefOfTooManyPanics(t *testing.T) {
	tree := newTree(t, nil)
	f := file(t, tree, tree.Root(), "f", "")
	tree.Unref(tree.Root(), 5) // the root cannot be lost
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	tree.Unref(f, 2)
}

func TestNamesThatAreNone(t *testing.T) {
	tree := newTree(t, nil)
	root, f := tree.Root(), file(t, tree, tree.Root(), "f", "")
	for _, c := range []struct {
		name string
		want syscall.Errno
	}{
		{"", syscall.ENOENT},
		{".", syscall.EINVAL},
		{"..", syscall.EINVAL},
		{"a/b", syscall.EINVAL},
		{"a\x00", syscall.EINVAL},
		{strings.Repeat("ä", 128), syscall.ENAMETOOLONG},
	} {
		for verb, errno := range map[string]syscall.Errno{
			"Lookup":      second(tree.Lookup(root, c.name)),
			"Mknod":       second(tree.Mknod(root, c.name, syscall.S_IFREG, 0, Owner{})),
			"Mkdir":       second(tree.Mkdir(root, c.name, 0, Owner{})),
			"Symlink":     second(tree.Symlink(root, c.name, "x", Owner{})),
			"Link":        tree.Link(root, c.name, f),
			"Unlink":      tree.Unlink(root, c.name),
			"Rmdir":       tree.Rmdir(root, c.name),
			"Rename":      tree.Rename(root, c.name, root, "x", 0),
			"Rename onto": tree.Rename(root, "f", root, c.name, 0),
		} {
			if errno != c.want {
				t.Errorf("%s of %.5q: got %v, want %v", verb, c.name, orNil(errno), c.want)
			}
		}
	}
	name := strings.Repeat("n", maxName)
	file(t, tree, root, name, "")
	if got := names(t, tree, root); !slices.Equal(got, []string{"f", name}) {
		t.Errorf("names: %.20q", got)
	}
}

func TestMknodOfEveryKind(t *testing.T) {
	tree := newTree(t, nil)
	for _, c := range []struct {
		mode, want uint32
		errno      syscall.Errno
	}{
		{0o644, syscall.S_IFREG | 0o644, 0},
		{syscall.S_IFIFO | 0o600, syscall.S_IFIFO | 0o600, 0},
		{syscall.S_IFSOCK | 0o7777, syscall.S_IFSOCK | 0o7777, 0},
		{syscall.S_IFCHR, syscall.S_IFCHR, 0},
		{syscall.S_IFBLK, syscall.S_IFBLK, 0},
		{syscall.S_IFDIR, 0, syscall.EPERM},
		{syscall.S_IFLNK, 0, syscall.EINVAL},
		{0o30000, 0, syscall.EINVAL},
	} {
		n, errno := tree.Mknod(tree.Root(), fmt.Sprintf("%o", c.mode), c.mode, 0x501, Owner{UID: 7, GID: 8})
		want(t, errno, c.errno)
		if errno != 0 {
			continue
		}
		a := tree.Attr(n)
		if a.Mode != c.want || a.Nlink != 1 || a.UID != 7 || a.GID != 8 || a.Size != 0 {
			t.Errorf("%o: %+v", c.mode, a)
		}
		device := c.mode&syscall.S_IFMT == syscall.S_IFCHR || c.mode&syscall.S_IFMT == syscall.S_IFBLK
		if (a.Rdev == 0x501) != device {
			t.Errorf("%o: device %#x", c.mode, a.Rdev)
		}
	}
	for _, c := range []struct {
		target string
		want   syscall.Errno
	}{{"", syscall.ENOENT}, {strings.Repeat("t", maxTarget), 0}, {strings.Repeat("t", maxTarget+1), syscall.ENAMETOOLONG}} {
		n, errno := tree.Symlink(tree.Root(), "link", c.target, Owner{})
		want(t, errno, c.want)
		if errno == 0 {
			if got, errno := tree.Readlink(n); got != c.target || errno != 0 || tree.Attr(n).Size != int64(len(c.target)) {
				t.Errorf("a target of %d bytes: got %d, %v", len(c.target), len(got), errno)
			}
		}
	}
}

func TestSetgidDirectoryPassesItsGroupOn(t *testing.T) {
	tree := newTree(t, nil)
	d := mkdir(t, tree, tree.Root(), "d")
	ok(t, second(tree.SetAttr(d, &SetAttr{Valid: SetMode | SetGID, Mode: 0o2755, GID: 42})))
	sub, errno := tree.Mkdir(d, "sub", 0o700, Owner{UID: 1, GID: 1})
	ok(t, errno)
	f, errno := tree.Mknod(d, "f", syscall.S_IFREG|0o2755, 0, Owner{UID: 1, GID: 1})
	ok(t, errno)
	tmp, errno := tree.Tmpfile(d, 0o600, Owner{UID: 1, GID: 1})
	ok(t, errno)
	for n, mode := range map[*Inode]uint32{sub: syscall.S_IFDIR | 0o2700, f: syscall.S_IFREG | 0o2755, tmp: syscall.S_IFREG | 0o600} {
		if a := tree.Attr(n); a.Mode != mode || a.GID != 42 || a.UID != 1 {
			t.Errorf("want mode %o: %+v", mode, a)
		}
	}
}

func TestTmpfileIsLinkedOnce(t *testing.T) {
	tree := newTree(t, nil)
	f, errno := tree.Tmpfile(tree.Root(), 0o600, Owner{})
	ok(t, errno)
	if a := tree.Attr(f); a.Nlink != 0 || !tree.Empty() {
		t.Fatalf("a file without a name: %+v", a)
	}
	ok(t, tree.Link(tree.Root(), "f", f))
	ok(t, tree.Link(tree.Root(), "g", f))
	ok(t, tree.Unlink(tree.Root(), "f"))
	ok(t, tree.Unlink(tree.Root(), "g"))
	want(t, tree.Link(tree.Root(), "f", f), syscall.ENOENT)
	tree.Unref(f, 1)
	checkTree(t, tree)
}

func TestParent(t *testing.T) {
	tree := newTree(t, nil)
	d, e := mkdir(t, tree, tree.Root(), "d"), mkdir(t, tree, tree.Root(), "e")
	sub := mkdir(t, tree, d, "sub")
	ok(t, tree.Rename(d, "sub", e, "sub", 0))
	for n, parent := range map[*Inode]*Inode{tree.Root(): tree.Root(), d: tree.Root(), sub: e} {
		got, errno := tree.Parent(n)
		ok(t, errno)
		if got != parent {
			t.Errorf("the parent of %d is %d, want %d", n.Ino(), got.Ino(), parent.Ino())
		}
		tree.Unref(got, 1)
	}
	ok(t, tree.Rmdir(e, "sub"))
	want(t, second(tree.Parent(sub)), syscall.ENOENT)
	want(t, second(tree.Parent(file(t, tree, d, "f", ""))), syscall.ENOTDIR)
}

func TestFind(t *testing.T) {
	tree := newTree(t, nil)
	d, f := mkdir(t, tree, tree.Root(), "d"), file(t, tree, tree.Root(), "f", "")
	unnamed, errno := tree.Tmpfile(tree.Root(), 0o600, Owner{})
	ok(t, errno)
	for _, n := range []*Inode{tree.Root(), d, f} {
		got, errno := tree.Find(n.Ino())
		ok(t, errno)
		if got != n {
			t.Errorf("number %d found %d", n.Ino(), got.Ino())
		}
		tree.Unref(got, 1)
	}
	ok(t, tree.Rmdir(tree.Root(), "d"))
	ok(t, tree.Unlink(tree.Root(), "f"))
	for _, ino := range []uint64{d.Ino(), f.Ino(), unnamed.Ino(), unnamed.Ino() + 1, 0} {
		want(t, second(tree.Find(ino)), syscall.ESTALE)
	}
}

// TestRemovedDirectory asks a directory that is open and has no name any more.
func TestRemovedDirectory(t *testing.T) {
	tree := newTree(t, nil)
	d, f := mkdir(t, tree, tree.Root(), "d"), file(t, tree, tree.Root(), "f", "")
	ok(t, tree.Rmdir(tree.Root(), "d"))
	for verb, errno := range map[string]syscall.Errno{
		"Lookup":      second(tree.Lookup(d, "x")),
		"Parent":      second(tree.Parent(d)),
		"ReadDir":     tree.ReadDir(d, 0, func(Dirent) bool { return true }),
		"Mknod":       second(tree.Mknod(d, "x", syscall.S_IFREG, 0, Owner{})),
		"Mkdir":       second(tree.Mkdir(d, "x", 0, Owner{})),
		"Symlink":     second(tree.Symlink(d, "x", "x", Owner{})),
		"Link":        tree.Link(d, "x", f),
		"Rename into": tree.Rename(tree.Root(), "f", d, "x", 0),
	} {
		if errno != syscall.ENOENT {
			t.Errorf("%s: got %v, want ENOENT", verb, orNil(errno))
		}
	}
	// The kernel makes a file without a name in it nevertheless.
	tmp, errno := tree.Tmpfile(d, 0o600, Owner{})
	ok(t, errno)
	if a := tree.Attr(d); a.Nlink != 0 {
		t.Errorf("it has %d links", a.Nlink)
	}
	tree.Unref(tmp, 1)
	tree.Unref(d, 1)
	checkTree(t, tree, f)
}

// TestDirectoryIsAListOfNames does random things to a directory and to a list, and checks
// that cookies stay valid.
func TestDirectoryIsAListOfNames(t *testing.T) {
	tree := newTree(t, nil)
	dir := tree.Root()
	rng := rand.New(rand.NewPCG(1, 2))
	var list []string
	highest := uint64(2)
	for step := range 20000 {
		name := fmt.Sprint(rng.IntN(3000))
		at := slices.Index(list, name)
		switch rng.IntN(4) {
		case 3:
			if at < 0 && len(list) > 0 {
				i := rng.IntN(len(list))
				ok(t, tree.Rename(dir, list[i], dir, name, 0))
				list[i] = name
			}
		case 0, 1:
			_, errno := tree.Mknod(dir, name, syscall.S_IFREG, 0, Owner{})
			if at < 0 {
				ok(t, errno)
				list = append(list, name)
			} else {
				want(t, errno, syscall.EEXIST)
			}
		case 2:
			// The phases make the directory grow and shrink by turns.
			for range 1 + 3*(step/5000%2) {
				if len(list) > 0 {
					i := rng.IntN(len(list))
					ok(t, tree.Unlink(dir, list[i]))
					list = slices.Delete(list, i, i+1)
				}
			}
		}
		if step%500 != 0 {
			continue
		}
		if got := names(t, tree, dir); !slices.Equal(got, list) {
			t.Fatalf("step %d: %d names, want %d", step, len(got), len(list))
		}
		highest = checkCookies(t, tree, dir, list, highest)
	}
	if gaps := dir.dir().slots.len() - dir.dir().live; gaps > dir.dir().live+scanned {
		t.Errorf("%d gaps for %d names", gaps, dir.dir().live)
	}
}

// A listing that renamed what it found, there and back, once went on forever. Renaming
// takes no more memory than the names do.
func TestListingOfNamesThatChange(t *testing.T) {
	for _, count := range []int{1, scanned, 1000} {
		tree := newTree(t, nil)
		dir := tree.Root()
		for i := range count {
			tree.Unref(file(t, tree, dir, fmt.Sprint(i), ""), 1)
		}
		for range 20 {
			seen, cookie := 0, uint64(0)
			for name := "none"; name != ""; {
				name = ""
				ok(t, tree.ReadDir(dir, cookie, func(d Dirent) bool { name, cookie = d.Name, d.Cookie; return false }))
				if name == "" {
					break
				}
				if seen++; seen > count {
					t.Fatalf("more than %d names are listed", count)
				}
				ok(t, tree.Rename(dir, name, dir, "changed", 0))
				want(t, second(tree.Lookup(dir, name)), syscall.ENOENT)
				ok(t, tree.Rename(dir, "changed", dir, name, 0))
			}
			if seen != count {
				t.Fatalf("%d names are listed, want %d", seen, count)
			}
		}
		if d := dir.dir(); d.names.len() > 40*(count+scanned) || len(d.index) > 16*(count+scanned) {
			t.Errorf("%d names take %d bytes and an index of %d", count, d.names.len(), len(d.index))
		}
	}
}

// checkCookies lists dir from every cookie on, and returns the highest one.
func checkCookies(t *testing.T, tree *Tree, dir *Inode, list []string, before uint64) uint64 {
	t.Helper()
	var cookies []uint64
	ok(t, tree.ReadDir(dir, 0, func(d Dirent) bool {
		cookies = append(cookies, d.Cookie)
		return true
	}))
	if len(cookies) == 0 {
		return before
	}
	if !slices.IsSorted(cookies) || cookies[0] < firstCookie {
		t.Fatalf("cookies from %d on are not in order", cookies[0])
	}
	for i := 0; i < len(cookies); i += 1 + len(cookies)/10 {
		next := ""
		ok(t, tree.ReadDir(dir, cookies[i], func(d Dirent) bool {
			next = d.Name
			return false
		}))
		if i+1 < len(list) && next != list[i+1] {
			t.Fatalf("after %s comes %q, want %s", list[i], next, list[i+1])
		}
	}
	return max(before, cookies[len(cookies)-1])
}

// TestListingGoesOnWhereItStopped removes each name after it was listed, as
// rm -r does, and makes new ones.
func TestListingGoesOnWhereItStopped(t *testing.T) {
	tree := newTree(t, nil)
	dir := tree.Root()
	for i := range 1000 {
		tree.Unref(file(t, tree, dir, fmt.Sprint(i), ""), 1)
	}
	seen, cookie := 0, uint64(0)
	for {
		var batch []string
		ok(t, tree.ReadDir(dir, cookie, func(d Dirent) bool {
			batch, cookie = append(batch, d.Name), d.Cookie
			return len(batch) < 7
		}))
		if len(batch) == 0 {
			break
		}
		for _, name := range batch {
			if strings.HasPrefix(name, "new") {
				continue
			}
			if name != fmt.Sprint(seen) {
				t.Fatalf("after %d came %s", seen-1, name)
			}
			seen++
			ok(t, tree.Unlink(dir, name))
		}
		if seen%3 == 0 {
			tree.Unref(file(t, tree, dir, fmt.Sprintf("new%d", seen), ""), 1)
		}
	}
	if seen != 1000 {
		t.Errorf("%d names of 1000 were listed", seen)
	}
}

// TestRenameKeepsThePlaceOfATarget checks that a replaced name is still listed once.
func TestRenameKeepsThePlaceOfATarget(t *testing.T) {
	tree := newTree(t, nil)
	for _, name := range []string{"a", "b", "c"} {
		file(t, tree, tree.Root(), name, name)
	}
	ok(t, tree.Rename(tree.Root(), "c", tree.Root(), "a", 0))
	if got := names(t, tree, tree.Root()); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("names %v", got)
	}
	n, errno := tree.Lookup(tree.Root(), "a")
	ok(t, errno)
	if got := read(t, tree, n); got != "c" {
		t.Errorf("a holds %q", got)
	}
	ok(t, tree.Rename(tree.Root(), "a", tree.Root(), "b", RenameExchange))
	if got := read(t, tree, n); got != "c" || names(t, tree, tree.Root())[1] != "b" {
		t.Error("an exchange moved the names")
	}
}
