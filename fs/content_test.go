package fs

import (
	"testing"
)

func TestSmoke(t *testing.T) {
	eachTree(t, nil, func(t *testing.T, tree *Tree) {
		d := mkdir(t, tree, tree.Root(), "d")
		f := file(t, tree, d, "f", "hello")
		if got := read(t, tree, f); got != "hello" {
			t.Fatal(got)
		}
		ok(t, tree.Unlink(d, "f"))
		tree.Unref(f, 1)
		ok(t, tree.Rmdir(tree.Root(), "d"))
		tree.Unref(d, 1)
	})
}
