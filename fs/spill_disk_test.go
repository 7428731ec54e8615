package fs

import (
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// smallDisk mounts a disk of size bytes.
func smallDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("spill-test", dir, "tmpfs", 0, "size="+size); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func freeOn(t *testing.T, dir string) int64 {
	t.Helper()
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		t.Fatal(err)
	}
	return int64(st.Bavail) * st.Bsize
}

// Once the last byte of the disk was taken, which was often the store's too, and a
// commit had no room.
func TestSpillLeavesAReserve(t *testing.T) {
	for _, c := range []struct {
		name           string
		reserve, stays int64
	}{
		{"by default", 0, 4 << 20}, // a quarter of the disk
		{"as asked for", 6 << 20, 6 << 20},
		{"nothing", -1, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := smallDisk(t, "16m")
			t.Run("tree", func(t *testing.T) {
				tree := reservingTree(t, 1<<20, dir, c.reserve)
				fillAtOnce(t, tree)
				const most = 2 << 20 // that some writes together may have been too much for
				if free := freeOn(t, dir); free < c.stays || free > c.stays+most {
					t.Errorf("%d bytes of the disk are free, want %d", free, c.stays)
				}
				a, _ := tree.Lookup(tree.Root(), "0")
				defer tree.Unref(a, 1)
				if _, errno := tree.WriteAt(a, pattern(100<<10, 9), 0, false); errno != 0 {
					t.Errorf("write over what is there: %v", errno)
				}
				if errno := tree.Allocate(a, tree.Attr(a).Size, 8<<20, 0); errno != syscall.ENOSPC {
					t.Errorf("allocate more: %v, want ENOSPC", errno)
				}
			})
		})
	}
}

// fillAtOnce writes files from several goroutines until no more goes in.
func fillAtOnce(t *testing.T, tree *Tree) {
	t.Helper()
	var files [8]*Inode
	for i := range files {
		files[i] = file(t, tree, tree.Root(), string(rune('0'+i)), string(pattern(256<<10, byte(i))))
	}
	var all sync.WaitGroup
	for i, n := range files {
		all.Go(func() {
			defer tree.Unref(n, 1)
			errno := syscall.Errno(0)
			for off := int64(256 << 10); errno == 0; off += 64 << 10 {
				_, errno = tree.WriteAt(n, pattern(64<<10, byte(i)), off, false)
			}
			if errno != syscall.ENOSPC {
				t.Errorf("write = %v, want ENOSPC", errno)
			}
		})
	}
	all.Wait()
}

// What stays free by default is a share of a large disk, and no more of a small one
// than it can spare.
func TestDefaultReserve(t *testing.T) {
	const gib = 1 << 30
	for _, c := range []struct{ total, want int64 }{
		{0, 0},
		{16 << 20, 4 << 20},
		{gib, 256 << 20},
		{4 * gib, 256 << 20},
		{100 * gib, 5 * gib},
	} {
		if got := (&spillDisk{}).keepsFree(c.total); got != c.want {
			t.Errorf("of %d bytes %d stay free, want %d", c.total, got, c.want)
		}
	}
}
