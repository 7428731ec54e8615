package fs

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
	"syscall"
)

// losses are the bytes of files that a tool takes for written but that are in no backing
// file. A loss ends with its content: when the bytes are written again, cut off or punched
// out, or when the file is gone.
type losses struct {
	mu sync.Mutex // a leaf; guards what follows
	of map[*Inode]*loss
}

// loss is the loss of one file.
type loss struct {
	cause  syscall.Errno // the first
	ranges []byteRange   // not empty, sorted, and not adjacent
}

// byteRange is the bytes from begin up to end.
type byteRange struct{ begin, end int64 }

// maxRanges limits the ranges that are kept for one file. Beyond that, everything between
// its first and its last lost byte counts as lost.
const maxRanges = 64

// Lose records that length bytes of n at byte off could not be written, because of cause,
// though a tool was told that they were. While any file with a name has lost bytes, Err is
// not nil. Reading them is EIO: zeros would get into a copy, or would come back as the rest
// of a page that a tool wrote in part, and end the loss.
func (t *Tree) Lose(n *Inode, off, length int64, cause syscall.Errno) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.flags |= flagLost
	t.keepLocked(n)
	if first := t.losses.add(n, byteRange{off, off + length}, cause); first {
		t.log.Error("bytes that a tool takes for written are lost: no commit until their file is removed, cut or written again",
			"inode", n.ino, "offset", off, "bytes", length, "cause", cause)
	}
}

// Lost returns how many bytes of n are lost, and why.
func (t *Tree) Lost(n *Inode) (bytes int64, cause syscall.Errno) {
	n.mu.Lock()
	lost := n.flags&flagLost != 0
	n.mu.Unlock()
	if !lost {
		return 0, 0
	}
	return t.losses.sum(n)
}

// LostEnd returns where the last lost byte of n ends; 0 if nothing is lost.
func (t *Tree) LostEnd(n *Inode) int64 {
	n.mu.Lock()
	lost := n.flags&flagLost != 0
	n.mu.Unlock()
	if !lost {
		return 0
	}
	return t.losses.end(n)
}

// replacedLocked ends the loss of the bytes of n from begin up to end, which hold
// something new now.
// Preconditions: n.mu is held.
func (t *Tree) replacedLocked(n *Inode, begin, end int64) {
	if n.flags&flagLost != 0 && t.losses.cut(n, byteRange{begin, end}) {
		n.flags &^= flagLost
	}
}

// lossErr returns an error that names the first file that has lost bytes, by its path; nil
// if no file with a name has.
func (t *Tree) lossErr() error {
	lost := t.losses.all()
	if len(lost) == 0 {
		return nil
	}
	return t.Walk(func(path string, n *Inode, _ Attr) error {
		l, ok := lost[n]
		if !ok {
			return nil
		}
		r := l.ranges[0]
		return fmt.Errorf("write back %q: %d bytes at %d: %w", path, r.end-r.begin, r.begin, l.cause)
	})
}

// add reports whether this is the file's first loss.
func (ls *losses) add(n *Inode, s byteRange, cause syscall.Errno) (first bool) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l := ls.of[n]
	if first = l == nil; first {
		if ls.of == nil {
			ls.of = map[*Inode]*loss{}
		}
		l = &loss{cause: cause}
		ls.of[n] = l
	}
	l.ranges = joined(append(l.ranges, s))
	return first
}

// joined sorts ranges and merges adjacent ones.
func joined(ranges []byteRange) []byteRange {
	slices.SortFunc(ranges, func(a, b byteRange) int { return cmp.Compare(a.begin, b.begin) })
	merged := ranges[:1]
	for _, s := range ranges[1:] {
		if last := &merged[len(merged)-1]; s.begin <= last.end {
			last.end = max(last.end, s.end)
			continue
		}
		merged = append(merged, s)
	}
	if len(merged) > maxRanges {
		merged = []byteRange{{merged[0].begin, merged[len(merged)-1].end}}
	}
	return merged
}

// cut reports whether n has no loss left.
func (ls *losses) cut(n *Inode, away byteRange) (none bool) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l := ls.of[n]
	if l == nil {
		return true
	}
	if left := subtract(l.ranges, away); len(left) > 0 {
		l.ranges = joined(left)
		return false
	}
	delete(ls.of, n)
	return true
}

// meet reports whether n has lost any byte of a range.
func (ls *losses) meet(n *Inode, of byteRange) bool {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l := ls.of[n]
	return l != nil && slices.ContainsFunc(l.ranges, func(s byteRange) bool { return s.begin < of.end && of.begin < s.end })
}

func (ls *losses) end(n *Inode) int64 {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l := ls.of[n]
	if l == nil {
		return 0
	}
	return l.ranges[len(l.ranges)-1].end
}

func (ls *losses) sum(n *Inode) (bytes int64, cause syscall.Errno) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	l := ls.of[n]
	if l == nil {
		return 0, 0
	}
	for _, s := range l.ranges {
		bytes += s.end - s.begin
	}
	return bytes, l.cause
}

// all returns a copy.
func (ls *losses) all() map[*Inode]loss {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	all := make(map[*Inode]loss, len(ls.of))
	for n, l := range ls.of {
		all[n] = loss{l.cause, slices.Clone(l.ranges)}
	}
	return all
}
