package fs

import (
	"math"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Inode is a file, a directory or another object that names lead to. Its fields are kept
// small, because a tree that was filled by verbs has one for every file (112 bytes, a size
// class of the allocator).
type Inode struct {
	ino  uint64       // immutable
	refs atomic.Int64 // references given out, or goneRefs; see doc.go

	mu    sync.Mutex // guards what follows; taken below Tree.mu, see doc.go
	size  int64      // bytes; of a directory as tmpfs counts it
	ctime int64      // nanoseconds since 1970, which suffices: it is only ever set to the present
	btime int64      // likewise; immutable

	content content // of a regular file; nil if it is one hole
	extra   *extra  // what few inodes have; nil for none; of a directory immutable

	nlink uint32 // changes under Tree.mu and mu both, so that either is enough to read it
	uid   uint32
	gid   uint32
	atime stamp
	mtime stamp
	perm  uint16 // the mode without its S_IFMT part
	kind  uint8  // the S_IFMT part, shifted by kindShift; immutable
	flags uint8
}

// kindShift is how far S_IFMT is from the low end of a mode, in bits.
const kindShift = 12

// Flags of an inode. Those from flagNew on say what changed since Seal.
const (
	flagLinkable = 1 << iota // made by Tmpfile and never linked
	flagLost                 // bytes of it are lost, see Lose
	flagKept                 // it differs from its row in the image
	flagNew                  // it was made
	flagData                 // content
	flagMeta                 // attributes, extended attributes
	flagMoved                // its name: it had one at Seal and has one now

	flagsChanged = flagNew | flagData | flagMeta | flagMoved
)

// goneRefs in Inode.refs means that no reference can be taken any more.
const goneRefs = math.MinInt64

// extra is what few inodes have. Guarded by Inode.mu.
type extra struct {
	dir    *directory // of a directory; immutable, its fields are guarded by Tree.mu
	target string     // of a symlink; immutable
	rdev   uint32     // of a device node; immutable
	listed uint32     // bytes of the names of xattrs, with a NUL each
	xattrs []Xattr    // sorted by name
}

// targetBytes returns the length of a symlink's target; 0 for anything else.
func (e *extra) targetBytes() int64 {
	if e == nil {
		return 0
	}
	return int64(len(e.target))
}

// stamp is a Time in 12 bytes without padding.
type stamp struct{ low, high, nsec uint32 }

func stampOf(t Time) stamp {
	return stamp{uint32(t.Sec), uint32(t.Sec >> 32), t.Nsec}
}

func (s stamp) time() Time {
	return Time{Sec: int64(s.high)<<32 | int64(s.low), Nsec: s.nsec}
}

// nanos returns t in nanoseconds since 1970, or the nearest value that an int64 holds
// (years 1677 to 2262).
func nanos(t Time) int64 {
	const limit = 9_223_372_035 // seconds
	return max(-limit, min(limit, t.Sec))*1e9 + int64(t.Nsec)
}

func timeOfNanos(ns int64) Time {
	sec, nsec := ns/1e9, ns%1e9
	if nsec < 0 {
		sec, nsec = sec-1, nsec+1e9
	}
	return Time{Sec: sec, Nsec: uint32(nsec)}
}

// Now returns the time of the clock by which the kernel stamps files. With a finer clock, a
// file that we stamp would be newer than one that the kernel stamps afterwards.
func Now() Time {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &ts); err != nil {
		t := time.Now()
		return Time{Sec: t.Unix(), Nsec: uint32(t.Nanosecond())}
	}
	return Time{Sec: ts.Sec, Nsec: uint32(ts.Nsec)}
}

// Ino returns the inode's number. It is never used again in its tree.
func (n *Inode) Ino() uint64 { return n.ino }

func kindOf(mode uint32) uint8 { return uint8(mode & syscall.S_IFMT >> kindShift) }

// is reports whether n is of a kind, one of S_IFMT.
func (n *Inode) is(kind uint32) bool { return uint32(n.kind)<<kindShift == kind }

func (n *Inode) isDir() bool     { return n.is(syscall.S_IFDIR) }
func (n *Inode) isRegular() bool { return n.is(syscall.S_IFREG) }

// dir returns the directory part of n.
// Preconditions: n is a directory.
func (n *Inode) dir() *directory { return n.extra.dir }

// newInode makes an inode without a name and a number.
func newInode(mode uint32, o Owner, t Time) *Inode {
	n := &Inode{
		ctime: nanos(t),
		btime: nanos(t),
		kind:  kindOf(mode),
		perm:  uint16(mode & PermBits),
		uid:   o.UID,
		gid:   o.GID,
		atime: stampOf(t),
		mtime: stampOf(t),
	}
	if n.isDir() {
		n.extra = &extra{dir: &directory{}}
		n.size = emptyDirSize
	}
	return n
}

// text returns how many bytes of names and of a target the inode has on the heap, without
// extended attributes.
// Preconditions: nobody else uses n.
func (n *Inode) text() int64 {
	if n.isDir() {
		return int64(n.dir().text)
	}
	return n.extra.targetBytes()
}

// moreLocked returns the extra part of n and makes it if necessary.
// Preconditions: n.mu is held.
func (n *Inode) moreLocked() *extra {
	if n.extra == nil {
		n.extra = &extra{}
	}
	return n.extra
}

// attrLocked returns the attributes.
// Preconditions: n.mu is held.
func (n *Inode) attrLocked() Attr {
	a := Attr{
		Ino:    n.ino,
		Mode:   uint32(n.kind)<<kindShift | uint32(n.perm),
		Nlink:  n.nlink,
		UID:    n.uid,
		GID:    n.gid,
		Size:   n.size,
		Blocks: n.blocksLocked(),
		Atime:  n.atime.time(),
		Mtime:  n.mtime.time(),
		Ctime:  timeOfNanos(n.ctime),
		Btime:  timeOfNanos(n.btime),
	}
	if n.extra != nil {
		a.Rdev = n.extra.rdev
	}
	return a
}

// modifiedLocked stamps a change of content or names.
// Preconditions: n.mu is held.
func (n *Inode) modifiedLocked(t Time) {
	n.mtime = stampOf(t)
	n.ctime = nanos(t)
}

// ref takes a reference. It returns false if n is gone.
func (n *Inode) ref() bool {
	for {
		refs := n.refs.Load()
		if refs < 0 {
			return false
		}
		if n.refs.CompareAndSwap(refs, refs+1) {
			return true
		}
	}
}

// entriesChanged stamps a directory after a change of the number of its names.
func (t *Tree) entriesChanged(n *Inode, when Time, by int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.size += by * direntSize
	n.modifiedLocked(when)
	t.keepLocked(n)
}

// linked changes the number of names of n, and stamps it.
// Preconditions: Tree.mu is held for writing.
func (t *Tree) linked(n *Inode, when Time, by int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.flags &^= flagLinkable // from its first name on, even after it has lost that
	n.nlink = uint32(int(n.nlink) + by)
	n.ctime = nanos(when)
	t.keepLocked(n)
}
