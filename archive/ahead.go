package archive

import "sync"

// readAhead finds out which segments are read one after another. It knows some readers
// by where they were last, and lets the run that is fetched for each grow.
type readAhead struct {
	segments uint32 // how many there are
	most     uint32 // fetched ahead of a reader; 0: none

	mu      sync.Mutex
	readers [4]aheadOf // guarded by mu, the one used last in front
}

// aheadOf is a reader: it was at segment at, and those up to before next were fetched
// for it.
type aheadOf struct{ at, next, window uint32 }

// mostAhead is how many segments are fetched ahead of one reader.
const mostAhead = 16

// newReadAhead fetches no more ahead of each reader than leaves room in the cache for
// others.
func newReadAhead(c *Cache, segments int) readAhead {
	c.mu.Lock()
	defer c.mu.Unlock()
	return readAhead{segments: uint32(segments), most: uint32(min(mostAhead, c.max/(4*chunkSize)))}
}

// touch notes that the segments lo to hi-1 are read, and returns the run that is to be
// fetched ahead of their reader, mostly an empty one.
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

// reader returns the reader that comes to the segments lo to hi-1, and puts it in front.
// One that is not known takes the place of the one not seen for the longest time.
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
