package archive

import (
	"context"
	"sync"
	"sync/atomic"
)

// packedStore keeps compressed segments in a file, at their offsets in the archive. A nil one
// keeps none.
type packedStore struct {
	file Packed
	max  int64
	used atomic.Int64
	full atomic.Bool // the file accepts no more
	kept bitset
}

func newPackedStore(file Packed, limit int64, segments int) *packedStore {
	return &packedStore{file: file, max: limit, kept: newBitset(segments)}
}

// has reports whether the store has all of the segments first to last.
func (p *packedStore) has(first, last uint32) bool {
	if p == nil {
		return false
	}
	for i := first; i <= last; i++ {
		if !p.kept.has(i) {
			return false
		}
	}
	return true
}

// hasAll reports whether the store has all segments, except zeros, which need not be stored.
func (p *packedStore) hasAll(x *index) bool {
	for i := range x.segs {
		if x.segs[i].kind != segZeros && !p.kept.has(uint32(i)) {
			return false
		}
	}
	return true
}

// keep stores the segments first to last, whose compressed bytes are b, as far as there is
// room. Their digests are verified when they are read.
func (p *packedStore) keep(x *index, first, last uint32, b []byte) {
	if p == nil {
		return
	}
	for i := first; i <= last; i++ {
		s := &x.segs[i]
		packed := b[:s.packed]
		b = b[s.packed:]
		if p.kept.has(i) || !p.take(int64(s.packed)) {
			continue
		}
		if _, err := p.file.WriteAt(packed, s.off); err != nil {
			p.used.Add(-int64(s.packed))
			p.full.Store(true)
			return
		}
		if !p.kept.set(i) { // another goroutine was faster
			p.used.Add(-int64(s.packed))
		}
	}
}

func (p *packedStore) take(n int64) bool {
	if p.used.Add(n) <= p.max || p.max == 0 {
		return true
	}
	p.used.Add(-n)
	return false
}

// Kept returns how many bytes of the archive SourceOptions.Packed has.
func (s *Source) Kept() int64 {
	if s.packed == nil {
		return 0
	}
	return s.packed.used.Load()
}

// Prefetch reads the segments that SourceOptions.Packed does not have yet, as far as it
// accepts them, so that the archive is no longer needed. all reports whether Packed has all of
// it. progress, which may be nil, is called with the current offset in the archive. Errors:
// that of reading, or ctx's.
func (s *Source) Prefetch(ctx context.Context, progress func(off int64)) (all bool, err error) {
	if s.packed == nil {
		return false, nil
	}
	runs := make(chan [2]uint32)
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var readers sync.WaitGroup
	for range readsAhead / 2 {
		readers.Go(func() {
			for run := range runs {
				if err := s.prefetch(run); err != nil {
					stop(err)
				}
			}
		})
	}
	for lo := uint32(0); lo < uint32(len(s.x.segs)) && ctx.Err() == nil; {
		hi := s.runFrom(lo)
		if s.packed.full.Load() || s.packed.max > 0 && s.packed.used.Load() >= s.packed.max {
			break
		}
		if progress != nil {
			progress(s.x.segs[lo].off)
		}
		if s.x.segs[lo].kind != segZeros && !s.packed.has(lo, hi) {
			select {
			case runs <- [2]uint32{lo, hi}:
			case <-ctx.Done():
			}
		}
		lo = hi + 1
	}
	close(runs)
	readers.Wait()
	if ctx.Err() != nil {
		return false, context.Cause(ctx)
	}
	return s.packed.hasAll(s.x), nil
}

// runFrom returns the last of the segments from first on that one read fetches. Zeros are a
// separate run.
func (s *Source) runFrom(first uint32) uint32 {
	last := first
	size := int64(s.x.segs[first].packed)
	for s.x.segs[first].kind != segZeros && int(last) < len(s.x.segs)-1 {
		next := &s.x.segs[last+1]
		if size += int64(next.packed); next.kind == segZeros || size > runBytes {
			break
		}
		last++
	}
	return last
}

// prefetch reads a run of segments into the packed store.
func (s *Source) prefetch(run [2]uint32) error {
	first, last := run[0], run[1]
	from, end := &s.x.segs[first], &s.x.segs[last]
	p := make([]byte, end.off+int64(end.packed)-from.off)
	if err := s.readAt(p, from.off); err != nil {
		return err
	}
	for i, rest := first, p; i <= last; i++ {
		seg := &s.x.segs[i]
		if err := seg.check(rest[:seg.packed]); err != nil {
			return err
		}
		rest = rest[seg.packed:]
	}
	s.packed.keep(s.x, first, last, p)
	return nil
}
