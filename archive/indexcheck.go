package archive

import (
	"fmt"
	"math"
	"strings"
)

// Consistency checks of an index's columns, with each other and with the archive.

// check compares the columns with each other, the limits and first, the figures of the tar,
// and derives the values that are not stored.
func (d *indexDecoder) check(first memberSum) error {
	if d.rows == 0 || d.nsegs == 0 || d.x.kind(0) != kindDir {
		return fmt.Errorf("it lacks the root or the end")
	}
	for i := range d.x.segs {
		copy(d.x.segs[i].sum[:], d.digests[i*len(d.x.segs[i].sum):])
	}
	if err := parallel(d.checkNames, d.checkPaths, d.checkValues, d.checkSegments); err != nil {
		return err
	}
	sum := d.x.sums()
	sum.packed += emptyBody
	if sum != first {
		return fmt.Errorf("its segments do not match the tar")
	}
	return parallel(d.checkPlaces, d.checkLinks, d.checkMeta)
}

// checkNames refuses names that no directory can have, or that are out of order.
func (d *indexDecoder) checkNames() error {
	x := d.x
	if err := lengthIs(len(x.names), int(x.nameEnd[d.rows-1])); err != nil {
		return err
	}
	if strings.ContainsAny(x.names, "\x00/") {
		return fmt.Errorf("a name contains a NUL byte or a slash")
	}
	for row := range d.rows {
		first, n := x.children(uint32(row))
		if n > 0 && x.kind(uint32(row)) != kindDir {
			return fmt.Errorf("row %d has names but is not a directory", row)
		}
		before := ""
		for child := first; child < first+n; child++ {
			name := x.name(child)
			if name <= before || name == "." || name == ".." {
				return fmt.Errorf("the name %s of row %d is in the wrong place", quote(name), child)
			}
			before = name
		}
	}
	return nil
}

// checkPaths checks the lengths of names and paths, and the depth, against the limits.
func (d *indexDecoder) checkPaths() error {
	x := d.x
	length := make([]uint32, d.rows) // of each row's path
	last := uint32(1)                // where the rows of this depth end
	depth := int64(0)
	for row := range uint32(d.rows) {
		if row == last {
			depth++
			last = x.child[row] // the first row of the next depth: rows are breadth first
		}
		first, n := x.children(row)
		for child := first; child < first+n; child++ {
			name := int64(x.nameEnd[child] - x.nameEnd[child-1])
			path := int64(length[row]) + name
			if row > 0 {
				path++
			}
			if err := over("NameLen", name, d.lim.NameLen, ""); err != nil {
				return err
			}
			if err := over("PathLen", path, d.lim.PathLen, ""); err != nil {
				return err
			}
			length[child] = uint32(path)
		}
	}
	return over("Depth", depth, d.lim.Depth, "")
}

// checkValues converts the stored values to those of index.value, and checks the sizes of
// files and the targets of links against the limits.
func (d *indexDecoder) checkValues() error {
	x := d.x
	total, end := int64(0), int64(0)
	for row, v := range x.value {
		switch x.kind(uint32(row)) {
		case kindFile:
			if err := over("FileBytes", v, d.lim.FileBytes, ""); err != nil {
				return err
			}
			if v > d.lim.TotalBytes-total {
				return over("TotalBytes", d.lim.TotalBytes+1, d.lim.TotalBytes, "")
			}
			total += v
		case kindSymlink:
			if err := over("SymlinkLen", v, d.lim.SymlinkLen, ""); err != nil {
				return err
			}
			if v == 0 || v > int64(len(x.targets))-end {
				return errNumbers
			}
			end += v
			x.value[row] = int64(len(x.targetEnd))
			x.targetEnd = append(x.targetEnd, uint32(end))
		case kindLink:
			to := int64(row) - v
			if v <= 0 || to <= 0 || x.kind(uint32(to)) != kindFile {
				return fmt.Errorf("row %d is a hard link to something that is not a file", row)
			}
			x.value[row] = to
		case kindChar, kindBlock:
			if v > math.MaxUint32 {
				return errNumbers
			}
		default:
			if v != 0 {
				return errNumbers
			}
		}
	}
	if strings.IndexByte(x.targets, 0) >= 0 {
		return fmt.Errorf("the target of a link contains a NUL byte")
	}
	return lengthIs(len(x.targets), int(end))
}

// maxRaw is the maximum raw size of a segment: a chunk, or an entry with the maximum of
// extended headers.
func (d *indexDecoder) maxRaw() int64 { return max(d.lim.HeaderBytes+blockSize+groupSize, chunkSize) }

