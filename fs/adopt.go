package fs

import (
	"fmt"
	"math"
	"os"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/internal/eintr"
)

// BackingDir is a directory in the file system where a home keeps its files. Others make
// files in it, and Adopt makes them backing files where they lie: what they take counts
// against the home's limit from the start, and nothing is copied.
type BackingDir struct {
	files *tmpfsHome // of the adopted ones, by number; its root is the directory
	in    *tmpfsHome
	name  string // in the root of in
}

// NewBackingDir makes an empty directory. That of a spill home is on its disk. ENOTSUP
// where the home's files are in no file system. It is closed before the home, and after
// the trees that have adopted files of it.
func NewBackingDir(h Home) (*BackingDir, error) {
	var in *tmpfsHome
	switch h := h.(type) {
	case *tmpfsHome:
		in = h
	case *spillHome:
		in = h.disk.tmpfsHome
	default:
		return nil, fmt.Errorf("make backing directory: %w", syscall.ENOTSUP)
	}
	d := &BackingDir{in: in, name: strconv.FormatUint(in.files.Add(1), 10)}
	root, err := d.make()
	if err != nil {
		return nil, fmt.Errorf("make backing directory: %w", err)
	}
	d.files = &tmpfsHome{cached: in.cached}
	d.files.root.Store(int64(root))
	return d, nil
}

func (d *BackingDir) make() (root int, err error) {
	in := int(d.in.root.Load())
	if err := eintr.Retry(func() error { return unix.Mkdirat(in, d.name, 0o700) }); err != nil {
		return -1, err
	}
	err = eintr.Retry(func() (err error) {
		root, err = unix.Openat(in, d.name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		return err
	})
	return root, err
}

// FD is a descriptor of the directory, good until Close. Names of digits alone in it are
// those of adopted files. Whoever makes files below it opens the directories on the way by
// this descriptor, so that the kernel sees one mount.
func (d *BackingDir) FD() int { return int(d.files.root.Load()) }

// Adopt takes the regular file that a name in dir, a descriptor of a directory below d,
// leads to. The name goes; other names of the file stay, and hold its memory until d is
// closed. EXDEV where dir was not opened by d's own descriptor.
func (d *BackingDir) Adopt(dir int, name string) (File, error) {
	f := &tmpfsFile{home: d.files, number: d.files.files.Add(1)}
	err := eintr.Retry(func() error {
		return unix.Renameat2(dir, name, d.FD(), f.name(), unix.RENAME_NOREPLACE)
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Close removes the directory and all that is in it.
func (d *BackingDir) Close() error {
	if err := d.files.Close(); err != nil {
		return fmt.Errorf("remove backing directory: %w", err)
	}
	return os.RemoveAll(fmt.Sprintf("/proc/self/fd/%d/%s", d.in.root.Load(), d.name))
}

// Adopt makes f, of size bytes, of which used take memory, the content of n, a regular
// file, instead of what it has; f belongs to the tree then. same are the ranges, in order, in which f holds what n
// does. Those that are base of n stay so, and f gives their memory back; each begins at a
// multiple of 1 MiB, and ends at one, at the end of f or at that of n. Times stay. The
// memory counts also beyond MaxBytes: it has been taken already. After an errno n is what
// it was, and f is the caller's, but worth nothing.
func (t *Tree) Adopt(n *Inode, f File, size, used int64, same []Extent) syscall.Errno {
	if errno := regular(n); errno != 0 {
		return errno
	}
	if errno := t.lockChange(n); errno != 0 {
		return errno
	}
	defer n.mu.Unlock()
	u := &upper{File: f, beyond: true, unseen: true} // who made f may have allocated what it did not write
	b, _ := n.content.(Base)
	if left := rangesOf(same); b != nil && len(left) > 0 {
		u.below.Store(&below{b, left})
		for _, r := range left {
			if r.end == size {
				r.end = roundUp(size, pageSize) // or the last page stays
			}
			if err := f.PunchHole(r.begin, r.end-r.begin); err != nil {
				return errnoOf(err)
			}
		}
		var err error
		if used, err = f.Used(); err != nil {
			return errnoOf(err)
		}
	}
	t.replaceContentLocked(n, u, size)
	u.pages = used / pageSize
	t.givePages(-u.pages)
	return 0
}

// replaceContentLocked makes u the content of n, and frees what that had and u does not
// show.
// Preconditions: n.mu is held. u is over n's base, if over any.
func (t *Tree) replaceContentLocked(n *Inode, u *upper, size int64) {
	switch c := n.content.(type) {
	case Base:
		gone := []byteRange{{0, c.Size()}}
		if b := u.below.Load(); b != nil {
			for _, r := range b.left {
				gone = subtract(gone, r)
			}
		}
		t.logUnfreed(n, freeBase(c, gone))
	case *upper:
		t.logUnfreed(n, t.freeContent(c))
	}
	n.content, n.size = u, size
	n.flags |= flagData
	t.keepLocked(n)
	t.replacedLocked(n, 0, math.MaxInt64)
}

// rangesOf merges ranges that meet.
func rangesOf(in []Extent) (out []byteRange) {
	for _, r := range in {
		if last := len(out) - 1; last >= 0 && out[last].end == r.Off {
			out[last].end = r.End()
			continue
		}
		out = append(out, byteRange{r.Off, r.End()})
	}
	return out
}
