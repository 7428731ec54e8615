package fs

import (
	"errors"
	"io"
	"math"
	"math/bits"
	"slices"
	"sync"
	"syscall"
)

// spanSlots is how many slots a span covers: 1 MiB of a file. A span with a single page
// takes at most 200 bytes of heap, which count against no limit.
const spanSlots = 16

// arenaFile is a file of an arenaHome.
type arenaFile struct {
	home *arenaHome // immutable

	mu     sync.RWMutex // guards what follows; taken above arenaHome.mu
	size   int64        // bytes
	pages  int64        // that are present
	spans  []span       // by first; none for a range that is only holes
	closed bool
}

// span maps a run of spanSlots slots of a file to slots of the arena.
type span struct {
	first int64       // number in the file of its first slot, a multiple of spanSlots
	slots []arenaSlot // up to the last one that was used
}

// arenaSlot is 64 KiB of a file.
type arenaSlot struct {
	at      uint32 // number in the arena, plus one; 0 for none
	present uint16 // a bit for each page that counts as used
	written uint16 // a bit for each of those that was written to; SEEK_DATA takes the others for holes
}

// address returns where in the memory file the slot begins.
func (s arenaSlot) address() int64 { return int64(s.at-1) * slotSize }

// piece is the part of a range that lies in one slot.
type piece struct {
	slot     int64 // number in the file
	from, to int64 // bytes of the slot, 0 to slotSize
}

// pages has a bit for each page of the slot that the piece touches.
func (p piece) pages() uint16 { return pageBits(p.from/pageSize, pagesOf(p.to)) }

// wholePages has a bit for each page that lies wholly in the piece.
func (p piece) wholePages() uint16 { return pageBits(pagesOf(p.from), p.to/pageSize) }

func pageBits(from, to int64) uint16 {
	if from >= to {
		return 0
	}
	return uint16(1<<to - 1<<from)
}

// pieceAt returns the part of [off, end) in the slot that contains off.
func pieceAt(off, end int64) piece {
	slot, from := off/slotSize, off%slotSize
	return piece{slot, from, min(slotSize, from+end-off)}
}

// search returns the index of the span that contains the slot, or where it would be
// inserted.
func (f *arenaFile) search(slot int64) (int, bool) {
	return slices.BinarySearchFunc(f.spans, slot-slot%spanSlots, func(s span, first int64) int {
		switch {
		case s.first < first:
			return -1
		case s.first > first:
			return 1
		}
		return 0
	})
}

// lookup returns the entry of a slot of the file; the zero value for a hole.
func (f *arenaFile) lookup(slot int64) arenaSlot {
	i, ok := f.search(slot)
	if !ok || slot-f.spans[i].first >= int64(len(f.spans[i].slots)) {
		return arenaSlot{}
	}
	return f.spans[i].slots[slot-f.spans[i].first]
}

// entry returns the entry of a slot in its span, and makes both if necessary.
func (f *arenaFile) entry(slot int64) *arenaSlot {
	i, ok := f.search(slot)
	if !ok {
		f.spans = slices.Insert(f.spans, i, span{first: slot - slot%spanSlots})
	}
	s := &f.spans[i]
	for int64(len(s.slots)) <= slot-s.first {
		s.slots = append(s.slots, arenaSlot{})
	}
	return &s.slots[slot-s.first]
}

