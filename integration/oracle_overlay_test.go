package integration

import (
	"fmt"
	"strings"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// stored is the known state of an inode of an overlay that came with the archive, which the
// overlay shows otherwise than tmpfs until it has copied it (docs/semantics.md).
type stored struct {
	ctime  unix.Timespec // when it was mounted
	copied bool          // its content: it was opened for writing
}

// mountedOverlay notes what an overlay has when it is mounted.
func (s *oracleSide) mountedOverlay(t rapid.TB) {
	t.Helper()
	s.stored = map[uint64]*stored{}
	s.walk(t, func(_ string, st *unix.Stat_t) { s.stored[st.Ino] = &stored{ctime: st.Ctim} })
}

// do does an operation and returns its answer.
func (s *oracleSide) do(o op) string {
	switch {
	case s.stored != nil && o.do == "open":
		return s.openStored(o)
	case s.stored != nil && o.do == "copy":
		return s.copyStored(o)
	}
	return sideOps[o.do](s, o)
}

// openStored is open, after which a file that was changed but for its content has its
// mtime again: line opened-after-chmod.
func (s *oracleSide) openStored(o op) string {
	var was, now unix.Stat_t
	before := unix.Stat(s.path(o.path), &was)
	answer := sideOps["open"](s, o)
	fd := s.files[o.slot]
	if answer != answerOK || o.flags&unix.O_ACCMODE == unix.O_RDONLY && o.flags&unix.O_TRUNC == 0 || unix.Fstat(fd, &now) != nil {
		return answer
	}
	of := s.stored[now.Ino]
	if of == nil || of.copied || now.Mode&unix.S_IFMT != unix.S_IFREG {
		return answer
	}
	of.copied = true
	if before == nil && was.Ino == now.Ino && was.Ctim != of.ctime && o.flags&unix.O_TRUNC == 0 && was.Mtim != now.Mtim {
		return outcome(unix.UtimesNanoAt(unix.AT_FDCWD, fmt.Sprintf("/proc/self/fd/%d", fd), []unix.Timespec{was.Atim, was.Mtim}, 0))
	}
	return answer
}

// copyStored is copy, by reading and writing where the kernel cannot: line copied-range.
func (s *oracleSide) copyStored(o op) string {
	answer := sideOps["copy"](s, o)
	var st unix.Stat_t
	if answer != outcome(unix.EXDEV) || unix.Fstat(s.files[o.in], &st) != nil {
		return answer
	}
	if of := s.stored[st.Ino]; of == nil || of.copied {
		return answer
	}
	p := make([]byte, o.n)
	n, err := unix.Pread(s.files[o.in], p, o.from)
	if err != nil || n == 0 {
		return count(n, err)
	}
	return count(unix.Pwrite(s.files[o.slot], p[:n], o.off))
}

// likeTmpfs makes the lines of directories of which an overlay knows neither links nor
// size those of tmpfs: lines links-of-a-directory and size-of-a-directory.
func (s *oracleSide) likeTmpfs(ours, theirs []string) {
	if s.stored == nil {
		return
	}
	for i, line := range ours {
		head, _, merged := strings.Cut(line, " links 1 ")
		if merged && strings.Contains(head, " mode 4") && i < len(theirs) && strings.HasPrefix(theirs[i], head+" links ") {
			ours[i] = theirs[i]
		}
	}
}

// changedLikeTmpfs makes the step in which the ctime of what came with the archive was
// last seen to change that of tmpfs, where only copying changed it: line ctime-of-a-copy.
func (s *oracleSide) changedLikeTmpfs(ours, theirs []seenAt, step int) {
	for i := range ours {
		at := &ours[i]
		if s.stored[at.ino] == nil || i >= len(theirs) || at.path != theirs[i].path || at.changed != step {
			continue
		}
		at.changed = theirs[i].changed
		s.seen[at.ino] = at.sighting
	}
}
