package integration

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// oracleSide is a directory of the kernel's: a mount of ours, or tmpfs.
type oracleSide struct {
	root  string
	files [slots]int // descriptors, -1 for none
	seen  map[uint64]sighting

	stored map[uint64]*stored // by inode number, of what came with the archive; nil: no overlay
}

// sighting is when the times of an inode were seen to change.
type sighting struct {
	mtime, ctime      unix.Timespec
	modified, changed int // the steps
}

func newOracleSide(root string) *oracleSide {
	s := &oracleSide{root: root, seen: map[uint64]sighting{}}
	for slot := range s.files {
		s.files[slot] = -1
	}
	return s
}

// closeFiles closes all open files.
func (s *oracleSide) closeFiles() {
	for slot := range s.files {
		s.close(slot)
	}
}

func (s *oracleSide) close(slot int) {
	if s.files[slot] >= 0 {
		_ = unix.Close(s.files[slot])
	}
	s.files[slot] = -1
}

func (s *oracleSide) path(name string) string { return s.root + "/" + name }

func outcome(err error) string {
	var errno unix.Errno
	switch {
	case err == nil:
		return answerOK
	case errors.As(err, &errno):
		return unix.ErrnoName(errno)
	}
	return err.Error()
}

// count is the outcome of a call that returns a count.
func count(n int, err error) string {
	if err != nil {
		return outcome(err)
	}
	return fmt.Sprint(n)
}

// sum stands for bytes.
func sum(p []byte) string { return fmt.Sprintf("%d bytes %.6x", len(p), sha256.Sum256(p)) }

// oracleData is what an operation writes: its bytes follow from the operation and
// are never 0.
func oracleData(o op) []byte {
	p := make([]byte, o.n)
	for i := range p {
		p[i] = byte(1 + (int64(i)*7+o.off+o.n)%251)
	}
	return p
}