// maxPacked is the maximum compressed size of raw bytes: stored blocks and a flush.
func maxPacked(raw uint32) int64 { return int64(raw) + int64(raw)/1024 + 64 }

// checkSegments refuses segments that are invalid in this format.
func (d *indexDecoder) checkSegments() error {
	left := int64(math.MaxInt64) / 2 // for the tar and for the archive, so that sums do not overflow
	for i := range d.x.segs {
		s := &d.x.segs[i]
		fits := false
		switch s.kind {
		case segPad:
			fits = s.raw == 0 && s.repeat == 1
		case segEnd:
			fits = s.raw == 2*blockSize && s.repeat == 1
		case segChunk:
			fits = s.raw > 0 && s.raw <= chunkSize && s.repeat == 1
		case segZeros:
			fits = s.raw > 0 && s.raw <= chunkSize && (s.repeat == 1 || s.raw == chunkSize) && s.crc == crcWithZeros(0, int64(s.raw))
		default:
			fits = s.raw > 0 && s.repeat == 1
		}
		fits = fits && (s.kind == segEnd) == (i == d.nsegs-1)
		if !fits || int64(s.raw) > d.maxRaw() || int64(s.packed) > maxPacked(s.raw) || s.packed == 0 {
			return fmt.Errorf("segment %d has an invalid size", i)
		}
		if left -= s.rawLen() + s.packedLen(); left < 0 {
			return fmt.Errorf("segment %d is beyond the size of any archive", i)
		}
	}
	return nil
}

// checkPlaces checks the rows against their segments: a header alone in its segment belongs to
// one file, followed by the chunks of its content; everything else is within a group.
func (d *indexDecoder) checkPlaces() error {
	x := d.x
	owner := make([]uint32, d.nsegs) // the rows of segments of kind segHeader
	for row := uint32(1); row < uint32(d.rows); row++ {
		s := &x.segs[x.seg[row]]
		size := x.size(row)
		end := int64(x.inner[row]) + blockSize
		switch s.kind {
		case segGroup:
			end += size + padding(size)
		case segHeader:
			if owner[x.seg[row]] != 0 || x.inner[row] != 0 || size == 0 {
				return fmt.Errorf("row %d is not in the segment of its header", row)
			}
			owner[x.seg[row]] = row
		default:
			return fmt.Errorf("row %d is in a segment without headers", row)
		}
		if end > int64(s.raw) {
			return fmt.Errorf("row %d does not fit into its segment", row)
		}
	}
	return d.checkChunks(owner)
}

// checkChunks refuses chunks that belong to no file. owner has the rows of the headers.
func (d *indexDecoder) checkChunks(owner []uint32) error {
	left := int64(0) // of the content of the last file
	for i := range d.x.segs {
		s := &d.x.segs[i]
		switch s.kind {
		case segChunk, segZeros:
			if left < s.rawLen() || s.raw < chunkSize && left > int64(s.raw) {
				return fmt.Errorf("segment %d belongs to no file", i)
			}
			left -= s.rawLen()
			continue
		}
		if left > 0 {
			return fmt.Errorf("the content of a file ends before segment %d", i)
		}
		if s.kind == segHeader {
			if owner[i] == 0 {
				return fmt.Errorf("segment %d is the header of no file", i)
			}
			size := d.x.size(owner[i])
			left = size + padding(size)
		}
	}
	return nil
}

// checkLinks refuses hard links that come before their file.
func (d *indexDecoder) checkLinks() error {
	for row := range uint32(d.rows) {
		if to := d.x.inode(row); to != row && d.x.place(row) <= d.x.place(to) {
			return fmt.Errorf("row %d is a hard link to a later file", row)
		}
	}
	return nil
}

// checkMeta checks the extended attributes, and all texts together, against the limits.
func (d *indexDecoder) checkMeta() error {
	x := d.x
	meta := int64(len(x.names)) + int64(len(x.targets))
	for i, row := range x.xattrRow {
		if k := x.kind(row); k != kindFile && k != kindDir {
			return fmt.Errorf("row %d has extended attributes but cannot have any", row)
		}
		for _, attr := range x.xattrs[i] {
			if !strings.HasPrefix(attr.name, userXattr) || attr.name == userXattr || strings.IndexByte(attr.name, 0) >= 0 {
				return fmt.Errorf("%s is not a name of an extended attribute", quote(attr.name))
			}
			meta += int64(len(attr.name)) + int64(len(attr.value))
		}
	}
	return over("MetaBytes", meta, d.lim.MetaBytes, "")
}
