package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/klauspost/compress/flate"

	"github.com/workdir/workdir/fs"
)

// packIndexed is an encoder of indexed archives that knows nothing of the Writer's: it
// groups up to group bytes, and files above that go into chunks.
func packIndexed(tb testing.TB, t *fs.Tree, log *Log, group int) []byte {
	tb.Helper()
	p := &indexedPacker{tb: tb, t: t, group: group, x: &index{}}
	p.rows()
	p.contents()
	return p.archive(log)
}

type indexedPacker struct {
	tb      testing.TB
	t       *fs.Tree
	group   int
	x       *index
	inodes  []*fs.Inode
	names   []byte
	targets []byte
	first   map[uint64]uint32
	out     bytes.Buffer
	raw     []byte // of the group that is being filled
}

// rows fills the columns, breadth first.
func (p *indexedPacker) rows() {
	x := p.x
	p.first = map[uint64]uint32{}
	x.commits = []string{strings.Repeat("a", idBytes)}
	p.row("", p.t.Root())
	for dir := 0; dir < len(p.inodes); dir++ {
		x.child = append(x.child, uint32(len(p.inodes)))
		if p.t.Attr(p.inodes[dir]).Mode&syscall.S_IFMT != syscall.S_IFDIR {
			continue
		}
		var names []fs.Dirent
		p.t.ReadDir(p.inodes[dir], 0, func(d fs.Dirent) bool { names = append(names, d); return true })
		slices.SortFunc(names, func(a, b fs.Dirent) int { return strings.Compare(a.Name, b.Name) })
		for _, d := range names {
			n, errno := p.t.Lookup(p.inodes[dir], d.Name)
			maker{p.tb, p.t}.ok(errno)
			p.t.Unref(n, 1)
			p.row(d.Name, n)
		}
	}
	x.child = append(x.child, uint32(len(p.inodes)))
	x.names, x.targets = string(p.names), string(p.targets)
}

func (p *indexedPacker) row(name string, n *fs.Inode) {
	x, a, row := p.x, p.t.Attr(n), uint32(len(p.inodes))
	k, ok := kindOf(a.Mode)
	if !ok {
		p.tb.Fatal("a socket")
	}
	value := int64(0)
	first, again := p.first[a.Ino]
	switch {
	case k == kindFile && again:
		k, value = kindLink, int64(first)
	case k == kindFile:
		p.first[a.Ino], value = row, a.Size
	case k == kindSymlink:
		target, errno := p.t.Readlink(n)
		maker{p.tb, p.t}.ok(errno)
		p.targets = append(p.targets, target...)
		value = int64(len(x.targetEnd))
		x.targetEnd = append(x.targetEnd, uint32(len(p.targets)))
	}
	attr := rowAttr{kind: k, mode: a.Mode & fs.PermBits, uid: a.UID, gid: a.GID}
	i := slices.Index(x.attrs, attr)
	if i < 0 {
		i = len(x.attrs)
		x.attrs = append(x.attrs, attr)
	}
	if xattrs := (&entries{tree: p.t, warn: &warner{}}); k != kindLink {
		h := &header{}
		if err := xattrs.xattrs(h, n); err != nil {
			p.tb.Fatal(err)
		}
		if len(h.xattrs) > 0 {
			x.xattrRow, x.xattrs = append(x.xattrRow, row), append(x.xattrs, h.xattrs)
		}
	}
	p.inodes = append(p.inodes, n)
	p.names = append(p.names, name...)
	x.nameEnd = append(x.nameEnd, uint32(len(p.names)))
	x.attr, x.value = append(x.attr, uint32(i)), append(x.value, value)
	x.sec, x.nsec = append(x.sec, a.Mtime.Sec), append(x.nsec, a.Mtime.Nsec)
	x.seg, x.inner, x.commit = append(x.seg, 0), append(x.inner, 0), append(x.commit, 0)
}

// contents writes the tar: contents, then further names and the like, then directories.
func (p *indexedPacker) contents() {
	p.out.Write([]byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255})
	x := p.x
	for row := uint32(1); row < uint32(len(p.inodes)); row++ {
		if k := x.kind(row); k == kindFile {
			p.file(row)
		}
	}
	for row := uint32(1); row < uint32(len(p.inodes)); row++ {
		if k := x.kind(row); k != kindFile && k != kindDir {
			p.small(row, nil)
		}
	}
	for row := uint32(len(p.inodes)) - 1; row > 0; row-- {
		if x.kind(row) == kindDir {
			p.small(row, nil)
		}
	}
	p.flush()
	p.segment(segEnd, make([]byte, 2*blockSize))
}

