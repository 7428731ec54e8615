package fs

import (
	"bytes"
	"errors"
	"io"
	"math"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// kinds makes one inode of each kind that has no content.
func kinds(t *testing.T, tree *Tree) map[string]*Inode {
	t.Helper()
	fifo, errno := tree.Mknod(tree.Root(), "fifo", syscall.S_IFIFO|0o644, 0, Owner{})
	ok(t, errno)
	link, errno := tree.Symlink(tree.Root(), "link", "target", Owner{})
	ok(t, errno)
	return map[string]*Inode{"dir": mkdir(t, tree, tree.Root(), "dir"), "fifo": fifo, "link": link}
}

func TestContentOfOtherKindsIsRefused(t *testing.T) {
	tree := newTree(t, nil)
	f := file(t, tree, tree.Root(), "f", "x")
	for name, n := range kinds(t, tree) {
		wanted := map[string]syscall.Errno{"dir": syscall.EISDIR, "fifo": syscall.EINVAL, "link": syscall.EINVAL}[name]
		want(t, second(tree.ReadAt(n, make([]byte, 1), 0)), wanted)
		want(t, second(tree.WriteAt(n, []byte("x"), 0, false)), wanted)
		want(t, second(tree.SetAttr(n, &SetAttr{Valid: SetSize})), wanted)
		want(t, second(tree.Seek(n, 0, unix.SEEK_DATA)), wanted)
		want(t, second(tree.CopyRange(f, 0, n, 0, 1)), wanted)
		want(t, second(tree.CopyRange(n, 0, f, 0, 1)), wanted)
	}
	named := func(name string) *Inode { return child(tree, name) }
	want(t, tree.Allocate(named("dir"), 0, 1, 0), syscall.EISDIR)
	want(t, tree.Allocate(named("fifo"), 0, 1, 0), syscall.ENODEV)
	want(t, second(tree.Readlink(f)), syscall.EINVAL)
}

func TestOffsetsAtTheEndOfTheWorld(t *testing.T) {
	const last = math.MaxInt64
	eachTree(t, nil, func(t *testing.T, tree *Tree) {
		f := file(t, tree, tree.Root(), "f", "")
		for _, c := range []struct {
			name      string
			got, want syscall.Errno
		}{
			{"write before the start", second(tree.WriteAt(f, []byte("x"), -1, false)), syscall.EINVAL},
			{"write at the end", second(tree.WriteAt(f, []byte("x"), last, false)), syscall.EFBIG},
			{"nothing at the end", second(tree.WriteAt(f, nil, last, false)), 0},
			{"read before the start", second(tree.ReadAt(f, make([]byte, 1), -1)), syscall.EINVAL},
			{"read at the end", second(tree.ReadAt(f, make([]byte, 9), last)), 0},
			{"size below nothing", second(tree.SetAttr(f, &SetAttr{Valid: SetSize, Size: -1})), syscall.EINVAL},
			{"allocate nothing", tree.Allocate(f, 0, 0, 0), syscall.EINVAL},
			{"allocate beyond the end", tree.Allocate(f, last, 1, 0), syscall.EFBIG},
			{"allocate all", tree.Allocate(f, 0, last, 0), syscall.ENOSPC},
			{"punch all", tree.Allocate(f, 0, last, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE), 0},
			{"seek before the start", second(tree.Seek(f, -1, unix.SEEK_HOLE)), syscall.ENXIO},
			{"seek elsewhere", second(tree.Seek(f, 0, unix.SEEK_CUR)), syscall.EINVAL},
			{"copy beyond the end", second(tree.CopyRange(f, last, f, 0, 1)), syscall.EOVERFLOW},
			{"copy before the start", second(tree.CopyRange(f, 0, f, -1, 1)), syscall.EINVAL},
		} {
			if c.got != c.want {
				t.Errorf("%s: got %v, want %v", c.name, orNil(c.got), orNil(c.want))
			}
		}
		if n, errno := tree.WriteAt(f, []byte("12345"), last-3, false); n != 3 || errno != 0 {
			t.Errorf("write across the end: %d, %v", n, errno)
		}
		if a := tree.Attr(f); a.Size != last || a.Blocks != pageSize/512 {
			t.Errorf("the largest file: size %d, %d blocks", a.Size, a.Blocks)
		}
		if pos, errno := tree.Seek(f, last-1, unix.SEEK_HOLE); pos != last || errno != 0 {
			t.Errorf("its end: %d, %v", pos, errno)
		}
		if _, errno := tree.SetAttr(f, &SetAttr{Valid: SetSize, Size: 1 << 50}); errno != 0 || tree.Attr(f).Blocks != 0 {
			t.Errorf("cut: %v, %d blocks", errno, tree.Attr(f).Blocks)
		}
	})
}

func TestFileOfNothingButAHole(t *testing.T) {
	tree := newTree(t, nil)
	f := file(t, tree, tree.Root(), "f", "")
	ok(t, second(tree.SetAttr(f, &SetAttr{Valid: SetSize, Size: 10000})))
	if got := read(t, tree, f); got != strings.Repeat("\x00", 10000) {
		t.Error("it does not read as zeros")
	}
	want(t, second(tree.Seek(f, 0, unix.SEEK_DATA)), syscall.ENXIO)
	if pos, errno := tree.Seek(f, 77, unix.SEEK_HOLE); pos != 77 || errno != 0 {
		t.Errorf("SEEK_HOLE: %d, %v", pos, errno)
	}
	if tree.Attr(f).Blocks != 0 || f.content != nil {
		t.Error("it takes memory")
	}
}

func TestZeroRange(t *testing.T) {
	eachTree(t, nil, func(t *testing.T, tree *Tree) {
		for _, c := range []struct {
			name        string
			off, length int64
			mode        uint32
			size        int64
			blocks      int64
		}{
			{"inside", 10, 2 * pageSize, 0, 4 * pageSize, 4},
			{"across the end", 3 * pageSize, 2 * pageSize, 0, 5 * pageSize, 5},
			{"across the end, size kept", 3 * pageSize, 2 * pageSize, unix.FALLOC_FL_KEEP_SIZE, 4 * pageSize, 5},
		} {
			content := pattern(int(4*pageSize), 0)
			f := file(t, tree, tree.Root(), c.name, string(content))
			ok(t, tree.Allocate(f, c.off, c.length, c.mode|unix.FALLOC_FL_ZERO_RANGE))
			clear(content[c.off:min(4*pageSize, c.off+c.length)])
			content = append(content, make([]byte, c.size-4*pageSize)...)
			if got := read(t, tree, f); got != string(content) {
				t.Errorf("%s: other bytes", c.name)
			}
			if got := tree.Attr(f).Blocks * 512 / pageSize; got != c.blocks {
				t.Errorf("%s: %d pages, want %d", c.name, got, c.blocks)
			}
		}
	})
}

// bytesBase is a base of bytes; those from hole on are a hole.
type bytesBase struct {
	content []byte
	hole    int64
	err     error // of every read
}

func (b *bytesBase) Size() int64                       { return int64(len(b.content)) }
func (b *bytesBase) Used() int64                       { return b.hole }
func (b *bytesBase) SeekHole(off int64) (int64, error) { return max(off, b.hole), nil }

func (b *bytesBase) SeekData(off int64) (int64, error) {
	if off < b.hole {
		return off, nil
	}
	return b.Size(), nil
}

func (b *bytesBase) ReadAt(p []byte, off int64) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	return bytes.NewReader(b.content).ReadAt(p, off)
}

