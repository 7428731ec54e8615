package fs

import (
	"fmt"
	"syscall"
	"testing"
)

// sealed makes a tree with a directory d, files d/f, d/g and h, where d/g and i are names
// of one file, and a symlink l, and seals it, so that everything after that is a change.
// With image set the tree stands on an image of all that.
func sealed(t *testing.T, image bool) (*Tree, map[string]*Inode) {
	t.Helper()
	tree := newTree(t, nil)
	n := map[string]*Inode{"": tree.Root(), "d": mkdir(t, tree, tree.Root(), "d")}
	n["f"] = file(t, tree, n["d"], "f", "content")
	n["g"] = file(t, tree, n["d"], "g", "linked")
	n["h"] = file(t, tree, tree.Root(), "h", "other content")
	ok(t, tree.Link(tree.Root(), "i", n["g"]))
	ok(t, tree.SetXattr(n["h"], "user.a", []byte("value"), 0))
	if tree.Changes().Created != 4 {
		t.Errorf("of a new tree: %+v", tree.Changes())
	}
	tree.Seal()
	if tree.Changes() != (Changes{}) {
		t.Errorf("a sealed tree is changed: %+v", tree.Changes())
	}
	waitForTick()
	if image {
		tree = treeOn(t, imageOf(t, tree), nil)
		for name, path := range map[string]string{"": "", "d": "d", "f": "d/f", "g": "d/g", "h": "h"} {
			n[name] = lookup(t, tree, path)
		}
	}
	return tree, n
}

