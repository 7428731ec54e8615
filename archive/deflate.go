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
	// gzipBlock is how much pgzip compresses at once, on one core. It decides
	// about the bytes that come out, so it is the same everywhere.
	gzipBlock = 512 << 10

	// zeroRun is from how many zeros on a run is not compressed byte by byte, and
	// zeroPiece how many are compressed once, to be repeated.
	zeroRun   = 8 << 20
	zeroPiece = 4 << 20
	// zeroWindow is how far back deflate may refer.
	zeroWindow = 32 << 10
	// zeroBatch is how many pieces are written at once.
	zeroBatch = 64
)

// zeroPieces returns zeroBatch compressed pieces, one after another, and the length of
// one. A piece refers to itself alone and ends at a byte (a sync flush, RFC 1951, 3.2.4).
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
		panic(err) // a buffer takes everything
	}
	return bytes.Repeat(b.Bytes(), zeroBatch), b.Len()
})

// deflater writes the gzip member that holds the tar. pgzip compresses it on all cores;
// of a long run of zeros, which a hole is, it gets the ends, and between them stands a
// piece that was compressed once, as often as it takes. What comes out depends on the
// bytes alone, not on how they were written.
type deflater struct {
	sink  *sink
	gz    *pgzip.Writer
	check func() error // asked now and then whether to go on

	raw   int64  // bytes of tar
	crc   uint32 // of them
	zeros int64  // at their end, that gz has not got yet
	held  []byte // what gz wrote last, up to a trailer's length
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

// write takes bytes of the tar.
func (d *deflater) write(b []byte) error {
	d.raw += int64(len(b))
	for part := range slices.Chunk(b, readSize) { // of which a long run has one whole, at least
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

// passZeros writes the zeros that were held back.
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

// repeatZeros writes a window of zeros and then at most n, in whole pieces. It returns
// how many these were. Around the pieces pgzip knows of zeros alone, so that what it
// refers to is what a reader has.
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

// close ends the member. It must be called, also after an error, which it returns.
func (d *deflater) close(err error) error {
	if err == nil {
		err = d.passZeros()
	}
	if err != nil {
		d.sink.fail(err) // nothing more goes out; Close then only frees
	}
	if closeErr := d.gz.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		// What is held back is pgzip's trailer, which knows nothing of the pieces.
		trailer := binary.LittleEndian.AppendUint32(nil, d.crc)
		_, err = d.sink.Write(binary.LittleEndian.AppendUint32(trailer, uint32(d.raw)))
	}
	if err == nil {
		err = d.sink.failed()
	}
	return err
}

// release lets the first n of the bytes go that are held back.
func (d *deflater) release(n int) error {
	_, err := d.sink.Write(d.held[:n])
	d.held = slices.Delete(d.held, 0, n)
	return err
}

// holdBack is where pgzip writes to. The last bytes stay in held.
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

// crcWithZeros is the CRC-32 of something with n zeros appended, of which crc is that of
// the first part.
func crcWithZeros(crc uint32, n int64) uint32 { return ^shiftCRC(^crc, n) }

// crcCombine returns the CRC-32 of two parts from theirs; the second has n bytes
// (crc32_combine of zlib).
func crcCombine(first, second uint32, n int64) uint32 { return shiftCRC(first, n) ^ second }

// shiftCRC feeds n zeros to a CRC's register. To append a zero is a linear map of the
// register's bits, so that n of them take as many steps as n has digits.
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
