package fs

import "testing"

// old is a time that a read is to renew if it is not newer than the last change.
func old(sec int64) Time { return Time{Sec: sec} }

func TestTouchIsRelatime(t *testing.T) {
	recent := Now().Sec - 60
	for _, c := range []struct {
		name         string
		atime, mtime Time
		ctime        Time
		renewed      bool
	}{
		{"as old as the content", old(recent), old(recent), old(recent - 1), true},
		{"older than the content", old(recent - 9), old(recent), old(recent - 10), true},
		{"older than the attributes", old(recent - 9), old(recent - 10), old(recent), true},
		{"newer than both", old(recent), old(recent - 1), old(recent - 1), false},
		{"a day old", old(recent - 25*3600), old(1), old(1), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			tree := newTree(t, nil)
			n := file(t, tree, tree.Root(), "n", "x")
			defer tree.Unref(n, 1)
			set := SetAttr{Valid: SetAtime | SetMtime | SetCtime, Atime: c.atime, Mtime: c.mtime, Ctime: c.ctime}
			ok(t, second(tree.SetAttr(n, &set)))
			tree.Seal()
			tree.Touch(n)
			if got := tree.Attr(n); (got.Atime != c.atime) != c.renewed || got.Mtime != c.mtime || got.Ctime != c.ctime {
				t.Errorf("times are %v, %v, %v; want the first renewed: %v", got.Atime, got.Mtime, got.Ctime, c.renewed)
			}
			if tree.Changes().Total() != 0 {
				t.Error("a read counts as a change")
			}
		})
	}
}

func TestTouchOfAFrozenTree(t *testing.T) {
	tree := newTree(t, nil)
	n := file(t, tree, tree.Root(), "n", "x")
	defer tree.Unref(n, 1)
	ok(t, second(tree.SetAttr(n, &SetAttr{Valid: SetAtime, Atime: old(1)})))
	tree.Freeze()
	tree.Touch(n)
	if got := tree.Attr(n).Atime; got != old(1) {
		t.Errorf("atime %v", got)
	}
}
