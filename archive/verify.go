package archive

import (
	"bytes"
	"context"
	"encoding/binary"
)

// Verify reads all of an Indexed archive and checks it for consistency: the digest and the
// checksum of each segment, and the bytes of the tar against those implied by the index, bit
// for bit, so that the tar has no entry and no byte that the index does not have, and vice
// versa. Open has checked the data after the tar. Verify keeps nothing in memory. progress,
// which may be nil, is called with the number of compressed bytes read.
//
// Errors: *FormatError, with the entry if one is to blame; read errors; ctx's.
func (a *Archive) Verify(ctx context.Context, progress func(read int64)) error {
	s := a.Source(NewCache(0), nil)
	defer func() { _ = s.Close() }() // does not fail
	if err := a.verifyFrame(s); err != nil {
		return err
	}
	for lo := uint32(0); lo < uint32(len(a.idx.segs)); {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		hi := s.runFrom(lo)
		if err := s.verifyRun(lo, hi); err != nil {
			return err
		}
		last := &a.idx.segs[hi]
		if progress != nil {
			progress(last.off + last.packedLen())
		}
		lo = hi + 1
	}
	return nil
}

// verifyFrame checks the gzip member around the segments.
func (a *Archive) verifyFrame(s *Source) error {
	last := &a.idx.segs[len(a.idx.segs)-1]
	sum := a.foot.first
	head, trailer := make([]byte, gzipHeader), make([]byte, emptyBody)
	if err := s.readAt(head, 0); err != nil {
		return err
	}
	if err := s.readAt(trailer, last.off+last.packedLen()); err != nil {
		return err
	}
	want := binary.LittleEndian.AppendUint32(bytes.Clone(finalBlock), sum.crc)
	want = binary.LittleEndian.AppendUint32(want, uint32(sum.raw))
	if !canBeOurs(head) || !bytes.Equal(trailer, want) {
		return formatErr("", "the gzip header or trailer around the tar is damaged")
	}
	return nil
}

// verifyRun checks the segments lo to hi, adjacent ones.
func (s *Source) verifyRun(lo, hi uint32) error {
	if s.x.segs[lo].kind == segZeros {
		return s.verifyZeros(lo)
	}
	p, err := s.readRun(lo, hi)
	for i := lo; i <= hi && err == nil; i++ {
		n := s.x.segs[i].packed
		err = s.verifySegment(i, p[:n])
		p = p[n:]
	}
	return err
}

// verifyZeros checks all copies of a segment: one by its content, and the others by
// comparison.
func (s *Source) verifyZeros(i uint32) error {
	seg := &s.x.segs[i]
	n := int64(seg.packed)
	one := make([]byte, n)
	if err := s.readAt(one, seg.off); err != nil {
		return err
	}
	if err := s.verifySegment(i, one); err != nil {
		return err
	}
	some := max(1, runBytes/n)
	for done := int64(1); done < int64(seg.repeat); done += some {
		p := make([]byte, min(some, int64(seg.repeat)-done)*n)
		if err := s.readAt(p, seg.off+done*n); err != nil {
			return err
		}
		if !bytes.Equal(p, bytes.Repeat(one, len(p)/len(one))) {
			return seg.check(nil)
		}
	}
	return nil
}

// verifySegment checks one copy of a segment.
func (s *Source) verifySegment(i uint32, packed []byte) error {
	raw, err := s.x.segs[i].inflate(packed)
	if err != nil {
		return err
	}
	rows := s.placement().in(i)
	data, err := s.x.checkHeaders(i, rows, raw)
	if err != nil {
		return err
	}
	for k, row := range rows {
		if s.x.segs[i].kind != segGroup {
			break
		}
		end := int64(data[k]) + s.x.size(row)
		if len(bytes.Trim(raw[end:end+padding(end)], "\x00")) > 0 {
			return s.x.differs(row)
		}
	}
	return s.verifyRest(i, raw)
}

// verifyRest checks segments that must hold zeros, and the padding of a last chunk.
func (s *Source) verifyRest(i uint32, raw []byte) error {
	switch s.x.segs[i].kind {
	case segChunk:
		if next := s.x.segs[i+1].kind; next == segChunk || next == segZeros {
			return nil
		}
		raw = raw[s.x.contentIn(s.placement(), i):]
	case segZeros, segEnd:
	default:
		return nil
	}
	if len(bytes.Trim(raw, "\x00")) > 0 {
		return formatErr("", "the tar has data where the index says that there are zeros, from byte %d on", s.x.segs[i].rawOff)
	}
	return nil
}

// contentIn returns how many bytes of a file's last chunk are content; the rest is padding.
func (x *index) contentIn(p *placement, i uint32) int64 {
	head := i
	for x.segs[head].kind != segHeader {
		head--
	}
	row := p.in(head)[0]
	return min(int64(x.segs[i].raw), x.contentAt(row)+x.size(row)-x.segs[i].rawOff)
}
