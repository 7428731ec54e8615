package archive

import "sync"

// readAhead detects sequential reading of segments. It tracks a few readers by their last
// position, and grows the run that is fetched for each.
type readAhead struct {
	segments uint32 // in the archive
	most     uint32 // fetched ahead of a reader; 0: none

	mu      sync.Mutex
	readers [4]aheadOf // guarded by mu, most recently used first
}

// aheadOf is a reader: it is at segment at, and the segments before next have been fetched for
// it.
type aheadOf struct{ at, next, window uint32 }

// mostAhead is the maximum number of segments fetched ahead of one reader.
const mostAhead = 16

// newReadAhead limits the segments ahead of each reader to leave room in the cache for others.
func newReadAhead(c *Cache, segments int) readAhead {
	c.mu.Lock()
	defer c.mu.Unlock()
	return readAhead{segments: uint32(segments), most: uint32(min(mostAhead, c.max/(4*chunkSize)))}
}

// touch records that the segments lo to hi-1 are read, and returns the run to fetch ahead of
// their reader, which is usually empty.
func (a *readAhead) touch(lo, hi uint32) (from, to uint32) {
	a.mu.Lock()
	defer a.mu.Unlock()
	r, known := a.reader(lo, hi)
	if !known || hi-1 == r.at {
		return 0, 0
	}
	r.at, r.next = hi-1, max(r.next, hi)
	if r.next-hi > r.window/2 {
		return 0, 0
	}
	r.window = min(max(1, 2*r.window), a.most)
	from, to = r.next, min(hi+r.window, a.segments)
	r.next = max(from, to)
	return from, to
}

// reader returns the reader that continues at the segments lo to hi-1, and moves it to the
// front. A new reader replaces the least recently used one.
func (a *readAhead) reader(lo, hi uint32) (r *aheadOf, known bool) {
	at := len(a.readers) - 1
	for k := range a.readers {
		r := &a.readers[k]
		if r.next > 0 && lo >= r.at && lo <= r.next {
			at, known = k, true
			break
		}
	}
	found := a.readers[at]
	if !known {
		found = aheadOf{at: hi - 1, next: hi}
	}
	copy(a.readers[1:at+1], a.readers[:at])
	a.readers[0] = found
	return &a.readers[0], known
}
