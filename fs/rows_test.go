package fs

import (
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestRowStates checks what the packer is told.
func TestRowStates(t *testing.T) {
	const all = RowMoved
	side := func(do func(s *treeSide) syscall.Errno) func(*testing.T, *Tree) {
		return func(t *testing.T, tree *Tree) { ok(t, do(&treeSide{tree: tree})) }
	}
	for _, c := range []struct {
		name   string
		do     func(*testing.T, *Tree)
		states map[string]RowState // by path
		fresh  []string            // what WalkNew finds
	}{
		{"nothing", func(*testing.T, *Tree) {}, nil, nil},
		{"chmod", side(func(s *treeSide) syscall.Errno { return s.chmod("a/b/c", 0o600) }), map[string]RowState{"a/b/c": RowMeta}, nil},
		{"chmod there and back", side(func(s *treeSide) syscall.Errno {
			ok(t, s.chmod("a/b/c", 0o600))
			return s.chmod("a/b/c", 0o644)
		}), nil, nil},
		{"chmod by another name", side(func(s *treeSide) syscall.Errno { return s.chmod("z", 0o600) }), map[string]RowState{"z": RowMeta}, nil},
		{"write", side(func(s *treeSide) syscall.Errno { return s.write("big", []byte("x"), 0) }), map[string]RowState{"big": RowMeta | RowData}, nil},
		{"write with the old time", side(func(s *treeSide) syscall.Errno {
			ok(t, s.write("big", []byte("x"), 0))
			return s.setMtime("big", longAgo)
		}), map[string]RowState{"big": RowMeta | RowData}, nil},
		{"lengthen", side(func(s *treeSide) syscall.Errno { return s.truncate("big", 3*chunkSize) }), map[string]RowState{"big": RowMeta}, nil},
		{"empty", side(func(s *treeSide) syscall.Errno { return s.truncate("f", 0) }), map[string]RowState{"f": RowMeta | RowData}, nil},
		{"xattr", side(func(s *treeSide) syscall.Errno { return s.setXattr("f", "user.a", "other", 0) }), map[string]RowState{"f": RowMeta}, nil},
		{"create", side(func(s *treeSide) syscall.Errno { return s.mknod("a/b/new", syscall.S_IFREG) }), map[string]RowState{"a/b": RowMeta}, []string{"a/b/new"}},
		{"unlink", side(func(s *treeSide) syscall.Errno { return s.unlink("a/b/c") }), map[string]RowState{"a/b": RowMeta, "a/b/c": all}, nil},
		{"unlink and make", side(func(s *treeSide) syscall.Errno {
			ok(t, s.unlink("a/b/c"))
			return s.mknod("a/b/c", syscall.S_IFREG)
		}), map[string]RowState{"a/b": RowMeta, "a/b/c": all}, []string{"a/b/c"}},
		{"unlink of one name", side(func(s *treeSide) syscall.Errno { return s.unlink("a/two") }), map[string]RowState{"a": RowMeta, "a/two": all}, nil},
		{"link", side(func(s *treeSide) syscall.Errno { return s.link("f", "d/f") }), map[string]RowState{"d": RowMeta}, []string{"d/f"}},
		{"rename", side(func(s *treeSide) syscall.Errno { return s.rename("f", "d/g", 0) }), map[string]RowState{"": RowMeta, "d": RowMeta, "f": all}, []string{"d/g"}},
		{"rename there and back", side(func(s *treeSide) syscall.Errno {
			ok(t, s.rename("f", "g", 0))
			ok(t, s.rename("g", "f", 0))
			return s.setMtime("", longAgo)
		}), nil, nil},
		{
			"rename of a directory", side(func(s *treeSide) syscall.Errno {
				ok(t, s.chmod("a/b/c", 0o600))
				return s.rename("a", "d/a", 0)
			}),
			map[string]RowState{"": RowMeta, "d": RowMeta, "a": all, "a/b": all, "a/b/c": all | RowMeta, "a/b/deep": all, "a/b/deep/x": all, "a/link": all, "a/two": all},
			[]string{"d/a", "d/a/b", "d/a/b/c", "d/a/b/deep", "d/a/b/deep/x", "d/a/link", "d/a/two"},
		},
		{"new directory deep down", side(func(s *treeSide) syscall.Errno {
			ok(t, s.mkdir("a/b/deep/new", 0o755))
			return s.rename("a/b/c", "a/b/deep/new/c", 0)
		}), map[string]RowState{"a/b/deep": RowMeta, "a/b": RowMeta, "a/b/c": all}, []string{"a/b/deep/new", "a/b/deep/new/c"}},
		{"exchange", side(func(s *treeSide) syscall.Errno { return s.rename("a/b/c", "f", RenameExchange) }),
			map[string]RowState{"": RowMeta, "a/b": RowMeta, "a/b/c": all, "f": all}, []string{"a/b/c", "f"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			tree := onImage(t, nil, some(t))
			waitForTick()
			c.do(t, tree)
			tree.Freeze()
			got := map[string]RowState{}
			for row, state := range tree.RowStates() {
				if state != 0 {
					got[rowPath(tree, uint32(row))] = state
				}
			}
			for path, state := range c.states {
				if got[path] != state {
					t.Errorf("%q: %b, want %b", path, got[path], state)
				}
				delete(got, path)
			}
			if len(got) > 0 {
				t.Errorf("these were said to have changed: %v", got)
			}
			var fresh []string
			must(t, tree.WalkNew(func(path string, n *Inode, a Attr) error {
				fresh = append(fresh, path)
				if a != tree.Attr(n) {
					t.Errorf("%s: other attributes", path)
				}
				return nil
			}))
			if !slices.Equal(fresh, c.fresh) {
				t.Errorf("WalkNew: %q, want %q", fresh, c.fresh)
			}
			checkTree(t, tree)
		})
	}
}

// rowPath is the path that a row had.
func rowPath(tree *Tree, row uint32) string {
	var names []string
	for row != 0 {
		names = append(names, tree.image.Name(row))
		row = uint32(tree.rowParent(uint64(row)+1) - 1)
	}
	slices.Reverse(names)
	return strings.Join(names, "/")
}

func TestBaseRanges(t *testing.T) {
	tree := onImage(t, nil, some(t))
	const size = 5 * chunkSize / 2
	ranges := func(n *Inode) (all []byteRange) {
		tree.BaseRanges(n, func(off, length int64) bool {
			all = append(all, byteRange{off, off + length})
			return len(all) < 2
		})
		return all
	}
	made := file(t, tree, tree.Root(), "new", "content")
	if got := ranges(made); got != nil {
		t.Errorf("of a new file: %v", got)
	}
	tree.Unref(made, 1)
	for _, c := range []struct {
		name string
		do   func(n *Inode) syscall.Errno
		want []byteRange
	}{
		{"nothing", func(*Inode) syscall.Errno { return 0 }, []byteRange{{0, size}}},
		{
			"write", func(n *Inode) syscall.Errno { return second(tree.WriteAt(n, []byte("x"), chunkSize, false)) },
			[]byteRange{{0, chunkSize}, {2 * chunkSize, size}},
		},
		{
			"cut", func(n *Inode) syscall.Errno {
				return second(tree.SetAttr(n, &SetAttr{Valid: SetSize, Size: 2*chunkSize + 7}))
			},
			[]byteRange{{0, chunkSize}, {2 * chunkSize, 2*chunkSize + 7}},
		},
		{
			"punch", func(n *Inode) syscall.Errno {
				return tree.Allocate(n, 0, chunkSize, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE)
			},
			[]byteRange{{2 * chunkSize, 2*chunkSize + 7}},
		},
		{"empty", func(n *Inode) syscall.Errno { return second(tree.SetAttr(n, &SetAttr{Valid: SetSize})) }, nil},
	} {
		at(t, tree, "big", func(n *Inode) { ok(t, c.do(n)) })
		at(t, tree, "big", func(n *Inode) {
			if got := ranges(n); !slices.Equal(got, c.want) {
				t.Errorf("%s: %v, want %v", c.name, got, c.want)
			}
			want(t, tree.SetBase(n, &bytesBase{content: []byte("x")}), syscall.EINVAL)
		})
	}
}