func (p *indexedPacker) file(row uint32) {
	size := p.x.value[row]
	content := make([]byte, size+padding(size))
	if n, errno := p.t.ReadAt(p.inodes[row], content[:size], 0); errno != 0 || int64(n) != size {
		p.tb.Fatal(n, errno)
	}
	if size <= int64(p.group) {
		p.small(row, content)
		return
	}
	p.flush()
	p.x.seg[row] = uint32(len(p.x.segs))
	blocks, _ := p.x.header(row).encode(nil)
	p.segment(segHeader, blocks)
	for chunk := range slices.Chunk(content, chunkSize) {
		kind := segChunk
		if len(bytes.Trim(chunk, "\x00")) == 0 {
			kind = segZeros
		}
		p.segment(kind, chunk)
	}
}

// small puts an entry into a group.
func (p *indexedPacker) small(row uint32, content []byte) {
	blocks, _ := p.x.header(row).encode(nil)
	if len(p.raw)+len(blocks)+len(content) > p.group {
		p.flush()
	}
	p.x.seg[row], p.x.inner[row] = uint32(len(p.x.segs)), uint32(len(p.raw))
	p.raw = append(append(p.raw, blocks...), content...)
}

func (p *indexedPacker) flush() {
	if len(p.raw) > 0 {
		p.segment(segGroup, p.raw)
	}
	p.raw = nil
}

func (p *indexedPacker) segment(kind segKind, raw []byte) {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, 6)
	if err == nil {
		_, err = w.Write(raw)
	}
	if err == nil {
		err = w.Flush()
	}
	if err != nil {
		p.tb.Fatal(err)
	}
	p.x.segs = append(p.x.segs, segment{
		kind: kind, packed: uint32(b.Len()), raw: uint32(len(raw)), repeat: 1,
		crc: crc32.ChecksumIEEE(raw), sum: sha256.Sum256(b.Bytes()),
	})
	p.out.Write(b.Bytes())
}

// archive appends what ends the member, log, index and footer.
func (p *indexedPacker) archive(log *Log) []byte {
	first := p.x.sums()
	p.out.Write(finalBlock)
	first.packed = int64(p.out.Len()) + gzipTrailer
	p.out.Write(binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(nil, first.crc), uint32(first.raw)))
	stored := *log
	stored.Record.Root = p.x.root()
	e, err := stored.encode()
	if err != nil {
		p.tb.Fatal(err)
	}
	return append(p.out.Bytes(), p.tail(first, e)...)
}

func (p *indexedPacker) tail(first memberSum, e *encodedLog) []byte {
	payload, err := p.x.encode(DefaultLimits().IndexBytes)
	if err != nil {
		p.tb.Fatal(err)
	}
	out := appendMembers(nil, subLog, e.payload)
	f := footer{first: first, logOff: first.packed, logLen: int64(len(out)), logRaw: int64(len(e.payload)), logCRC: crc32c(e.payload)}
	out = appendMembers(out, subResult, e.results)
	f.index = indexPlace{off: first.packed + int64(len(out)), raw: int64(len(payload)), sum: sha256.Sum256(payload)}
	before := len(out)
	out = appendIndex(out, payload, 0)
	f.index.len = int64(len(out) - before)
	return append(out, f.encode()...)
}

// opened opens an archive and returns an image of it.
func opened(tb testing.TB, archive []byte, cache *Cache, opts *ReaderOptions) (*Archive, *Image) {
	tb.Helper()
	a, err := Open(context.Background(), bytes.NewReader(archive), int64(len(archive)), opts)
	if err != nil {
		tb.Fatal(err)
	}
	if !a.Indexed() {
		tb.Fatal("it has no index")
	}
	im, err := a.Image(source(tb, a, cache, nil), opts)
	if err != nil {
		tb.Fatal(err)
	}
	return a, im
}

func source(tb testing.TB, a *Archive, cache *Cache, opts *SourceOptions) *Source {
	if cache == nil {
		cache = NewCache(64 << 20)
	}
	src := a.Source(cache, opts)
	tb.Cleanup(func() {
		if err := src.Close(); err != nil {
			tb.Error(err)
		}
	})
	return src
}
