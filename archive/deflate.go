package archive

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/klauspost/compress/flate"
	"github.com/klauspost/pgzip"
)

const (
	// gzipBlock is how much pgzip compresses at once, on one core. It determines the output
	// bytes, so it is the same everywhere.
	gzipBlock = 512 << 10

	// zeroRun is the length from which a run of zeros is not compressed byte by byte;
	// zeroPiece is how many zeros are compressed once, to be repeated.
	zeroRun   = 8 << 20
	zeroPiece = 4 << 20
	// zeroWindow is how far back deflate may refer.
	zeroWindow = 32 << 10
	// zeroBatch is how many pieces are written at once.
	zeroBatch = 64
)

// zeroPieces returns zeroBatch compressed pieces, one after another, and the length of
// one. A piece refers only to itself and ends at a byte boundary (a sync flush, RFC 1951, 3.2.4).
var zeroPieces = sync.OnceValues(func() (pieces []byte, length int) {
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	if err == nil {
		_, err = w.Write(make([]byte, zeroPiece))
	}
	if err == nil {
		err = w.Flush()
	}
	if err != nil {
		panic(err) // a buffer never fails
	}
	return bytes.Repeat(b.Bytes(), zeroBatch), b.Len()
})

// deflater writes the gzip member that holds the tar. pgzip compresses it on all cores. Of a
// long run of zeros, such as a hole, pgzip gets only the two ends; between them a piece that
// was compressed once is repeated. The output depends only on the bytes, not on how they were
// written.
type deflater struct {
	sink  *sink
	gz    *pgzip.Writer
	check func() error // called now and then; an error stops the writing

	raw   int64  // bytes of tar
	crc   uint32 // of them
	zeros int64  // at their end, not passed to gz yet
	held  []byte // the last output of gz, up to a trailer's length
}

func newDeflater(s *sink, level int, check func() error) (*deflater, error) {
	d := &deflater{sink: s, check: check}
	var err error
	if d.gz, err = pgzip.NewWriterLevel((*holdBack)(d), level); err != nil {
		return nil, err
	}
	d.gz.ModTime = time.Unix(0, 0) // pgzip writes a zero time as garbage
	return d, d.gz.SetConcurrency(gzipBlock, runtime.GOMAXPROCS(0)+1)
}

// write adds bytes of the tar.
func (d *deflater) write(b []byte) error {
	d.raw += int64(len(b))
	for part := range slices.Chunk(b, readSize) { // a long run contains at least one whole part
		if err := d.check(); err != nil {
			return err
		}
		leading := leadingZeros(part)
		d.zeros += int64(leading)
		if part = part[leading:]; len(part) == 0 {
			continue
		}
		if err := d.passZeros(); err != nil {
			return err
		}
		trailing := trailingZeros(part)
		d.zeros = int64(trailing)
		if err := d.compress(part[:len(part)-trailing]); err != nil {
			return err
		}
	}
	return nil
}

// writeZeros is write for n zeros.
func (d *deflater) writeZeros(n int64) {
	d.raw += n
	d.zeros += n
}

// compress passes bytes to pgzip.
func (d *deflater) compress(b []byte) error {
	d.crc = crc32.Update(d.crc, crc32.IEEETable, b)
	_, err := d.gz.Write(b)
	return err
}

// passZeros writes the withheld zeros.
func (d *deflater) passZeros() error {
	n := d.zeros
	d.zeros = 0
	if n >= zeroRun {
		repeated, err := d.repeatZeros(n - zeroWindow)
		if err != nil {
			return err
		}
		n -= zeroWindow + repeated
	}
	return d.compressZeros(n)
}

func (d *deflater) compressZeros(n int64) error {
	for ; n > 0; n -= min(n, int64(len(zeros))) {
		if err := d.check(); err != nil {
			return err
		}
		if err := d.compress(zeros[:min(n, int64(len(zeros)))]); err != nil {
			return err
		}
	}
	return nil
}

var zeros [readSize]byte

