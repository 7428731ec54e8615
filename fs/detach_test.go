package fs

import (
	"syscall"
	"testing"

	"pgregory.net/rapid"
)

// detach takes a path's name away, and returns its inode.
func detach(t rapid.TB, tree *Tree, dir, name string) (n *Inode) {
	t.Helper()
	at(t, tree, dir, func(dir *Inode) {
		var errno syscall.Errno
		n, errno = tree.Detach(dir, name)
		ok(t, errno)
	})
	return n
}

func attach(t rapid.TB, tree *Tree, dir, name string, n *Inode) {
	t.Helper()
	at(t, tree, dir, func(dir *Inode) { ok(t, tree.Attach(dir, name, n)) })
	tree.Unref(n, 1)
}

// Renames that cross each other, which Rename can make in several steps only.
func TestDetachAndAttachAreARename(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(t *testing.T, tree *Tree)
		want Changes
		then map[string]string // paths by what they were
	}{
		{"there and back", func(t *testing.T, tree *Tree) {
			attach(t, tree, "", "a", detach(t, tree, "", "a"))
		}, Changes{Modified: 1}, map[string]string{"a/b/c": "a/b/c"}},
		{"a directory swapped with what was in it", func(t *testing.T, tree *Tree) {
			a := detach(t, tree, "", "a")
			b, errno := tree.Detach(a, "b")
			ok(t, errno)
			attach(t, tree, "", "a", b)
			attach(t, tree, "a", "b", a)
		}, Changes{Modified: 2}, map[string]string{"a/c": "a/b/c", "a/b/two": "a/two"}},
		{"files swapped", func(t *testing.T, tree *Tree) {
			f, c := detach(t, tree, "", "f"), detach(t, tree, "a/b", "c")
			attach(t, tree, "", "f", c)
			attach(t, tree, "a/b", "c", f)
		}, Changes{Modified: 2, Bytes: 103}, map[string]string{"f": "a/b/c", "a/b/c": "f"}},
		{"one of two names", func(t *testing.T, tree *Tree) {
			attach(t, tree, "d", "z", detach(t, tree, "", "z"))
		}, Changes{Modified: 1, Bytes: 10}, map[string]string{"d/z": "a/two"}},
		{"what it leaves is removed", func(t *testing.T, tree *Tree) {
			deep := detach(t, tree, "a/b", "deep")
			at(t, tree, "a/b", func(b *Inode) { ok(t, tree.Unlink(b, "c")) })
			at(t, tree, "a", func(a *Inode) { ok(t, tree.Rmdir(a, "b")) })
			attach(t, tree, "d", "deep", deep)
		}, Changes{Modified: 1, Removed: 2}, map[string]string{"d/deep/x": "a/b/deep/x"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tree := onImage(t, nil, some(t))
			numbers := map[string]uint64{}
			for path, was := range c.then {
				at(t, tree, was, func(n *Inode) { numbers[path] = n.Ino() })
			}
			c.do(t, tree)
			checkTree(t, tree)
			if got := tree.Changes(); got != c.want {
				t.Errorf("changes = %+v, want %+v", got, c.want)
			}
			for path, ino := range numbers {
				at(t, tree, path, func(n *Inode) {
					if n.Ino() != ino {
						t.Errorf("%s is inode %d, want %d", path, n.Ino(), ino)
					}
				})
			}
		})
	}
}

func TestAttachRefuses(t *testing.T) {
	tree := onImage(t, nil, some(t))
	a := detach(t, tree, "", "a")
	b, errno := tree.Lookup(a, "b")
	ok(t, errno)
	for name, c := range map[string]struct {
		dir  *Inode
		name string
		want syscall.Errno
	}{
		"a directory into itself":        {a, "x", syscall.EINVAL},
		"a directory below itself":       {b, "x", syscall.EINVAL},
		"a name that is there":           {tree.Root(), "f", syscall.EEXIST},
		"no name":                        {tree.Root(), "", syscall.ENOENT},
		"a name in what is no directory": {lookup(t, tree, "f"), "x", syscall.ENOTDIR},
	} {
		if errno := tree.Attach(c.dir, c.name, a); errno != c.want {
			t.Errorf("%s: %v, want %v", name, errno, c.want)
		}
	}
	if _, errno := tree.Detach(tree.Root(), "nothing"); errno != syscall.ENOENT {
		t.Errorf("detach of nothing: %v", errno)
	}
	tree.Unref(lookup(t, tree, "f"), 2)
	tree.Unref(b, 1)
	attach(t, tree, "", "a", a)
	checkTree(t, tree)
}

func TestTimeOfADirectoryIsNoChange(t *testing.T) {
	tree := onImage(t, nil, some(t))
	at(t, tree, "d", func(d *Inode) {
		ok(t, tree.SetDirTime(d, longAgo))
		if got := tree.Attr(d).Mtime; got != longAgo {
			t.Errorf("mtime = %v", got)
		}
	})
	at(t, tree, "f", func(f *Inode) {
		if errno := tree.SetDirTime(f, longAgo); errno != syscall.ENOTDIR {
			t.Errorf("of a file: %v", errno)
		}
	})
	if got := tree.Changes(); got != (Changes{}) {
		t.Errorf("changes = %+v", got)
	}
	checkTree(t, tree)
}
