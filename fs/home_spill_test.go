package fs

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// spillTree makes a tree with size bytes of memory that spills to dir.
func spillTree(t *testing.T, size int64, dir string) *Tree {
	t.Helper()
	return reservingTree(t, size, dir, 0)
}

// reservingTree is spillTree with a part of the disk that stays free.
func reservingTree(t *testing.T, size int64, dir string, reserve int64) *Tree {
	t.Helper()
	memory, err := NewArenaHome(size)
	if err != nil {
		t.Fatal(err)
	}
	h, err := NewSpillHome(memory, dir, reserve)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := New(h, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		closeTree(t, tree)
		for _, h := range []Home{h, memory} {
			if err := h.Close(); err != nil {
				t.Error(err)
			}
		}
		left, err := os.ReadDir(dir)
		if err != nil || len(left) > 0 {
			t.Errorf("left in the spill directory: %v, %v", left, err)
		}
	})
	return tree
}

func TestSpillTakesWhatMemoryHasNoRoomFor(t *testing.T) {
	tree := spillTree(t, 1<<20, t.TempDir())
	first, second := pattern(700<<10, 1), pattern(3<<20, 2)
	a := file(t, tree, tree.Root(), "a", string(first))
	b := file(t, tree, tree.Root(), "b", string(second)) // beyond the limit in the middle
	for n, want := range map[*Inode][]byte{a: first, b: second} {
		if got := read(t, tree, n); got != string(want) {
			t.Errorf("inode %d: %d bytes came back, not the %d that were written", n.Ino(), len(got), len(want))
		}
	}
	// A file that has moved keeps its holes.
	if _, errno := tree.WriteAt(b, []byte("x"), 64<<20, false); errno != 0 {
		t.Fatal(errno)
	}
	if pos, errno := tree.Seek(b, 32<<20, 3); errno != 0 || pos != 64<<20 {
		t.Errorf("SEEK_DATA in the gap = %d, %v; want %d", pos, errno, 64<<20)
	}
	tree.Unref(a, 1)
	tree.Unref(b, 1)
}

// Free space once included what the disk keeps for others.
func TestSpillHasNotWhatTheDiskKeepsForOthers(t *testing.T) {
	dir := t.TempDir()
	tree := spillTree(t, 1<<20, dir)
	var disk unix.Statfs_t
	if err := unix.Statfs(dir, &disk); err != nil {
		t.Fatal(err)
	}
	const others = 1 << 30 // bytes that other programs may free meanwhile
	free := int64(tree.StatFS().Free) * blockSize
	if most := int64(disk.Bavail)*disk.Bsize + 1<<20 + others; free > most {
		t.Errorf("%d bytes are free, with %d on the disk", free, int64(disk.Bavail)*disk.Bsize)
	}
}

func TestSpillMovesHoles(t *testing.T) {
	tree := spillTree(t, 64<<10, t.TempDir())
	n := file(t, tree, tree.Root(), "n", "")
	defer tree.Unref(n, 1)
	if _, errno := tree.WriteAt(n, []byte("start"), 0, false); errno != 0 {
		t.Fatal(errno)
	}
	if _, errno := tree.WriteAt(n, pattern(256<<10, 3), 1<<20, false); errno != 0 {
		t.Fatal(errno)
	}
	if pos, errno := tree.Seek(n, 0, 4); errno != 0 || pos != pageSize {
		t.Errorf("SEEK_HOLE = %d, %v; want %d", pos, errno, pageSize)
	}
	got := []byte(read(t, tree, n))
	want := append(append([]byte("start"), make([]byte, 1<<20-5)...), pattern(256<<10, 3)...)
	if !bytes.Equal(got, want) {
		t.Error("the content changed on its way to the disk")
	}
}

func TestSpillWithoutRoomOnDisk(t *testing.T) {
	dir := smallDisk(t, "128k")
	t.Run("tree", func(t *testing.T) {
		tree := spillTree(t, 64<<10, dir)
		n := file(t, tree, tree.Root(), "n", "kept")
		defer tree.Unref(n, 1)
		if _, errno := tree.WriteAt(n, pattern(1<<20, 3), 4, false); errno != syscall.ENOSPC {
			t.Fatalf("write = %v, want ENOSPC", errno)
		}
		if got := read(t, tree, n); got != "kept" {
			t.Errorf("after the failure the content is %d bytes", len(got))
		}
	})
}

