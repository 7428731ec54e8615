package archive

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"
)

// SourceOptions configure how segments are read. Nil stands for the zero value.
type SourceOptions struct {
	// Patience is how long one read of the archive may take; 0 is DefaultPatience.
	Patience time.Duration
	// Packed stores compressed segments, at their own offsets, so that they need not be
	// re-read from the archive, which may no longer exist by then. It must be empty. Nil
	// stores none.
	Packed Packed
	// PackedBytes is the maximum number of bytes used of Packed; 0 means no limit.
	PackedBytes int64
	// Failed is called with each read error, from any goroutine.
	Failed func(error)
}

// Packed is a file for compressed segments. Unwritten ranges are holes.
type Packed interface {
	io.ReaderAt
	io.WriterAt
}

// DefaultPatience is how long one read of an archive may take before it fails.
const DefaultPatience = time.Minute

// ErrStalled is the error of a read that took longer than SourceOptions.Patience.
var ErrStalled = errors.New("the store does not answer")

var errSourceClosed = errors.New("the archive is closed")

// Source reads the segments of one archive on demand, verifies them, and keeps them in a
// shared cache. Images of the same archive share it. Its methods may be called from several
// goroutines.
type Source struct {
	x         *index
	r         io.ReaderAt
	cache     *Cache
	opts      SourceOptions
	placement func() *placement
	ahead     readAhead
	packed    *packedStore // nil without one

	closed atomic.Bool
	gone   chan struct{} // closed by Close
	shut   sync.Once
	work   sync.WaitGroup
	slots  chan struct{} // tokens for reads ahead
}

// readsAhead is the maximum number of concurrent read-ahead requests.
const readsAhead = 6

// Source returns a reader of the archive's segments. The archive must be Indexed. The caller
// closes it, before Open's r.
func (a *Archive) Source(cache *Cache, opts *SourceOptions) *Source {
	s := &Source{
		x: a.idx, r: a.r, cache: cache,
		placement: a.placement,
		ahead:     newReadAhead(cache, len(a.idx.segs)),
		gone:      make(chan struct{}),
		slots:     make(chan struct{}, readsAhead),
	}
	if opts != nil {
		s.opts = *opts
	}
	if s.opts.Patience == 0 {
		s.opts.Patience = DefaultPatience
	}
	if s.opts.Packed != nil {
		s.packed = newPackedStore(s.opts.Packed, s.opts.PackedBytes, len(a.idx.segs))
	}
	return s
}

// Close ends all reads, with an error, and drops the archive's segments from the cache.
func (s *Source) Close() error {
	s.shut.Do(func() {
		s.closed.Store(true)
		close(s.gone)
	})
	s.work.Wait()
	s.cache.forget(s)
	return nil
}

// get returns a segment.
func (s *Source) get(i uint32) (*cached, error) {
	all, err := s.getRun(i, i+1)
	if err != nil {
		return nil, err
	}
	return all[0], nil
}

// getRun returns the segments lo to hi-1, nil for zeros. One read fetches adjacent uncached
// ones, and those likely to be needed next are read ahead.
func (s *Source) getRun(lo, hi uint32) ([]*cached, error) {
	if s.closed.Load() {
		return nil, errSourceClosed
	}
	all, mine := s.claimRuns(lo, hi)
	if from, to := s.ahead.touch(lo, hi); from < to {
		s.fetchAhead(from, to)
	}
	for _, run := range mine {
		s.fill(run)
	}
	for _, e := range all {
		if e == nil {
			continue
		}
		if <-e.done; e.err != nil {
			return nil, e.err
		}
	}
	return all, nil
}

// fetchAhead reads the uncached ones of the segments lo to hi-1 in the background. Errors are
// reported to later readers of the segments.
func (s *Source) fetchAhead(lo, hi uint32) {
	_, mine := s.claimRuns(lo, hi)
	for _, run := range mine {
		s.work.Go(func() {
			s.slots <- struct{}{}
			defer func() { <-s.slots }()
			s.fill(run)
		})
	}
}

