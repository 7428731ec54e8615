package archive

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"slices"
)

// The empty gzip members behind the tar. The layout is docs/format.md's.

// subfield is the id of a gzip FEXTRA subfield.
type subfield [2]byte

var (
	subLog    = subfield{'W', 'L'} // a chunk of the log's payload
	subResult = subfield{'W', 'R'} // a chunk of the results
	subFooter = subfield{'W', 'F'}
)

const (
	// maxChunk keeps a member's header well below the 16 KiB that busybox takes.
	maxChunk = 8000

	gzipHeader   = 10 // bytes of a gzip header without optional fields
	extraHead    = 2 + 4
	emptyBody    = 2 + 8 // the final empty deflate block, CRC32 and ISIZE
	memberHead   = gzipHeader + extraHead
	footerBytes  = 128
	footerSize   = memberHead + footerBytes + emptyBody
	footerFormat = 1
	maxMember    = memberHead + maxChunk + emptyBody
)

var (
	footerMagic = []byte("wdfooter")
	emptyEnd    = []byte{3, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	castagnoli  = crc32.MakeTable(crc32.Castagnoli)
)

func crc32c(p []byte) uint32 { return crc32.Checksum(p, castagnoli) }

// emptyMember gives a gzip member that holds nothing but payload in its header.
func emptyMember(id subfield, payload []byte) []byte {
	out := make([]byte, 0, memberHead+len(payload)+emptyBody)
	out = append(out, 0x1f, 0x8b, 8, flagExtra, 0, 0, 0, 0, 0, 255)
	out = binary.LittleEndian.AppendUint16(out, uint16(4+len(payload)))
	out = append(out, id[0], id[1])
	out = binary.LittleEndian.AppendUint16(out, uint16(len(payload)))
	out = append(out, payload...)
	return append(out, emptyEnd...)
}

// parseEmptyMember gives the payload of the member that p begins with, if it is
// one that emptyMember makes for id, and the member's length.
func parseEmptyMember(p []byte, id subfield) (payload []byte, size int, ok bool) {
	if len(p) < memberHead+emptyBody {
		return nil, 0, false
	}
	n := int(binary.LittleEndian.Uint16(p[memberHead-2:]))
	size = memberHead + n + emptyBody
	if len(p) < size || !bytes.Equal(p[:size], emptyMember(id, p[memberHead:memberHead+n])) {
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

// footer says where things are in an archive of ours.
type footer struct {
	first          memberSum // the tar
	logOff, logLen int64     // the chain of members that holds the log's payload
	logRaw         int64     // bytes of payload
	logCRC         uint32    // CRC32C of the payload
}

// Offsets within the footer's payload. The bytes between footIndex and footCRC
// are the place of the index to come; they are zero where there is none.
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
	footIndex    = 64 // offset, length and raw length as int64, 32 bytes of SHA-256
	footReserved = 120
	footCRC      = 124 // uint32, CRC32C of the member's bytes before it
)

// encode gives the footer as a member of footerSize bytes.
func (f *footer) encode() []byte {
	p := make([]byte, footerBytes)
	le := binary.LittleEndian
	copy(p, footerMagic)
	le.PutUint32(p[footVersion:], footerFormat)
	le.PutUint64(p[footPacked:], uint64(f.first.packed))
	le.PutUint64(p[footRaw:], uint64(f.first.raw))
	le.PutUint32(p[footCRC32:], f.first.crc)
	le.PutUint32(p[footLogCRC:], f.logCRC)
	le.PutUint64(p[footLogOff:], uint64(f.logOff))
	le.PutUint64(p[footLogLen:], uint64(f.logLen))
	le.PutUint64(p[footLogRaw:], uint64(f.logRaw))
	member := emptyMember(subFooter, p)
	le.PutUint32(member[memberHead+footCRC:], crc32c(member[:memberHead+footCRC]))
	return member
}

var (
	errNoFooter  = errors.New("no footer")
	errBadFooter = &FormatError{Reason: "the footer behind the tar is damaged"}
)

// parseFooter reads a footer's payload. An error is errNoFooter where it is
// nobody's footer, else a *FormatError. Later versions keep what version 1 has,
// and say in flags what an older reader must not ignore.
func parseFooter(p []byte) (*footer, error) {
	if len(p) != footerBytes || !bytes.Equal(p[:len(footerMagic)], footerMagic) {
		return nil, errNoFooter
	}
	le := binary.LittleEndian
	member := emptyMember(subFooter, p)
	if le.Uint32(p[footCRC:]) != crc32c(member[:memberHead+footCRC]) {
		return nil, errBadFooter
	}
	if le.Uint32(p[footFlags:]) != 0 {
		return nil, formatErr("", "a newer version wrote it (format %d): update workdir", le.Uint32(p[footVersion:]))
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
	}
	return f, nil
}

// tailRead is how much of an archive's end ReadLog reads at first: more than a
// full log takes without results.
const tailRead = 128 << 10

// ReadLog gives the log of the archive of size bytes behind r, from one read of
// its end, or two where log and results are long. It is nil, without an error,
// where the archive has none. The tar itself is not looked at. Errors: a
// *FormatError, a *LimitError, or r's own.
func ReadLog(r io.ReaderAt, size int64) (*Log, error) {
	tail := make([]byte, min(size, tailRead))
	if err := readFullAt(r, tail, size-int64(len(tail))); err != nil {
		return nil, err
	}
	f, err := findFooter(tail)
	if f == nil {
		return nil, err
	}
	maxLog := DefaultLimits().LogBytes
	if err := f.check(size, maxLog); err != nil {
		return nil, err
	}
	// What follows results is nothing of ours: one member of it is enough.
	behind := make([]byte, min(size-footerSize-f.logOff, f.logLen+membersBytes(MaxResults)+maxMember))
	if from := f.logOff - (size - int64(len(tail))); from >= 0 {
		copy(behind, tail[from:])
	} else if err := readFullAt(r, behind, f.logOff); err != nil {
		return nil, err
	}
	return f.decodeMembers(behind, maxLog)
}

func readFullAt(r io.ReaderAt, p []byte, off int64) error {
	if n, err := r.ReadAt(p, off); n < len(p) {
		if err == nil || err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return &readError{err}
	}
	return nil
}

// findFooter reads the footer at the end of tail; nil and nil where there is
// none. A log's chunk right before the footer's place shows that there was one.
func findFooter(tail []byte) (*footer, error) {
	if len(tail) < footerSize {
		return nil, nil
	}
	at := len(tail) - footerSize
	payload, _, ok := parseEmptyMember(tail[at:], subFooter)
	if ok {
		f, err := parseFooter(payload)
		if !errors.Is(err, errNoFooter) {
			return f, err
		}
	}
	if endsWithChunk(tail[:at]) || endsWithChunk(tail) || looksLikeFooter(tail) {
		return nil, errBadFooter
	}
	return nil, nil
}

// endsWithChunk tells whether p ends with a member that holds a chunk of log or
// results.
func endsWithChunk(p []byte) bool {
	p = p[max(0, len(p)-maxMember):]
	for from := 0; ; from++ {
		i := bytes.Index(p[from:], []byte{0x1f, 0x8b, 8, flagExtra})
		if i < 0 {
			return false
		}
		from += i
		for _, id := range []subfield{subLog, subResult} {
			if _, size, ok := parseEmptyMember(p[from:], id); ok && size == len(p)-from {
				return true
			}
		}
	}
}

// looksLikeFooter tells whether p ends with what was a footer before a few of its
// bytes changed.
func looksLikeFooter(p []byte) bool {
	if len(p) < footerSize {
		return false
	}
	p = p[len(p)-footerSize:]
	return bytes.Equal(p[memberHead:memberHead+len(footerMagic)], footerMagic)
}

// check holds the footer of an archive of size bytes against what is possible.
func (f *footer) check(size, maxLog int64) error {
	if err := over("LogBytes", f.logRaw, maxLog, ""); err != nil {
		return err
	}
	if f.logOff < 0 || f.logLen < 0 || f.logRaw < 0 || f.logOff != f.first.packed ||
		f.logLen > size-footerSize || f.logOff > size-footerSize-f.logLen {
		return formatErr("", "the footer points outside of the archive")
	}
	if f.logLen > membersBytes(f.logRaw)+memberHead+emptyBody {
		return formatErr("", "the footer gives the commit log two lengths")
	}
	return nil
}

var errLogDamaged = &FormatError{Reason: "the commit log is damaged"}

// decodeMembers gives the log of the members in behind, which begins with the log
// chain and may end within a member that is neither log nor result.
func (f *footer) decodeMembers(behind []byte, maxLog int64) (*Log, error) {
	payload, rest := joinMembers(behind[:f.logLen], subLog)
	if len(rest) > 0 {
		return nil, errLogDamaged
	}
	results, rest := joinMembers(behind[f.logLen:], subResult)
	if _, _, more := parseEmptyMember(rest, subResult); more {
		return nil, errPieces
	}
	return f.decode(payload, results, maxLog)
}

// decode checks payload against the footer and decodes it.
func (f *footer) decode(payload, results []byte, maxLog int64) (*Log, error) {
	if int64(len(payload)) != f.logRaw || crc32c(payload) != f.logCRC {
		return nil, errLogDamaged
	}
	e := encodedLog{payload: payload, results: results}
	return e.decode(maxLog)
}

// joinMembers gives what the members of the kind id carry with which p begins, and
// what follows them. Only the last of those that carry results may have room left.
func joinMembers(p []byte, id subfield) (joined, rest []byte) {
	for {
		payload, size, ok := parseEmptyMember(p, id)
		if !ok || id == subResult && !follows(joined, payload) {
			return joined, p
		}
		joined, p = append(joined, payload...), p[size:]
	}
}

// follows tells whether a member that carries payload can be the next one of the
// results, of which those in joined are full.
func follows(joined, payload []byte) bool {
	return len(joined)%maxChunk == 0 && len(payload) > 0 && len(payload) <= maxChunk
}

// appendMembers appends members of the kind id that carry payload.
func appendMembers(out []byte, id subfield, payload []byte) []byte {
	for c := range slices.Chunk(payload, maxChunk) {
		out = append(out, emptyMember(id, c)...)
	}
	return out
}

// membersBytes is the size of members that carry n bytes.
func membersBytes(n int64) int64 {
	return n + (n+maxChunk-1)/maxChunk*(memberHead+emptyBody)
}

// maxLogBytes is what a log can have that is written: some readers do not bear
// more than 2,048 empty members one after another.
const maxLogBytes = 2000 * maxChunk

// tail gives the empty members that go behind a first member of the given
// figures: the chain of the log's payload, the results, and the footer.
func (l *Log) tail(first memberSum, maxLog int64) ([]byte, error) {
	e, err := l.encode()
	if err != nil {
		return nil, err
	}
	if err := over("LogBytes", e.size(), min(maxLog, maxLogBytes), ""); err != nil {
		return nil, err
	}
	out := make([]byte, 0, membersBytes(int64(len(e.payload)))+membersBytes(int64(len(e.results)))+footerSize)
	out = appendMembers(out, subLog, e.payload)
	f := footer{
		first:  first,
		logOff: first.packed, logLen: int64(len(out)),
		logRaw: int64(len(e.payload)), logCRC: crc32c(e.payload),
	}
	out = appendMembers(out, subResult, e.results)
	return append(out, f.encode()...), nil
}
