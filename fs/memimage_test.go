package fs

import (
	"bytes"
	"slices"
	"syscall"

	"pgregory.net/rapid"
)

// memImage is an image in memory.
type memImage []memRow

type memRow struct {
	name     string
	inode    uint32
	attr     Attr
	first, n uint32
	target   string
	xattrs   []Xattr
	base     Base
}

func (m memImage) Len() int                              { return len(m) }
func (m memImage) Inode(row uint32) uint32               { return m[row].inode }
func (m memImage) Attr(row uint32) Attr                  { return m[row].attr }
func (m memImage) Children(row uint32) (first, n uint32) { return m[row].first, m[row].n }
func (m memImage) Name(row uint32) string                { return m[row].name }
func (m memImage) Target(row uint32) string              { return m[row].target }
func (m memImage) Xattrs(row uint32) []Xattr             { return m[row].xattrs }
func (m memImage) Content(row uint32) Base               { return m[row].base }

// imageOf returns what a tree holds as an image.
func imageOf(t rapid.TB, tree *Tree) memImage {
	t.Helper()
	m := memImage{{}}
	rows := map[uint64]uint32{rootIno: 0} // by number in the tree
	dirs := []uint64{rootIno}             // to be listed; the row of each is known
	m.fill(t, tree, 0, rootIno)
	for ; len(dirs) > 0; dirs = dirs[1:] {
		dir := tree.hold(dirs[0])
		row := rows[dir.ino]
		m[row].first = uint32(len(m))
		for name, ino := range dir.dir().sorted() {
			at := uint32(len(m))
			m = append(m, memRow{name: name, inode: at})
			if first, known := rows[ino]; known {
				m[at].inode = first
				continue
			}
			rows[ino] = at
			if m.fill(t, tree, at, ino) == syscall.S_IFDIR {
				dirs = append(dirs, ino)
			}
		}
		m[row].n = uint32(len(m)) - m[row].first
		tree.Unref(dir, 1)
	}
	return m
}

// fill fills a row from an inode, and returns its kind.
func (m memImage) fill(t rapid.TB, tree *Tree, row uint32, ino uint64) uint32 {
	t.Helper()
	n := tree.hold(ino)
	defer tree.Unref(n, 1)
	r := &m[row]
	r.inode, r.attr = row, tree.Attr(n)
	r.attr.Atime, r.attr.Ctime, r.attr.Btime = r.attr.Mtime, r.attr.Mtime, r.attr.Mtime
	if n.extra != nil {
		r.target, r.xattrs = n.extra.target, slices.Clone(n.extra.xattrs)
	}
	if n.isRegular() && n.size > 0 {
		r.base = memBaseOf(t, tree, n)
	}
	return r.attr.Mode & syscall.S_IFMT
}

// memBase is content in memory, with holes.
type memBase struct {
	content []byte
	data    []byteRange
	err     error // of every read
}

func memBaseOf(t rapid.TB, tree *Tree, n *Inode) *memBase {
	t.Helper()
	b := &memBase{content: []byte(read(t, tree, n))}
	for r, errno := range tree.Data(n, 0, b.Size()) {
		ok(t, errno)
		b.data = append(b.data, byteRange{r.Off, r.End()})
	}
	return b
}

func (b *memBase) Size() int64 { return int64(len(b.content)) }

func (b *memBase) Used() (used int64) {
	for _, r := range b.data {
		used += (pagesOf(r.end) - r.begin/pageSize) * pageSize
	}
	return used
}

func (b *memBase) ReadAt(p []byte, off int64) (int, error) {
	if b.err != nil {
		return 0, b.err
	}
	return bytes.NewReader(b.content).ReadAt(p, off)
}

func (b *memBase) SeekData(off int64) (int64, error) {
	for _, r := range b.data {
		if off < r.end {
			return max(off, r.begin), nil
		}
	}
	return b.Size(), nil
}

func (b *memBase) SeekHole(off int64) (int64, error) {
	for _, r := range b.data {
		if r.begin <= off && off < r.end {
			return r.end, nil
		}
	}
	return off, nil
}