// repeatZeros writes a window of zeros and then at most n zeros, in whole pieces, and returns
// the number of the latter. Around the pieces pgzip has seen only zeros, so its
// back-references match what a reader has.
func (d *deflater) repeatZeros(n int64) (repeated int64, err error) {
	if err := d.compressZeros(zeroWindow); err != nil {
		return 0, err
	}
	if err := d.gz.Flush(); err != nil {
		return 0, err
	}
	if err := d.release(len(d.held)); err != nil {
		return 0, err
	}
	pieces, length := zeroPieces()
	for left := n / zeroPiece; left > 0; left -= min(left, zeroBatch) {
		if err := d.check(); err != nil {
			return 0, err
		}
		if _, err := d.sink.Write(pieces[:int(min(left, zeroBatch))*length]); err != nil {
			return 0, err
		}
	}
	repeated = n / zeroPiece * zeroPiece
	d.crc = crcWithZeros(d.crc, repeated)
	return repeated, nil
}

// close ends the member. It must be called even after an error, which it returns.
func (d *deflater) close(err error) error {
	if err == nil {
		err = d.passZeros()
	}
	if err != nil {
		d.sink.fail(err) // writes nothing more; Close then only frees
	}
	if closeErr := d.gz.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		// The withheld bytes are pgzip's trailer, which does not cover the pieces.
		trailer := binary.LittleEndian.AppendUint32(nil, d.crc)
		_, err = d.sink.Write(binary.LittleEndian.AppendUint32(trailer, uint32(d.raw)))
	}
	if err == nil {
		err = d.sink.failed()
	}
	return err
}

// release writes the first n of the withheld bytes.
func (d *deflater) release(n int) error {
	_, err := d.sink.Write(d.held[:n])
	d.held = slices.Delete(d.held, 0, n)
	return err
}

// holdBack is the writer for pgzip. It withholds the last bytes in held.
type holdBack deflater

func (h *holdBack) Write(b []byte) (int, error) {
	d := (*deflater)(h)
	keep := min(len(b), gzipTrailer)
	if err := d.release(max(0, len(d.held)+keep-gzipTrailer)); err != nil {
		return 0, err
	}
	if _, err := d.sink.Write(b[:len(b)-keep]); err != nil {
		return 0, err
	}
	d.held = append(d.held, b[len(b)-keep:]...)
	return len(b), nil
}

func leadingZeros(b []byte) int {
	n := 0
	for len(b)-n >= blockSize && bytes.Equal(b[n:n+blockSize], zeros[:blockSize]) {
		n += blockSize
	}
	for n < len(b) && b[n] == 0 {
		n++
	}
	return n
}

func trailingZeros(b []byte) int {
	n := len(b)
	for n >= blockSize && bytes.Equal(b[n-blockSize:n], zeros[:blockSize]) {
		n -= blockSize
	}
	for n > 0 && b[n-1] == 0 {
		n--
	}
	return len(b) - n
}

// crcWithZeros returns the CRC-32 of data with n zeros appended, given the data's crc.
func crcWithZeros(crc uint32, n int64) uint32 { return ^shiftCRC(^crc, n) }

// crcCombine returns the CRC-32 of two parts from theirs; the second has n bytes
// (crc32_combine of zlib).
func crcCombine(first, second uint32, n int64) uint32 { return shiftCRC(first, n) ^ second }

// shiftCRC feeds n zeros to a CRC's register. Appending a zero is a linear map of the
// register's bits, so n of them take as many steps as n has bits.
func shiftCRC(register uint32, n int64) uint32 {
	for i := 0; n > 0; i, n = i+1, n>>1 {
		if n&1 != 0 {
			register = apply(&zeroMaps()[i], register)
		}
	}
	return register
}

// zeroMaps are the maps that append 1, 2, 4 and so on zeros, by bit.
var zeroMaps = sync.OnceValue(func() *[63][32]uint32 {
	var maps [63][32]uint32
	for i := range maps[0] {
		v := uint32(1) << i
		maps[0][i] = crc32.IEEETable[byte(v)] ^ v>>8
	}
	for k := 1; k < len(maps); k++ {
		for i := range maps[k] {
			maps[k][i] = apply(&maps[k-1], maps[k-1][i])
		}
	}
	return &maps
})

func apply(m *[32]uint32, v uint32) (sum uint32) {
	for i := 0; v != 0; i, v = i+1, v>>1 {
		if v&1 != 0 {
			sum ^= m[i]
		}
	}
	return sum
}