// baseFile makes a file with a base of whole pages of data and as many of hole.
func baseFile(t *testing.T, tree *Tree, name string, pages int) (*Inode, *bytesBase) {
	t.Helper()
	f := file(t, tree, tree.Root(), name, "")
	half := pages * int(pageSize)
	b := &bytesBase{content: append(pattern(half, 1), make([]byte, half)...), hole: int64(half)}
	ok(t, tree.SetBase(f, b))
	return f, b
}

func TestBaseIsCopiedUpByTheFirstWrite(t *testing.T) {
	const cut = 10000
	for _, c := range []struct {
		name   string
		change func(tree *Tree, n *Inode) syscall.Errno
		want   func(content []byte) []byte
		pages  int64 // afterwards; base has 4 of data and 4 of hole
	}{
		{
			"write", func(tree *Tree, n *Inode) syscall.Errno { return second(tree.WriteAt(n, []byte("new"), 5000, false)) },
			func(c []byte) []byte { copy(c[5000:], "new"); return c }, 4,
		},
		{"write into the hole", func(tree *Tree, n *Inode) syscall.Errno {
			return second(tree.WriteAt(n, []byte("new"), 6*pageSize, false))
		}, func(c []byte) []byte { copy(c[6*pageSize:], "new"); return c }, 5},
		{"append", func(tree *Tree, n *Inode) syscall.Errno {
			return second(tree.WriteAt(n, []byte("new"), 8*pageSize, false))
		}, func(c []byte) []byte { return append(c, "new"...) }, 5},
		{"cut", func(tree *Tree, n *Inode) syscall.Errno {
			return second(tree.SetAttr(n, &SetAttr{Valid: SetSize, Size: cut}))
		}, func(c []byte) []byte { return c[:cut] }, 3},
		{"lengthen", func(tree *Tree, n *Inode) syscall.Errno {
			return second(tree.SetAttr(n, &SetAttr{Valid: SetSize, Size: 9 * pageSize}))
		}, func(c []byte) []byte { return append(c, make([]byte, pageSize)...) }, 4},
		{
			"cut to nothing", func(tree *Tree, n *Inode) syscall.Errno { return second(tree.SetAttr(n, &SetAttr{Valid: SetSize})) },
			func(c []byte) []byte { return nil }, 0,
		},
		{"punch", func(tree *Tree, n *Inode) syscall.Errno {
			return tree.Allocate(n, 0, pageSize, unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE)
		}, func(c []byte) []byte { clear(c[:pageSize]); return c }, 3},
		{
			"allocate", func(tree *Tree, n *Inode) syscall.Errno { return tree.Allocate(n, 0, 8*pageSize, 0) },
			func(c []byte) []byte { return c }, 8,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachTree(t, nil, func(t *testing.T, tree *Tree) {
				f, b := baseFile(t, tree, "f", 4)
				before := bytes.Clone(b.content)
				if got := read(t, tree, f); got != string(before) {
					t.Fatal("base reads otherwise")
				}
				ok(t, c.change(tree, f))
				if got := read(t, tree, f); got != string(c.want(bytes.Clone(before))) {
					t.Error("other bytes afterwards")
				}
				if got := tree.Attr(f).Blocks * 512 / pageSize; got != c.pages {
					t.Errorf("%d pages, want %d", got, c.pages)
				}
				if !bytes.Equal(b.content, before) {
					t.Error("the base was changed")
				}
			})
		})
	}
}

