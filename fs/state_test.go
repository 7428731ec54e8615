package fs

import (
	"errors"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// verbs calls every verb that changes a tree, and every one that reads it. dir
// has a file f, a symlink l and a directory d.
func verbs(tree *Tree, dir, f, l *Inode) (change, read map[string]syscall.Errno) {
	change = map[string]syscall.Errno{
		"Mknod":       second(tree.Mknod(dir, "n", syscall.S_IFREG, 0, Owner{})),
		"Mkdir":       second(tree.Mkdir(dir, "n", 0, Owner{})),
		"Symlink":     second(tree.Symlink(dir, "n", "x", Owner{})),
		"Tmpfile":     second(tree.Tmpfile(dir, 0, Owner{})),
		"Link":        tree.Link(dir, "n", f),
		"Unlink":      tree.Unlink(dir, "f"),
		"Rmdir":       tree.Rmdir(dir, "d"),
		"Rename":      tree.Rename(dir, "f", dir, "n", 0),
		"SetAttr":     second(tree.SetAttr(f, &SetAttr{Valid: SetAtime})),
		"SetXattr":    tree.SetXattr(f, "user.a", nil, 0),
		"RemoveXattr": tree.RemoveXattr(f, "user.a"),
		"WriteAt":     second(tree.WriteAt(f, []byte("x"), 0, false)),
		"Allocate":    tree.Allocate(f, 0, 1, 0),
		"CopyRange":   second(tree.CopyRange(f, 0, f, 10, 1)),
		"SetBase":     tree.SetBase(f, &bytesBase{}),
	}
	read = map[string]syscall.Errno{
		"Lookup":    second(tree.Lookup(dir, "f")),
		"Find":      second(tree.Find(dir.Ino())),
		"Parent":    second(tree.Parent(dir)),
		"ReadDir":   tree.ReadDir(dir, 0, func(Dirent) bool { return true }),
		"Readlink":  second(tree.Readlink(l)),
		"ListXattr": second(tree.ListXattr(f)),
		"GetXattr":  second(tree.GetXattr(f, "user.b")),
		"ReadAt":    second(tree.ReadAt(f, make([]byte, 1), 0)),
		"Seek":      second(tree.Seek(f, 0, unix.SEEK_HOLE)),
	}
	return change, read
}

func TestStatesOfATree(t *testing.T) {
	cause := errors.New("cause")
	for _, c := range []struct {
		name         string
		enter        func(*Tree)
		change, read syscall.Errno
		poisoned     bool
		err          error
	}{
		{"frozen", (*Tree).Freeze, syscall.EROFS, 0, false, nil},
		{"poisoned", func(tree *Tree) { tree.Poison(cause) }, syscall.EIO, syscall.EIO, true, cause},
		{"frozen and poisoned", func(tree *Tree) { tree.Freeze(); tree.Poison(cause) }, syscall.EIO, syscall.EIO, true, cause},
		{
			"poisoned twice", func(tree *Tree) { tree.Poison(cause); tree.Poison(errors.New("later")) },
			syscall.EIO, syscall.EIO, true, cause,
		},
		{"closed", func(tree *Tree) { _ = tree.Close() }, syscall.EIO, syscall.EIO, true, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			tree := newTree(t, nil)
			f := file(t, tree, tree.Root(), "f", "content")
			ok(t, tree.SetXattr(f, "user.b", nil, 0))
			mkdir(t, tree, tree.Root(), "d")
			l, errno := tree.Symlink(tree.Root(), "l", "x", Owner{})
			ok(t, errno)
			tree.Seal()
			c.enter(tree)
			change, read := verbs(tree, tree.Root(), f, l)
			for name, errno := range change {
				if errno != c.change {
					t.Errorf("%s: got %v, want %v", name, orNil(errno), orNil(c.change))
				}
			}
			for name, errno := range read {
				if errno != c.read {
					t.Errorf("%s: got %v, want %v", name, orNil(errno), orNil(c.read))
				}
			}
			if err := tree.Walk(func(string, *Inode, Attr) error { return nil }); (err == nil) != (c.read == 0) {
				t.Errorf("Walk: %v", err)
			}
			if tree.Changes().Total() != 0 || tree.Poisoned() != c.poisoned || tree.Err() != c.err {
				t.Errorf("changes %+v, poisoned %t, cause %v", tree.Changes(), tree.Poisoned(), tree.Err())
			}
		})
	}
}

// A panic may leave locks locked. What the rest of the tree took of a home that others
// share was once never given back.
func TestPoisonedTreeIsFreed(t *testing.T) {
	home, err := NewArenaHome(testHomeSize)
	must(t, err)
	heap := NewHeap(1 << 20)
	tree, err := New(home, &Options{Heap: heap})
	must(t, err)
	spooled(t, tree, pattern(100000, 0))
	file(t, tree, tree.Root(), "f", "content")
	n := file(t, tree, tree.Root(), "locked", "content")
	n.mu.Lock()
	tree.Poison(errors.New("a panic"))
	must(t, tree.Close())
	if used := heap.used.Load(); used != 0 {
		t.Errorf("%d bytes of the heap are still counted", used)
	}
	total, free, err := home.StatFS()
	must(t, err)
	if total-free != pageSize {
		t.Errorf("%d bytes of content are left, want those of the file that is locked", total-free)
	}
	must(t, home.Close())
}
