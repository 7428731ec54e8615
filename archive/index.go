package archive

import (
	"cmp"
	"slices"
	"sort"
	"strings"

	"github.com/workdir/workdir/fs"
)

// index says where everything is in an archive: one row for each entry of the tar and one for
// the root, breadth first, so that the rows of a directory are contiguous and sorted by the
// bytes of their names. Row 0 is the root. Columns of numbers hold no pointers, so a million
// rows cost the garbage collector nothing.
//
// An index is immutable once decoded or built.
type index struct {
	names   string   // of all rows, joined
	nameEnd []uint32 // where each row's name ends in names; it begins where the previous one ends
	child   []uint32 // one more than rows: the children of row r are the rows child[r] to child[r+1]-1
	attr    []uint32 // of each row, the number of its attributes in attrs
	attrs   []rowAttr
	sec     []int64  // time of modification, seconds since 1970
	nsec    []uint32 // and nanoseconds of the second
	// value is the size of a file, in bytes; of a hard link the row of the file's first name,
	// which has the content and is lower; of a symbolic link the number of its target in
	// targetEnd; of a device its numbers; else 0.
	value     []int64
	targets   string   // of all symbolic links, joined
	targetEnd []uint32 // where each ends
	seg       []uint32 // the segment that the row's header is in; 0 for the root, which has none
	inner     []uint32 // where the header begins in the raw bytes of the segment
	commit    []uint32 // the commit that last changed the path, in commits
	commits   []string // ids of commits, idBytes each
	xattrRow  []uint32 // the rows that have extended attributes, ascending
	xattrs    [][]xattr
	segs      []segment
}

// rowAttr is a set of attributes that many rows share.
type rowAttr struct {
	kind     kind
	mode     uint32 // permission bits, suid, sgid and sticky
	uid, gid uint32
}

// segKind is the kind of a segment.
type segKind uint8

const (
	segGroup  segKind = iota // whole entries, header and content
	segHeader                // the header of one file; the chunks of its content follow
	segChunk                 // chunkSize bytes of a file, or its padded remainder
	segZeros                 // a chunk of zeros
	segPad                   // no content: it aligns the next segment
	segEnd                   // the two blocks of zeros that end the tar; the last segment
	segKinds
)

// segment is an independently compressed run of the tar, and its number of consecutive copies.
type segment struct {
	kind   segKind
	packed uint32   // bytes of one copy, compressed
	raw    uint32   // bytes of one copy, whole blocks
	repeat uint32   // copies; more than one only for segZeros
	crc    uint32   // CRC-32 of raw bytes of one copy
	sum    [32]byte // SHA-256 of the packed bytes of one copy

	// Sums over the previous segments, not stored.
	off    int64 // where the first copy begins in the archive
	rawOff int64 // where it begins in the tar
}

// packedLen is the length of all copies in the archive.
func (s *segment) packedLen() int64 { return int64(s.packed) * int64(s.repeat) }

// rawLen is the length of all copies in the tar.
func (s *segment) rawLen() int64 { return int64(s.raw) * int64(s.repeat) }

const (
	// chunkSize is how many bytes of a big file a segment holds, except the last.
	chunkSize = 1 << 20
	// groupSize is the maximum size of a group of entries, in bytes of tar, unless it holds a
	// single entry.
	groupSize = 512 << 10
)

// rows is the number of rows.
func (x *index) rows() int { return len(x.nameEnd) }

// name returns the name of a row; "" for the root.
func (x *index) name(row uint32) string {
	if row == 0 {
		return ""
	}
	return x.names[x.nameEnd[row-1]:x.nameEnd[row]]
}

// children returns the rows of a directory's names: n of them from first on. n is 0 for any
// other row.
func (x *index) children(row uint32) (first, n uint32) {
	return x.child[row], x.child[row+1] - x.child[row]
}

// parent returns the row of the directory of row; 0 for the root.
func (x *index) parent(row uint32) uint32 {
	if row == 0 {
		return 0
	}
	// Its directory is the last row whose children begin at or before row.
	return uint32(sort.Search(x.rows(), func(i int) bool { return x.child[i+1] > row }))
}

