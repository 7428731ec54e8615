package archive

import (
	"bytes"
	"cmp"
	"slices"
	"sync/atomic"
)

// placement is the inverse of the index: the rows in each segment, in their order there.
type placement struct {
	start []uint32 // where each segment's rows begin in rows; one more than segments
	rows  []uint32
}

func newPlacement(x *index) *placement {
	p := &placement{start: make([]uint32, len(x.segs)+1), rows: make([]uint32, max(0, x.rows()-1))}
	for _, seg := range x.seg[min(1, x.rows()):] {
		p.start[seg+1]++
	}
	for i := range x.segs {
		p.start[i+1] += p.start[i]
	}
	next := slices.Clone(p.start)
	for row := 1; row < x.rows(); row++ {
		seg := x.seg[row]
		p.rows[next[seg]] = uint32(row)
		next[seg]++
	}
	for i := range x.segs {
		slices.SortFunc(p.in(uint32(i)), func(a, b uint32) int { return cmp.Compare(x.inner[a], x.inner[b]) })
	}
	return p
}

// in returns the rows whose headers are in a segment, in order.
func (p *placement) in(seg uint32) []uint32 { return p.rows[p.start[seg]:p.start[seg+1]] }

// checkHeaders compares the tar with the index, in a segment with the bytes raw and the given
// rows: its entries must be exactly these rows, with equal headers. It returns where the
// content of each begins in raw.
func (x *index) checkHeaders(seg uint32, rows []uint32, raw []byte) (data []uint32, err error) {
	if kind := x.segs[seg].kind; kind != segGroup && kind != segHeader {
		return nil, nil
	}
	data = make([]uint32, 0, len(rows))
	var blocks []byte
	at := int64(0)
	for _, row := range rows {
		blocks, _ = x.header(row).encode(blocks[:0])
		if int64(x.inner[row]) != at || !bytes.HasPrefix(raw[at:], blocks) {
			return nil, x.differs(row)
		}
		at += int64(len(blocks))
		data = append(data, uint32(at))
		if x.segs[seg].kind == segGroup {
			at += x.size(row) + padding(x.size(row))
		}
		if at > int64(len(raw)) {
			return nil, x.differs(row)
		}
	}
	if at != int64(len(raw)) {
		return nil, formatErr("", "the index leaves out an entry that the archive has")
	}
	return data, nil
}

// differs is the error for a row whose header in the tar differs from the index.
func (x *index) differs(row uint32) error {
	return formatErr(x.path(row), "the index says another thing of it than the tar")
}

// bitset is a set of small numbers that several goroutines may use.
type bitset []atomic.Uint32

func newBitset(n int) bitset { return make(bitset, (n+31)/32) }

func (b bitset) has(i uint32) bool { return b[i/32].Load()&(1<<(i%32)) != 0 }

// set adds i and reports whether it was new.
func (b bitset) set(i uint32) bool { return b[i/32].Or(1<<(i%32))&(1<<(i%32)) == 0 }
