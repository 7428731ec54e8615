package archive

import (
	"bytes"
	"errors"
)

// blockSize is the unit of a tar, in bytes.
const blockSize = 512

// block is a header block of a tar.
type block [blockSize]byte

// field is a run of bytes of a header block.
type field struct{ off, len int }

// The fields of a header block: POSIX.1-2017, pax, "ustar Interchange Format".
var (
	fieldName     = field{0, 100}
	fieldMode     = field{100, 8}
	fieldUID      = field{108, 8}
	fieldGID      = field{116, 8}
	fieldSize     = field{124, 12}
	fieldMtime    = field{136, 12}
	fieldChecksum = field{148, 8}
	fieldType     = field{156, 1}
	fieldLink     = field{157, 100}
	fieldMagic    = field{257, 8}
	fieldMajor    = field{329, 8}
	fieldMinor    = field{337, 8}
	fieldPrefix   = field{345, 155}

	// star writes a shorter prefix, followed by times.
	fieldStarPrefix = field{345, 131}
	fieldStarMagic  = field{508, 4}

	// GNU tar's sparse files.
	fieldGNUSparse   = field{386, 4 * sparseEntry}
	fieldGNUExtended = field{482, 1}
	fieldGNURealSize = field{483, 12}
	fieldGNUMore     = field{0, 21 * sparseEntry} // of a block that continues the extents
	fieldGNUMoreFlag = field{504, 1}
)

const (
	magicUstar = "ustar\x0000"
	magicGNU   = "ustar  \x00"
	magicStar  = "tar\x00"
)

func (b *block) bytes(f field) []byte { return b[f.off : f.off+f.len] }

// text returns a field's content up to its NUL.
func (b *block) text(f field) string {
	p := b.bytes(f)
	if i := bytes.IndexByte(p, 0); i >= 0 {
		p = p[:i]
	}
	return string(p)
}

func (b *block) zero() bool { return *b == block{} }

// sums returns the sum of the block's bytes with the checksum field taken as spaces, with
// unsigned bytes as in POSIX and with signed bytes as in some old tars.
func (b *block) sums() (unsigned, signed int64) {
	for i, c := range b {
		if i >= fieldChecksum.off && i < fieldChecksum.off+fieldChecksum.len {
			c = ' '
		}
		unsigned += int64(c)
		signed += int64(int8(c))
	}
	return unsigned, signed
}

// valid reports whether the block has the checksum of a header.
func (b *block) valid() bool {
	want, err := b.number(fieldChecksum)
	unsigned, signed := b.sums()
	return err == nil && (want == unsigned || want == signed)
}

// name returns the name with its prefix.
func (b *block) name() string {
	name, prefix := b.text(fieldName), ""
	switch {
	case string(b.bytes(fieldStarMagic)) == magicStar && string(b.bytes(fieldMagic)[:6]) == magicUstar[:6]:
		prefix = b.text(fieldStarPrefix)
	case string(b.bytes(fieldMagic)[:6]) == magicUstar[:6]:
		prefix = b.text(fieldPrefix)
	}
	if prefix != "" {
		return prefix + "/" + name
	}
	return name
}

var errNumber = errors.New("not a number")

// number returns the value of a field in octal digits, or in GNU tar's base 256 if the first
// bit is set. An empty field is 0.
func (b *block) number(f field) (int64, error) {
	p := b.bytes(f)
	if p[0]&0x80 != 0 {
		return base256(p)
	}
	p = bytes.Trim(p, " \x00")
	var n int64
	for _, c := range p {
		if c < '0' || c > '7' || n > 1<<60-1 {
			return 0, errNumber
		}
		n = n<<3 | int64(c-'0')
	}
	return n, nil
}

// base256 reads a big-endian two's complement number whose first bit is only a marker; the
// second one is the sign.
func base256(p []byte) (int64, error) {
	n := int64(int8(p[0]<<1)) >> 1
	for _, c := range p[1:] {
		if n > 1<<55-1 || n < -(1<<55) {
			return 0, errNumber
		}
		n = n<<8 | int64(c)
	}
	return n, nil
}

// setText fills a field, which need not end in a NUL.
func (b *block) setText(f field, s string) { copy(b.bytes(f), s) }

// setNumber writes n in octal digits and a NUL, or in base 256 if the field is too short for
// that.
func (b *block) setNumber(f field, n int64) {
	p := b.bytes(f)
	if !fitsOctal(f, n) {
		for i := range p {
			p[len(p)-1-i] = byte(n >> min(8*i, 63))
		}
		p[0] |= 0x80
		return
	}
	for i := len(p) - 2; i >= 0; i-- {
		p[i] = '0' + byte(n&7)
		n >>= 3
	}
	p[len(p)-1] = 0
}

func fitsOctal(f field, n int64) bool {
	return n >= 0 && n>>(3*(f.len-1)) == 0
}

// seal sets the checksum of a finished header block.
func (b *block) seal() {
	sum, _ := b.sums()
	b.setNumber(field{fieldChecksum.off, 7}, sum)
	b[fieldChecksum.off+7] = ' '
}
