package integration

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

const exercisePage = 4 << 10

// exerciseMode is one way to use a file. Sizes are in bytes.
type exerciseMode struct {
	name      string
	limit     int64 // largest size of the file
	longest   int64 // longest operation
	align     int64 // of offsets, lengths and sizes; 0: none
	direct    bool  // O_DIRECT
	prefilled bool  // a new file begins as full
	transfer  func() (transfer, error)
}

// transfer reads and writes as pread(2) and pwrite(2) do.
type transfer interface {
	read(fd int, p []byte, off int64) (int, error)
	write(fd int, p []byte, off int64) (int, error)
	close()
}

// exerciser does random operations to one file, and knows what it must read as.
type exerciser struct {
	transfer

	mode *exerciseMode
	rand *rand.Rand
	path string
	fd   int
	want []byte // content; its capacity is the largest size
	buf  []byte // aligned to a page, as long as the longest operation

	done map[string]int   // operations, by name
	last [40]exerciseStep // the latest of them
	step *exerciseStep    // in last, the one that is being done
}

// exerciseStep is one operation: what and where, in bytes.
type exerciseStep struct {
	number       int
	op           string
	off, n, from int64
}

// exerciseOps are the operations, and how often each is drawn.
var exerciseOps = []struct {
	name   string
	weight int
	do     func(*exerciser) error
}{
	{"read", 20, (*exerciser).readSome},
	{"write", 20, (*exerciser).writeSome},
	{"map-read", 10, (*exerciser).mapRead},
	{"map-write", 12, (*exerciser).mapWrite},
	{"truncate", 8, (*exerciser).truncate},
	{"allocate", 3, func(x *exerciser) error { return x.fallocate(0, false) }},
	{"allocate-keep", 3, func(x *exerciser) error { return x.fallocate(unix.FALLOC_FL_KEEP_SIZE, false) }},
	{"punch", 5, func(x *exerciser) error {
		return x.fallocate(unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, true)
	}},
	{"zero", 3, func(x *exerciser) error { return x.fallocate(unix.FALLOC_FL_ZERO_RANGE, true) }},
	{"zero-keep", 2, func(x *exerciser) error {
		return x.fallocate(unix.FALLOC_FL_ZERO_RANGE|unix.FALLOC_FL_KEEP_SIZE, true)
	}},
	{"copy", 8, (*exerciser).copyRange},
	{"sync", 1, (*exerciser).sync},
	{"drop", 2, (*exerciser).drop},
	{"reopen", 3, (*exerciser).reopen},
}

// newExerciser makes one that has no file yet. The caller calls end.
func newExerciser(m *exerciseMode, seed, index int) (*exerciser, error) {
	buf, err := unix.Mmap(-1, 0, int(m.longest), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("mmap: %w", err)
	}
	t, err := m.transfer()
	if err != nil {
		return nil, err
	}
	return &exerciser{
		transfer: t,
		mode:     m,
		rand:     rand.New(rand.NewPCG(uint64(seed), uint64(index))),
		fd:       -1,
		want:     make([]byte, 0, m.limit),
		buf:      buf,
		done:     map[string]int{},
	}, nil
}

func (x *exerciser) end() {
	if x.fd >= 0 {
		unix.Close(x.fd)
	}
	x.transfer.close()
	_ = unix.Munmap(x.buf) // fails on a bad address only
}

// fill makes the content as long as it may be.
func (x *exerciser) fill() {
	x.want = append(x.want[:0], sampleNoise(int(x.mode.limit))...)
}

// run does operations to a file, and compares all of it at the end. A file that is
// not to be made is there, and has been left alone since the last run.
func (x *exerciser) run(path string, ops int, without string, make bool) error {
	x.path = path
	if make {
		if x.mode.prefilled {
			x.fill()
		}
		if err := os.WriteFile(path, x.want, 0o644); err != nil {
			return err
		}
	}
	if err := x.open(); err != nil {
		return err
	}
	drawn := drawnOps(without)
	for range ops {
		if err := x.do(drawn[x.rand.IntN(len(drawn))]); err != nil {
			return fmt.Errorf("%w; the last operations were\n%s", err, x.history())
		}
	}
	fd := x.fd
	x.fd = -1
	if err := closeAfter(fd, x.compareAll()); err != nil {
		return fmt.Errorf("at the end: %w; the last operations were\n%s", err, x.history())
	}
	return nil
}

// drawnOps returns indices into exerciseOps, by weight.
func drawnOps(without string) []int {
	var drawn []int
	for i, op := range exerciseOps {
		if !leftOut(op.name, without) {
			drawn = append(drawn, slices.Repeat([]int{i}, op.weight)...)
		}
	}
	return drawn
}

