package archive

import (
	"encoding/binary"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"

	"github.com/klauspost/compress/zstd"
)

// The payload of an index is a sequence of sections like that of a log. Each holds one column:
// its raw length, as uint32, and its bytes, compressed with zstd or, if that is not shorter,
// uncompressed. Numbers are varints.

// tagHead is the first section: the counts of rows, attributes, commits and segments. It is
// not compressed, so that the memory for an index can be computed before decoding.
const tagHead = "HEAD"

// indexColumn is one section.
type indexColumn struct {
	tag    string
	encode func(x *index, out []byte) []byte
	decode func(d *indexDecoder, p []byte) error
}

var indexColumns = []indexColumn{
	{"NAME", (*index).encodeNames, (*indexDecoder).names},
	{"NLEN", (*index).encodeNameLens, (*indexDecoder).nameLens},
	{"CHLD", (*index).encodeChildren, (*indexDecoder).children},
	{"ADIC", (*index).encodeAttrs, (*indexDecoder).attrs},
	{"ATTR", (*index).encodeAttr, (*indexDecoder).attr},
	{"MSEC", (*index).encodeSec, (*indexDecoder).sec},
	{"NSEC", (*index).encodeNsec, (*indexDecoder).nsec},
	{"VALU", (*index).encodeValue, (*indexDecoder).value},
	{"TARG", (*index).encodeTargets, (*indexDecoder).targets},
	{"SEGN", (*index).encodeSeg, (*indexDecoder).seg},
	{"INNR", (*index).encodeInner, (*indexDecoder).inner},
	{"CMIT", (*index).encodeCommit, (*indexDecoder).commit},
	{"CIDS", (*index).encodeCommits, (*indexDecoder).commits},
	{"XATR", (*index).encodeXattrs, (*indexDecoder).xattrs},
	{"SEGS", (*index).encodeSegs, (*indexDecoder).segs},
	{"SSUM", (*index).encodeSums, (*indexDecoder).sums},
}

const columnHead = 4

// maxColumn is the maximum raw size of a column, bytes: its length is a uint32, and so are
// positions within it.
const maxColumn = 1<<32 - 1

// encode returns the payload of the index. Equal indexes have equal bytes.
func (x *index) encode(maxBytes int64) ([]byte, error) {
	head := []byte(nil)
	for _, n := range []int{x.rows(), len(x.attrs), len(x.commits), len(x.segs)} {
		head = binary.AppendUvarint(head, uint64(n))
	}
	packed := make([][]byte, len(indexColumns))
	sizes := make([]int64, len(indexColumns))
	work := make([]func() error, len(indexColumns))
	z := newZstdEncoder(x.rows())
	for i, c := range indexColumns {
		work[i] = func() error {
			raw := c.encode(x, nil)
			sizes[i] = int64(len(raw))
			if len(raw) > maxColumn {
				return over("IndexBytes", int64(len(raw)), maxColumn, "")
			}
			packed[i] = packColumn(z, raw)
			return nil
		}
	}
	if err := parallel(work...); err != nil {
		return nil, fmt.Errorf("encode index: %w", err)
	}
	unpacked := int64(0)
	for _, n := range sizes {
		unpacked += n
	}
	if err := over("IndexBytes", unpacked, maxBytes, ""); err != nil {
		return nil, err
	}
	out := appendSection(nil, tagHead, head)
	for i, c := range indexColumns {
		out = appendSection(out, c.tag, packed[i])
	}
	return out, nil
}

// fewRows is below how many rows the columns of an index share one compressor: its tables take
// megabytes, and clearing those of a second one takes longer than short columns do.
const fewRows = 4096

// newZstdEncoder returns the encoder of all columns of an index with so many rows. It has
// channels, and so belongs to the bubble that made it (testing/synctest).
func newZstdEncoder(rows int) *zstd.Encoder {
	opts := []zstd.EOption{zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithEncoderCRC(false)}
	if rows < fewRows {
		opts = append(opts, zstd.WithEncoderConcurrency(1))
	}
	e, err := zstd.NewWriter(nil, opts...)
	if err != nil {
		panic(err) // the options are constants
	}
	return e
}

// newZstdDecoder returns a decoder for the columns of one index.
func newZstdDecoder() *zstd.Decoder {
	d, err := zstd.NewReader(nil, zstd.WithDecodeAllCapLimit(true), zstd.WithDecoderMaxMemory(maxColumn))
	if err != nil {
		panic(err)
	}
	return d
}

func packColumn(z *zstd.Encoder, raw []byte) []byte {
	out := binary.LittleEndian.AppendUint32(nil, uint32(len(raw)))
	if packed := z.EncodeAll(raw, out); len(packed)-columnHead < len(raw) {
		return packed
	}
	return append(out[:columnHead], raw...)
}

// unpackColumn is the inverse of packColumn. It allocates no more memory than the column
// declares.
func unpackColumn(z *zstd.Decoder, content []byte) ([]byte, error) {
	raw, packed := int(binary.LittleEndian.Uint32(content)), content[columnHead:]
	if len(packed) >= raw {
		return packed, lengthIs(len(packed), raw)
	}
	out, err := z.DecodeAll(packed, make([]byte, 0, raw))
	if err != nil {
		return nil, err
	}
	return out, lengthIs(len(out), raw)
}

func lengthIs(have, want int) error {
	if have != want {
		return fmt.Errorf("it has %d bytes and says %d", have, want)
	}
	return nil
}

