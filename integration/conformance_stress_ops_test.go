package integration

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"
)

// Sizes of what a stressor makes, in bytes: small, so that a tree of hundreds of
// files is stored in a second.
const (
	stressFile = 256 << 10 // largest file
	stressIO   = 32 << 10  // largest write
	stressPage = 4 << 10

	stressBranches = 3 // directories in each directory
)

// stressor does random operations in a tree that others change too.
type stressor struct {
	dir  string
	rand *rand.Rand
	buf  []byte // stressIO bytes, aligned to a page
}

// stressOps are the operations, and how often each is drawn.
var stressOps = []struct {
	name   string
	weight int
	do     func(*stressor) error
}{
	{"create", 8, (*stressor).create},
	{"write", 12, func(s *stressor) error { return s.write(0) }},
	{"append", 4, func(s *stressor) error { return s.write(unix.O_APPEND) }},
	{"direct", 4, (*stressor).direct},
	{"mapped", 5, (*stressor).mapped},
	{"read", 4, (*stressor).read},
	{"truncate", 3, (*stressor).truncate},
	{"allocate", 2, func(s *stressor) error { return s.fallocate(0) }},
	{"allocate-keep", 2, func(s *stressor) error { return s.fallocate(unix.FALLOC_FL_KEEP_SIZE) }},
	{"punch", 3, func(s *stressor) error { return s.fallocate(unix.FALLOC_FL_PUNCH_HOLE | unix.FALLOC_FL_KEEP_SIZE) }},
	{"zero", 2, func(s *stressor) error { return s.fallocate(unix.FALLOC_FL_ZERO_RANGE) }},
	{"copy-range", 4, (*stressor).copyRange},
	{"seek", 2, (*stressor).seek},
	{"mkdir", 5, func(s *stressor) error { return unix.Mkdir(s.directory(), s.mode()|0o700) }},
	{"rmdir", 2, func(s *stressor) error { return unix.Rmdir(s.directory()) }},
	{"unlink", 5, func(s *stressor) error { return unix.Unlink(s.file()) }},
	{"rename", 5, func(s *stressor) error { return s.rename(0) }},
	{"noreplace", 2, func(s *stressor) error { return s.rename(unix.RENAME_NOREPLACE) }},
	{"exchange", 3, func(s *stressor) error { return s.rename(unix.RENAME_EXCHANGE) }},
	{"rename-directory", 2, (*stressor).renameDirectory},
	{"link", 4, func(s *stressor) error { return unix.Link(s.file(), s.file()) }},
	{"symlink", 3, func(s *stressor) error { return unix.Symlink("../"+filepath.Base(s.file()), s.file()) }},
	{"readlink", 1, func(s *stressor) error { _, err := unix.Readlink(s.file(), s.buf); return err }},
	{"fifo", 1, func(s *stressor) error { return unix.Mkfifo(s.file(), s.mode()) }},
	{"unnamed", 3, (*stressor).unnamed},
	{"unlinked", 2, (*stressor).unlinked},
	{"chmod", 2, func(s *stressor) error { return unix.Chmod(s.file(), s.mode()) }},
	{"chmod-directory", 1, func(s *stressor) error { return unix.Chmod(s.directory(), s.mode()|0o700) }},
	{"chown", 1, func(s *stressor) error { return unix.Lchown(s.file(), s.rand.IntN(1000), s.rand.IntN(1000)) }},
	{"times", 2, (*stressor).times},
	{"setxattr", 3, (*stressor).setxattr},
	{"removexattr", 1, func(s *stressor) error { return unix.Removexattr(s.any(), s.attribute()) }},
	{"list", 2, func(s *stressor) error { _, err := os.ReadDir(s.directory()); return err }},
	{"stat", 2, func(s *stressor) error { var st unix.Stat_t; return unix.Lstat(s.any(), &st) }},
	{"fsync", 1, (*stressor).fsync},
}

// directory draws the path of a directory, at most three below the top.
func (s *stressor) directory() string {
	path := s.dir
	for range 1 + s.rand.IntN(3) {
		path = filepath.Join(path, "d"+strconv.Itoa(s.rand.IntN(stressBranches)))
	}
	return path
}

