package fs

import (
	"testing"

	"golang.org/x/sys/unix"
)

// old is a time that a read is to renew if it is not newer than the last change.
func old(sec int64) Time { return Time{Sec: sec} }

func TestTouchIsRelatime(t *testing.T) {
	recent := now().Sec - 60
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
			tree := lentTree(t, nil)
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
	tree := lentTree(t, nil)
	n := file(t, tree, tree.Root(), "n", "x")
	defer tree.Unref(n, 1)
	ok(t, second(tree.SetAttr(n, &SetAttr{Valid: SetAtime, Atime: old(1)})))
	tree.Freeze()
	tree.Touch(n)
	if got := tree.Attr(n).Atime; got != old(1) {
		t.Errorf("atime %v", got)
	}
}

// A lent file is read behind our back; its backing file knows when.
func TestReadOfALentFile(t *testing.T) {
	tree := lentTree(t, nil)
	n := file(t, tree, tree.Root(), "n", "content")
	defer tree.Unref(n, 1)
	set := func(at Time) {
		t.Helper()
		ok(t, second(tree.SetAttr(n, &SetAttr{Valid: SetAtime, Atime: at})))
	}
	set(old(1))
	fd := lend(t, tree, n)
	defer tree.Return(n)
	if got := tree.Attr(n).Atime; got != old(1) {
		t.Errorf("atime %v by lending alone", got)
	}
	pread(t, fd, 7)
	if got := tree.Attr(n).Atime; got.Sec < 1e9 {
		t.Errorf("atime %v after a read", got)
	}
	set(old(2))
	if got := tree.Attr(n).Atime; got != old(2) {
		t.Errorf("atime %v after it was set", got)
	}
	pread(t, fd, 7)
	if got := tree.Attr(n).Atime; got.Sec < 1e9 {
		t.Errorf("atime %v after one more read", got)
	}
}

func pread(t *testing.T, fd, length int) {
	t.Helper()
	if n, err := unix.Pread(fd, make([]byte, length), 0); n != length || err != nil {
		t.Fatalf("read %d, %v", n, err)
	}
}