// parallel runs all of work concurrently and returns the first error. It turns a panic, which
// another library may raise on hostile input, into an error: in a goroutine it would end the
// process.
func parallel(work ...func() error) error {
	errs := make([]error, len(work))
	var wg sync.WaitGroup
	for i, fn := range work {
		wg.Go(func() {
			defer func() {
				if r := recover(); r != nil {
					errs[i] = fmt.Errorf("panic: %v\n%s", r, debug.Stack())
				}
			}()
			errs[i] = fn()
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// indexDecoder assembles an index from its sections.
type indexDecoder struct {
	x        *index
	lim      Limits
	sections map[string][]byte
	digests  []byte // of the segments

	rows, nattrs, ncommits, nsegs int
}

// decodeIndex returns the index in payload, of an archive whose tar has the figures first.
// Whatever payload contains, the returned index refers only to places in that tar, keeps every
// limit, and has no loops. Errors: *FormatError, *LimitError.
func decodeIndex(payload []byte, first memberSum, lim Limits) (*index, error) {
	d := &indexDecoder{x: &index{}, lim: lim, sections: map[string][]byte{}}
	err := d.split(payload)
	if err == nil {
		err = d.columns()
	}
	if err == nil {
		err = d.check(first)
	}
	var limit *LimitError
	switch {
	case err == nil:
		return d.x, nil
	case errors.As(err, &limit):
		return nil, limit
	}
	return nil, &FormatError{Reason: "the index is damaged", Err: err}
}

// split cuts the payload into its sections and reads their heads.
func (d *indexDecoder) split(payload []byte) error {
	unpacked := int64(0)
	for len(payload) > 0 {
		tag, content, rest, err := cutSection(payload)
		if err != nil {
			return err
		}
		payload = rest
		if _, twice := d.sections[tag]; twice {
			return fmt.Errorf("section %q occurs twice", tag)
		}
		d.sections[tag] = content
		if tag == tagHead {
			continue
		}
		if len(content) < columnHead {
			return fmt.Errorf("section %q is too short", tag)
		}
		unpacked += int64(binary.LittleEndian.Uint32(content))
	}
	if err := over("IndexBytes", unpacked, d.lim.IndexBytes, ""); err != nil {
		return err
	}
	return d.head()
}

func (d *indexDecoder) head() error {
	n := numbers{p: d.sections[tagHead]}
	for _, count := range []*int{&d.rows, &d.nattrs, &d.ncommits, &d.nsegs} {
		*count = int(n.upTo(maxColumn))
	}
	if n.bad {
		return errNumbers // a later version may have more counts
	}
	return over("Entries", int64(d.rows)-1, d.lim.Entries, "")
}

// columns unpacks and reads all columns.
func (d *indexDecoder) columns() error {
	work := make([]func() error, len(indexColumns))
	z := newZstdDecoder()
	defer z.Close()
	for i, c := range indexColumns {
		work[i] = func() error {
			content, ok := d.sections[c.tag]
			if !ok {
				return fmt.Errorf("section %q is missing", c.tag)
			}
			p, err := unpackColumn(z, content)
			if err == nil {
				err = c.decode(d, p)
			}
			if err != nil {
				return fmt.Errorf("section %q: %w", c.tag, err)
			}
			return nil
		}
	}
	return parallel(work...)
}

var errNumbers = errors.New("its numbers are invalid")

// numbers reads consecutive varints. If one is missing or too large, bad is set and the number
// is 0.
type numbers struct {
	p   []byte
	bad bool
}

func (n *numbers) next() uint64 {
	if len(n.p) > 0 && n.p[0] < 0x80 {
		v := n.p[0]
		n.p = n.p[1:]
		return uint64(v)
	}
	v, size := binary.Uvarint(n.p)
	if size <= 0 {
		n.bad, n.p = true, nil
		return 0
	}
	n.p = n.p[size:]
	return v
}

// upTo reads a number that may not be above maximum.
func (n *numbers) upTo(maximum uint64) uint64 {
	v := n.next()
	if v > maximum {
		n.bad = true
		return 0
	}
	return v
}

// signed reads a number that can be negative.
func (n *numbers) signed() int64 {
	v := n.next()
	return int64(v>>1) ^ -int64(v&1)
}

// text reads a length, up to maximum, and that many bytes.
func (n *numbers) text(maximum int64) string {
	size := n.upTo(uint64(maximum))
	if size > uint64(len(n.p)) {
		n.bad = true
		return ""
	}
	s := string(n.p[:size])
	n.p = n.p[size:]
	return s
}

// err returns the error of the reading, which must have consumed all bytes.
func (n *numbers) err() error {
	if n.bad || len(n.p) > 0 {
		return errNumbers
	}
	return nil
}

func appendSigned(out []byte, v int64) []byte { return binary.AppendUvarint(out, uint64(v<<1^v>>63)) }

// uint32s reads exactly count numbers up to maximum from p.
func uint32s(p []byte, count int, maximum uint64) ([]uint32, error) {
	var out []uint32
	err := eachNumber(p, count, &out, func(n *numbers) uint32 { return uint32(n.upTo(maximum)) })
	return out, err
}

// eachNumber fills out with exactly count numbers that read reads from p.
func eachNumber[T any](p []byte, count int, out *[]T, read func(*numbers) T) error {
	if len(p) < count { // each takes at least a byte, so memory is bounded by the input
		return errNumbers
	}
	*out = make([]T, count)
	n := numbers{p: p}
	for i := range *out {
		(*out)[i] = read(&n)
	}
	return n.err()
}

func appendUint32s(out []byte, all []uint32) []byte {
	out = slices.Grow(out, 2*len(all))
	for _, v := range all {
		out = binary.AppendUvarint(out, uint64(v))
	}
	return out
}
