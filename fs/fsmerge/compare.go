package fsmerge

import (
	"bytes"
	"errors"
	"slices"
	"sort"
	"strings"
	"syscall"

	"github.com/workdir/workdir/fs"
)

// noRow stands for a path that is not in an image.
const noRow = ^uint32(0)

// touch is the set of changes that one side has made at one path.
type touch uint8

const (
	removed   touch = 1 << iota // the base has the path, and its inode is no longer there
	made                        // the inode at the path is another one than in the base
	changed                     // the inode is the same, with other attributes or content
	directory                   // a directory is at the path now
)

// touches are the changes of one side, by path.
type touches struct {
	at    map[string]touch
	paths []string // keys of at, in the order of fs.OrderKey; made by sortPaths
}

func newTouches() *touches { return &touches{at: map[string]touch{}} }

func (t *touches) add(path string, what touch) { t.at[path] |= what }

func (t *touches) sortPaths() {
	for path := range t.at {
		t.paths = append(t.paths, path)
	}
	slices.SortFunc(t.paths, func(a, b string) int { return strings.Compare(fs.OrderKey(a), fs.OrderKey(b)) })
}

// beneath returns the touched paths beneath a directory.
func (t *touches) beneath(dir string) []string {
	key := fs.OrderKey(dir) + "\x00"
	first := sort.Search(len(t.paths), func(i int) bool { return fs.OrderKey(t.paths[i]) >= key })
	last := first
	for last < len(t.paths) && strings.HasPrefix(fs.OrderKey(t.paths[last]), key) {
		last++
	}
	return t.paths[first:last]
}

// comparison walks two images side by side.
type comparison struct { // its rows are rows of names
	base, head fs.Image
	same       func(base, head uint32) bool
	found      *touches
	rows       []uint32 // by row of base: the row of head with the same path and kind, or noRow
	paths      []string // by row of base
	parents    []uint32 // by row of base: the directory that contains it
	err        error    // why some content could not be compared
}

// compare finds the differences between base and head.
func compare(base, head fs.Image, same func(base, head uint32) bool) *comparison {
	c := &comparison{base: base, head: head, same: same, found: newTouches()}
	c.rows, c.paths, c.parents = make([]uint32, base.Len()), make([]string, base.Len()), make([]uint32, base.Len())
	for i := range c.rows {
		c.rows[i] = noRow
	}
	c.rows[0] = 0
	if !sameAttr(base, 0, head, 0) {
		c.found.add("", changed|directory)
	}
	c.dirs("", 0, 0)
	c.links()
	c.found.sortPaths()
	return c
}

// dirs compares the names of two directories.
func (c *comparison) dirs(path string, b, h uint32) {
	bi, bn := c.base.Children(b)
	hi, hn := c.head.Children(h)
	for bEnd, hEnd := bi+bn, hi+hn; bi < bEnd || hi < hEnd; {
		order := -1
		switch {
		case bi == bEnd:
			order = 1
		case hi < hEnd:
			order = strings.Compare(c.base.Name(bi), c.head.Name(hi))
		}
		switch {
		case order < 0:
			c.gone(fs.Join(path, c.base.Name(bi)), bi, b)
			bi++
		case order > 0:
			c.fresh(fs.Join(path, c.head.Name(hi)), hi)
			hi++
		default:
			c.both(fs.Join(path, c.base.Name(bi)), bi, hi, b)
			bi, hi = bi+1, hi+1
		}
	}
}

// gone records a path that head does not have, and everything beneath it.
func (c *comparison) gone(path string, b, parent uint32) {
	c.paths[b], c.parents[b] = path, parent
	c.found.add(path, removed)
	first, n := c.base.Children(b)
	for child := first; child < first+n; child++ {
		c.gone(fs.Join(path, c.base.Name(child)), child, b)
	}
}

