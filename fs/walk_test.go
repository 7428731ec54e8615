package fs

import (
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func TestWalkIsInArchiveOrder(t *testing.T) {
	tree := newTree(t, nil)
	b := mkdir(t, tree, tree.Root(), "b")
	file(t, tree, tree.Root(), "b.txt", "")
	f := file(t, tree, b, "ä", "content")
	file(t, tree, b, "Z", "")
	mkdir(t, tree, b, "empty")
	file(t, tree, tree.Root(), "a", "")
	ok(t, tree.Link(tree.Root(), "z", f))
	var paths []string
	must(t, tree.Walk(func(path string, n *Inode, a Attr) error {
		if a != tree.Attr(n) {
			t.Errorf("%s: other attributes", path)
		}
		if strings.HasSuffix(path, "ä") || path == "z" {
			if a.Nlink != 2 || a.Ino != f.Ino() {
				t.Errorf("%s: %+v", path, a)
			}
		}
		paths = append(paths, path)
		return nil
	}))
	if want := []string{"", "a", "b", "b/Z", "b/empty", "b/ä", "b.txt", "z"}; !slices.Equal(paths, want) {
		t.Errorf("got %q, want %q", paths, want)
	}
}

func TestWalkEndsWithAnError(t *testing.T) {
	tree := newTree(t, nil)
	mkdir(t, tree, mkdir(t, tree, mkdir(t, tree, tree.Root(), "a"), "b"), "c")
	cause := errors.New("enough")
	visited := 0
	err := tree.Walk(func(path string, _ *Inode, _ Attr) error {
		visited++
		if path == "a/b" {
			return cause
		}
		return nil
	})
	if err != cause || visited != 3 {
		t.Errorf("%d were visited: %v", visited, err)
	}
}

// TestWalkOfADeepTree goes down further than a path can be long.
func TestWalkOfADeepTree(t *testing.T) {
	const depth = 3000
	tree := newTree(t, nil)
	dir := tree.Root()
	for range depth {
		dir = mkdir(t, tree, dir, "d")
	}
	visited := 0
	must(t, tree.Walk(func(path string, _ *Inode, _ Attr) error {
		if strings.Count(path, "d") != visited {
			t.Fatalf("visit %d has a path of %d bytes", visited, len(path))
		}
		visited++
		return nil
	}))
	if visited != depth+1 {
		t.Errorf("%d were visited", visited)
	}
}

func TestWalkFrom(t *testing.T) {
	tree := onImage(t, nil, some(t))
	for path, want := range map[string]int{"": 13, "a": 7, "a/b": 4, "f": 1, "none": 0, "f/x": 0, "..": 0, "a/../f": 0} {
		var got []string
		must(t, tree.WalkFrom(path, func(path string, _ *Inode, _ Attr) error {
			got = append(got, path)
			return nil
		}))
		if len(got) != want || want > 0 && got[0] != path {
			t.Errorf("%q: %q", path, got)
		}
	}
	tree.Poison(errors.New("for the test"))
	if err := tree.WalkFrom("a", nil); !errors.Is(err, syscall.EIO) {
		t.Errorf("of a poisoned tree: %v", err)
	}
}
