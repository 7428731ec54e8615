package fs

import (
	"math"
	"slices"
	"syscall"
)

// below is the part of a base that an upper still shows. It never changes; nil shows
// nothing.
type below struct {
	base Base
	left []byteRange // ranges of the file that are base; not empty, sorted, and not adjacent
}

// at returns the range of base that contains pos, or else the next one; false if there is
// none.
func (b *below) at(pos int64) (byteRange, bool) {
	if b == nil {
		return byteRange{}, false
	}
	i, _ := slices.BinarySearchFunc(b.left, pos, func(r byteRange, pos int64) int {
		if r.end <= pos {
			return -1
		}
		return 1
	})
	if i == len(b.left) {
		return byteRange{}, false
	}
	return b.left[i], true
}

// run returns whether pos is base, and where the run of one kind that contains it ends.
func (b *below) run(pos int64) (end int64, isBase bool) {
	r, ok := b.at(pos)
	switch {
	case !ok:
		return math.MaxInt64, false
	case r.begin > pos:
		return r.begin, false
	}
	return r.end, true
}

// has reports whether the whole range is base.
func (b *below) has(r byteRange) bool {
	end, isBase := b.run(r.begin)
	return isBase && r.end <= end
}

// within returns the parts of [off, end) that are base.
func (b *below) within(off, end int64) (ranges []byteRange) {
	for {
		r, ok := b.at(off)
		if !ok || r.begin >= end || off >= end {
			return ranges
		}
		ranges = append(ranges, byteRange{max(off, r.begin), min(end, r.end)})
		off = r.end
	}
}

// chunk returns the part that is base of the chunk that contains pos; the zero value for
// none.
func (b *below) chunk(pos int64) byteRange {
	begin := pos / chunkSize * chunkSize
	if parts := b.within(begin, roundUp(begin+1, chunkSize)); len(parts) > 0 {
		return parts[0] // at most one: ranges begin at a chunk
	}
	return byteRange{}
}

// toCopy returns the first range, within one chunk, that has to be copied up before [off,
// end) is written; the zero value for none. A chunk whose base the write covers need not be
// copied, unless keep is set and it has data.
func (b *below) toCopy(off, end int64, keep bool) byteRange {
	if b == nil || off >= end {
		return byteRange{}
	}
	if keep {
		return b.nextData(off/chunkSize*chunkSize, roundUp(end, chunkSize))
	}
	for _, pos := range []int64{off, end - 1} {
		if part := b.chunk(pos); part != (byteRange{}) && (part.begin < off || part.end > end) {
			return part
		}
	}
	return byteRange{}
}

// nextData returns the base of the first chunk in [off, end) whose base has data.
func (b *below) nextData(off, end int64) byteRange {
	for _, r := range b.within(off, end) {
		data, err := b.base.SeekData(r.begin)
		if err != nil {
			return b.chunk(r.begin) // reading it returns the same error
		}
		if data < r.end {
			return b.chunk(data)
		}
	}
	return byteRange{}
}

// ReadAt fills p from byte off. Bytes that were read from a base count only if they are
// still base afterwards: a base may be freed as soon as it is dropped.
func (u *upper) ReadAt(p []byte, off int64) (int, error) {
	for done := 0; done < len(p); {
		pos := off + int64(done)
		b := u.below.Load()
		end, isBase := b.run(pos)
		part := p[done:min(int64(len(p)), end-off)]
		if !isBase {
			n, err := u.File.ReadAt(part, pos)
			if done += n; err != nil || n < len(part) {
				return done, err
			}
			continue
		}
		err := readAll(b.base, part, pos)
		if !u.below.Load().has(byteRange{pos, pos + int64(len(part))}) {
			continue
		}
		if err != nil {
			return done, err
		}
		done += len(part)
	}
	return len(p), nil
}

// SeekData returns the next byte at or after off that is not in a hole; ENXIO if none
// follows.
func (u *upper) SeekData(off int64) (int64, error) {
	return u.seek(off, Base.SeekData, File.SeekData)
}

// SeekHole returns the next byte at or after off that is in a hole; the end counts as one.
func (u *upper) SeekHole(off int64) (int64, error) {
	pos, err := u.seek(off, Base.SeekHole, File.SeekHole)
	if err == syscall.ENXIO && pos > off { // the base ends with the file
		return pos, nil
	}
	return pos, err
}

// seek asks the base or the backing file, whichever has the content from off on, until one
// finds something in a range of its own. With ENXIO it returns how far it has searched.
func (u *upper) seek(off int64, base func(Base, int64) (int64, error), file func(File, int64) (int64, error)) (pos int64, err error) {
	b := u.below.Load()
	for {
		end, isBase := b.run(off)
		if isBase {
			pos, err = base(b.base, off)
		} else {
			pos, err = file(u.File, off)
		}
		switch {
		case err == syscall.ENXIO && end < math.MaxInt64:
		case err != nil:
			return off, err
		case pos < end:
			return pos, nil
		}
		// Holes begin at a page; if a base was cut within a page, its chunk has no more of
		// it.
		off = roundUp(end, pageSize)
	}
}

// pages returns how many pages have data of the base.
func (b *below) pages() (pages int64) {
	if b == nil {
		return 0
	}
	next := int64(0) // the first page that is not counted yet: runs may share one
	for _, part := range b.left {
		for r, err := range dataIn(b.base, part.begin, part.end) {
			if err != nil {
				break
			}
			last := pagesOf(r.end)
			pages += max(0, last-max(next, r.begin/pageSize))
			next = last
		}
	}
	return pages
}

// subtract returns ranges without the bytes of away.
func subtract(ranges []byteRange, away byteRange) (left []byteRange) {
	for _, r := range ranges {
		if before := (byteRange{r.begin, min(r.end, away.begin)}); before.begin < before.end {
			left = append(left, before)
		}
		if after := (byteRange{max(r.begin, away.end), r.end}); after.begin < after.end {
			left = append(left, after)
		}
	}
	return left
}