// path returns the clean path of a row.
func (x *index) path(row uint32) string {
	var names []string
	for ; row != 0; row = x.parent(row) {
		names = append(names, x.name(row))
	}
	slices.Reverse(names)
	return strings.Join(names, "/")
}

// lookup finds a name in a directory.
func (x *index) lookup(dir uint32, name string) (row uint32, ok bool) {
	first, n := x.children(dir)
	i, ok := sort.Find(int(n), func(i int) int { return cmp.Compare(name, x.name(first+uint32(i))) })
	return first + uint32(i), ok
}

// kind returns the type of a row's entry.
func (x *index) kind(row uint32) kind { return x.attrs[x.attr[row]].kind }

// inode returns the row that stands for a row's inode.
func (x *index) inode(row uint32) uint32 {
	if x.kind(row) == kindLink {
		return uint32(x.value[row])
	}
	return row
}

// target returns the target of a symbolic link.
func (x *index) target(row uint32) string {
	i := x.value[row]
	start := uint32(0)
	if i > 0 {
		start = x.targetEnd[i-1]
	}
	return x.targets[start:x.targetEnd[i]]
}

// xattrsOf returns the extended attributes of a row, sorted by name.
func (x *index) xattrsOf(row uint32) []xattr {
	i, ok := slices.BinarySearch(x.xattrRow, row)
	if !ok {
		return nil
	}
	return x.xattrs[i]
}

// mtime returns the time of modification of a row.
func (x *index) mtime(row uint32) fs.Time { return fs.Time{Sec: x.sec[row], Nsec: x.nsec[row]} }

// size returns the bytes of content of a row.
func (x *index) size(row uint32) int64 {
	if x.kind(row) != kindFile {
		return 0
	}
	return x.value[row]
}

// place returns where the header of a row begins in the tar.
func (x *index) place(row uint32) int64 {
	return x.segs[x.seg[row]].rawOff + int64(x.inner[row])
}

// header returns the header of a row, whose encoding the tar must have at the row's place, bit
// for bit. The root has none.
func (x *index) header(row uint32) *header { return x.headerAt(row, x.path(row)) }

// headerAt is header for a row whose path is known.
func (x *index) headerAt(row uint32, path string) *header {
	a := &x.attrs[x.attr[row]]
	h := &header{
		name: path, kind: a.kind, mode: a.mode, mtime: x.mtime(row),
		owner: fs.Owner{UID: a.uid, GID: a.gid},
	}
	switch a.kind {
	case kindFile:
		h.size = x.value[row]
	case kindLink:
		h.link = x.path(uint32(x.value[row]))
	case kindSymlink:
		h.link = x.target(row)
	case kindChar, kindBlock:
		h.rdev = uint32(x.value[row])
	}
	if a.kind != kindLink {
		h.xattrs = x.xattrsOf(row)
	}
	return h
}

// root returns the attributes of the root directory.
func (x *index) root() RootAttr {
	a := &x.attrs[x.attr[0]]
	r := RootAttr{Mode: a.mode | a.kind.format(), UID: a.uid, GID: a.gid, Mtime: x.mtime(0)}
	for _, attr := range x.xattrsOf(0) {
		if r.Xattrs == nil {
			r.Xattrs = map[string][]byte{}
		}
		r.Xattrs[attr.name] = attr.value
	}
	return r
}

// sums sets the offsets of the segments, and returns the lengths and CRC-32 of the segments
// and the gzip header before them.
func (x *index) sums() memberSum {
	all := memberSum{packed: gzipHeader}
	for i := range x.segs {
		s := &x.segs[i]
		s.off, s.rawOff = all.packed, all.raw
		all.packed += s.packedLen()
		all.raw += s.rawLen()
		all.crc = s.appendCRC(all.crc)
	}
	return all
}

// appendCRC returns the CRC-32 of data with checksum crc followed by s.
func (s *segment) appendCRC(crc uint32) uint32 {
	one := s.crc
	length := int64(s.raw)
	for n := s.repeat; n > 0; n >>= 1 {
		if n&1 != 0 {
			crc = crcCombine(crc, one, length)
		}
		one, length = crcCombine(one, one, length), 2*length
	}
	return crc
}
