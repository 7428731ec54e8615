package archive

import (
	"cmp"
	"io"
	"slices"
	"sort"
	"sync"
	"syscall"

	"github.com/workdir/workdir/fs"
)

// Image presents an archive as the base of a tree: names and attributes come from the index,
// content is read from the segments on first use. It implements fs.Image.
type Image struct {
	x       *index
	src     *Source
	policy  policy
	links   map[uint32]uint32 // see countLinks
	xattrs  map[uint32][]fs.Xattr
	checked sync.Map // rows of files in chunks whose header was verified
}

// Image returns an image of the archive, which must be Indexed. Of opts it uses Owner,
// Devices, AllXattrs and Warn. Content is read through src. Errors: *FormatError for entries
// that opts refuse.
func (a *Archive) Image(src *Source, opts *ReaderOptions) (*Image, error) {
	im := &Image{x: a.idx, src: src, links: a.links()}
	if opts == nil {
		opts = &ReaderOptions{}
	}
	im.policy = policy{opts: opts, warn: &warner{fn: opts.Warn}}
	if err := im.check(); err != nil {
		return nil, err
	}
	for i, row := range a.idx.xattrRow {
		if err := im.keepXattrs(row, a.idx.xattrs[i]); err != nil {
			return nil, err
		}
	}
	return im, nil
}

// check finds entries that the policy refuses or warns of: it examines each set of attributes,
// which many rows share, with its first row.
func (im *Image) check() error {
	seen := make([]bool, len(im.x.attrs))
	for row := range im.x.attr {
		at := im.x.attr[row]
		if seen[at] {
			continue
		}
		seen[at] = true
		a := &im.x.attrs[at]
		if a.kind.device() && !im.policy.opts.Devices {
			return formatErr(im.x.path(uint32(row)), reasonDevice)
		}
		if a.mode&suidBits != 0 {
			im.policy.mode(im.head(uint32(row), im.x.path(uint32(row)))) // warns
		}
	}
	return nil
}

// head returns the header fields of a row that the policy needs.
func (im *Image) head(row uint32, name string) *header {
	a := &im.x.attrs[im.x.attr[row]]
	return &header{name: name, kind: a.kind, mode: a.mode, owner: fs.Owner{UID: a.uid, GID: a.gid}}
}

func (im *Image) keepXattrs(row uint32, all []xattr) error {
	h := im.head(row, im.x.path(row))
	h.xattrs = slices.Clone(all)
	kept, err := im.policy.keep(h)
	if err != nil || len(kept) == 0 {
		return err
	}
	if im.xattrs == nil {
		im.xattrs = map[uint32][]fs.Xattr{}
	}
	for _, x := range kept {
		im.xattrs[row] = append(im.xattrs[row], fs.Xattr{Name: x.name, Value: x.value})
	}
	return nil
}

// countLinks returns the number of additional names of each file, and of subdirectories of
// each directory, where not zero.
func (x *index) countLinks() map[uint32]uint32 {
	links := map[uint32]uint32{}
	dir := uint32(0)
	for row := uint32(1); row < uint32(x.rows()); row++ {
		for x.child[dir+1] <= row {
			dir++
		}
		switch x.kind(row) {
		case kindDir:
			links[dir]++
		case kindLink:
			links[x.inode(row)]++
		}
	}
	return links
}

// Len implements fs.Image.
func (im *Image) Len() int { return im.x.rows() }

// Inode implements fs.Image.
func (im *Image) Inode(row uint32) uint32 { return im.x.inode(row) }

// Children implements fs.Image.
func (im *Image) Children(row uint32) (first, n uint32) { return im.x.children(row) }

// Name implements fs.Image.
func (im *Image) Name(row uint32) string { return im.x.name(row) }

// Target implements fs.Image.
func (im *Image) Target(row uint32) string { return im.x.target(row) }

// Xattrs implements fs.Image.
func (im *Image) Xattrs(row uint32) []fs.Xattr { return im.xattrs[row] }

