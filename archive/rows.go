package archive

import (
	"maps"
	"slices"
	"strings"

	"github.com/workdir/workdir/fs"
)

// rowBuilder makes the rows of an index, from a tree alone, or from the rows of a base and the
// entries in which a tree differs from it. Each entry has a number: for a row of the base that
// row, for a new entry its index in new plus the number of the base's rows.
type rowBuilder struct {
	entries *entries
	base    *index   // nil without one
	stale   []bool   // rows of base that no longer exist, or are among the new ones
	anew    []uint32 // by row of base: its number among the new entries, or 0
	new     []newEntry
	names   []byte // of the new entries
	targets []string
	xattrs  map[uint32][]xattr // by number
	attrs   []rowAttr
	attrOf  map[rowAttr]uint32
	dirs    map[string]uint32  // new directories, by path
	holders map[uint64]*holder // of new files, by inode of the tree
	inodes  map[uint32]uint32  // of files of the base with several names: from their row there to the row here

	order []uint32 // the number of each resulting row

	last   string // the last directory looked up
	lastNo uint32
}

// newEntry is an entry that differs from the base.
type newEntry struct {
	parent  uint32 // the number of its directory
	nameEnd uint32 // in names
	attr    uint32
	nsec    uint32
	sec     int64
	value   int64  // as index.value, except the number of a target in targets, and 0 for a hard link
	ino     uint64 // of a file
	from    uint32 // the row of base whose names a directory has kept, or whose content a file started from; 0 for none
	commit  uint32 // as index.commit, where 0 is the new commit
	linked  bool   // the file has several names
}

// holder is the first new entry of a file with several names, which carries its inode's
// attributes.
type holder struct {
	no  uint32
	row uint32 // of the first of its names; 0 until met
}

func newRowBuilder(e *entries, base *index) *rowBuilder {
	e.linkless = true
	b := &rowBuilder{entries: e, base: base, xattrs: map[uint32][]xattr{}, attrOf: map[rowAttr]uint32{}, dirs: map[string]uint32{}, holders: map[uint64]*holder{}, inodes: map[uint32]uint32{}}
	if base != nil {
		b.stale, b.anew = make([]bool, base.rows()), make([]uint32, base.rows())
		b.attrs = slices.Clone(base.attrs)
		for i, a := range b.attrs {
			b.attrOf[a] = uint32(i)
		}
		for row := range base.nameEnd {
			if base.kind(uint32(row)) == kindLink {
				b.inodes[uint32(base.value[row])] = 0
			}
		}
	}
	return b
}

// known is the number of rows of the base.
func (b *rowBuilder) known() uint32 { return uint32(len(b.stale)) }

// addRoot adds the root, which must be first, and returns its attributes.
func (b *rowBuilder) addRoot() (RootAttr, error) {
	r, err := b.entries.root()
	if err != nil {
		return r, err
	}
	h := &header{kind: kindDir, mode: r.Mode & fs.PermBits, mtime: r.Mtime, owner: fs.Owner{UID: r.UID, GID: r.GID}}
	for _, name := range slices.Sorted(maps.Keys(r.Xattrs)) {
		h.xattrs = append(h.xattrs, xattr{name, r.Xattrs[name]})
	}
	b.dirs[""] = b.put(h, 0, "", nil)
	if b.base != nil {
		b.anew[0], b.stale[0] = b.known(), true
	}
	return r, nil
}

// add adds an entry that differs from the base. Its directory was added before, or is in the
// base.
func (b *rowBuilder) add(h *header, n *fs.Inode) uint32 {
	dir, name := fs.Split(h.name)
	no := b.put(h, b.directory(dir), name, n)
	if h.kind == kindDir {
		b.dirs[strings.Clone(h.name)] = no
	}
	return no
}

func (b *rowBuilder) put(h *header, parent uint32, name string, n *fs.Inode) uint32 {
	no := b.known() + uint32(len(b.new))
	b.names = append(b.names, name...)
	e := newEntry{
		parent: parent, nameEnd: uint32(len(b.names)), attr: b.attr(h),
		sec: h.mtime.Sec, nsec: h.mtime.Nsec,
	}
	switch h.kind {
	case kindFile, kindLink:
		e.value, e.ino = h.size, n.Ino()
		if _, e.linked = b.entries.links[e.ino]; e.linked && b.holders[e.ino] == nil {
			b.holders[e.ino] = &holder{no: no}
		}
	case kindSymlink:
		e.value = int64(len(b.targets))
		b.targets = append(b.targets, h.link)
	case kindChar, kindBlock:
		e.value = int64(h.rdev)
	}
	if len(h.xattrs) > 0 {
		b.xattrs[no] = h.xattrs
	}
	b.new = append(b.new, e)
	return no
}