// fresh records a path that base does not have, and everything beneath it.
func (c *comparison) fresh(path string, h uint32) {
	what := made
	if isDir(c.head, h) {
		what |= directory
	}
	c.found.add(path, what)
	first, n := c.head.Children(h)
	for child := first; child < first+n; child++ {
		c.fresh(fs.Join(path, c.head.Name(child)), child)
	}
}

// both compares a path that both images have.
func (c *comparison) both(path string, b, h, parent uint32) {
	switch {
	case kindOf(c.base, b) != kindOf(c.head, h):
		c.gone(path, b, parent)
		c.fresh(path, h)
		return
	case isDir(c.base, b):
		if !sameAttr(c.base, b, c.head, h) {
			c.found.add(path, changed|directory)
		}
		c.dirs(path, b, h)
	case !sameAttr(c.base, b, c.head, h) || !c.sameContent(b, h):
		c.found.add(path, changed)
	}
	c.rows[b], c.paths[b], c.parents[b] = h, path, parent
}

func (c *comparison) sameContent(b, h uint32) bool {
	bi, hi := c.base.Inode(b), c.head.Inode(h)
	x, y := c.base.Attr(bi), c.head.Attr(hi)
	switch x.Mode & syscall.S_IFMT {
	case syscall.S_IFREG:
		return x.Size == y.Size && (x.Size == 0 || c.same(bi, hi) || c.readSame(bi, hi, x.Size))
	case syscall.S_IFLNK:
		return c.base.Target(bi) == c.head.Target(hi)
	}
	return x.Rdev == y.Rdev
}

// readSame compares the content of two files of equal size by reading it. Content that
// cannot be read counts as changed and sets err.
func (c *comparison) readSame(b, h uint32, size int64) bool {
	x, y := c.base.Content(b), c.head.Content(h)
	p, q := make([]byte, min(size, copySize)), make([]byte, min(size, copySize))
	for off := int64(0); off < size; off += copySize {
		n := min(copySize, size-off)
		for _, read := range []struct {
			from fs.Base
			into []byte
		}{{x, p[:n]}, {y, q[:n]}} {
			if m, err := read.from.ReadAt(read.into, off); int64(m) < n {
				c.err = errors.Join(c.err, err)
				return false
			}
		}
		if !bytes.Equal(p[:n], q[:n]) {
			return false
		}
	}
	return true
}

// links records the names of files whose set of names has changed.
func (c *comparison) links() {
	for b := range uint32(c.base.Len()) {
		if h := c.rows[b]; h != noRow && !isDir(c.base, b) && !c.sameGroup(b, h) {
			c.found.add(c.paths[b], changed)
		}
	}
}

func (c *comparison) sameGroup(b, h uint32) bool {
	first := c.base.Inode(b)
	return c.base.Attr(first).Nlink == c.head.Attr(c.head.Inode(h)).Nlink && c.rows[first] != noRow && c.head.Inode(c.rows[first]) == c.head.Inode(h)
}

func isDir(img fs.Image, row uint32) bool { return kindOf(img, row) == syscall.S_IFDIR }

func kindOf(img fs.Image, row uint32) uint32 { return img.Attr(img.Inode(row)).Mode & syscall.S_IFMT }

// sameAttr reports whether two rows have equal attributes. The times and sizes of
// directories do not count: they follow from the names.
func sameAttr(a fs.Image, x uint32, b fs.Image, y uint32) bool {
	x, y = a.Inode(x), b.Inode(y)
	p, q := a.Attr(x), b.Attr(y)
	if p.Mode != q.Mode || p.UID != q.UID || p.GID != q.GID {
		return false
	}
	if p.Mode&syscall.S_IFMT != syscall.S_IFDIR && (p.Mtime != q.Mtime || p.Size != q.Size) {
		return false
	}
	return slices.EqualFunc(a.Xattrs(x), b.Xattrs(y), func(v, w fs.Xattr) bool { return v.Name == w.Name && string(v.Value) == string(w.Value) })
}
