package fs

import (
	"bytes"
	"errors"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"pgregory.net/rapid"
)

// pattern returns n bytes that are not zero and that differ by position.
func pattern(n int, seed byte) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i*7+i>>8)%250 + 1 + seed%5
	}
	return p
}

// newFile makes a file that is closed at the end of the test.
func newFile(t *testing.T, h Home) File {
	t.Helper()
	f, err := h.NewFile()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func closeFile(t *testing.T, f File) {
	t.Helper()
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

func fileWrite(t *testing.T, f File, p []byte, off int64) {
	t.Helper()
	if n, err := f.WriteAt(p, off); n != len(p) || err != nil {
		t.Fatalf("WriteAt(%d bytes, %d) = %d, %v", len(p), off, n, err)
	}
}

// fileRead reads n bytes, which must exist.
func fileRead(t *testing.T, f File, off int64, n int) []byte {
	t.Helper()
	p := bytes.Repeat([]byte{0xee}, n)
	if got, err := f.ReadAt(p, off); got != n || (err != nil && err != io.EOF) {
		t.Fatalf("ReadAt(%d bytes, %d) = %d, %v", n, off, got, err)
	}
	return p
}

func wantUsed(t *testing.T, f File, pages int64) {
	t.Helper()
	if used, err := f.Used(); err != nil || used != pages*pageSize {
		t.Fatalf("Used() = %d, %v; want %d pages", used, err, pages)
	}
}

func must(t rapid.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestFileReadsWhatWasWritten(t *testing.T) {
	eachHome(t, testHomeSize, func(t *testing.T, h Home) {
		f := newFile(t, h)
		defer closeFile(t, f)
		if n, err := f.ReadAt(make([]byte, 10), 0); n != 0 || err != io.EOF {
			t.Fatalf("ReadAt of an empty file: %d, %v", n, err)
		}
		for _, c := range []struct{ off, length int64 }{
			{0, 10}, {3, pageSize}, {slotSize - 5, 10}, {7 * slotSize, 3 * slotSize}, {7*slotSize + 100, slotSize}, {1 << 40, 5},
		} {
			p := pattern(int(c.length), byte(c.off))
			fileWrite(t, f, p, c.off)
			if got := fileRead(t, f, c.off, len(p)); !bytes.Equal(got, p) {
				t.Fatalf("after writing %d bytes at %d other bytes were read", c.length, c.off)
			}
		}
		p := make([]byte, 10)
		if n, err := f.ReadAt(p, 1<<40+2); n != 3 || err != io.EOF {
			t.Fatalf("ReadAt across the end: %d, %v", n, err)
		}
		if got := fileRead(t, f, 2*slotSize, 3*slotSize); !bytes.Equal(got, make([]byte, len(got))) {
			t.Fatal("a hole does not read as zeros")
		}
	})
}

func TestFileSeeksDataAndHoles(t *testing.T) {
	eachHome(t, testHomeSize, func(t *testing.T, h Home) {
		f := newFile(t, h)
		defer closeFile(t, f)
		fileWrite(t, f, pattern(10, 0), pageSize+5)
		fileWrite(t, f, pattern(10, 0), 40*slotSize)
		must(t, f.Truncate(50*slotSize+1))
		for _, c := range []struct {
			seek       func(int64) (int64, error)
			off, want  int64
			wantErr    error
			whatIsThis string
		}{
			{f.SeekData, 0, pageSize, nil, "data after a hole"},
			{f.SeekData, pageSize + 3, pageSize + 3, nil, "data in data"},
			{f.SeekData, 2 * pageSize, 40 * slotSize, nil, "data far away"},
			{f.SeekData, 40*slotSize + pageSize, 0, syscall.ENXIO, "no data any more"},
			{f.SeekData, 50*slotSize + 1, 0, syscall.ENXIO, "data at the end"},
			{f.SeekData, -1, 0, syscall.ENXIO, "data before the start"},
			{f.SeekHole, 0, 0, nil, "hole in a hole"},
			{f.SeekHole, pageSize + 3, 2 * pageSize, nil, "hole after data"},
			{f.SeekHole, 50 * slotSize, 50 * slotSize, nil, "hole at the end"},
			{f.SeekHole, 50*slotSize + 1, 0, syscall.ENXIO, "hole beyond the end"},
		} {
			got, err := c.seek(c.off)
			if !errors.Is(err, c.wantErr) || (err == nil && got != c.want) {
				t.Errorf("%s: from %d: %d, %v; want %d, %v", c.whatIsThis, c.off, got, err, c.want, c.wantErr)
			}
		}
	})
}

func TestFileTruncatedAndRegrownReadsZeros(t *testing.T) {
	eachHome(t, testHomeSize, func(t *testing.T, h Home) {
		f := newFile(t, h)
		defer closeFile(t, f)
		size := int64(3 * slotSize)
		for _, cut := range []int64{0, 1, pageSize - 1, pageSize, slotSize, slotSize + 100, 2*slotSize + 3*pageSize + 7} {
			fileWrite(t, f, pattern(int(size), 1), 0)
			must(t, f.Truncate(cut))
			wantUsed(t, f, pagesOf(cut))
			must(t, f.Truncate(size))
			wantUsed(t, f, pagesOf(cut))
			want := append(pattern(int(size), 1)[:cut], make([]byte, size-cut)...)
			if got := fileRead(t, f, 0, int(size)); !bytes.Equal(got, want) {
				t.Fatalf("cut at %d and grown again: other bytes", cut)
			}
		}
	})
}

func TestFilePunchesHoles(t *testing.T) {
	eachHome(t, testHomeSize, func(t *testing.T, h Home) {
		size := int64(3 * slotSize)
		for _, c := range []struct{ off, length int64 }{
			{0, 1},
			{10, pageSize},
			{pageSize, pageSize},
			{pageSize - 1, 2 * pageSize},
			{slotSize, slotSize},
			{100, 2*slotSize + 5},
			{0, size},
			{size - 10, 10},
			{size - 10, math.MaxInt64 - size},
			{size + 5, 100},
		} {
			f := newFile(t, h)
			fileWrite(t, f, pattern(int(size), 2), 0)
			must(t, f.PunchHole(c.off, c.length))
			end := min(size, c.off+c.length)
			want := pattern(int(size), 2)
			if c.off < size {
				clear(want[c.off:end])
			}
			if got := fileRead(t, f, 0, int(size)); !bytes.Equal(got, want) {
				t.Fatalf("hole of %d bytes at %d: other bytes", c.length, c.off)
			}
			whole := max(0, (c.off+c.length)/pageSize-pagesOf(c.off))
			wantUsed(t, f, size/pageSize-max(0, min(whole, size/pageSize-pagesOf(c.off))))
			closeFile(t, f)
		}
	})
}

func TestFileAllocates(t *testing.T) {
	eachHome(t, 64*pageSize, func(t *testing.T, h Home) {
		f := newFile(t, h)
		defer closeFile(t, f)
		must(t, f.Allocate(10, pageSize))
		wantUsed(t, f, 2)
		if n, err := f.ReadAt(make([]byte, 1), 0); n != 0 || err != io.EOF {
			t.Fatalf("Allocate changed the size: ReadAt %d, %v", n, err)
		}
		fileWrite(t, f, []byte("x"), 20*pageSize)
		if err := f.Allocate(0, 65*pageSize); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("more than there is: %v", err)
		}
		wantUsed(t, f, 3)
		if err := f.Allocate(0, math.MaxInt64); err == nil {
			t.Fatal("2^63 bytes were allocated")
		}
		must(t, f.Truncate(0))
		wantUsed(t, f, 0)
	})
}

func TestHomeIsFullExactlyAtItsSize(t *testing.T) {
	const pages = 100
	eachHome(t, pages*pageSize, func(t *testing.T, h Home) {
		f, g := newFile(t, h), newFile(t, h)
		defer closeFile(t, g)
		fileWrite(t, f, pattern(int(60*pageSize), 3), 0)
		fileWrite(t, g, pattern(int(40*pageSize), 3), 7*slotSize)
		for _, err := range []error{
			second(f.WriteAt([]byte("x"), 60*pageSize)), second(g.WriteAt([]byte("x"), 0)), g.Allocate(0, 1),
		} {
			if !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("in a full home: %v", err)
			}
		}
		fileWrite(t, f, []byte("over what is there"), 5)
		if _, free, err := h.StatFS(); free != 0 || err != nil {
			t.Errorf("a full home has %d bytes free, %v", free, err)
		}
		closeFile(t, f)
		if _, free, err := h.StatFS(); free != 60*pageSize || err != nil {
			t.Errorf("60 pages were given back, %d bytes are free, %v", free, err)
		}
		fileWrite(t, g, pattern(int(60*pageSize), 4), 100*slotSize)
	})
}

// second returns the error, or the errno, of a call that returns another value as well.
func second[T, E any](_ T, err E) E { return err }

func TestClosedFileIsRefused(t *testing.T) {
	eachHome(t, testHomeSize, func(t *testing.T, h Home) {
		f := newFile(t, h)
		fileWrite(t, f, []byte("x"), 0)
		closeFile(t, f)
		for _, err := range []error{
			second(f.ReadAt(make([]byte, 1), 0)), second(f.WriteAt([]byte("x"), 0)), f.Truncate(0), f.Close(),
		} {
			if !errors.Is(err, syscall.EBADF) {
				t.Errorf("closed file: %v", err)
			}
		}
	})
}

// TestFileIsAFile runs random operations on files of both kinds of home and on a file of
// the machine's file system.
func TestFileIsAFile(t *testing.T) {
	eachHome(t, testHomeSize, func(t *testing.T, h Home) {
		disk, err := os.CreateTemp(t.TempDir(), "")
		must(t, err)
		defer disk.Close()
		f := newFile(t, h)
		defer closeFile(t, f)
		rng := rand.New(rand.NewPCG(1, 2))
		const span = 5 * slotSize
		for range 500 {
			off, length := rng.Int64N(span), rng.Int64N(2*slotSize)+1
			switch rng.IntN(4) {
			case 0, 1:
				p := pattern(int(length), byte(rng.Int()))
				fileWrite(t, f, p, off)
				must(t, second(disk.WriteAt(p, off)))
			case 2:
				must(t, f.Truncate(off))
				must(t, disk.Truncate(off))
			case 3:
				must(t, f.PunchHole(off, length))
				must(t, unix.Fallocate(int(disk.Fd()), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, length))
			}
			mine, its := make([]byte, 8*slotSize), make([]byte, 8*slotSize)
			n, err := f.ReadAt(mine, 0)
			m, diskErr := disk.ReadAt(its, 0)
			if n != m || err != diskErr || !bytes.Equal(mine, its) {
				t.Fatalf("%d bytes (%v) and %d bytes (%v) differ", n, err, m, diskErr)
			}
		}
	})
}

// TestTmpfsHomeKeepsFewDescriptors makes more files than the cache keeps open, and reads
// all of them.
func TestTmpfsHomeKeepsFewDescriptors(t *testing.T) {
	const files = 3000
	h, err := NewTmpfsHome(testHomeSize, 0)
	must(t, err)
	before := openDescriptors(t)
	var all []File
	for i := range files {
		f := newFile(t, h)
		fileWrite(t, f, []byte{byte(i), byte(i >> 8)}, 0)
		all = append(all, f)
	}
	for i, f := range all {
		if got := fileRead(t, f, 0, 2); got[0] != byte(i) || got[1] != byte(i>>8) {
			t.Fatalf("file %d holds %v", i, got)
		}
	}
	if n := openDescriptors(t) - before; n > maxDescriptors {
		t.Errorf("%d descriptors for %d files", n, files)
	}
	for _, f := range all {
		closeFile(t, f)
	}
	must(t, h.Close())
	if n := openDescriptors(t); n >= before {
		t.Errorf("%d descriptors before the home was used, %d after it was closed", before, n)
	}
}

func openDescriptors(t *testing.T) int {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	must(t, err)
	return len(entries)
}

// TestFileClosedWhileItIsUsed checks that the last user closes the descriptor.
func TestFileClosedWhileItIsUsed(t *testing.T) {
	h, err := NewTmpfsHome(testHomeSize, 0)
	must(t, err)
	f := newFile(t, h).(*tmpfsFile)
	d, err := descriptors.acquire(f, 0)
	must(t, err)
	closeFile(t, f)
	must(t, second(writeFull(d.fd, []byte("x"), 0)))
	descriptors.release(d)
	if err := second(unix.FcntlInt(uintptr(d.fd), unix.F_GETFD, 0)); !errors.Is(err, syscall.EBADF) {
		t.Errorf("its descriptor is open: %v", err)
	}
	if total, free, err := h.StatFS(); total != free || err != nil {
		t.Errorf("%d of %d bytes are free, %v", free, total, err)
	}
	must(t, h.Close())
}

// TestDescriptorCacheYields lets the process run out of descriptors.
func TestDescriptorCacheYields(t *testing.T) {
	var before unix.Rlimit
	must(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &before))
	h, err := NewTmpfsHome(testHomeSize, 0)
	must(t, err)
	defer func() { must(t, h.Close()) }()
	limit := before
	limit.Cur = 100
	must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
	defer func() { must(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &before)) }()
	for range 300 {
		f := newFile(t, h)
		fileWrite(t, f, []byte("x"), 0)
	}
}