// runBytes is the maximum number of compressed bytes per read of several segments.
const runBytes = 4 << 20

// claimRuns returns the segments lo to hi-1, nil for zeros, and those of them that the caller
// must fill, as runs of one read each.
func (s *Source) claimRuns(lo, hi uint32) (all []*cached, mine [][]*cached) {
	size, next := int64(0), lo // next can extend the last run
	for i := lo; i < hi; i++ {
		seg := &s.x.segs[i]
		if seg.kind == segZeros { // its content is known
			all = append(all, nil)
			continue
		}
		e, isMine := s.cache.claim(segmentKey{s, i})
		all = append(all, e)
		if !isMine {
			continue
		}
		if size += int64(seg.packed); i != next || len(mine) == 0 || size > runBytes {
			mine, size = append(mine, nil), int64(seg.packed)
		}
		mine[len(mine)-1] = append(mine[len(mine)-1], e)
		next = i + 1
	}
	return all, mine
}

// fill reads adjacent claimed segments and publishes them to all waiting readers. Segments
// that were not read get the error.
func (s *Source) fill(run []*cached) {
	err := s.fillRun(&run)
	if err != nil && s.opts.Failed != nil && !errors.Is(err, errSourceClosed) {
		s.opts.Failed(err)
	}
	for _, e := range run {
		e.err = err
		s.cache.filled(e)
	}
}

// fillRun does the work of fill; run is the unfinished rest.
func (s *Source) fillRun(run *[]*cached) (err error) {
	defer catch(&err)
	first, last := (*run)[0].key.number, (*run)[len(*run)-1].key.number
	p, err := s.readRun(first, last)
	if err != nil {
		return err
	}
	for _, e := range *run {
		seg := &s.x.segs[e.key.number]
		packed := p[:seg.packed]
		if err := s.decode(e, packed); err != nil {
			return err
		}
		p = p[seg.packed:]
		s.cache.filled(e)
		*run = (*run)[1:]
	}
	return nil
}

// catch turns a panic, which would end the process, into an error.
func catch(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("read archive: panic: %v\n%s", r, debug.Stack())
	}
}

// decode fills e from its compressed bytes.
func (s *Source) decode(e *cached, packed []byte) error {
	i := e.key.number
	raw, err := s.x.segs[i].inflate(packed)
	if err != nil {
		return err
	}
	data, err := s.x.checkHeaders(i, s.placement().in(i), raw)
	if err != nil {
		return err
	}
	e.raw, e.data = raw, data
	return nil
}

// readRun returns the compressed bytes of the segments first to last.
func (s *Source) readRun(first, last uint32) ([]byte, error) {
	from, end := &s.x.segs[first], &s.x.segs[last]
	p := make([]byte, end.off+end.packedLen()-from.off)
	if s.packed.has(first, last) {
		if err := readFullAt(s.packed.file, p, from.off); err == nil {
			return p, nil
		}
	}
	if err := s.readAt(p, from.off); err != nil {
		return nil, err
	}
	s.packed.keep(s.x, first, last, p)
	return p, nil
}

// readAt reads from the archive. A read that takes too long, or is in progress when the source
// is closed, is abandoned together with p, which must not be used afterwards.
func (s *Source) readAt(p []byte, off int64) error {
	read := make(chan error, 1)
	go func() {
		var err error
		defer func() { read <- err }()
		defer catch(&err)
		err = readFullAt(s.r, p, off)
	}()
	timer := time.NewTimer(s.opts.Patience)
	defer timer.Stop()
	select {
	case err := <-read:
		return err
	case <-s.gone:
		return errSourceClosed
	case <-timer.C:
		return fmt.Errorf("read %d bytes of the archive: %w for %v", len(p), ErrStalled, s.opts.Patience)
	}
}
