package archive

import (
	"errors"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/workdir/workdir/fs"
)

// Sparse files as GNU tar writes them: the old format (typeflag S), and the
// three PAX formats 0.0, 0.1 and 1.0. GNU tar's manual, "Storing Sparse Files".

// sparseEntry is the length of an extent in the old format: two numbers.
const sparseEntry = 24

var errSparse = errors.New("the map of the sparse file is malformed")

// gnuSparse reads the map of an old-format sparse file with the header head.
func (t *tarReader) gnuSparse(h *header, head *block) error {
	size, err := head.number(fieldGNURealSize)
	if err != nil {
		return errSparse
	}
	m := extentMap{max: t.lim.SparseExtents}
	if err := m.addGNU(head.bytes(fieldGNUSparse)); err != nil {
		return err
	}
	more := head.bytes(fieldGNUExtended)[0] != 0
	for more {
		var b block
		if err := t.full(b[:]); err != nil {
			return err
		}
		if err := m.addGNU(b.bytes(fieldGNUMore)); err != nil {
			return err
		}
		more = b.bytes(fieldGNUMoreFlag)[0] != 0
	}
	return t.setSparse(h, m.extents, size)
}

// paxSparse reads the map of a sparse file from its records, if they have one.
func (t *tarReader) paxSparse(h *header, recs *records) error {
	get := func(key string) string { return recs.vals[paxSparse+key] }
	if name := get("name"); name != "" {
		h.name = name
	}
	m := extentMap{max: t.lim.SparseExtents}
	size, err := get("realsize"), error(nil)
	switch {
	case get("major") == "1" && get("minor") == "0":
		err = t.paxSparseData(&m)
	case get("major") != "" && get("major") != "0":
		err = errSparse
	case get("map") != "":
		size, err = get("size"), m.addList(strings.Split(get("map"), ","))
	case get("size") != "":
		size, err = get("size"), m.addList(recs.extents)
	default:
		return nil
	}
	if err != nil {
		return err
	}
	n, err := strconv.ParseInt(size, 10, 64)
	if err != nil {
		return errSparse
	}
	return t.setSparse(h, m.extents, n)
}

// paxSparseData reads the map of format 1.0: decimal lines before the data, padded to a block.
func (t *tarReader) paxSparseData(m *extentMap) error {
	lines := &lineReader{t: t}
	n, err := lines.number()
	if err != nil {
		return err
	}
	for range n {
		off, err := lines.number()
		if err != nil {
			return err
		}
		length, err := lines.number()
		if err != nil {
			return err
		}
		if err := m.add(off, length); err != nil {
			return err
		}
	}
	return nil
}

// setSparse makes h a sparse file of the given size, if the length of its data equals that of
// its extents.
func (t *tarReader) setSparse(h *header, extents []fs.Extent, size int64) error {
	if size < 0 {
		return errSparse
	}
	var end, data int64
	for _, e := range extents {
		if e.Off < end || e.Off > size-e.Len {
			return errSparse
		}
		end, data = e.End(), data+e.Len
	}
	if data != t.left {
		return errSparse
	}
	h.size, h.sparse, h.holes = size, extents, true
	return nil
}

// extentMap collects extents.
type extentMap struct {
	max     int64
	extents []fs.Extent
	seen    int64
}

// add adds an extent. Empty ones are counted but dropped; GNU tar ends its maps with one.
func (m *extentMap) add(off, length int64) error {
	m.seen++
	if off < 0 || length < 0 {
		return errSparse
	}
	if err := over("SparseExtents", m.seen, m.max, ""); err != nil {
		return err
	}
	if length > 0 {
		m.extents = append(m.extents, fs.Extent{Off: off, Len: length})
	}
	return nil
}

// addGNU adds the extents of a block of the old format, up to the first unused.
func (m *extentMap) addGNU(p []byte) error {
	for ; len(p) >= sparseEntry && p[0] != 0; p = p[sparseEntry:] {
		var b block
		copy(b[:], p[:sparseEntry])
		off, err1 := b.number(field{0, 12})
		length, err2 := b.number(field{12, 12})
		if err1 != nil || err2 != nil {
			return errSparse
		}
		if err := m.add(off, length); err != nil {
			return err
		}
	}
	return nil
}

// addList adds alternating offsets and lengths.
func (m *extentMap) addList(list []string) error {
	if len(list)%2 != 0 {
		return errSparse
	}
	for pair := range slices.Chunk(list, 2) {
		off, err1 := strconv.ParseInt(pair[0], 10, 64)
		length, err2 := strconv.ParseInt(pair[1], 10, 64)
		if err1 != nil || err2 != nil {
			return errSparse
		}
		if err := m.add(off, length); err != nil {
			return err
		}
	}
	return nil
}

// lineReader reads decimal lines from the blocks of an entry's data.
type lineReader struct {
	t    *tarReader
	buf  block
	left []byte
}

// number reads one line of at most 20 digits.
func (l *lineReader) number() (int64, error) {
	var digits []byte
	for {
		c, err := l.next()
		if err != nil {
			return 0, err
		}
		if c == '\n' {
			break
		}
		if digits = append(digits, c); len(digits) > 20 {
			return 0, errSparse
		}
	}
	n, err := strconv.ParseInt(string(digits), 10, 64)
	if err != nil || n < 0 {
		return 0, errSparse
	}
	return n, nil
}

func (l *lineReader) next() (byte, error) {
	if len(l.left) == 0 {
		if l.t.left < blockSize {
			return 0, errSparse
		}
		if _, err := io.ReadFull(l.t, l.buf[:]); err != nil {
			return 0, err
		}
		l.left = l.buf[:]
	}
	c := l.left[0]
	l.left = l.left[1:]
	return c, nil
}
