package fs

import (
	"strings"
	"syscall"
	"testing"
)

// Of a tree that was filled and of an image of it the traits are the same.
func TestTraits(t *testing.T) {
	for _, tt := range []struct {
		name string
		fill func(t *testing.T, tree *Tree, dir *Inode)
		want Traits
	}{
		{"empty", func(*testing.T, *Tree, *Inode) {}, Traits{Names: 2, Path: 200, DirPath: 200}},
		{"deep file", func(t *testing.T, tree *Tree, dir *Inode) {
			mknod(t, tree, dir, "file", syscall.S_IFREG|0o644)
		}, Traits{Names: 3, Path: 205, DirPath: 200}},
		{"content", func(t *testing.T, tree *Tree, dir *Inode) {
			n := mknod(t, tree, dir, "f", syscall.S_IFREG|0o644)
			if _, errno := tree.WriteAt(n, make([]byte, 5000), 0, false); errno != 0 {
				t.Fatal(errno)
			}
			if errno := tree.Link(tree.Root(), "again", n); errno != 0 {
				t.Fatal(errno)
			}
		}, Traits{Names: 4, Path: 202, DirPath: 200, File: 5000, Link: "again"}},
		{"hole", func(t *testing.T, tree *Tree, dir *Inode) {
			n := mknod(t, tree, dir, "f", syscall.S_IFREG|0o644)
			if _, errno := tree.WriteAt(n, []byte("x"), 1<<20, false); errno != 0 {
				t.Fatal(errno)
			}
		}, Traits{Names: 3, Path: 202, DirPath: 200, File: 1<<20 + 1, Sparse: true}},
		{"whiteout", func(t *testing.T, tree *Tree, dir *Inode) {
			mknod(t, tree, dir, "w", syscall.S_IFCHR|0o600)
		}, Traits{Names: 3, Path: 202, DirPath: 200, Whiteout: strings.Repeat("d", 200) + "/w"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tree := newTree(t, nil)
			dir, errno := tree.Mkdir(tree.Root(), strings.Repeat("d", 200), 0o755, Owner{})
			if errno != 0 {
				t.Fatal(errno)
			}
			tt.fill(t, tree, dir)
			for name, tree := range map[string]*Tree{"filled": tree, "image": treeOn(t, imageOf(t, tree), nil)} {
				if got, err := tree.Traits(); got != tt.want || err != nil {
					t.Errorf("%s: %+v, %v; want %+v", name, got, err, tt.want)
				}
			}
		})
	}
}

func mknod(t *testing.T, tree *Tree, dir *Inode, name string, mode uint32) *Inode {
	t.Helper()
	n, errno := tree.Mknod(dir, name, mode, 0, Owner{})
	if errno != 0 {
		t.Fatal(errno)
	}
	return n
}