// attr returns the number of h's attributes.
func (b *rowBuilder) attr(h *header) uint32 {
	return b.attrNumber(rowAttr{kind: h.kind, mode: h.mode, uid: h.owner.UID, gid: h.owner.GID})
}

func (b *rowBuilder) attrNumber(a rowAttr) uint32 {
	i, ok := b.attrOf[a]
	if !ok {
		i = uint32(len(b.attrs))
		b.attrs = append(b.attrs, a)
		b.attrOf[a] = i
	}
	return i
}

// directory returns the number of the directory of a clean path.
func (b *rowBuilder) directory(path string) uint32 {
	if path == b.last && path != "" {
		return b.lastNo
	}
	no, ok := b.dirs[path]
	if !ok {
		no = b.kept(path)
	}
	b.last, b.lastNo = strings.Clone(path), no
	return no
}

// kept returns the number of the base's directory at path.
func (b *rowBuilder) kept(path string) uint32 {
	row := uint32(0)
	for part := range fs.Names(path) {
		row, _ = b.base.lookup(row, part)
	}
	if b.anew[row] != 0 {
		return b.anew[row]
	}
	return row
}

func (b *rowBuilder) entry(no uint32) *newEntry { return &b.new[no-b.known()] }

// name returns the name of entry no.
func (b *rowBuilder) name(no uint32) string {
	if no < b.known() {
		return b.base.name(no)
	}
	i := no - b.known()
	start := uint32(0)
	if i > 0 {
		start = b.new[i-1].nameEnd
	}
	return string(b.names[start:b.new[i].nameEnd])
}

// table is the rows of an index and their origins.
type table struct {
	x   *index
	no  []uint32 // of each row
	ino []uint64 // of each file that differs from the base
	b   *rowBuilder
}

// table orders all entries breadth first. commit is the id of the commit that made the new
// ones, idBytes long.
func (b *rowBuilder) table(commit string) *table {
	t := &table{x: &index{attrs: b.attrs}, b: b}
	t.order()
	b.order = t.no
	t.x.commits = []string{commit}
	if b.base != nil {
		t.x.commits = append(t.x.commits, b.base.commits...)
	}
	t.fill()
	x := t.x
	x.attrs = compact(x.attr, x.attrs)
	x.commits = compact(x.commit, x.commits)
	return t
}

// order sets no, and child and the names of the index.
func (t *table) order() {
	b := t.b
	starts, kids := b.newKids()
	t.no = append(t.no, b.known())
	if b.base == nil {
		t.no[0] = 0
	}
	for row := 0; row < len(t.no); row++ {
		t.x.child = append(t.x.child, uint32(len(t.no)))
		no := t.no[row]
		dir := no // of base whose names are kept
		if no >= b.known() {
			dir = b.new[no-b.known()].from
			if row > 0 && dir == 0 {
				t.no = append(t.no, kids[starts[no]:starts[no+1]]...)
				continue
			}
		}
		t.merge(dir, kids[starts[no]:starts[no+1]])
	}
	t.x.child = append(t.x.child, uint32(len(t.no)))
}

// newKids returns the new names in each directory: those of entry no are
// kids[starts[no]:starts[no+1]].
func (b *rowBuilder) newKids() (starts, kids []uint32) {
	all := int(b.known()) + len(b.new)
	starts = make([]uint32, all+2)
	for i := range b.new {
		if i > 0 { // the root has no directory
			starts[b.new[i].parent+2]++
		}
	}
	for i := 2; i < len(starts); i++ {
		starts[i] += starts[i-1]
	}
	kids = make([]uint32, max(0, len(b.new)-1))
	for i := range b.new {
		if i > 0 {
			at := &starts[b.new[i].parent+1]
			kids[*at] = b.known() + uint32(i)
			*at++
		}
	}
	return starts, kids
}

