package fs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
)

const (
	// spoolBuffer is how many bytes a spool collects before it writes. The first writes
	// come earlier: most archives are small.
	spoolBuffer      = 512 << 10
	firstSpoolBuffer = 32 << 10
	spoolGrowth      = 4 // of the buffer, each time

	// spoolBlock is the unit, in bytes, in which runs of zeros become holes.
	spoolBlock = 4096
)

var zeroBlock [spoolBlock]byte

// Spool holds the content of a streamed archive, file after file in one backing file, so
// that ten thousand small files do not take ten thousand backing files.
//
// Content is readable as soon as it was added, and is counted as used at that time, so that
// no error comes up later. When a file drops its base or a part of it, the pages that no
// other file uses are freed.
type Spool struct {
	tree *Tree // immutable
	file File  // immutable

	written atomic.Int64 // how far the backing file is written; changes under mu

	mu     sync.Mutex // guards what follows
	end    int64      // where the next byte goes: written plus the length of buf
	room   int64      // up to where memory was taken, in whole pages
	given  int64      // bytes of those pages that were freed, see release
	text   int64      // heap that the runs of sparse files take
	live   []uint32   // for each page below end, how many bytes of it belong to files, or pageGiven
	buf    []byte     // from written on; its capacity grows up to spoolBuffer, and is 0 while it is not needed
	closed bool
}

// NewSpool makes a spool in the tree's home. Tree.Close frees it. Errors: ENOSPC, ENFILE.
func (t *Tree) NewSpool() (*Spool, error) {
	file, err := t.home.NewFile()
	if err != nil {
		return nil, fmt.Errorf("make spool: %w", err)
	}
	s := &Spool{tree: t, file: file}
	t.spoolMu.Lock()
	defer t.spoolMu.Unlock()
	t.spools = append(t.spools, s)
	return s, nil
}

// Add reads r to its end and returns its content as a Base. Aligned runs of zeros of 4 KiB
// or more become holes. ENOSPC if the limit is reached. After an error nothing was added.
// One Add runs at a time; others wait.
func (s *Spool) Add(r io.Reader) (Base, error) {
	return s.add(func(a *addition) error {
		size, err := a.copy(r, 0, math.MaxInt64)
		a.size = size
		return err
	})
}