// stuckBase is a base whose reads wait.
type stuckBase struct {
	bytesBase
	begun, goOn chan struct{}
}

func (b *stuckBase) ReadAt(p []byte, off int64) (int, error) {
	b.begun <- struct{}{}
	<-b.goOn
	return b.bytesBase.ReadAt(p, off)
}

// TestCopyUpHoldsUpNobody cuts a file to nothing while it is copied up.
func TestCopyUpHoldsUpNobody(t *testing.T) {
	eachTree(t, nil, func(t *testing.T, tree *Tree) {
		b := &stuckBase{bytesBase{content: []byte("content"), hole: 7}, make(chan struct{}), make(chan struct{})}
		f := file(t, tree, tree.Root(), "f", "")
		ok(t, tree.SetBase(f, b))
		written := make(chan syscall.Errno)
		go func() { written <- second(tree.WriteAt(f, []byte("x"), 3, false)) }()
		<-b.begun
		if a := tree.Attr(f); a.Size != 7 {
			t.Errorf("while it is copied up: %+v", a)
		}
		ok(t, tree.Rename(tree.Root(), "f", tree.Root(), "g", 0))
		ok(t, second(tree.SetAttr(f, &SetAttr{Valid: SetSize})))
		close(b.goOn)
		ok(t, <-written)
		if got := read(t, tree, f); got != "\x00\x00\x00x" {
			t.Errorf("it holds %q", got)
		}
		checkTree(t, tree, f)
	})
}

