package archive

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/workdir/workdir/fs"
)

// The columns of an index, each with its encoding and decoding. Their consistency is checked
// afterwards, see check.

func (x *index) encodeNames(out []byte) []byte { return append(out, x.names...) }

func (d *indexDecoder) names(p []byte) error {
	d.x.names = string(p)
	return nil
}

func (x *index) encodeNameLens(out []byte) []byte {
	for row := range x.nameEnd {
		out = append(out, byte(len(x.name(uint32(row)))))
	}
	return out
}

func (d *indexDecoder) nameLens(p []byte) error {
	if err := lengthIs(len(p), d.rows); err != nil {
		return err
	}
	d.x.nameEnd = make([]uint32, d.rows)
	end := uint32(0)
	for row, n := range p {
		if (row == 0) != (n == 0) {
			return fmt.Errorf("row %d has a name of %d bytes", row, n)
		}
		if uint32(n) > math.MaxUint32-end {
			return errNumbers
		}
		end += uint32(n)
		d.x.nameEnd[row] = end
	}
	return nil
}

func (x *index) encodeChildren(out []byte) []byte {
	for row := range x.nameEnd {
		_, n := x.children(uint32(row))
		out = binary.AppendUvarint(out, uint64(n))
	}
	return out
}

// children reads the number of names of each directory. Each row except the root must be a
// name in an earlier row.
func (d *indexDecoder) children(p []byte) error {
	counts, err := uint32s(p, d.rows, uint64(d.rows))
	if err != nil {
		return err
	}
	d.x.child = make([]uint32, d.rows+1)
	end := uint64(1)
	for row, n := range counts {
		if end <= uint64(row) {
			return fmt.Errorf("row %d is in no directory", row)
		}
		d.x.child[row] = uint32(end)
		if end += uint64(n); end > uint64(d.rows) {
			return fmt.Errorf("row %d has more names than there are rows", row)
		}
	}
	d.x.child[d.rows] = uint32(end)
	return lengthIs(int(end), max(1, d.rows))
}

func (x *index) encodeAttrs(out []byte) []byte {
	for _, a := range x.attrs {
		out = append(out, byte(a.kind))
		for _, v := range []uint32{a.mode, a.uid, a.gid} {
			out = binary.AppendUvarint(out, uint64(v))
		}
	}
	return out
}

func (d *indexDecoder) attrs(p []byte) error {
	if len(p) < d.nattrs {
		return errNumbers
	}
	d.x.attrs = make([]rowAttr, d.nattrs)
	n := numbers{p: p}
	for i := range d.x.attrs {
		a := rowAttr{
			kind: kind(n.upTo(math.MaxUint8)), mode: uint32(n.upTo(fs.PermBits)),
			uid: uint32(n.upTo(math.MaxUint32)), gid: uint32(n.upTo(math.MaxUint32)),
		}
		if a.kind != kindLink && a.kind.format() == 0 {
			return fmt.Errorf("there are no entries of kind %q", byte(a.kind))
		}
		d.x.attrs[i] = a
	}
	return n.err()
}

func (x *index) encodeAttr(out []byte) []byte { return appendUint32s(out, x.attr) }

func (d *indexDecoder) attr(p []byte) (err error) {
	d.x.attr, err = uint32s(p, d.rows, uint64(max(0, d.nattrs-1)))
	if d.nattrs == 0 && d.rows > 0 {
		return errNumbers
	}
	return err
}

func (x *index) encodeSec(out []byte) []byte {
	last := int64(0)
	for _, sec := range x.sec {
		out = appendSigned(out, sec-last)
		last = sec
	}
	return out
}

func (d *indexDecoder) sec(p []byte) error {
	last := int64(0)
	return eachNumber(p, d.rows, &d.x.sec, func(n *numbers) int64 {
		last += n.signed() // it may wrap around: every value is a valid time
		return last
	})
}

func (x *index) encodeNsec(out []byte) []byte { return appendUint32s(out, x.nsec) }

func (d *indexDecoder) nsec(p []byte) (err error) {
	d.x.nsec, err = uint32s(p, d.rows, maxNsec)
	return err
}

// encodeValue stores the length of a symbolic link's target instead of its number, and for a
// hard link the distance in rows back to its inode.
func (x *index) encodeValue(out []byte) []byte {
	out = slices.Grow(out, 2*len(x.value))
	for row, v := range x.value {
		switch x.kind(uint32(row)) {
		case kindSymlink:
			v = int64(len(x.target(uint32(row))))
		case kindLink:
			v = int64(row) - v
		}
		out = binary.AppendUvarint(out, uint64(v))
	}
	return out
}

// value reads the numbers as stored; checkValues converts them.
func (d *indexDecoder) value(p []byte) error {
	return eachNumber(p, d.rows, &d.x.value, func(n *numbers) int64 { return int64(n.upTo(math.MaxInt64)) })
}

func (x *index) encodeTargets(out []byte) []byte { return append(out, x.targets...) }

func (d *indexDecoder) targets(p []byte) error {
	d.x.targets = string(p)
	return nil
}

func (x *index) encodeSeg(out []byte) []byte {
	last := int64(0)
	for _, s := range x.seg {
		out = appendSigned(out, int64(s)-last)
		last = int64(s)
	}
	return out
}

