package fs

import "math"

// pageGiven in Spool.live marks a page whose memory was freed.
const pageGiven = math.MaxUint32

// claim counts [from, to) of the spool as used by a file.
// Preconditions: s.mu is held.
func (s *Spool) claim(from, to int64) {
	for int64(len(s.live)) < pagesOf(to) {
		s.live = append(s.live, 0)
	}
	eachPage(from, to, func(page, bytes int64) { s.live[page] += uint32(bytes) })
}

// free frees a file's part of the spool and of the heap; nobody reads it any more.
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

// eachPage calls fn for each page that has bytes of [from, to), with the number of those
// bytes.
func eachPage(from, to int64, fn func(page, bytes int64)) {
	for from < to {
		page := from / pageSize
		end := min(to, (page+1)*pageSize)
		fn(page, end-from)
		from = end
	}
}

// release frees the pages of [first, last) that no file uses. While the spool is filled,
// pages that are not written yet stay until finish.
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