// sideOps do each operation, and return its answer.
var sideOps = map[string]func(*oracleSide, op) string{
	"open": func(s *oracleSide, o op) string {
		fd, err := unix.Open(s.path(o.path), int(o.flags)|unix.O_CLOEXEC|unix.O_NONBLOCK, o.mode)
		if err == nil {
			s.close(o.slot)
			s.files[o.slot] = fd
		}
		return outcome(err)
	},
	"close": func(s *oracleSide, o op) string {
		s.close(o.slot)
		return answerOK
	},
	"write":  func(s *oracleSide, o op) string { return count(unix.Write(s.files[o.slot], oracleData(o))) },
	"pwrite": func(s *oracleSide, o op) string { return count(unix.Pwrite(s.files[o.slot], oracleData(o), o.off)) },
	"pread": func(s *oracleSide, o op) string {
		p := make([]byte, o.n)
		n, err := unix.Pread(s.files[o.slot], p, o.off)
		if err != nil {
			return outcome(err)
		}
		return sum(p[:n])
	},
	"mmap":      (*oracleSide).mmap,
	"ftruncate": func(s *oracleSide, o op) string { return outcome(unix.Ftruncate(s.files[o.slot], o.n)) },
	"fsync":     func(s *oracleSide, o op) string { return outcome(unix.Fsync(s.files[o.slot])) },
	"fallocate": func(s *oracleSide, o op) string {
		return outcome(unix.Fallocate(s.files[o.slot], o.flags, o.off, o.n))
	},
	"seek": (*oracleSide).seek,
	"copy": func(s *oracleSide, o op) string {
		return count(unix.CopyFileRange(s.files[o.in], &o.from, s.files[o.slot], &o.off, int(o.n), 0))
	},
	"flink": func(s *oracleSide, o op) string {
		self := fmt.Sprintf("/proc/self/fd/%d", s.files[o.slot])
		return outcome(unix.Linkat(unix.AT_FDCWD, self, unix.AT_FDCWD, s.path(o.path), unix.AT_SYMLINK_FOLLOW))
	},
	"truncate": func(s *oracleSide, o op) string { return outcome(unix.Truncate(s.path(o.path), o.n)) },
	"mkdir":    func(s *oracleSide, o op) string { return outcome(unix.Mkdir(s.path(o.path), o.mode)) },
	"mknod":    func(s *oracleSide, o op) string { return outcome(unix.Mknod(s.path(o.path), o.mode, 0)) },
	"symlink":  func(s *oracleSide, o op) string { return outcome(unix.Symlink(o.to, s.path(o.path))) },
	"link":     func(s *oracleSide, o op) string { return outcome(unix.Link(s.path(o.path), s.path(o.to))) },
	"unlink":   func(s *oracleSide, o op) string { return outcome(unix.Unlink(s.path(o.path))) },
	"rmdir":    func(s *oracleSide, o op) string { return outcome(unix.Rmdir(s.path(o.path))) },
	"rename": func(s *oracleSide, o op) string {
		return outcome(unix.Renameat2(unix.AT_FDCWD, s.path(o.path), unix.AT_FDCWD, s.path(o.to), uint(o.flags)))
	},
	"chmod": func(s *oracleSide, o op) string { return outcome(unix.Chmod(s.path(o.path), o.mode)) },
	"chown": func(s *oracleSide, o op) string {
		return outcome(unix.Lchown(s.path(o.path), int(o.n), int(o.off)))
	},
	"utimens": func(s *oracleSide, o op) string {
		ts := unix.Timespec{Sec: o.n, Nsec: o.off}
		return outcome(unix.UtimesNanoAt(unix.AT_FDCWD, s.path(o.path), []unix.Timespec{ts, ts}, unix.AT_SYMLINK_NOFOLLOW))
	},
	"setxattr": func(s *oracleSide, o op) string {
		return outcome(unix.Setxattr(s.path(o.path), o.attr, oracleData(o), int(o.flags)))
	},
	"getxattr": func(s *oracleSide, o op) string {
		p := make([]byte, 1<<16)
		n, err := unix.Getxattr(s.path(o.path), o.attr, p)
		if err != nil {
			return outcome(err)
		}
		return sum(p[:n])
	},
	"removexattr": func(s *oracleSide, o op) string { return outcome(unix.Removexattr(s.path(o.path), o.attr)) },
	"readlink": func(s *oracleSide, o op) string {
		target, err := os.Readlink(s.path(o.path))
		if err != nil {
			return outcome(err)
		}
		return target
	},
	"contents": func(*oracleSide, op) string { return answerOK },
}

// mmap writes through a shared mapping of the pages that the range touches.
func (s *oracleSide) mmap(o op) string {
	fd := s.files[o.slot]
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return outcome(err)
	}
	end, start := min(o.off+o.n, st.Size), o.off&^4095
	p, err := unix.Mmap(fd, start, int(end-start), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return outcome(err)
	}
	copy(p[o.off-start:], oracleData(o))
	return outcome(unix.Munmap(p))
}

// seek looks for data or a hole, and checks that what it skips as a hole is zeros.
// Afterwards every side is at the beginning of the file.
func (s *oracleSide) seek(o op) string {
	fd := s.files[o.slot]
	off, err := unix.Seek(fd, o.off, int(o.flags))
	if _, err := unix.Seek(fd, 0, unix.SEEK_SET); err != nil {
		return outcome(err)
	}
	if err == nil && o.flags == unix.SEEK_DATA {
		p := make([]byte, off-o.off)
		if n, err := unix.Pread(fd, p, o.off); err == nil && n != len(p) || slices.ContainsFunc(p, func(b byte) bool { return b != 0 }) {
			return fmt.Sprintf("data in a hole before %d", off)
		}
	}
	return count(int(off), err)
}

// statLine is what every side reports about an inode, except its times.
func statLine(path, same string, mode uint32, links int, uid, gid uint32, size int) string {
	return fmt.Sprintf("%q (%q) mode %o owner %d:%d links %d size %d", path, same, mode, uid, gid, links, size)
}