// Attr implements fs.Image.
func (im *Image) Attr(row uint32) fs.Attr {
	h := im.head(row, "")
	owner, mtime := im.policy.owner(h), im.x.mtime(row)
	a := fs.Attr{
		Ino: uint64(row) + 1, Mode: h.kind.format() | im.policy.mode(h),
		UID: owner.UID, GID: owner.GID, Nlink: 1 + im.links[row],
		Atime: mtime, Mtime: mtime, Ctime: mtime, Btime: mtime,
	}
	switch {
	case h.kind == kindDir:
		a.Nlink++
	case h.kind == kindFile:
		a.Size = im.x.size(row)
	case h.kind == kindSymlink:
		a.Mode, a.Size = syscall.S_IFLNK|0o777, int64(len(im.x.target(row)))
	case h.kind.device():
		a.Rdev = uint32(im.x.value[row])
	}
	return a
}

// Content implements fs.Image.
func (im *Image) Content(row uint32) fs.Base { return &file{im, row} }

// Commit is the commit that last changed a row: its entry, or the file's content.
func (im *Image) Commit(row uint32) CommitID {
	return commitIDOf(im.x.commits[im.x.commit[row]])
}

// Same reports that two files, of one archive or of two, are known to have the same content,
// without reading it. False means unknown.
func (im *Image) Same(row uint32, other *Image, otherRow uint32) bool {
	a, b := im.x, other.x
	if row, otherRow = a.inode(row), b.inode(otherRow); a.size(row) != b.size(otherRow) {
		return false
	}
	ours, theirs := a.contentSegments(row), b.contentSegments(otherRow)
	if len(ours) == 1 && ours[0].kind == segGroup && a.inner[row] != b.inner[otherRow] {
		return false
	}
	return slices.EqualFunc(ours, theirs, func(s, t segment) bool {
		return s.kind == t.kind && s.raw == t.raw && s.repeat == t.repeat && s.sum == t.sum
	})
}

// contentSegments returns the segments with the content of a file: the group with its entry,
// or all chunks after the segment with its header.
func (x *index) contentSegments(row uint32) []segment {
	head := x.seg[row]
	if x.segs[head].kind == segGroup {
		return x.segs[head : head+1]
	}
	end := x.contentAt(row) + x.size(row)
	last := head + 1
	for int(last) < len(x.segs) && x.segs[last].rawOff < end {
		last++
	}
	return x.segs[head+1 : last]
}

// contentAt returns where the content of a file in chunks begins in the tar.
func (x *index) contentAt(row uint32) int64 {
	head := &x.segs[x.seg[row]]
	return head.rawOff + int64(head.raw)
}

// file is the content of a file in an archive.
type file struct {
	im  *Image
	row uint32
}

// Size implements fs.Base.
func (f *file) Size() int64 { return f.im.x.size(f.row) }

// ReadAt implements io.ReaderAt. It returns only verified bytes, and verifies the entry's own
// header too.
func (f *file) ReadAt(p []byte, off int64) (int, error) {
	size := f.Size()
	if off >= size {
		return 0, io.EOF
	}
	var eof error
	if int64(len(p)) > size-off {
		p, eof = p[:size-off], io.EOF
	}
	n, err := f.read(p, off)
	if err != nil {
		return n, err
	}
	return n, eof
}

// read fills p from off on.
//
// Preconditions: the file extends that far.
func (f *file) read(p []byte, off int64) (int, error) {
	seg := f.im.x.seg[f.row]
	if f.im.x.segs[seg].kind != segGroup {
		return f.readChunks(p, off)
	}
	e, err := f.im.src.get(seg)
	if err != nil {
		return 0, err
	}
	at, err := f.dataIn(e)
	if err != nil {
		return 0, err
	}
	return copy(p, e.raw[at+off:]), nil
}