// file draws the path of a file, which at times is a directory's.
func (s *stressor) file() string {
	if s.rand.IntN(30) == 0 {
		return s.directory()
	}
	dir := s.dir
	if s.rand.IntN(4) > 0 {
		dir = s.directory()
	}
	return filepath.Join(dir, "f"+strconv.Itoa(s.rand.IntN(10)))
}

func (s *stressor) any() string {
	if s.rand.IntN(3) == 0 {
		return s.directory()
	}
	return s.file()
}

func (s *stressor) mode() uint32 {
	return []uint32{0, 0o600, 0o644, 0o755, 0o4711, 0o2755, 0o1777, 0o444}[s.rand.IntN(8)]
}

// part draws a range of a file, in bytes: any, or whole pages.
func (s *stressor) part() (off, n int64) {
	off, n = s.rand.Int64N(stressFile-stressIO), 1+s.rand.Int64N(stressIO)
	if s.rand.IntN(2) == 0 {
		off, n = wholePages(off, n)
	}
	return off, n
}

func wholePages(off, n int64) (int64, int64) {
	return off &^ (stressPage - 1), (n + stressPage - 1) &^ (stressPage - 1)
}

// fill returns n bytes, the same everywhere, and never zero.
func (s *stressor) fill(n int64) []byte {
	c := byte(1 + s.rand.IntN(255))
	for i := range s.buf[:n] {
		s.buf[i] = c
	}
	return s.buf[:n]
}

// open opens a file, without waiting where it is a FIFO.
func (s *stressor) open(flags int) (int, error) {
	return unix.Open(s.file(), flags|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
}

// with opens a file for fn.
func (s *stressor) with(flags int, fn func(fd int) error) error {
	fd, err := s.open(flags)
	if err != nil {
		return err
	}
	return closeAfter(fd, fn(fd))
}

// closeAfter closes a descriptor: a close that fails has lost something.
func closeAfter(fd int, err error) error {
	if closeErr := unix.Close(fd); closeErr != nil {
		return fmt.Errorf("close: %w", closeErr)
	}
	return err
}

func (s *stressor) create() error {
	flags := unix.O_CREAT | unix.O_RDWR | unix.O_NOFOLLOW | unix.O_NONBLOCK | unix.O_CLOEXEC
	flags |= []int{0, unix.O_EXCL, unix.O_TRUNC}[s.rand.IntN(3)]
	fd, err := unix.Open(s.file(), flags, s.mode()|0o600)
	if err != nil {
		return err
	}
	_, n := s.part()
	_, err = unix.Write(fd, s.fill(n))
	if err == unix.EAGAIN { // a full FIFO
		err = nil
	}
	return closeAfter(fd, err)
}

func (s *stressor) write(flags int) error {
	return s.with(unix.O_WRONLY|flags, func(fd int) error {
		off, n := s.part()
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return err
		}
		if flags&unix.O_APPEND != 0 && st.Size > stressFile {
			return unix.Ftruncate(fd, st.Size/2)
		}
		_, err := unix.Pwrite(fd, s.fill(n), off)
		return err
	})
}

func (s *stressor) direct() error {
	return s.with(unix.O_RDWR|unix.O_DIRECT, func(fd int) error {
		off, n := s.part()
		off, n = off&^(stressPage-1), (n+stressPage-1)&^(stressPage-1)
		if s.rand.IntN(2) == 0 {
			_, err := unix.Pread(fd, s.buf[:n], off)
			return err
		}
		_, err := unix.Pwrite(fd, s.fill(n), off)
		return err
	})
}

// mapped writes through memory, at times to the disk at once.
func (s *stressor) mapped() error {
	return s.with(unix.O_RDWR, func(fd int) error {
		var st unix.Stat_t
		if err := unix.Fstat(fd, &st); err != nil {
			return err
		}
		off, n := s.part()
		off &^= stressPage - 1
		if n = min(n, st.Size-off); n <= 0 {
			return unix.ENXIO
		}
		m, err := unix.Mmap(fd, off, int(n), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Munmap(m) }() // fails on a bad address only
		copy(m, s.fill(n))
		if s.rand.IntN(3) == 0 {
			return unix.Msync(m, unix.MS_SYNC)
		}
		return nil
	})
}

