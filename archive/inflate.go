package archive

import (
	"bytes"
	"crypto/sha256"
	"hash/crc32"
	"io"
	"sync"

	"github.com/klauspost/compress/flate"
)

// inflater decompresses one segment at a time.
type inflater struct {
	in  bytes.Reader
	buf []byte // the segment, with a final block
	inf io.ReadCloser
}

var inflaters = sync.Pool{New: func() any {
	f := &inflater{}
	f.inf = flate.NewReader(&f.in)
	return f
}}

// finalBlock ends a deflate stream. A segment has no final block of its own.
var finalBlock = []byte{3, 0}

var errSegment = &FormatError{Reason: "a segment of the archive does not decompress to what the index says"}

// inflate returns the raw bytes of one copy of s, given its compressed bytes. It verifies
// their digest before decompressing, and the checksum of the raw bytes afterwards.
func (s *segment) inflate(packed []byte) ([]byte, error) {
	if err := s.check(packed); err != nil {
		return nil, err
	}
	f := inflaters.Get().(*inflater)
	defer inflaters.Put(f)
	raw, err := f.inflate(packed, int(s.raw))
	if err != nil {
		return nil, err
	}
	if crc32.ChecksumIEEE(raw) != s.crc {
		return nil, errSegment
	}
	return raw, nil
}

// check verifies the digest of the compressed bytes of one copy of s.
func (s *segment) check(packed []byte) error {
	if sha256.Sum256(packed) != s.sum {
		return formatErr("", "what is stored from byte %d on does not have its digest (SHA-256): the archive is damaged, or was changed", s.off)
	}
	return nil
}

// inflate decompresses all of packed to exactly size bytes.
func (f *inflater) inflate(packed []byte, size int) ([]byte, error) {
	f.buf = append(append(f.buf[:0], packed...), finalBlock...)
	f.in.Reset(f.buf)
	if err := f.inf.(flate.Resetter).Reset(&f.in, nil); err != nil {
		return nil, err
	}
	raw := make([]byte, size)
	if _, err := io.ReadFull(f.inf, raw); err != nil {
		return nil, errSegment
	}
	var more [1]byte
	if n, err := f.inf.Read(more[:]); n > 0 || err != io.EOF || f.in.Len() > 0 {
		return nil, errSegment
	}
	return raw, nil
}