// dataIn returns where the content begins in the segment that has the file's header.
func (f *file) dataIn(e *cached) (int64, error) {
	x := f.im.x
	rows := f.im.src.placement().in(x.seg[f.row])
	i, ok := slices.BinarySearchFunc(rows, f.row, func(a, b uint32) int { return cmp.Compare(x.inner[a], x.inner[b]) })
	if !ok || rows[i] != f.row || i >= len(e.data) {
		return 0, x.differs(f.row)
	}
	return int64(e.data[i]), nil
}

// readChunks is read for a file in chunks.
func (f *file) readChunks(p []byte, off int64) (int, error) {
	x := f.im.x
	from := x.contentAt(f.row)
	first := x.segmentAt(from + off)
	last := x.segmentAt(from + off + int64(len(p)) - 1)
	got, err := f.chunks(x.seg[f.row], first, last)
	if err != nil {
		return 0, err
	}
	done := 0
	for i := range got {
		n, err := x.copyChunk(p[done:], first+uint32(i), got[i], from+off+int64(done))
		if done += n; err != nil {
			return done, err
		}
	}
	return done, nil
}

// chunks returns the segments first to last of the file. Its header, which is alone in segment
// head, is compared with the index once.
func (f *file) chunks(head, first, last uint32) ([]*cached, error) {
	src := f.im.src
	if _, seen := f.im.checked.Load(f.row); seen {
		return src.getRun(first, last+1)
	}
	from := first
	if from == head+1 {
		from = head
	}
	got, err := src.getRun(from, last+1)
	if err != nil {
		return nil, err
	}
	header := got[0]
	if from == head {
		got = got[1:]
	} else if header, err = src.get(head); err != nil {
		return nil, err
	}
	if _, err := f.dataIn(header); err != nil {
		return nil, err
	}
	f.im.checked.Store(f.row, true)
	return got, nil
}

// segmentAt returns the segment that contains a byte of the tar.
func (x *index) segmentAt(raw int64) uint32 {
	return uint32(sort.Search(len(x.segs), func(i int) bool { return x.segs[i].rawOff > raw })) - 1
}

// copyChunk copies bytes of the tar from at on, within segment i, to p.
func (x *index) copyChunk(p []byte, i uint32, e *cached, at int64) (int, error) {
	seg := &x.segs[i]
	in := at - seg.rawOff
	p = p[:min(int64(len(p)), seg.rawLen()-in)]
	switch seg.kind {
	case segZeros:
		clear(p)
		return len(p), nil
	case segChunk:
		return copy(p, e.raw[in:]), nil
	}
	return 0, errContent
}

var errContent = &FormatError{Reason: "the index has no content for a file"}

// SeekData implements fs.Base.
func (f *file) SeekData(off int64) (int64, error) { return f.seek(off, false), nil }

// SeekHole implements fs.Base.
func (f *file) SeekHole(off int64) (int64, error) { return f.seek(off, true), nil }

// seek returns the first byte from off on that is in a hole, or in data. Whole chunks of zeros
// are holes, and so is the end of the file.
func (f *file) seek(off int64, hole bool) int64 {
	x, size := f.im.x, f.Size()
	if off >= size {
		return size
	}
	if x.segs[x.seg[f.row]].kind == segGroup {
		if hole {
			return size
		}
		return off
	}
	from := x.contentAt(f.row)
	for i := x.segmentAt(from + off); off < size; i++ {
		if (x.segs[i].kind == segZeros) == hole {
			return off
		}
		off = x.segs[i].rawOff + x.segs[i].rawLen() - from
	}
	return size
}

// Used implements fs.Base.
func (f *file) Used() int64 {
	x, size := f.im.x, f.Size()
	if x.segs[x.seg[f.row]].kind == segGroup {
		return size
	}
	end := x.contentAt(f.row) + size
	used := int64(0)
	for _, seg := range x.contentSegments(f.row) {
		if seg.kind != segZeros {
			used += min(seg.rawLen(), end-seg.rawOff)
		}
	}
	return used
}
