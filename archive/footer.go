package archive

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"slices"
)

// The empty gzip members behind the tar. docs/format.md specifies their layout.

// subfield is the id of a gzip FEXTRA subfield.
type subfield [2]byte

var (
	subLog    = subfield{'W', 'L'} // a chunk of the log's payload
	subResult = subfield{'W', 'R'} // a chunk of the results
	subIndex  = subfield{'W', 'I'} // a chunk of the index
	subFooter = subfield{'W', 'F'}
)

const (
	// maxChunk keeps a member's header well below the 16 KiB that busybox accepts.
	maxChunk = 8000

	gzipHeader  = 10 // bytes of a gzip header without optional fields
	extraHead   = 2 + 4
	gzipTrailer = 4 + 4           // CRC32 and ISIZE
	emptyBody   = 2 + gzipTrailer // of the final empty deflate block
	memberHead  = gzipHeader + extraHead
	footerBytes = 128
	footerSize  = memberHead + footerBytes + emptyBody
	plainFormat = 1 // without an index
	indexFormat = 2
	maxMember   = memberHead + maxChunk + 16 // including zerosEnd after a header
)

var (
	footerMagic = []byte("wdfooter")
	emptyEnd    = []byte{3, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	zerosEnd    = []byte("\x63\x60\x18\x05\x23\x19\x00\x00" + "\x78\x75\xaa\xb2" + "\x00\x02\x00\x00") // of a member that holds 512 zeros
	castagnoli  = crc32.MakeTable(crc32.Castagnoli)
)

func crc32c(p []byte) uint32 { return crc32.Checksum(p, castagnoli) }

// emptyMember returns an empty gzip member with payload in its header.
func emptyMember(id subfield, payload []byte) []byte { return member(id, payload, emptyEnd) }

// member returns a gzip member with payload in its header, followed by end.
func member(id subfield, payload, end []byte) []byte {
	out := make([]byte, 0, memberHead+len(payload)+emptyBody)
	out = append(out, 0x1f, 0x8b, 8, flagExtra, 0, 0, 0, 0, 0, 255)
	out = binary.LittleEndian.AppendUint16(out, uint16(4+len(payload)))
	out = append(out, id[0], id[1])
	out = binary.LittleEndian.AppendUint16(out, uint16(len(payload)))
	out = append(out, payload...)
	return append(out, end...)
}

// parseEmptyMember returns the payload and length of the member at the start of p, if
// emptyMember made it for id.
func parseEmptyMember(p []byte, id subfield) (payload []byte, size int, ok bool) {
	return parseMember(p, id, emptyEnd)
}

// parseMember is the inverse of member, for the member at the start of p.
func parseMember(p []byte, id subfield, end []byte) (payload []byte, size int, ok bool) {
	if len(p) < memberHead {
		return nil, 0, false
	}
	n := int(binary.LittleEndian.Uint16(p[memberHead-2:]))
	size = memberHead + n + len(end)
	if len(p) < size || !bytes.Equal(p[:size], member(id, p[memberHead:memberHead+n], end)) {
		return nil, 0, false
	}
	return p[memberHead : memberHead+n], size, true
}

// memberSum are the figures of a gzip member.
type memberSum struct {
	packed int64 // bytes, header and trailer included
	raw    int64
	crc    uint32 // IEEE, of the raw bytes
}

// footer records where the parts of an archive of ours are.
type footer struct {
	first          memberSum // the tar
	logOff, logLen int64     // the chain of members that holds the log's payload
	logRaw         int64     // bytes of payload
	logCRC         uint32    // CRC32C of the payload
	index          indexPlace
}

// indexPlace records where the chain of members with the index is. It is zero without an
// index.
type indexPlace struct {
	off, len int64
	raw      int64    // bytes of payload
	sum      [32]byte // SHA-256 of the payload
}

// version is the format version of the footer.
func (f *footer) version() uint32 {
	if f.index.len == 0 {
		return plainFormat
	}
	return indexFormat
}

// Offsets within the footer's payload.
const (
	footVersion  = 8  // uint32
	footFlags    = 12 // uint32, zero
	footPacked   = 16 // int64, and so on below
	footRaw      = 24
	footCRC32    = 32 // uint32
	footLogCRC   = 36 // uint32
	footLogOff   = 40
	footLogLen   = 48
	footLogRaw   = 56
	footIndexOff = 64 // int64, as are the next two; all index fields are zero without an index
	footIndexLen = 72
	footIndexRaw = 80
	footIndexSum = 88  // SHA-256
	footReserved = 120 // uint32, zero
	footCRC      = 124 // uint32, CRC32C of the member's bytes before it
)

// encode returns the footer as a member of footerSize bytes.
func (f *footer) encode() []byte {
	p := make([]byte, footerBytes)
	le := binary.LittleEndian
	copy(p, footerMagic)
	le.PutUint32(p[footVersion:], f.version())
	le.PutUint64(p[footPacked:], uint64(f.first.packed))
	le.PutUint64(p[footRaw:], uint64(f.first.raw))
	le.PutUint32(p[footCRC32:], f.first.crc)
	le.PutUint32(p[footLogCRC:], f.logCRC)
	le.PutUint64(p[footLogOff:], uint64(f.logOff))
	le.PutUint64(p[footLogLen:], uint64(f.logLen))
	le.PutUint64(p[footLogRaw:], uint64(f.logRaw))
	le.PutUint64(p[footIndexOff:], uint64(f.index.off))
	le.PutUint64(p[footIndexLen:], uint64(f.index.len))
	le.PutUint64(p[footIndexRaw:], uint64(f.index.raw))
	copy(p[footIndexSum:], f.index.sum[:])
	member := emptyMember(subFooter, p)
	le.PutUint32(member[memberHead+footCRC:], crc32c(member[:memberHead+footCRC]))
	return member
}

var (
	errBadFooter = &FormatError{Reason: "the footer behind the tar is damaged"}
	errNewer     = errors.New("a newer version wrote it: update workdir")
)

// parseFooter reads a footer's payload. Later versions keep the fields of version 1, and set
// flags for features that an older reader must not ignore. Errors: *FormatError, which wraps
// errNewer for such flags.
func parseFooter(p []byte) (*footer, error) {
	if len(p) != footerBytes || !bytes.Equal(p[:len(footerMagic)], footerMagic) {
		return nil, errBadFooter
	}
	le := binary.LittleEndian
	member := emptyMember(subFooter, p)
	if le.Uint32(p[footCRC:]) != crc32c(member[:memberHead+footCRC]) {
		return nil, errBadFooter
	}
	if le.Uint32(p[footFlags:]) != 0 {
		return nil, &FormatError{Reason: fmt.Sprintf("it is of format %d", le.Uint32(p[footVersion:])), Err: errNewer}
	}
	f := &footer{
		first: memberSum{
			packed: int64(le.Uint64(p[footPacked:])),
			raw:    int64(le.Uint64(p[footRaw:])),
			crc:    le.Uint32(p[footCRC32:]),
		},
		logOff: int64(le.Uint64(p[footLogOff:])),
		logLen: int64(le.Uint64(p[footLogLen:])),
		logRaw: int64(le.Uint64(p[footLogRaw:])),
		logCRC: le.Uint32(p[footLogCRC:]),
		index: indexPlace{
			off: int64(le.Uint64(p[footIndexOff:])),
			len: int64(le.Uint64(p[footIndexLen:])),
			raw: int64(le.Uint64(p[footIndexRaw:])),
			sum: [32]byte(p[footIndexSum:]),
		},
	}
	return f, nil
}

// check checks the plausibility of the footer that ends at byte size of an archive.
func (f *footer) check(size, maxLog int64) error {
	if err := over("LogBytes", f.logRaw, maxLog, ""); err != nil {
		return err
	}
	if f.logOff < gzipTrailer || f.logLen < 0 || f.logRaw < 0 || f.logOff != f.first.packed ||
		f.logLen > size-footerSize || f.logOff > size-footerSize-f.logLen {
		return formatErr("", "the footer points outside of the archive")
	}
	if f.logLen > membersBytes(f.logRaw)+memberHead+emptyBody {
		return formatErr("", "the footer has two different lengths for the commit log")
	}
	return f.checkIndex(size)
}

// checkIndex is check for the place of the index.
func (f *footer) checkIndex(size int64) error {
	x := &f.index
	if *x == (indexPlace{}) {
		return nil
	}
	if x.raw <= 0 || x.len <= x.raw || x.off < f.logOff+f.logLen || x.off > size-footerSize || x.len != size-footerSize-x.off {
		return formatErr("", "the footer does not point to the index")
	}
	return nil
}

// joinMembers returns the joined payloads of the members of kind id at the start of p, and the
// rest of p. Of members with results only the last may be less than full.
func joinMembers(p []byte, id subfield) (joined, rest []byte) {
	for {
		payload, size, ok := parseEmptyMember(p, id)
		if !ok || id == subResult && !follows(joined, payload) {
			return joined, p
		}
		joined, p = append(joined, payload...), p[size:]
	}
}

// follows reports whether a member with payload can be the next one with results after joined:
// all before it must be full.
func follows(joined, payload []byte) bool {
	return len(joined)%maxChunk == 0 && len(payload) > 0 && len(payload) <= maxChunk
}

// appendMembers appends members of kind id with payload.
func appendMembers(out []byte, id subfield, payload []byte) []byte {
	for c := range slices.Chunk(payload, maxChunk) {
		out = append(out, emptyMember(id, c)...)
	}
	return out
}

// membersBytes is the size of the members for n bytes of payload.
func membersBytes(n int64) int64 {
	return n + (n+maxChunk-1)/maxChunk*(memberHead+emptyBody)
}

// maxLogBytes is the maximum size of a written log: some readers fail on more than 2,048
// consecutive empty members.
const maxLogBytes = 2000 * maxChunk

// tail returns the empty members that follow the given first member: the chain of the log's
// payload, the results, the chain of the index, if any, and the footer.
func (l *Log) tail(first memberSum, maxLog int64, index []byte) ([]byte, error) {
	e, err := l.encode()
	if err != nil {
		return nil, err
	}
	if err := over("LogBytes", e.size(), min(maxLog, maxLogBytes), ""); err != nil {
		return nil, whileWriting(err)
	}
	out := make([]byte, 0, membersBytes(int64(len(e.payload)))+membersBytes(int64(len(e.results)))+membersBytes(int64(len(index)))+footerSize)
	out = appendMembers(out, subLog, e.payload)
	f := footer{
		first:  first,
		logOff: first.packed, logLen: int64(len(out)),
		logRaw: int64(len(e.payload)), logCRC: crc32c(e.payload),
	}
	out = appendMembers(out, subResult, e.results)
	if len(index) > 0 {
		before := len(out)
		out = appendIndex(out, index, e.members())
		f.index = indexPlace{
			off: first.packed + int64(before), len: int64(len(out) - before),
			raw: int64(len(index)), sum: sha256.Sum256(index),
		}
	}
	return append(out, f.encode()...), nil
}

// members is the number of members for the log and its results.
func (e *encodedLog) members() int {
	return (len(e.payload)+maxChunk-1)/maxChunk + (len(e.results)+maxChunk-1)/maxChunk
}