func TestChanges(t *testing.T) {
	setAttr := func(name string, s SetAttr) func(*testing.T, *Tree, map[string]*Inode) {
		return func(t *testing.T, tree *Tree, n map[string]*Inode) { ok(t, second(tree.SetAttr(n[name], &s))) }
	}
	same := func(mask AttrMask) func(*testing.T, *Tree, map[string]*Inode) {
		return func(t *testing.T, tree *Tree, n map[string]*Inode) {
			a := tree.Attr(n["f"])
			ok(t, second(tree.SetAttr(n["f"], &SetAttr{
				Valid: mask, Mode: a.Mode, UID: a.UID, GID: a.GID, Mtime: a.Mtime, Ctime: a.Ctime, Size: a.Size,
			})))
		}
	}
	for _, c := range []struct {
		name string
		do   func(t *testing.T, tree *Tree, n map[string]*Inode)
		want Changes
	}{
		{"nothing", func(*testing.T, *Tree, map[string]*Inode) {}, Changes{}},
		{
			"create", func(t *testing.T, tree *Tree, n map[string]*Inode) { file(t, tree, n["d"], "new", "12345") },
			Changes{Created: 1, Bytes: 5},
		},
		{"create and remove", func(t *testing.T, tree *Tree, n map[string]*Inode) {
			tree.Unref(file(t, tree, n["d"], "new", "12345"), 1)
			ok(t, tree.Unlink(n["d"], "new"))
		}, Changes{}},
		{"mkdir", func(t *testing.T, tree *Tree, n map[string]*Inode) { mkdir(t, tree, n["d"], "new") }, Changes{Created: 1}},
		{
			"write", func(t *testing.T, tree *Tree, n map[string]*Inode) { write(t, tree, n["f"], "C", 0) },
			Changes{Modified: 1, Bytes: 7},
		},
		{"write nothing", func(t *testing.T, tree *Tree, n map[string]*Inode) { write(t, tree, n["f"], "", 0) }, Changes{}},
		{"read", func(t *testing.T, tree *Tree, n map[string]*Inode) { read(t, tree, n["f"]) }, Changes{}},
		{
			"allocate", func(t *testing.T, tree *Tree, n map[string]*Inode) { ok(t, tree.Allocate(n["f"], 0, 10, 0)) },
			Changes{Modified: 1, Bytes: 10},
		},
		{"truncate", setAttr("f", SetAttr{Valid: SetSize, Size: 3}), Changes{Modified: 1, Bytes: 3}},
		{"chmod", setAttr("f", SetAttr{Valid: SetMode, Mode: 0o600}), Changes{Modified: 1, Bytes: 7}},
		{"chown", setAttr("f", SetAttr{Valid: SetUID, UID: 5}), Changes{Modified: 1, Bytes: 7}},
		{"chmod of a directory", setAttr("d", SetAttr{Valid: SetMode, Mode: 0o700}), Changes{Modified: 1}},
		{"utimes of the root", setAttr("", SetAttr{Valid: SetMtime, Mtime: longAgo}), Changes{Modified: 1}},
		{"a change of the size that has none", setAttr("f", SetAttr{Valid: SetSize | SetMtime, Size: 7, Mtime: longAgo}), Changes{}},
		{"O_TRUNC of an empty file", func(t *testing.T, tree *Tree, n map[string]*Inode) {
			ok(t, second(tree.SetAttr(n["f"], &SetAttr{Valid: SetSize})))
			tree.Seal()
			ok(t, second(tree.SetAttr(n["f"], &SetAttr{Valid: SetSize | SetMtime, Mtime: longAgo})))
			if a := tree.Attr(n["f"]); a.Mtime != longAgo {
				t.Errorf("mtime %v", a.Mtime)
			}
		}, Changes{}},
		{"atime", setAttr("f", SetAttr{Valid: SetAtime, Atime: longAgo}), Changes{}},
		{"the same mode", same(SetMode), Changes{}},
		{"the same owner", same(SetUID | SetGID), Changes{}},
		{"the same times", same(SetMtime | SetCtime), Changes{}},
		{"setxattr", func(t *testing.T, tree *Tree, n map[string]*Inode) {
			ok(t, tree.SetXattr(n["h"], "user.a", []byte("other"), 0))
		}, Changes{Modified: 1, Bytes: 13}},
		{"the same xattr", func(t *testing.T, tree *Tree, n map[string]*Inode) {
			ok(t, tree.SetXattr(n["h"], "user.a", []byte("value"), 0))
		}, Changes{}},
		{
			"removexattr", func(t *testing.T, tree *Tree, n map[string]*Inode) { ok(t, tree.RemoveXattr(n["h"], "user.a")) },
			Changes{Modified: 1, Bytes: 13},
		},
		{
			"unlink", func(t *testing.T, tree *Tree, n map[string]*Inode) { ok(t, tree.Unlink(n["d"], "f")) },
			Changes{Removed: 1},
		},
		{
			"unlink of one of two names", func(t *testing.T, tree *Tree, n map[string]*Inode) { ok(t, tree.Unlink(n["d"], "g")) },
			Changes{Modified: 1, Bytes: 6},
		},
		{"unlink of both names", func(t *testing.T, tree *Tree, n map[string]*Inode) {
			ok(t, tree.Unlink(n["d"], "g"))
			ok(t, tree.Unlink(n[""], "i"))
		}, Changes{Removed: 1}},
		{"write to a removed file", func(t *testing.T, tree *Tree, n map[string]*Inode) {
			ok(t, tree.Unlink(n["d"], "f"))
			write(t, tree, n["f"], "x", 0)
		}, Changes{Removed: 1}},
		{
			"link", func(t *testing.T, tree *Tree, n map[string]*Inode) { ok(t, tree.Link(n["d"], "new", n["h"])) },
			Changes{Modified: 1, Bytes: 13},
		},
		{
			"rename", func(t *testing.T, tree *Tree, n map[string]*Inode) { ok(t, tree.Rename(n["d"], "f", n[""], "new", 0)) },
			Changes{Modified: 1, Bytes: 7},
		},
		{"rename onto a file", func(t *testing.T, tree *Tree, n map[string]*Inode) {
			ok(t, tree.Rename(n["d"], "f", n[""], "h", 0))
		}, Changes{Modified: 1, Removed: 1, Bytes: 7}},
		{"exchange", func(t *testing.T, tree *Tree, n map[string]*Inode) {
			ok(t, tree.Rename(n["d"], "f", n[""], "h", RenameExchange))
		}, Changes{Modified: 2, Bytes: 20}},
		{
			"rename of a directory", func(t *testing.T, tree *Tree, n map[string]*Inode) { ok(t, tree.Rename(n[""], "d", n[""], "e", 0)) },
			Changes{Modified: 1},
		},
		{"rename onto another name of itself", func(t *testing.T, tree *Tree, n map[string]*Inode) {
			ok(t, tree.Rename(n["d"], "g", n[""], "i", 0))
		}, Changes{}},
		{"save as editors do", func(t *testing.T, tree *Tree, n map[string]*Inode) {
			file(t, tree, n["d"], "f.tmp", "new content")
			ok(t, tree.Rename(n["d"], "f.tmp", n["d"], "f", 0))
		}, Changes{Created: 1, Removed: 1, Bytes: 11}},
		{"a file without a name", func(t *testing.T, tree *Tree, n map[string]*Inode) {
			f, errno := tree.Tmpfile(n["d"], 0o600, Owner{})
			ok(t, errno)
			write(t, tree, f, "x", 0)
		}, Changes{}},
		{"a file that is given a name", func(t *testing.T, tree *Tree, n map[string]*Inode) {
			f, errno := tree.Tmpfile(n["d"], 0o600, Owner{})
			ok(t, errno)
			tree.Seal()
			ok(t, tree.Link(n["d"], "new", f))
		}, Changes{Created: 1}},
		{"what is refused", func(t *testing.T, tree *Tree, n map[string]*Inode) {
			want(t, tree.Rmdir(n[""], "d"), syscall.ENOTEMPTY)
			want(t, tree.Unlink(n[""], "d"), syscall.EISDIR)
			want(t, tree.Link(n[""], "h", n["f"]), syscall.EEXIST)
		}, Changes{}},
	} {
		for _, image := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, image %t", c.name, image), func(t *testing.T) {
				tree, n := sealed(t, image)
				c.do(t, tree, n)
				if got := tree.Changes(); got != c.want {
					t.Errorf("got %+v, want %+v", got, c.want)
				}
				tree.Seal()
				if got := tree.Changes(); got != (Changes{}) {
					t.Errorf("sealed again: %+v", got)
				}
			})
		}
	}
}

func TestChangesTotal(t *testing.T) {
	if got := (Changes{Created: 1, Modified: 20, Removed: 300, Bytes: 4000}).Total(); got != 321 {
		t.Errorf("got %d", got)
	}
}

func TestEmpty(t *testing.T) {
	tree := newTree(t, nil)
	if !tree.Empty() {
		t.Error("a new tree is not empty")
	}
	mkdir(t, tree, tree.Root(), "d")
	if tree.Empty() {
		t.Error("a tree with a directory is empty")
	}
	ok(t, tree.Rmdir(tree.Root(), "d"))
	if !tree.Empty() {
		t.Error("an emptied tree is not empty")
	}
}
