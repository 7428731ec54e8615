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
// files in it, and Adopt turns these into backing files without copying: their memory
// counts against the home's limit from the start.
type BackingDir struct {
	files *tmpfsHome // the adopted files, by number; its root is the directory
	in    *tmpfsHome
	name  string // in the root directory of in
}

// NewBackingDir makes an empty directory; for a spill home it is on disk. ENOTSUP if the
// home's files are not in a file system. Close it before the home, and after the trees that
// have adopted files from it.
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

// FD returns a descriptor of the directory, valid until Close. Names of digits only are
// those of adopted files. To make files below it, open the directories on the way from this
// descriptor, so that the kernel sees one mount.
func (d *BackingDir) FD() int { return int(d.files.root.Load()) }

// Adopt takes over the regular file that a name leads to in dir, a descriptor of a
// directory below d. The name is removed; other names of the file stay, and hold its memory
// until d is closed. EXDEV if dir was not opened from d's own descriptor.
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

// Close removes the directory and everything in it.
func (d *BackingDir) Close() error {
	if err := d.files.Close(); err != nil {
		return fmt.Errorf("remove backing directory: %w", err)
	}
	return os.RemoveAll(fmt.Sprintf("/proc/self/fd/%d/%s", d.in.root.Load(), d.name))
}

// Adopt replaces the content of n, a regular file, by f, which has size bytes, takes used
// bytes of memory, and then belongs to the tree. same are the ranges, in order, in which f
// holds the old content of n. Where n has base there, the base stays and f returns its
// memory; each range begins at a multiple of 1 MiB, and ends at one, at the end of f or at
// that of n. Times stay. The memory counts even beyond MaxBytes: it is already taken. After
// an errno n is unchanged, and f belongs to the caller but is of no more use.
func (t *Tree) Adopt(n *Inode, f File, size, used int64, same []Extent) syscall.Errno {
	if errno := regular(n); errno != 0 {
		return errno
	}
	if errno := t.lockChange(n); errno != 0 {
		return errno
	}
	defer n.mu.Unlock()
	u := &upper{File: f, beyond: true, unseen: true} // f may have allocated pages that were not written
	b, _ := n.content.(Base)
	if left := rangesOf(same); b != nil && len(left) > 0 {
		u.below.Store(&below{b, left})
		for _, r := range left {
			if r.end == size {
				r.end = roundUp(size, pageSize) // else the last page would stay
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

// replaceContentLocked makes u the content of n, and frees the parts of the old content
// that u does not show.
// Preconditions: n.mu is held. If u stands over a base, it is n's.
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
	n.content = u
	t.setSizeLocked(n, size)
	n.flags |= flagData
	t.keepLocked(n)
	t.replacedLocked(n, 0, math.MaxInt64)
}

// rangesOf merges adjacent ranges.
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