// leftOut reports whether the name of an operation begins with that; never for "".
func leftOut(op, without string) bool { return without != "" && strings.HasPrefix(op, without) }

// do does one operation, and compares the size.
func (x *exerciser) do(i int) error {
	op := exerciseOps[i]
	number := 1
	if x.step != nil {
		number += x.step.number
	}
	x.step = &x.last[number%len(x.last)]
	*x.step = exerciseStep{number: number, op: op.name}
	if err := op.do(x); err != nil {
		return fmt.Errorf("operation %d, %s: %w", number, op.name, err)
	}
	x.done[op.name]++
	var st unix.Stat_t
	if err := unix.Fstat(x.fd, &st); err != nil {
		return fmt.Errorf("operation %d, %s: then fstat: %w", number, op.name, err)
	}
	if st.Size != x.size() {
		return fmt.Errorf("operation %d, %s: then the size is %d bytes, should be %d", number, op.name, st.Size, x.size())
	}
	return nil
}

// history lists the latest operations, a line each.
func (x *exerciser) history() string {
	var b strings.Builder
	for i := range x.last {
		s := x.last[(x.step.number+1+i)%len(x.last)]
		if s.number > 0 {
			fmt.Fprintf(&b, "%d %s: %d bytes at %d (from %d)\n", s.number, s.op, s.n, s.off, s.from)
		}
	}
	return b.String()
}

func (x *exerciser) size() int64 { return int64(len(x.want)) }

// grow makes the content at least that long, with zeros.
func (x *exerciser) grow(size int64) {
	if old := x.size(); size > old {
		x.want = x.want[:size]
		clear(x.want[old:])
	}
}

// zero makes a range of the content zeros, as far as there is any.
func (x *exerciser) zero(off, n int64) {
	clear(x.want[min(off, x.size()):min(off+n, x.size())])
}

// inside draws a range that begins in the file, and may end behind it.
func (x *exerciser) inside() (off, n int64) { return x.ranged(max(x.size(), 1)) }

// anywhere draws a range that need not begin in the file.
func (x *exerciser) anywhere() (off, n int64) { return x.ranged(x.mode.limit) }

func (x *exerciser) ranged(end int64) (off, n int64) {
	off, n = x.rand.Int64N(end), 1+x.rand.Int64N(x.mode.longest)
	if a := x.mode.align; a > 0 {
		off, n = off/a*a, (n+a-1)/a*a
	}
	n = min(n, x.mode.limit-off)
	x.step.off, x.step.n = off, n
	return off, n
}

// pattern fills the buffer with bytes that identify the operation and the offset.
func (x *exerciser) pattern(off, n int64) []byte {
	p := x.buf[:n]
	for i := range p {
		p[i] = byte(x.step.number*37) ^ byte((off+int64(i))*11>>3)
	}
	return p
}

// compare holds what was read at a place against what must be there.
func (x *exerciser) compare(got []byte, off, n int64) error {
	want := x.want[min(off, x.size()):min(off+n, x.size())]
	if len(got) != len(want) {
		return fmt.Errorf("%d bytes at %d, should be %d", len(got), off, len(want))
	}
	if bytes.Equal(got, want) {
		return nil
	}
	first, wrong := -1, 0
	for i := range got {
		if got[i] != want[i] {
			wrong++
			if first < 0 {
				first = i
			}
		}
	}
	return fmt.Errorf("byte %d is %#x, should be %#x; of %d bytes %d differ", off+int64(first), got[first], want[first], n, wrong)
}

// compareAll reads the whole file through a descriptor of its own.
func (x *exerciser) compareAll() error {
	got, err := os.ReadFile(x.path)
	if err != nil {
		return err
	}
	return x.compare(got, 0, x.mode.limit)
}

func (x *exerciser) open() error {
	flags := unix.O_RDWR | unix.O_CLOEXEC
	if x.mode.direct {
		flags |= unix.O_DIRECT
	}
	fd, err := unix.Open(x.path, flags, 0)
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	x.fd = fd
	return nil
}

func (x *exerciser) reopen() error {
	fd := x.fd
	x.fd = -1
	if err := closeAfter(fd, nil); err != nil {
		return err
	}
	return x.open()
}

func (x *exerciser) readSome() error {
	off, n := x.inside()
	got, err := x.read(x.fd, x.buf[:n], off)
	if err != nil {
		return err
	}
	return x.compare(x.buf[:got], off, n)
}