func (s *stressor) read() error {
	return s.with(unix.O_RDONLY, func(fd int) error {
		off, n := s.part()
		_, err := unix.Pread(fd, s.buf[:n], off)
		return err
	})
}

func (s *stressor) truncate() error {
	size := s.rand.Int64N(stressFile)
	if s.rand.IntN(2) == 0 {
		return unix.Truncate(s.file(), size)
	}
	return s.with(unix.O_WRONLY, func(fd int) error { return unix.Ftruncate(fd, size) })
}

// fallocate empties whole pages only: the kernel clears the others in memory alone,
// and a store of another process to one of them can bring the bytes back
// (docs/semantics.md, Two at once).
func (s *stressor) fallocate(mode uint32) error {
	return s.with(unix.O_RDWR, func(fd int) error {
		off, n := s.part()
		if mode&(unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_ZERO_RANGE) != 0 {
			off, n = wholePages(off, n)
		}
		return unix.Fallocate(fd, mode, off, n)
	})
}

func (s *stressor) copyRange() error {
	return s.with(unix.O_RDONLY, func(from int) error {
		return s.with(unix.O_RDWR, func(to int) error {
			in, n := s.part()
			out, _ := s.part()
			_, err := unix.CopyFileRange(from, &in, to, &out, int(n), 0)
			return err
		})
	})
}

func (s *stressor) seek() error {
	return s.with(unix.O_RDONLY, func(fd int) error {
		off, _ := s.part()
		_, err := unix.Seek(fd, off, []int{unix.SEEK_DATA, unix.SEEK_HOLE, unix.SEEK_END}[s.rand.IntN(3)])
		return err
	})
}

func (s *stressor) rename(flags uint) error {
	return unix.Renameat2(unix.AT_FDCWD, s.file(), unix.AT_FDCWD, s.file(), flags)
}

// renameDirectory keeps the depth, so that every directory can be drawn again.
func (s *stressor) renameDirectory() error {
	from, to := s.directory(), s.directory()
	for depth(from) != depth(to) {
		to = s.directory()
	}
	flags := []uint{0, unix.RENAME_NOREPLACE, unix.RENAME_EXCHANGE}[s.rand.IntN(3)]
	return unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, flags)
}

func depth(path string) int {
	n := 0
	for _, c := range path {
		if c == '/' {
			n++
		}
	}
	return n
}

// unnamed creates a file without a name, and sometimes links it.
func (s *stressor) unnamed() error {
	fd, err := unix.Open(s.directory(), unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, s.mode())
	if err != nil {
		return err
	}
	off, n := s.part()
	_, err = unix.Pwrite(fd, s.fill(n), off)
	if err == nil && s.rand.IntN(4) > 0 {
		err = unix.Linkat(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), unix.AT_FDCWD, s.file(), unix.AT_SYMLINK_FOLLOW)
	}
	return closeAfter(fd, err)
}

// unlinked goes on with a file that has lost its name.
func (s *stressor) unlinked() error {
	path := s.file()
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	err = unix.Unlink(path)
	off, n := s.part()
	if err == nil {
		_, err = unix.Pwrite(fd, s.fill(n), off)
	}
	if err == nil {
		_, err = unix.Pread(fd, s.buf[:n], off)
	}
	return closeAfter(fd, err)
}

func (s *stressor) times() error {
	ts := unix.Timespec{Sec: s.rand.Int64N(1 << 31), Nsec: s.rand.Int64N(1e9)}
	return unix.UtimesNanoAt(unix.AT_FDCWD, s.any(), []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW)
}

func (s *stressor) attribute() string { return "user.a" + strconv.Itoa(s.rand.IntN(4)) }

func (s *stressor) setxattr() error {
	return unix.Setxattr(s.any(), s.attribute(), s.fill(s.rand.Int64N(200)), []int{0, unix.XATTR_CREATE, unix.XATTR_REPLACE}[s.rand.IntN(3)])
}

func (s *stressor) fsync() error {
	return s.with(unix.O_RDONLY, func(fd int) error {
		if s.rand.IntN(2) == 0 {
			return unix.Fdatasync(fd)
		}
		return unix.Fsync(fd)
	})
}