// TestFrozenWhileCopiedUp checks that a write that began before Freeze is refused if it has
// not ended.
func TestFrozenWhileCopiedUp(t *testing.T) {
	tree := newTree(t, nil)
	b := &stuckBase{bytesBase{content: []byte("content"), hole: 7}, make(chan struct{}), make(chan struct{})}
	f := file(t, tree, tree.Root(), "f", "")
	ok(t, tree.SetBase(f, b))
	written := make(chan syscall.Errno)
	go func() { written <- second(tree.WriteAt(f, []byte("x"), 3, false)) }()
	<-b.begun
	tree.Freeze()
	close(b.goOn)
	want(t, <-written, syscall.EROFS)
	checkTree(t, tree, f)
}

// TestMemoryBeyondTheEndStays writes to a file for which memory was reserved.
func TestMemoryBeyondTheEndStays(t *testing.T) {
	eachTree(t, nil, func(t *testing.T, tree *Tree) {
		f := file(t, tree, tree.Root(), "f", "content")
		ok(t, tree.Allocate(f, 0, 10*pageSize, unix.FALLOC_FL_KEEP_SIZE))
		write(t, tree, f, "more", 7)
		if a := tree.Attr(f); a.Size != 11 || a.Blocks*512 != 10*pageSize {
			t.Errorf("size %d, %d blocks", a.Size, a.Blocks)
		}
		ok(t, second(tree.SetAttr(f, &SetAttr{Valid: SetSize, Size: 11})))
		if a := tree.Attr(f); a.Size != 11 || a.Blocks*512 != pageSize || f.content.(*upper).beyond {
			t.Errorf("cut to its size: size %d, %d blocks", a.Size, a.Blocks)
		}
	})
}

// TestBaseThatCannotBeReadIsEIO also checks that the content stays base after a failed copy
// up.
func TestBaseThatCannotBeReadIsEIO(t *testing.T) {
	tree := newTree(t, nil)
	f, b := baseFile(t, tree, "f", 2)
	b.err = errors.New("the store is gone")
	want(t, second(tree.ReadAt(f, make([]byte, 10), 0)), syscall.EIO)
	want(t, second(tree.WriteAt(f, []byte("x"), 0, false)), syscall.EIO)
	if used := tree.bytes.used.Load(); used != 0 {
		t.Errorf("%d bytes are used after a copy up that failed", used)
	}
	b.err = nil
	if got := read(t, tree, f); got != string(b.content) {
		t.Error("other bytes afterwards")
	}
	b.content = b.content[:pageSize] // shorter than it said
	want(t, second(tree.WriteAt(f, []byte("x"), 0, false)), syscall.EIO)
}

func TestSetBaseWantsAnEmptyFile(t *testing.T) {
	tree := newTree(t, nil)
	b := &bytesBase{content: []byte("base"), hole: 4}
	want(t, tree.SetBase(tree.Root(), b), syscall.EINVAL)
	want(t, tree.SetBase(file(t, tree, tree.Root(), "full", "x"), b), syscall.EINVAL)
	emptied := file(t, tree, tree.Root(), "emptied", "x")
	ok(t, second(tree.SetAttr(emptied, &SetAttr{Valid: SetSize})))
	ok(t, tree.SetBase(emptied, b))
	if got := read(t, tree, emptied); got != "base" {
		t.Errorf("it holds %q", got)
	}
}

func TestCopyRange(t *testing.T) {
	eachTree(t, nil, func(t *testing.T, tree *Tree) {
		content := pattern(3*chunkSize+5, 0)
		src := file(t, tree, tree.Root(), "src", string(content))
		dst := file(t, tree, tree.Root(), "dst", "start")
		if n, errno := tree.CopyRange(src, 10, dst, 5, math.MaxInt64-10); n != int64(len(content))-10 || errno != 0 {
			t.Fatalf("%d, %v", n, errno)
		}
		if got := read(t, tree, dst); got != "start"+string(content[10:]) {
			t.Error("other bytes")
		}
		if n, errno := tree.CopyRange(src, int64(len(content)), dst, 0, 10); n != 0 || errno != 0 {
			t.Errorf("at the end: %d, %v", n, errno)
		}
		want(t, second(tree.CopyRange(src, 0, src, 5, 10)), syscall.EINVAL)
		if n, errno := tree.CopyRange(src, 0, src, 10, 10); n != 10 || errno != 0 {
			t.Errorf("within a file: %d, %v", n, errno)
		}
	})
}