func (x *exerciser) writeSome() error {
	off, n := x.anywhere()
	wrote, err := x.write(x.fd, x.pattern(off, n), off)
	if err != nil {
		return err
	}
	if int64(wrote) != n {
		return fmt.Errorf("%d bytes written, should be %d", wrote, n)
	}
	x.grow(off + n)
	copy(x.want[off:], x.buf[:n])
	return nil
}

// mapped passes the pages of a range to fn, with the place of the range in them,
// and looks whether there are only zeros behind the end of the file.
func (x *exerciser) mapped(off, n int64, prot int, fn func(pages []byte, at int64) error) error {
	start := off / exercisePage * exercisePage
	end := (off + n + exercisePage - 1) / exercisePage * exercisePage
	m, err := unix.Mmap(x.fd, start, int(end-start), prot, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("mmap: %w", err)
	}
	defer func() { _ = unix.Munmap(m) }() // fails on a bad address only
	if err := fn(m, off-start); err != nil {
		return err
	}
	if size := x.size(); size < end {
		if behind := bytes.TrimLeft(m[size-start:], "\x00"); len(behind) > 0 {
			return fmt.Errorf("%#x in the last page, %d bytes behind the end of the file", behind[0], end-size-int64(len(behind)))
		}
	}
	return nil
}

func (x *exerciser) mapRead() error {
	off, n := x.inside()
	if n = min(n, x.size()-off); n <= 0 {
		return nil
	}
	return x.mapped(off, n, unix.PROT_READ, func(pages []byte, at int64) error {
		return x.compare(pages[at:at+n], off, n)
	})
}

// mapWrite writes through memory; it lets the file grow by ftruncate(2) first.
func (x *exerciser) mapWrite() error {
	off, n := x.anywhere()
	if off+n > x.size() {
		if err := unix.Ftruncate(x.fd, off+n); err != nil {
			return fmt.Errorf("ftruncate: %w", err)
		}
		x.grow(off + n)
	}
	return x.mapped(off, n, unix.PROT_READ|unix.PROT_WRITE, func(pages []byte, at int64) error {
		copy(pages[at:], x.pattern(off, n))
		copy(x.want[off:], x.buf[:n])
		if x.rand.IntN(2) == 0 {
			return unix.Msync(pages, unix.MS_SYNC)
		}
		return nil
	})
}

func (x *exerciser) truncate() error {
	size, _ := x.anywhere()
	var err error
	if x.rand.IntN(2) == 0 {
		err = unix.Truncate(x.path, size)
	} else {
		err = unix.Ftruncate(x.fd, size)
	}
	if err != nil {
		return err
	}
	x.want = x.want[:min(size, x.size())]
	x.grow(size)
	return nil
}

// fallocate calls fallocate(2), which makes zeros, or none.
func (x *exerciser) fallocate(mode uint32, zeros bool) error {
	off, n := x.anywhere()
	if err := uninterrupted(func() error { return unix.Fallocate(x.fd, mode, off, n) }); err != nil {
		return err
	}
	if zeros {
		x.zero(off, n)
	}
	if mode&unix.FALLOC_FL_KEEP_SIZE == 0 {
		x.grow(off + n)
	}
	return nil
}

// uninterrupted calls fn again when a signal, of which the Go runtime sends itself
// many, has ended it before it did anything.
func uninterrupted(fn func() error) error {
	for {
		if err := fn(); err != unix.EINTR {
			return err
		}
	}
}

// copyRange copies a range of the file to another that it does not overlap.
func (x *exerciser) copyRange() error {
	to, n := x.anywhere()
	from, _ := x.inside()
	n = min(n, x.size()-from, x.mode.limit-to)
	if n <= 0 || (from < to+n && to < from+n) {
		return nil
	}
	*x.step = exerciseStep{number: x.step.number, op: "copy", off: to, n: n, from: from}
	in, out := from, to
	for left := n; left > 0; {
		var copied int
		err := uninterrupted(func() (err error) {
			copied, err = unix.CopyFileRange(x.fd, &in, x.fd, &out, int(left), 0)
			return err
		})
		if err != nil {
			return err
		}
		if copied == 0 {
			return fmt.Errorf("nothing copied with %d bytes left", left)
		}
		left -= int64(copied)
	}
	x.grow(to + n)
	copy(x.want[to:to+n], x.want[from:from+n])
	return nil
}

func (x *exerciser) sync() error {
	if x.rand.IntN(2) == 0 {
		return unix.Fdatasync(x.fd)
	}
	return unix.Fsync(x.fd)
}

// drop has the kernel forget the pages that it has.
func (x *exerciser) drop() error {
	if err := unix.Fsync(x.fd); err != nil {
		return err
	}
	return unix.Fadvise(x.fd, 0, 0, unix.FADV_DONTNEED)
}
