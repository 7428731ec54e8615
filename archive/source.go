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

// SourceOptions say how segments are read. Nil stands for the zero value.
type SourceOptions struct {
	// Patience is how long one read of the archive may take; 0 is DefaultPatience.
	Patience time.Duration
	// Packed keeps compressed segments, at their own offsets, so that they need not be
	// read from the archive again, which may be gone by then. It must be empty. Nil
	// keeps none.
	Packed Packed
	// PackedBytes is how many bytes of Packed are used at most; 0 is no limit.
	PackedBytes int64
	// Failed is called with each error of reading, from any goroutine.
	Failed func(error)
}

// Packed is a file that takes compressed segments. Ranges that nobody wrote are holes.
type Packed interface {
	io.ReaderAt
	io.WriterAt
}

// DefaultPatience is how long one read of an archive may take before it fails.
const DefaultPatience = time.Minute

// ErrStalled is the error of a read that took longer than SourceOptions.Patience.
var ErrStalled = errors.New("the store does not answer")

var errSourceClosed = errors.New("the archive is closed")

// Source reads the segments of one archive when they are touched, verifies them, and
// keeps them in a cache that others use too. Images of the same archive share it.
// Its methods may be called from several goroutines.
type Source struct {
	x         *index
	r         io.ReaderAt
	cache     *Cache
	opts      SourceOptions
	placement func() *placement
	ahead     readAhead
	packed    *packedStore // nil: none

	closed atomic.Bool
	gone   chan struct{} // closed by Close
	shut   sync.Once
	work   sync.WaitGroup
	slots  chan struct{} // tokens of reads ahead
}

// readsAhead is how many requests ahead of their readers are under way at once.
const readsAhead = 6

// Source returns a reader of the archive's segments. The archive must be Indexed. The
// caller closes it, before what Open was given.
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

// Close ends all reads, with an error, and drops what the cache has of the archive.
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

// getRun returns the segments lo to hi-1, nil for zeros. Adjacent ones that are not in
// the cache are brought by one read, and those that are likely to follow are read ahead.
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

// fetchAhead reads those of the segments lo to hi-1 that are not there, in the
// background. Errors come up in who needs them.
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

// runBytes is how many compressed bytes are read at once, beyond one segment.
const runBytes = 4 << 20

// claimRuns returns the segments lo to hi-1, nil for zeros, and those of them that the
// caller must fill, as runs that one read brings.
func (s *Source) claimRuns(lo, hi uint32) (all []*cached, mine [][]*cached) {
	size, next := int64(0), lo // next can go on the last run
	for i := lo; i < hi; i++ {
		seg := &s.x.segs[i]
		if seg.kind == segZeros { // what it holds is known
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

// fill reads adjacent segments that were claimed, and hands them to all who wait for
// them. An error is that of those which were not read.
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

// fillRun is fill; run is what is left to be done.
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

// catch makes an error of a panic, which would end the process: nobody else could.
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

// readAt reads from the archive. A read that takes too long, or is under way when the
// source is closed, is left to itself with p, which nobody may use then.
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
