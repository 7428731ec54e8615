package fs

import "math"

// pageGiven stands in Spool.live for a page whose memory was given back.
const pageGiven = math.MaxUint32

// claim counts [from, to) of the spool as a file's.
// Preconditions: s.mu is held.
func (s *Spool) claim(from, to int64) {
	for int64(len(s.live)) < pagesOf(to) {
		s.live = append(s.live, 0)
	}
	eachPage(from, to, func(page, bytes int64) { s.live[page] += uint32(bytes) })
}

// free gives back what a file had of the spool and of the heap, which nobody reads any
// more.
func (s *Spool) free(from, to, text int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.text -= text
	s.tree.giveText(text)
	eachPage(from, to, func(page, bytes int64) { s.live[page] -= uint32(bytes) })
	return s.release(from/pageSize, pagesOf(to))
}

// eachPage calls fn for each page that has bytes of [from, to), with their number.
func eachPage(from, to int64, fn func(page, bytes int64)) {
	for from < to {
		page := from / pageSize
		end := min(to, (page+1)*pageSize)
		fn(page, end-from)
		from = end
	}
}

// release gives back the pages of [first, last) of which no file has a part. While the
// spool is filled, those that are not written yet stay for settle.
// Preconditions: s.mu is held.
func (s *Spool) release(first, last int64) error {
	if s.buf != nil {
		last = min(last, s.written.Load()/pageSize)
	}
	for page := first; page < last; page++ {
		from := page
		for page < last && s.live[page] == 0 {
			page++
		}
		if page == from {
			continue
		}
		if err := s.file.PunchHole(from*pageSize, (page-from)*pageSize); err != nil {
			return err
		}
		for i := from; i < page; i++ {
			s.live[i] = pageGiven
		}
		s.given += (page - from) * pageSize
		s.tree.givePages(page - from)
	}
	return nil
}