func xattrLine(path, name string, value []byte) string {
	return fmt.Sprintf("%q has %s of %s", path, name, sum(value))
}

// snapshot describes every name and every open file, and apart from that when the
// times of each were last seen to change; step is the present one.
func (s *oracleSide) snapshot(t rapid.TB, step int) (lines []string, times []seenAt) {
	first := map[uint64]string{}
	add := func(path string, st *unix.Stat_t) {
		same, seen := first[st.Ino]
		if !seen {
			first[st.Ino], same = path, path
		}
		lines = append(lines, statLine(path, same, st.Mode, int(st.Nlink), st.Uid, st.Gid, int(st.Size)))
		times = append(times, seenAt{path, st.Ino, s.sight(st, step)})
	}
	s.walk(t, func(path string, st *unix.Stat_t) {
		add(path, st)
		for _, name := range xattrNames(t, s.path(path)) {
			value := make([]byte, 1<<16)
			n, err := unix.Lgetxattr(s.path(path), name, value)
			must(t, err)
			lines = append(lines, xattrLine(path, name, value[:n]))
		}
	})
	for slot, fd := range s.files {
		var st unix.Stat_t
		if fd < 0 {
			continue
		}
		must(t, unix.Fstat(fd, &st))
		add(fmt.Sprint("slot ", slot), &st)
	}
	return lines, times
}

// walk visits the tree sorted by name, the root as ".".
func (s *oracleSide) walk(t rapid.TB, visit func(path string, st *unix.Stat_t)) {
	var down func(string)
	down = func(path string) {
		var st unix.Stat_t
		must(t, unix.Lstat(s.path(path), &st))
		visit(path, &st)
		if st.Mode&unix.S_IFMT != unix.S_IFDIR {
			return
		}
		entries, err := os.ReadDir(s.path(path)) // sorted
		must(t, err)
		for _, e := range entries {
			down(strings.TrimPrefix(path+"/"+e.Name(), "./"))
		}
	}
	down(".")
}

// sight notes which times of an inode have changed.
func (s *oracleSide) sight(st *unix.Stat_t, step int) sighting {
	was, known := s.seen[st.Ino]
	if !known || was.mtime != st.Mtim {
		was.mtime, was.modified = st.Mtim, step
	}
	if !known || was.ctime != st.Ctim {
		was.ctime, was.changed = st.Ctim, step
	}
	s.seen[st.Ino] = was
	return was
}

// seenAt is what was seen of the inode of a path.
type seenAt struct {
	path string
	ino  uint64
	sighting
}

// String has the steps, and a time that was set to one of long ago.
func (s seenAt) String() string {
	exact := ""
	if s.mtime.Sec <= 1000 {
		exact = fmt.Sprintf(" (%d.%09d)", s.mtime.Sec, s.mtime.Nsec)
	}
	return fmt.Sprintf("%q modified in step %d%s, changed in step %d", s.path, s.modified, exact, s.changed)
}

// xattrNames lists the extended attributes of a path, sorted.
func xattrNames(t rapid.TB, path string) []string {
	t.Helper()
	list := make([]byte, 1<<16)
	n, err := unix.Llistxattr(path, list)
	must(t, err)
	return sorted(strings.FieldsFunc(string(list[:n]), func(r rune) bool { return r == 0 }))
}

func sorted(names []string) []string {
	slices.Sort(names)
	return names
}

// contents returns the content of every file that has a name.
func (s *oracleSide) contents(t rapid.TB) []string {
	var lines []string
	s.walk(t, func(path string, st *unix.Stat_t) {
		if st.Mode&unix.S_IFMT == unix.S_IFREG {
			p, err := os.ReadFile(s.path(path))
			must(t, err)
			lines = append(lines, fmt.Sprintf("%q %s", path, sum(p)))
		}
	})
	return lines
}

func must(t rapid.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