// The directory of a killed process is removed by the next one, which leaves those of live
// processes alone.
func TestSpillRemovesWhatAKillLeft(t *testing.T) {
	dir := t.TempDir()
	_ = spillTree(t, 1<<20, dir) // a live one
	for _, c := range []struct{ name, lock string }{
		{"a lock file", spillLock},
		{"a lock of the directory itself", "."},
	} {
		t.Run(c.name, func(t *testing.T) {
			left := filepath.Join(dir, spillPrefix+"1-dead")
			if err := os.Mkdir(left, 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(left, "1"), []byte("x"), 0o600); err != nil {
				t.Fatal(err)
			}
			dead := lockedBy(t, filepath.Join(left, c.lock))
			RemoveLeftSpills(dir)
			if _, err := os.Stat(filepath.Join(left, "1")); err != nil {
				t.Errorf("the directory of a living process: %v", err)
			}
			_ = dead.Process.Kill()
			_ = dead.Wait()
			RemoveLeftSpills(dir)
			if _, err := os.Stat(left); !os.IsNotExist(err) {
				t.Errorf("the directory of a dead process is still there: %v", err)
			}
		})
	}
}

// lockedBy starts a process that holds the flock of a file or directory.
func lockedBy(t *testing.T, name string) *exec.Cmd {
	t.Helper()
	if filepath.Base(name) == spillLock {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f, err := lockFile(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	cmd := exec.Command("sleep", "1000")
	cmd.ExtraFiles = []*os.File{f}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd
}

const noFlock = "FS_TEST_NO_FLOCK"

// On a file system without flock, or without flock of directories such as NFS, a mount once
// made directories forever.
func TestSpillWithoutFlock(t *testing.T) {
	cases := map[string]func(t *testing.T, dir string){
		"at all": func(t *testing.T, dir string) {
			forbidFlock(t, syscall.ENOLCK, anyDescriptor)
			_, err := newSpillHome(nil, dir, 0)
			if !errors.Is(err, syscall.ENOLCK) || !strings.Contains(err.Error(), "flock(2)") {
				t.Errorf("a home without locks: %v", err)
			}
		},
		"of what is open for reading": func(t *testing.T, dir string) {
			next, err := os.Open(dir)
			if err != nil {
				t.Fatal(err)
			}
			fd := next.Fd()
			next.Close()
			forbidFlock(t, syscall.EBADF, uint32(fd)) // the descriptor that the lock file gets first
			own, lock, err := makeSpillDir(dir)
			if err != nil {
				t.Fatal(err)
			}
			defer os.RemoveAll(own)
			if flags, err := unix.FcntlInt(lock.Fd(), unix.F_GETFL, 0); err != nil || flags&unix.O_ACCMODE != unix.O_RDWR {
				t.Errorf("the lock is open with %#o, %v; want for writing", flags, err)
			}
		},
	}
	if name, dir, child := strings.Cut(os.Getenv(noFlock), ":"); child {
		cases[name](t, dir)
		return
	}
	for name := range cases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			child := exec.Command("/proc/self/exe", "-test.run=^TestSpillWithoutFlock$")
			child.Env = append(os.Environ(), noFlock+"="+name+":"+dir)
			within(t, "a process without flock", func() {
				if out, err := child.CombinedOutput(); err != nil {
					t.Errorf("%v: %s", err, out)
				}
			})
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

const anyDescriptor = ^uint32(0)

// forbidFlock makes flock(2) of one descriptor, or of any, fail in this process.
func forbidFlock(t *testing.T, errno syscall.Errno, fd uint32) {
	t.Helper()
	load := func(off uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: off}
	}
	isNot := func(what uint32, skip uint8) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: skip, K: what}
	}
	answer := func(with uint32) unix.SockFilter {
		return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: with}
	}
	// struct seccomp_data: the call's number, and from byte 16 on its arguments.
	filter := []unix.SockFilter{load(0), isNot(unix.SYS_FLOCK, 3), load(16), isNot(fd, 1)}
	if fd == anyDescriptor {
		filter = []unix.SockFilter{load(0), isNot(unix.SYS_FLOCK, 1)}
	}
	filter = append(filter, answer(unix.SECCOMP_RET_ERRNO|uint32(errno)), answer(unix.SECCOMP_RET_ALLOW))
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	_, _, failed := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER, unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&program)))
	if failed != 0 {
		t.Fatalf("seccomp: %v", failed)
	}
}

// Homes that are made in one directory at the same time must not remove each other's: a
// directory that was not locked yet was taken for a left one and removed.
func TestSpillHomesMadeAtOnce(t *testing.T) {
	dir := t.TempDir()
	one := func() {
		memory, err := NewArenaHome(pageSize)
		if err != nil {
			t.Error(err)
			return
		}
		defer memory.Close()
		h, err := newSpillHome(memory, dir, -1)
		if err != nil {
			t.Error(err)
			return
		}
		defer h.Close()
		f, err := h.disk.newFile()
		if err == nil {
			_, err = f.WriteAt([]byte("x"), 0)
			err = errors.Join(err, f.Close())
		}
		if _, gone := os.Stat(h.dir); err != nil || gone != nil {
			t.Errorf("the directory of a living home: %v, %v", gone, err)
		}
	}
	for range 40 {
		var all sync.WaitGroup
		for range 64 {
			all.Go(one)
		}
		all.Wait()
	}
}