func TestHomesRefuseNonsense(t *testing.T) {
	h, err := NewTmpfsHome(testHomeSize, 2)
	must(t, err)
	for range 2 {
		closeFile(t, newFile(t, h))
	}
	f, g := newFile(t, h), newFile(t, h)
	if _, err := h.NewFile(); !errors.Is(err, syscall.ENOSPC) {
		t.Errorf("a third file where two are allowed: %v", err)
	}
	closeFile(t, f)
	closeFile(t, g)
	must(t, h.Close())
	if err := h.Close(); !errors.Is(err, syscall.EBADF) {
		t.Errorf("closed twice: %v", err)
	}
	a, err := NewArenaHome(0)
	must(t, err)
	if total, free, err := a.StatFS(); total <= 0 || free != total || err != nil {
		t.Errorf("an arena of the default size: %d, %d, %v", total, free, err)
	}
	must(t, a.Close())
	if err := a.Close(); !errors.Is(err, syscall.EBADF) {
		t.Errorf("closed twice: %v", err)
	}
}

// Scattered pages once took as much of the Go heap as of the arena.
func TestArenaOfScatteredPagesTakesLittleHeap(t *testing.T) {
	const pages = 2000
	h, err := NewArenaHome(testHomeSize)
	must(t, err)
	f, err := h.NewFile()
	must(t, err)
	before := heapInUse()
	for i := range int64(pages) {
		_, err := f.WriteAt([]byte("x"), i<<32+32<<20-1)
		must(t, err)
	}
	if took := int64(heapInUse()) - int64(before); took > pages*500 {
		t.Errorf("%d bytes of heap for %d pages", took, pages)
	}
	must(t, f.Close())
	must(t, h.Close())
}