func TestKillPriv(t *testing.T) {
	const capability = "security.capability"
	for _, c := range []struct {
		name         string
		before, want uint32
	}{
		{"suid", 0o4755, 0o755},
		{"sgid of an executable", 0o2755, 0o755},
		{"sgid that means locking", 0o2745, 0o2745},
		{"all", 0o7777, 0o1777},
	} {
		for how, kill := range map[string]func(tree *Tree, n *Inode) syscall.Errno{
			"write": func(tree *Tree, n *Inode) syscall.Errno { return second(tree.WriteAt(n, []byte("x"), 0, true)) },
			"setattr": func(tree *Tree, n *Inode) syscall.Errno {
				return second(tree.SetAttr(n, &SetAttr{Valid: SetKillPriv}))
			},
		} {
			t.Run(c.name+" "+how, func(t *testing.T) {
				tree := newTree(t, nil)
				f := file(t, tree, tree.Root(), "f", "content")
				ok(t, second(tree.SetAttr(f, &SetAttr{Valid: SetMode, Mode: c.before})))
				ok(t, tree.SetXattr(f, capability, []byte("caps"), 0))
				ok(t, second(tree.WriteAt(f, []byte("x"), 0, false)))
				if got := tree.Attr(f).Mode; got != c.before|syscall.S_IFREG {
					t.Fatalf("a privileged write left mode %o", got)
				}
				ok(t, kill(tree, f))
				if got := tree.Attr(f).Mode; got != c.want|syscall.S_IFREG {
					t.Errorf("mode %o, want %o", got, c.want|syscall.S_IFREG)
				}
				want(t, second(tree.GetXattr(f, capability)), syscall.ENODATA)
			})
		}
	}
}

// failingHome makes files that fail when the test says so.
type failingHome struct {
	Home
	err error // of every write and allocation
}

type failingFile struct {
	File
	home *failingHome
}

func (h *failingHome) NewFile() (File, error) {
	f, err := h.Home.NewFile()
	return &failingFile{f, h}, err
}

// WriteAt writes half of p before it fails.
func (f *failingFile) WriteAt(p []byte, off int64) (int, error) {
	if f.home.err == nil {
		return f.File.WriteAt(p, off)
	}
	n, err := f.File.WriteAt(p[:len(p)/2], off)
	if err == nil {
		err = f.home.err
	}
	return n, err
}

func TestWriteThatFailsInTheHomeChangesNothing(t *testing.T) {
	eachHome(t, testHomeSize, func(t *testing.T, h Home) {
		home := &failingHome{Home: h}
		tree, err := New(home, nil)
		must(t, err)
		defer closeTree(t, tree)
		f := file(t, tree, tree.Root(), "f", "content")
		home.err = syscall.ENOMEM
		want(t, second(tree.WriteAt(f, pattern(100000, 0), 7, false)), syscall.ENOMEM)
		if got := read(t, tree, f); got != "content" {
			t.Errorf("it holds %d bytes", len(got))
		}
		checkTree(t, tree, f)
		home.err = io.ErrUnexpectedEOF
		want(t, second(tree.WriteAt(f, pattern(100000, 0), 7, false)), syscall.EIO)
	})
}

// NextData of a file that was truncated between its two questions was an error once.
func TestDataOfAFileThatIsTruncatedMeanwhile(t *testing.T) {
	eachTree(t, nil, func(t *testing.T, tree *Tree) {
		f := file(t, tree, tree.Root(), "f", "")
		done := make(chan struct{})
		var group sync.WaitGroup
		group.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					if _, errno := tree.SetAttr(f, &SetAttr{Valid: SetSize}); errno != 0 {
						t.Error(errno)
					}
					if _, errno := tree.WriteAt(f, []byte("data"), 3*pageSize, false); errno != 0 {
						t.Error(errno)
					}
				}
			}
		})
		defer group.Wait()
		defer close(done)
		for range 20_000 {
			for e, errno := range tree.Data(f, 0, 8*pageSize) {
				if errno != 0 || e.Off < 0 || e.Len <= 0 || e.End() > 8*pageSize {
					t.Fatalf("%+v, %v", e, errno)
				}
			}
		}
	})
}