// AddSparse is Add for a sparse file of the given size with data in the given extents, in
// order and without overlap; r has the data of the extents, one after another. EINVAL for
// other extents, io.ErrUnexpectedEOF if r is too short.
func (s *Spool) AddSparse(r io.Reader, size int64, data []Extent) (Base, error) {
	if err := checkExtents(size, data); err != nil {
		return nil, err
	}
	return s.add(func(a *addition) error {
		a.size = size
		for _, e := range data {
			got, err := a.copy(r, e.Off, e.Len)
			if err == nil && got < e.Len {
				err = io.ErrUnexpectedEOF
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

func checkExtents(size int64, data []Extent) error {
	end := int64(0)
	for _, e := range data {
		if e.Off < end || e.Len < 0 || e.Len > size-e.Off {
			return fmt.Errorf("add sparse file of %d bytes: extent of %d bytes at %d: %w", size, e.Len, e.Off, syscall.EINVAL)
		}
		end = e.End()
	}
	if size < 0 {
		return fmt.Errorf("add sparse file of %d bytes: %w", size, syscall.EINVAL)
	}
	return nil
}

// addition is one file that is being added.
type addition struct {
	spool *Spool // its mu is held
	start int64  // where in the spool the file begins
	size  int64
	runs  []spoolRun
}

// add calls fill with an addition, and makes a Base of it or discards it.
func (s *Spool) add(fill func(*addition) error) (Base, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, fmt.Errorf("add to spool: %w", syscall.EBADF)
	}
	if s.buf == nil {
		s.begin()
	}
	a := &addition{spool: s, start: s.end}
	err := fill(a)
	if err == nil {
		err = s.reserve()
	}
	var b Base
	if err == nil {
		b, err = a.base()
	}
	if err != nil {
		s.rewind(a.start)
		return nil, fmt.Errorf("add to spool: %w", err)
	}
	s.claim(a.start, s.end)
	return b, nil
}

// begin makes the buffer. The next byte goes to a page that was not freed.
// Preconditions: s.mu is held.
func (s *Spool) begin() {
	s.buf = make([]byte, 0, firstSpoolBuffer)
	if last := len(s.live) - 1; last >= 0 && s.live[last] == pageGiven {
		s.end = roundUp(s.end, pageSize)
		s.written.Store(s.end)
	}
}

// copy adds up to limit bytes of r, at off in the file, and returns how many.
func (a *addition) copy(r io.Reader, off, limit int64) (int64, error) {
	s := a.spool
	for done := int64(0); done < limit; {
		// Blocks are aligned in the file.
		want := min(spoolBlock-(off+done)%spoolBlock, limit-done)
		block, err := s.space(int(want))
		if err != nil {
			return done, err
		}
		n, err := io.ReadFull(r, block)
		if n == spoolBlock && bytes.Equal(block, zeroBlock[:]) {
			done += spoolBlock
			continue
		}
		s.buf = s.buf[:len(s.buf)+n]
		a.data(off+done, int64(n))
		done += int64(n)
		switch {
		case err == io.EOF, err == io.ErrUnexpectedEOF:
			return done, nil
		case err != nil:
			return done, err
		}
	}
	return limit, nil
}

// data records that the next n bytes of the spool are those at off of the file.
func (a *addition) data(off, n int64) {
	if n == 0 {
		return
	}
	last := len(a.runs) - 1
	if last >= 0 && a.runs[last].end == off {
		a.runs[last].end += n
	} else {
		a.runs = append(a.runs, spoolRun{off, off + n, a.spool.end})
	}
	a.spool.end += n
}

// base returns the file that was added; a file without holes needs no runs. ENOSPC if the
// heap has no room for the runs.
func (a *addition) base() (Base, error) {
	whole := len(a.runs) == 1 && a.runs[0].off == 0 && a.runs[0].end == a.size
	if whole || a.size == 0 {
		return &spoolFile{a.spool, a.start, a.size}, nil
	}
	f := &sparseFile{spool: a.spool, size: a.size, left: a.spool.end - a.start}
	text := int64(len(a.runs)) * runCost
	if errno := a.spool.tree.takeText(text); errno != 0 {
		return nil, errno
	}
	a.spool.text += text
	f.runs = slices.Clone(a.runs)
	return f, nil
}

// space returns n bytes at the end of the buffer, up to a block.
func (s *Spool) space(n int) ([]byte, error) {
	if len(s.buf)+n > cap(s.buf) {
		if err := s.flush(); err != nil {
			return nil, err
		}
		if size := cap(s.buf) * spoolGrowth; size <= spoolBuffer {
			s.buf = make([]byte, 0, size)
		}
	}
	return s.buf[len(s.buf) : len(s.buf)+n], nil
}

// flush writes the buffer.
// Preconditions: s.mu is held.
func (s *Spool) flush() error {
	if len(s.buf) == 0 {
		return nil
	}
	if err := s.reserve(); err != nil {
		return err
	}
	at := s.written.Load()
	if _, err := s.file.WriteAt(s.buf, at); err != nil {
		return err
	}
	s.written.Store(at + int64(len(s.buf)))
	s.buf = s.buf[:0]
	return nil
}

// reserve takes memory up to the end, and if possible a buffer's worth more, so that it
// happens once for a buffer and not for each file.
// Preconditions: s.mu is held.
func (s *Spool) reserve() error {
	need := roundUp(s.end, pageSize)
	if need <= s.room {
		return nil
	}
	err := s.take(need + int64(cap(s.buf)))
	if errors.Is(err, syscall.ENOSPC) {
		err = s.take(need)
	}
	return err
}

// take takes memory up to a whole page.
// Preconditions: s.mu is held.
func (s *Spool) take(to int64) error {
	if errno := s.tree.bytes.take(to - s.room); errno != 0 {
		return errno
	}
	if err := s.file.Allocate(s.room, to-s.room); err != nil {
		s.tree.bytes.give(to - s.room)
		return err
	}
	s.room = to
	return nil
}

// rewind discards what was added from start on.
// Preconditions: s.mu is held.
func (s *Spool) rewind(start int64) {
	s.end = start
	if at := s.written.Load(); start >= at {
		s.buf = s.buf[:start-at]
		return
	}
	s.buf = s.buf[:0]
	s.written.Store(start)
}

// finish writes what is held back, and frees the buffer and the memory beyond the end. If
// the write fails, the content stays in the buffer and is read from there.
func (s *Spool) finish() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.flush() != nil {
		return
	}
	s.buf = nil
	if to := roundUp(s.end, pageSize); to < s.room && s.file.Truncate(s.end) == nil {
		s.tree.bytes.give(s.room - to)
		s.room = to
	}
	_ = s.release(0, int64(len(s.live))) // what cannot be freed now stays until close
}

// readAt fills p from byte off of the spool; all those bytes were added.
func (s *Spool) readAt(p []byte, off int64) error {
	if off+int64(len(p)) > s.written.Load() {
		s.mu.Lock()
		err := s.flush()
		s.mu.Unlock()
		if err != nil {
			return err
		}
	}
	n, err := s.file.ReadAt(p, off)
	if n == len(p) {
		return nil
	}
	if err == nil || err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// close frees the content.
func (s *Spool) close() error {
	if !s.mu.TryLock() {
		return nil // for good, see Tree.Close
	}
	defer s.mu.Unlock()
	s.closed = true
	s.tree.bytes.give(s.room - s.given)
	s.tree.giveText(s.text)
	s.buf, s.live, s.room, s.given, s.text = nil, nil, 0, 0, 0
	return s.file.Close()
}
