package archive

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/workdir/workdir/fs"
)

// packing is an archive with an index that is being written: its copied and its new segments,
// in the order of the archive.
type packing struct {
	opts  *WriterOptions
	lim   Limits
	tree  *fs.Tree
	base  *index // nil without one
	x     *index // seg and inner of moved rows are relative to their run until all runs are known
	ino   []uint64
	moves []bool // rows that are rewritten
	log   *Log   // nil without one
	runs  []run

	end  []byte // the bytes after the segments; nil until all pieces are known
	told int64  // what Progress was told last
	done int64  // bytes of content packed
}

// run is a sequence of consecutive segments: copies of those of a base, or new ones.
type run struct {
	keep  []kept
	parts []part
	segs  []segment // of parts, once written
	known bool      // segs is set
}

// kept are copies of a segment of a base.
type kept struct{ seg, from, to uint32 }

// part becomes new segments: entries, or the header and some chunks of one big file.
type part struct {
	rows     []uint32
	file     uint32
	header   bool
	from, to int64 // chunks of file
}

// isBig reports whether a file of that size has its own segments, with its content in chunks.
func isBig(size int64) bool { return size > groupSize-blockSize }

// chunks is how many chunks a file of that size has.
func chunks(size int64) int64 { return (size + chunkSize - 1) / chunkSize }

// gzipStart is the header of the member that holds the tar.
var gzipStart = []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}

// write writes run i to w. It writes the same bytes on every call.
func (p *packing) write(ctx context.Context, w io.Writer, i int) error {
	s := &sink{w: w}
	if i == 0 {
		_, _ = s.Write(gzipStart)
	}
	if err := p.segments(ctx, s, &p.runs[i]); err != nil {
		return err
	}
	if i < len(p.runs)-1 {
		return nil
	}
	end, err := p.ending(ctx)
	if err != nil {
		return err
	}
	_, _ = s.Write(end)
	return s.failed()
}

var errTreeChanged = errors.New("pack: the tree was changed during packing")

// segments writes the new segments of a run.
func (p *packing) segments(ctx context.Context, s *sink, of *run) error {
	g := &groupWriter{p: p, out: newSegmenter(ctx, s, p.opts.level()), placed: of.known}
	segs, err := g.out.finish(g.parts(of.parts))
	switch {
	case err != nil:
		return err
	case of.known && !slices.Equal(of.segs, segs):
		return errTreeChanged
	}
	of.segs, of.known = segs, true
	return nil
}

// ending returns the bytes after the segments: the end of the gzip member, the log and the
// index. It is known once all segments are.
func (p *packing) ending(ctx context.Context) ([]byte, error) {
	if p.end != nil {
		return p.end, nil
	}
	for i := range p.runs {
		of := &p.runs[i]
		if of.keep != nil || of.known {
			continue
		}
		if err := p.segments(ctx, &sink{w: io.Discard}, of); err != nil {
			return nil, err
		}
	}
	p.place()
	first := p.x.sums()
	first.packed += emptyBody
	end := []byte{3, 0}
	end = binary.LittleEndian.AppendUint32(end, first.crc)
	end = binary.LittleEndian.AppendUint32(end, uint32(first.raw))
	tail, err := p.tail(first)
	if err != nil {
		return nil, err
	}
	p.end = slices.Concat(end, tail)
	return p.end, nil
}

// tail returns the members after the one that holds the tar.
func (p *packing) tail(first memberSum) ([]byte, error) {
	if p.log == nil {
		return nil, nil
	}
	index, err := p.x.encode(p.lim.IndexBytes)
	if err != nil {
		return nil, err
	}
	return p.log.tail(first, p.lim.LogBytes, index)
}

// place joins all segments, and assigns every row to its segment.
func (p *packing) place() {
	var moved []uint32 // the new numbers of base's segments
	if p.base != nil {
		moved = make([]uint32, len(p.base.segs))
	}
	x := p.x
	x.segs = nil
	for i := range p.runs {
		of := &p.runs[i]
		for _, k := range of.keep {
			s := p.base.segs[k.seg]
			s.repeat = k.to - k.from
			moved[k.seg] = uint32(len(x.segs))
			x.segs = append(x.segs, s)
		}
		start := uint32(len(x.segs))
		x.segs = append(x.segs, of.segs...)
		for _, part := range of.parts {
			for _, row := range part.rows {
				if row != tarEnd {
					x.seg[row] += start
				}
			}
			if part.header {
				x.seg[part.file] += start
			}
		}
	}
	for row := 1; row < x.rows(); row++ {
		if !p.moves[row] {
			x.seg[row] = moved[x.seg[row]]
		}
	}
}

// groupWriter makes segments of parts.
type groupWriter struct {
	p      *packing
	out    *segmenter
	placed bool // the places of rows are known
	count  uint32
	group  []byte
	zeros  uint32 // pending chunks of zeros

	dir     uint32 // the directory of the last row
	dirPath string
	blocks  []byte
}

// parts writes parts and returns why it stopped.
func (g *groupWriter) parts(parts []part) error {
	for i := range parts {
		of := &parts[i]
		for _, row := range of.rows {
			if err := g.entry(row); err != nil {
				return err
			}
		}
		if err := g.flush(); err != nil {
			return err
		}
		if of.rows == nil {
			if err := g.file(of); err != nil {
				return err
			}
		}
	}
	return nil
}