// ReadAt fills p from byte off.
func (f *arenaFile) ReadAt(p []byte, off int64) (int, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if err := f.check(off); err != nil {
		return 0, err
	}
	var atEnd error
	if int64(len(p)) > f.size-off {
		p, atEnd = p[:max(0, f.size-off)], io.EOF
	}
	err := f.eachRun(off, off+int64(len(p)), func(address, from, to int64) error {
		part := p[from-off : to-off]
		if address < 0 {
			clear(part)
			return nil
		}
		// The memory file may end within the slot if nothing was written behind that.
		n, err := readFull(f.home.fd, part, address)
		clear(part[n:])
		if err == io.EOF {
			return nil
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	return len(p), atEnd
}

// eachRun calls fn for the parts of [off, end) that are contiguous in the memory file, with
// their address, or that have no slot, with address -1.
func (f *arenaFile) eachRun(off, end int64, fn func(address, from, to int64) error) error {
	address, from := int64(-1), off
	for pos := off; pos < end; {
		p := pieceAt(pos, end)
		here := int64(-1)
		if s := f.lookup(p.slot); s.at != 0 {
			here = s.address() + p.from
		}
		inRow := here == address
		if address >= 0 {
			inRow = here == address+pos-from
		}
		if pos > off && !inRow {
			if err := fn(address, from, pos); err != nil {
				return err
			}
			from = pos
		}
		if pos == from {
			address = here
		}
		pos += p.to - p.from
	}
	if from == end {
		return nil
	}
	return fn(address, from, end)
}

// WriteAt writes all of p, or nothing if the limit is reached.
func (f *arenaFile) WriteAt(p []byte, off int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.occupy(off, int64(len(p)), true); err != nil {
		return 0, err
	}
	end := off + int64(len(p))
	err := f.eachRun(off, end, func(address, from, to int64) error {
		_, err := writeFull(f.home.fd, p[from-off:to-off], address)
		return err
	})
	if err != nil {
		return 0, err
	}
	f.size = max(f.size, end)
	return len(p), nil
}

// Allocate counts all pages of the range as used.
func (f *arenaFile) Allocate(off, length int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.occupy(off, length, false)
}

// occupy makes all pages of a range present, or none: ENOSPC.
func (f *arenaFile) occupy(off, length int64, written bool) error {
	if err := f.check(off); err != nil {
		return err
	}
	if length < 0 || off > math.MaxInt64-length {
		return syscall.EFBIG
	}
	if length/pageSize-f.pages > f.home.max.Load() {
		return syscall.ENOSPC // before looking at all slots of the range
	}
	end := off + length
	pages, fresh := f.missing(off, end)
	slots, err := f.home.take(pages, fresh)
	if err != nil {
		return err
	}
	for pos := off; pos < end; {
		p := pieceAt(pos, end)
		s := f.entry(p.slot)
		if s.at == 0 {
			s.at, slots = slots[0]+1, slots[1:]
		}
		if written {
			s.written |= p.pages()
		} else {
			// tmpfs clears a page that is allocated a second time, and from then on takes
			// it for data (shmem_fallocate in mm/shmem.c).
			s.written |= p.pages() & s.present
		}
		s.present |= p.pages()
		pos += p.to - p.from
	}
	f.pages += pages
	return nil
}

// missing counts the pages and slots that a range does not have yet.
func (f *arenaFile) missing(off, end int64) (pages int64, slots int) {
	for pos := off; pos < end; {
		p := pieceAt(pos, end)
		s := f.lookup(p.slot)
		if s.at == 0 {
			slots++
		}
		pages += int64(bits.OnesCount16(p.pages() &^ s.present))
		pos += p.to - p.from
	}
	return pages, slots
}

// PunchHole makes a hole.
func (f *arenaFile) PunchHole(off, length int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.check(off); err != nil {
		return err
	}
	if length <= 0 {
		return syscall.EINVAL
	}
	return f.vacate(off, off+min(length, math.MaxInt64-off))
}

// Truncate sets the size.
func (f *arenaFile) Truncate(size int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.check(size); err != nil {
		return err
	}
	if size <= f.size {
		if err := f.vacate(size, math.MaxInt64); err != nil {
			return err
		}
	}
	f.size = size
	return nil
}

// vacate makes [off, end) zeros and frees whole pages and empty slots. On an error it has
// done a part of that.
func (f *arenaFile) vacate(off, end int64) error {
	var pages int64
	var slots []uint32
	var failed error
	i, _ := f.search(off / slotSize)
	for ; i < len(f.spans) && failed == nil; i++ {
		s := &f.spans[i]
		for j := max(0, off/slotSize-s.first); j < int64(len(s.slots)) && failed == nil; j++ {
			start := (s.first + j) * slotSize
			if start >= end {
				break
			}
			p := pieceAt(max(off, start), end)
			if end == math.MaxInt64 {
				p.to = slotSize // the very last page ends one byte later
			}
			var n int64
			n, failed = f.vacateSlot(&s.slots[j], p, &slots)
			pages += n
		}
	}
	f.spans = slices.DeleteFunc(f.spans, func(s span) bool { return s.empty() })
	f.pages -= pages
	return errors.Join(failed, f.home.give(pages, slots))
}

// vacateSlot is vacate for one slot, and returns the number of freed pages. If the slot is
// empty then, its slot in the arena is added to freed.
func (f *arenaFile) vacateSlot(s *arenaSlot, p piece, freed *[]uint32) (int64, error) {
	if s.at == 0 {
		return 0, nil
	}
	whole := s.present & p.wholePages()
	pages := int64(bits.OnesCount16(whole))
	if s.present == whole {
		*freed = append(*freed, s.at-1)
		*s = arenaSlot{}
		return pages, nil
	}
	if err := f.home.punch(s.address()+p.from, p.to-p.from); err != nil {
		return 0, err
	}
	s.present &^= whole
	s.written &^= whole
	return pages, nil
}

// empty reports whether the span holds nothing any more.
func (s *span) empty() bool {
	return !slices.ContainsFunc(s.slots, func(s arenaSlot) bool { return s.at != 0 })
}

// SeekData returns the next byte that is not in a hole.
func (f *arenaFile) SeekData(off int64) (int64, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if err := f.checkSeek(off); err != nil {
		return 0, err
	}
	i, _ := f.search(off / slotSize)
	for ; i < len(f.spans); i++ {
		s := &f.spans[i]
		for j := max(0, off/slotSize-s.first); j < int64(len(s.slots)); j++ {
			start := (s.first + j) * slotSize
			from := max(0, off-start)
			rest := s.slots[j].written >> (from / pageSize)
			if rest == 0 {
				continue
			}
			page := from/pageSize + int64(bits.TrailingZeros16(rest))
			pos := max(off, start+page*pageSize)
			if pos >= f.size {
				return 0, syscall.ENXIO
			}
			return pos, nil
		}
	}
	return 0, syscall.ENXIO
}

// SeekHole returns the next byte that is in a hole.
func (f *arenaFile) SeekHole(off int64) (int64, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	if err := f.checkSeek(off); err != nil {
		return 0, err
	}
	for pos := off; pos < f.size; {
		p := pieceAt(pos, math.MaxInt64)
		written := f.lookup(p.slot).written
		for page := p.from / pageSize; page < slotSize/pageSize; page++ {
			if written&(1<<page) == 0 {
				return min(max(pos, p.slot*slotSize+page*pageSize), f.size), nil
			}
		}
		pos += p.to - p.from
	}
	return f.size, nil
}

// Used returns the memory that the file takes, in bytes.
func (f *arenaFile) Used() (int64, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.pages * pageSize, f.check(0)
}

// Size returns the length of the file.
func (f *arenaFile) Size() (int64, error) {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.size, f.check(0)
}

// Close frees the content.
func (f *arenaFile) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.check(0); err != nil {
		return err
	}
	f.closed = true
	return f.vacate(0, math.MaxInt64)
}

func (f *arenaFile) check(off int64) error {
	switch {
	case f.closed:
		return syscall.EBADF
	case off < 0:
		return syscall.EINVAL
	}
	return nil
}

// checkSeek refuses the offsets that lseek(2) refuses for SEEK_DATA and SEEK_HOLE.
func (f *arenaFile) checkSeek(off int64) error {
	if err := f.check(0); err != nil {
		return err
	}
	if off < 0 || off >= f.size {
		return syscall.ENXIO
	}
	return nil
}