// merge appends the kept names of base's dir and the new ones, sorted.
func (t *table) merge(dir uint32, kids []uint32) {
	b := t.b
	if b.base != nil {
		if !slices.IsSortedFunc(kids, func(a, c uint32) int { return strings.Compare(b.name(a), b.name(c)) }) {
			slices.SortFunc(kids, func(a, c uint32) int { return strings.Compare(b.name(a), b.name(c)) })
		}
		first, n := b.base.children(dir)
		for row := first; row < first+n; row++ {
			if b.stale[row] {
				continue
			}
			for len(kids) > 0 && b.name(kids[0]) < b.base.name(row) {
				t.no, kids = append(t.no, kids[0]), kids[1:]
			}
			t.no = append(t.no, row)
		}
	}
	t.no = append(t.no, kids...)
}

// fill sets the columns of the entries' own attributes.
func (t *table) fill() {
	x, n := t.x, len(t.no)
	x.nameEnd, x.attr, x.commit = make([]uint32, n), make([]uint32, n), make([]uint32, n)
	x.sec, x.nsec, x.value = make([]int64, n), make([]uint32, n), make([]int64, n)
	x.seg, x.inner, t.ino = make([]uint32, n), make([]uint32, n), make([]uint64, n)
	names, targets := &strings.Builder{}, &strings.Builder{}
	for row, no := range t.no {
		names.WriteString(t.b.name(no))
		x.nameEnd[row] = uint32(names.Len())
		target := ""
		if no < t.b.known() {
			target = t.keep(uint32(row), no)
		} else {
			target = t.renew(uint32(row), no)
		}
		if target != "" {
			targets.WriteString(target)
			x.value[row] = int64(len(x.targetEnd))
			x.targetEnd = append(x.targetEnd, uint32(targets.Len()))
		}
	}
	x.names, x.targets = names.String(), targets.String()
}

// keep fills a row from one of the base, and returns the target of a symbolic link.
func (t *table) keep(row, from uint32) (target string) {
	x, base := t.x, t.b.base
	x.attr[row], x.sec[row], x.nsec[row], x.value[row] = base.attr[from], base.sec[from], base.nsec[from], base.value[from]
	x.seg[row], x.inner[row], x.commit[row] = base.seg[from], base.inner[from], base.commit[from]+1
	switch base.kind(from) {
	case kindSymlink:
		return base.target(from)
	case kindLink:
		x.value[row] = int64(t.b.inodes[uint32(base.value[from])])
	case kindFile:
		if _, linked := t.b.inodes[from]; linked {
			t.b.inodes[from] = row
		}
	}
	t.xattr(row, base.xattrsOf(from))
	return ""
}

// renew fills a row from a new entry, and returns the target of a symbolic link. The first row
// of a file with several names carries its inode's attributes; the others refer to it.
func (t *table) renew(row, no uint32) (target string) {
	x, e := t.x, t.b.entry(no)
	x.attr[row], x.sec[row], x.nsec[row], x.value[row], x.commit[row] = e.attr, e.sec, e.nsec, e.value, e.commit
	a := x.attrs[e.attr]
	if a.kind == kindSymlink {
		return t.b.targets[e.value]
	}
	if e.linked {
		of := t.b.holders[e.ino]
		if a.kind = kindFile; of.row != 0 {
			a.kind, x.value[row] = kindLink, int64(of.row)
		} else {
			of.row, no = row, of.no
			x.value[row] = t.b.entry(no).value
		}
		x.attr[row] = t.b.attrNumber(a)
		x.attrs = t.b.attrs
	}
	if a.kind == kindFile {
		t.ino[row] = e.ino
	}
	if a.kind != kindLink {
		t.xattr(row, t.b.xattrs[no])
	}
	return ""
}

func (t *table) xattr(row uint32, all []xattr) {
	if len(all) > 0 {
		t.x.xattrRow, t.x.xattrs = append(t.x.xattrRow, row), append(t.x.xattrs, all)
	}
}

// compact drops elements of all that column does not refer to, and renumbers column.
func compact[T any](column []uint32, all []T) []T {
	to := make([]uint32, len(all)) // plus one
	var used []T
	for i, no := range column {
		if to[no] == 0 {
			used = append(used, all[no])
			to[no] = uint32(len(used))
		}
		column[i] = to[no] - 1
	}
	return used
}