func (d *indexDecoder) seg(p []byte) error {
	if len(p) < d.rows {
		return errNumbers
	}
	d.x.seg = make([]uint32, d.rows)
	n := numbers{p: p}
	last := int64(0)
	for row := range d.x.seg {
		by := n.signed()
		if by < -last || by >= int64(d.nsegs)-last {
			return fmt.Errorf("row %d is in no segment", row)
		}
		last += by
		d.x.seg[row] = uint32(last)
	}
	return n.err()
}

func (x *index) encodeInner(out []byte) []byte {
	out = slices.Grow(out, 2*len(x.inner))
	for _, in := range x.inner {
		out = binary.AppendUvarint(out, uint64(in/blockSize))
	}
	return out
}

func (d *indexDecoder) inner(p []byte) (err error) {
	d.x.inner, err = uint32s(p, d.rows, math.MaxUint32/blockSize)
	for row := range d.x.inner {
		d.x.inner[row] *= blockSize
	}
	return err
}

func (x *index) encodeCommit(out []byte) []byte { return appendUint32s(out, x.commit) }

func (d *indexDecoder) commit(p []byte) (err error) {
	d.x.commit, err = uint32s(p, d.rows, uint64(max(0, d.ncommits-1)))
	if d.ncommits == 0 && d.rows > 0 {
		return errNumbers
	}
	return err
}

func (x *index) encodeCommits(out []byte) []byte {
	for _, id := range x.commits {
		out = append(out, id...)
	}
	return out
}

func (d *indexDecoder) commits(p []byte) error {
	if err := lengthIs(len(p), d.ncommits*idBytes); err != nil {
		return err
	}
	for id := range slices.Chunk(p, idBytes) {
		d.x.commits = append(d.x.commits, string(id))
	}
	return nil
}

func (x *index) encodeXattrs(out []byte) []byte {
	last := uint32(0)
	for i, row := range x.xattrRow {
		out = binary.AppendUvarint(out, uint64(row-last))
		last = row
		out = binary.AppendUvarint(out, uint64(len(x.xattrs[i])))
		for _, attr := range x.xattrs[i] {
			out = appendText(out, attr.name)
			out = appendText(out, string(attr.value))
		}
	}
	return out
}

func appendText(out []byte, s string) []byte {
	return append(binary.AppendUvarint(out, uint64(len(s))), s...)
}

func (d *indexDecoder) xattrs(p []byte) error {
	n := numbers{p: p}
	row := uint64(0)
	for len(n.p) > 0 && !n.bad {
		by := n.upTo(uint64(d.rows))
		if row += by; row >= uint64(d.rows) || by == 0 && len(d.x.xattrRow) > 0 {
			return errNumbers
		}
		all, err := d.xattrsOfRow(&n)
		if err != nil {
			return err
		}
		d.x.xattrRow = append(d.x.xattrRow, uint32(row))
		d.x.xattrs = append(d.x.xattrs, all)
	}
	return n.err()
}

func (d *indexDecoder) xattrsOfRow(n *numbers) (all []xattr, err error) {
	count := n.next()
	if count == 0 || count > uint64(len(n.p)) {
		return nil, errNumbers
	}
	for range count {
		x := xattr{name: n.text(maxXattrName), value: []byte(n.text(d.lim.XattrBytes))}
		if n.bad || len(all) > 0 && x.name <= all[len(all)-1].name {
			return nil, errNumbers
		}
		all = append(all, x)
	}
	return all, nil
}

func (x *index) encodeSegs(out []byte) []byte {
	for i := range x.segs {
		s := &x.segs[i]
		out = append(out, byte(s.kind))
		out = binary.AppendUvarint(out, uint64(s.raw/blockSize))
		out = binary.AppendUvarint(out, uint64(s.packed))
		out = binary.AppendUvarint(out, uint64(s.repeat-1))
		out = binary.LittleEndian.AppendUint32(out, s.crc)
	}
	return out
}

// leastSegment is the minimum size of a segment in SEGS, bytes.
const leastSegment = 4 + 4

func (d *indexDecoder) segs(p []byte) error {
	if int64(len(p)) < int64(d.nsegs)*leastSegment {
		return errNumbers
	}
	d.x.segs = make([]segment, d.nsegs)
	n := numbers{p: p}
	for i := range d.x.segs {
		s := &d.x.segs[i]
		s.kind = segKind(n.upTo(uint64(segKinds) - 1))
		s.raw = uint32(n.upTo(math.MaxUint32/blockSize)) * blockSize
		s.packed = uint32(n.upTo(math.MaxUint32))
		s.repeat = uint32(n.upTo(math.MaxUint32-1)) + 1
		if n.bad || len(n.p) < 4 {
			return errNumbers
		}
		s.crc = binary.LittleEndian.Uint32(n.p)
		n.p = n.p[4:]
	}
	return n.err()
}

func (x *index) encodeSums(out []byte) []byte {
	for i := range x.segs {
		out = append(out, x.segs[i].sum[:]...)
	}
	return out
}

// sums reads the digests; check assigns them once the segments are known.
func (d *indexDecoder) sums(p []byte) error {
	if err := lengthIs(len(p), d.nsegs*len(segment{}.sum)); err != nil {
		return err
	}
	d.digests = p
	return nil
}
