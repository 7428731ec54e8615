package fs

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// foreign makes a directory of a name in d, with a file "f" of some content in it, as
// somebody else would.
func foreign(t *testing.T, d *BackingDir, name string, content []byte) (fd int, path string) {
	t.Helper()
	must(t, unix.Mkdirat(d.FD(), name, 0o755))
	fd, err := unix.Openat(d.FD(), name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	must(t, err)
	t.Cleanup(func() { _ = unix.Close(fd) })
	path = fmt.Sprintf("/proc/self/fd/%d/f", fd)
	must(t, os.WriteFile(path, content, 0o400))
	return fd, path
}

// backingDir makes a backing directory in the home of a tree, and closes it after the tree.
func backingDir(t *testing.T, tree *Tree) *BackingDir {
	t.Helper()
	d, err := NewBackingDir(tree.home)
	must(t, err)
	return d
}

func adopt(t *testing.T, tree *Tree, d *BackingDir, fd int, n *Inode, size int64, same ...Extent) {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Fstatat(fd, "f", &st, 0))
	f, err := d.Adopt(fd, "f")
	must(t, err)
	ok(t, tree.Adopt(n, f, size, st.Blocks*512, same))
}

func TestAdoptNewFile(t *testing.T) {
	for _, name := range []string{"filled", "on an image"} {
		t.Run(name, func(t *testing.T) {
			h, err := NewTmpfsHome(testHomeSize, 0)
			must(t, err)
			tree, err := makers[name](h, &Options{MaxBytes: 4096})
			must(t, err)
			d := backingDir(t, tree)
			fd, path := foreign(t, d, "upper", pattern(3*4096, 1))
			must(t, os.Link(path, filepath.Dir(path)+"/second"))
			n := file(t, tree, tree.Root(), "f", "")
			adopt(t, tree, d, fd, n, 3*4096) // beyond MaxBytes
			checkTree(t, tree, n)
			if got := read(t, tree, n); got != string(pattern(3*4096, 1)) {
				t.Error("the content is another")
			}
			if used, _ := tree.Usage(); used != 3*4096 {
				t.Errorf("%d bytes count as used", used)
			}
			if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the name that was adopted: %v", err)
			}
			_, errno := tree.SetAttr(n, &SetAttr{Valid: SetSize, Size: 4096})
			ok(t, errno)
			_, errno = tree.WriteAt(n, []byte("x"), 10, false)
			ok(t, errno)
			checkTree(t, tree, n)
			tree.Unref(n, 1)
			closeTree(t, tree)
			must(t, d.Close())
			if total, free, err := h.StatFS(); total != free || err != nil {
				t.Errorf("afterwards %d of %d bytes are free, %v", free, total, err)
			}
			must(t, h.Close())
		})
	}
}

// Base stays base where the adopted file holds the same bytes, and the adopted file takes
// no memory there.
func TestAdoptOverBase(t *testing.T) {
	const size = 4*chunkSize + 100
	written := pattern(size, 2)
	for _, c := range []struct {
		name string
		size int64
		same []Extent
		left []byteRange
	}{
		{"all is new", size, nil, nil},
		{"a chunk in the middle", size, []Extent{{0, chunkSize}, {2 * chunkSize, chunkSize}, {3 * chunkSize, chunkSize + 100}}, []byteRange{{0, chunkSize}, {2 * chunkSize, size}}},
		{"cut within a chunk", chunkSize + 7, []Extent{{0, chunkSize}, {chunkSize, 7}}, []byteRange{{0, chunkSize + 7}}},
		{"longer", size + 50, []Extent{{0, 4 * chunkSize}}, []byteRange{{0, 4 * chunkSize}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			filled := newTree(t, nil)
			tree := treeOn(t, imageOf(t, filled), nil) // for its home
			b := &countedBase{bytesBase: bytesBase{content: pattern(size, 2), hole: size}}
			n := file(t, tree, tree.Root(), "f", "")
			ok(t, tree.SetBase(n, b))
			tree.Seal()
			now := append(bytes.Clone(written), make([]byte, 50)...)[:c.size]
			for i := int64(0); i < c.size; i++ {
				if !slices.ContainsFunc(c.same, func(r Extent) bool { return r.Off <= i && i < r.End() }) {
					now[i] ^= 0xff
				}
			}
			d := backingDir(t, tree)
			fd, _ := foreign(t, d, "upper", now)
			adopt(t, tree, d, fd, n, c.size, c.same...)
			if got := n.leftLocked(); !slices.Equal(got, c.left) {
				t.Errorf("of the base %v are left, want %v", got, c.left)
			}
			if got := read(t, tree, n); got != string(now) {
				t.Error("the content is another")
			}
			if got := tree.Changes(); got != (Changes{Modified: 1, Bytes: c.size}) {
				t.Errorf("changes = %+v", got)
			}
			checkTree(t, tree, n)
			_, errno := tree.WriteAt(n, []byte("written"), chunkSize-3, false)
			ok(t, errno)
			checkTree(t, tree, n)
			tree.Unref(n, 1)
			must(t, tree.Close())
			must(t, d.Close())
		})
	}
}

func TestBackingDirOfOtherHomes(t *testing.T) {
	arena, err := NewArenaHome(1 << 20)
	must(t, err)
	if _, err := NewBackingDir(arena); !errors.Is(err, syscall.ENOTSUP) {
		t.Errorf("in an arena: %v", err)
	}
	dir := t.TempDir()
	h, err := NewSpillHome(arena, dir, -1)
	must(t, err)
	tree, err := New(h, nil)
	must(t, err)
	d := backingDir(t, tree)
	fd, _ := foreign(t, d, "upper", pattern(10000, 3))
	n := file(t, tree, tree.Root(), "f", "")
	adopt(t, tree, d, fd, n, 10000)
	if got := read(t, tree, n); got != string(pattern(10000, 3)) {
		t.Error("the content is another")
	}
	if _, free, err := arena.StatFS(); free != 1<<20 || err != nil {
		t.Errorf("%d bytes of memory are free, %v", free, err)
	}
	tree.Unref(n, 1)
	must(t, errors.Join(tree.Close(), d.Close(), h.Close(), arena.Close()))
	if left, err := os.ReadDir(dir); len(left) > 0 || err != nil {
		t.Errorf("on the disk stay %v, %v", left, err)
	}
}
