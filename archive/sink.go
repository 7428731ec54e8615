package archive

import (
	"io"
	"sync"
)

// sink counts the bytes written to w. After an error it discards everything, so that the
// compressor above always finishes and frees its goroutines; failed returns the error.
type sink struct {
	w io.Writer

	mu  sync.Mutex // guards the fields below
	n   int64
	err error
}

// Write always accepts all of b.
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

// fail stops the writing with err, unless there was an error before.
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
