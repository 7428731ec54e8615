package archive

import (
	"encoding/binary"
	"io"
	"sync"
)

// sink counts what goes to w and keeps the last bytes. After an error it takes
// everything and writes nothing, so that the compressor above always comes to its
// end and frees its goroutines; the error is to be had from failed.
type sink struct {
	w io.Writer

	mu   sync.Mutex // guards what follows
	n    int64
	last [8]byte // a gzip member's trailer, once that is written
	err  error
}

// Write takes all of b.
func (s *sink) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil {
		return len(b), nil
	}
	n, err := s.w.Write(b)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	s.err = err
	s.n += int64(n)
	s.keep(b)
	return len(b), nil
}

// keep takes the end of b into last.
func (s *sink) keep(b []byte) {
	b = b[max(0, len(b)-len(s.last)):]
	copy(s.last[:], s.last[len(b):])
	copy(s.last[len(s.last)-len(b):], b)
}

// fail ends the writing with err, if there was no error before.
func (s *sink) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
}

// failed gives the first error.
func (s *sink) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// crc is the CRC-32 in the gzip trailer that was written last.
func (s *sink) crc() uint32 { return binary.LittleEndian.Uint32(s.last[:]) }
