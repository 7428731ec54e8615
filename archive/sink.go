package archive

import (
	"io"
	"sync"
)

// sink counts what goes to w. After an error it takes
// everything and writes nothing, so that the compressor above always comes to its
// end and frees its goroutines; the error is to be had from failed.
type sink struct {
	w io.Writer

	mu  sync.Mutex // guards what follows
	n   int64
	err error
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
	return len(b), nil
}

// fail ends the writing with err, if there was no error before.
func (s *sink) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = err
	}
}

// failed returns the first error.
func (s *sink) failed() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}