// entry adds a whole entry to the group.
func (g *groupWriter) entry(row uint32) error {
	if row == tarEnd {
		return g.endTar()
	}
	g.header(row)
	size := g.p.x.size(row)
	need := int64(len(g.blocks)) + size + padding(size)
	if len(g.group) > 0 && int64(len(g.group))+need > groupSize {
		if err := g.flush(); err != nil {
			return err
		}
	}
	if g.group == nil {
		g.group = g.out.buffer()
	}
	g.place(row, len(g.group))
	g.group = append(g.group, g.blocks...)
	if size == 0 {
		return nil
	}
	start := len(g.group)
	g.group = append(g.group, make([]byte, size+padding(size))...)
	return g.read(row, g.group[start:start+int(size)], 0)
}

func (g *groupWriter) endTar() error {
	if err := g.flush(); err != nil {
		return err
	}
	return g.add(segEnd, append(g.out.buffer(), zeros[:2*blockSize]...))
}

// header encodes the header of a row into blocks. Rows mostly come directory by directory, so
// the path of the last directory is cached.
func (g *groupWriter) header(row uint32) {
	x := g.p.x
	if dir := x.parent(row); dir != g.dir {
		if g.dir, g.dirPath = dir, ""; dir != 0 {
			g.dirPath = x.path(dir) + "/"
		}
	}
	g.blocks, _ = x.headerAt(row, g.dirPath+x.name(row)).encode(g.blocks[:0])
}

// place records where the header of a row is.
func (g *groupWriter) place(row uint32, inner int) {
	if !g.placed {
		g.p.x.seg[row], g.p.x.inner[row] = g.count, uint32(inner)
	}
}

// flush ends the group.
func (g *groupWriter) flush() error {
	raw := g.group
	g.group = nil
	if len(raw) == 0 {
		return nil
	}
	return g.add(segGroup, raw)
}

func (g *groupWriter) add(k segKind, raw []byte) error {
	if err := g.passZeros(); err != nil {
		return err
	}
	g.count++
	return g.out.add(k, raw)
}

// passZeros adds the pending chunks of zeros.
func (g *groupWriter) passZeros() error {
	n := g.zeros
	if g.zeros = 0; n == 0 {
		return nil
	}
	g.count++
	return g.out.addZeros(n)
}

// file adds the header of a big file, if it is new, and chunks.
func (g *groupWriter) file(of *part) error {
	if of.header {
		g.header(of.file)
		g.place(of.file, 0)
		if err := g.add(segHeader, append(g.out.buffer(), g.blocks...)); err != nil {
			return err
		}
	}
	for chunk := of.from; chunk < of.to; {
		n, err := g.holes(of.file, chunk, of.to)
		if err != nil {
			return err
		}
		if g.zeros, chunk = g.zeros+uint32(n), chunk+n; chunk == of.to {
			break
		}
		if err := g.chunk(of.file, chunk); err != nil {
			return err
		}
		chunk++
	}
	return g.passZeros()
}

// holes returns how many of the chunks from from to to are entirely in a hole.
func (g *groupWriter) holes(row uint32, from, to int64) (n int64, err error) {
	size := g.p.x.size(row)
	err = g.with(row, func(inode *fs.Inode) error {
		data, _, errno := g.p.tree.NextData(inode, from*chunkSize, size)
		n = max(0, min(data/chunkSize, to, size/chunkSize)-from)
		return packErr(g.p.x.path(row), errno)
	})
	return n, err
}

// chunk adds one chunk of a file.
func (g *groupWriter) chunk(row uint32, chunk int64) error {
	off := chunk * chunkSize
	size := min(g.p.x.size(row)-off, chunkSize)
	raw := g.out.buffer()[:size]
	if err := g.read(row, raw, off); err != nil {
		return err
	}
	raw = append(raw, zeros[:padding(size)]...)
	switch {
	case leadingZeros(raw) < len(raw):
		return g.add(segChunk, raw)
	case len(raw) == chunkSize:
		g.zeros++
		return nil
	}
	return g.add(segZeros, raw)
}

// with calls fn with the inode of a row.
func (g *groupWriter) with(row uint32, fn func(n *fs.Inode) error) error {
	n, errno := g.p.tree.Find(g.p.ino[row])
	if errno != 0 {
		return packErr(g.p.x.path(row), errno)
	}
	defer g.p.tree.Unref(n, 1)
	return fn(n)
}

// read fills b with the content of a file from off on.
func (g *groupWriter) read(row uint32, b []byte, off int64) error {
	err := g.with(row, func(n *fs.Inode) error {
		for done := 0; done < len(b); {
			k, errno := g.p.tree.ReadAt(n, b[done:], off+int64(done))
			if errno != 0 {
				return packErr(g.p.x.path(row), errno)
			}
			if k == 0 {
				return fmt.Errorf("pack %s: it was truncated during packing", quote(g.p.x.path(row)))
			}
			done += k
		}
		return nil
	})
	g.p.progress(int64(len(b)))
	return err
}

// progress records that n more bytes of content are packed.
func (p *packing) progress(n int64) {
	if p.done += n; p.opts.Progress != nil && p.done-p.told >= progressIn {
		p.told = p.done
		p.opts.Progress(p.done)
	}
}
