package archive

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math"
)

// The reader of the log. It needs the end of an archive and the bytes right after the first
// member, and gets them from a file, or from a tailReader, which has kept them from a stream.

// tailRead is how many bytes of an archive's end are read at first: more than the size of a
// full log without results.
const tailRead = 128 << 10

// footZeros is the number of zeros at the end of a footer. Further zeros are padding.
const footZeros = 9

var (
	errLogDamaged = &FormatError{Reason: "the commit log is damaged"}
	errPieces     = &FormatError{Reason: "the commit log is in pieces"}
	errNotLast    = &FormatError{Reason: "the commit log is followed by something else"}
	errOtherTar   = &FormatError{Reason: "the footer behind the tar belongs to another archive"}
)

// ReadLog returns the log of the archive of size bytes in r, from one read of its end, or a
// few if the log is long or zeros follow. It returns nil if the end shows no log; FindLog
// distinguishes an archive without one from a truncated archive of ours. ReadLog does not read
// the tar itself. Errors: a *FormatError if a log exists but cannot be read, a *LimitError, or
// r's own.
func ReadLog(r io.ReaderAt, size int64) (*Log, error) {
	e := ending{r: r, size: size, maxLog: DefaultLimits().LogBytes}
	log, _, err := e.read()
	return log, err
}

// File is an archive that can be read sequentially and at any offset.
type File interface {
	io.Reader
	io.ReaderAt
}

// FindLog is ReadLog, but reads all of r if the end shows no log and the archive may be one of
// ours, so that nil means that it has no log and is not truncated. Data that does not begin
// like a tar.gz is a *FormatError.
func FindLog(ctx context.Context, r File, size int64) (*Log, error) {
	log, err := ReadLog(r, size)
	if log != nil || err != nil {
		return log, err
	}
	head := make([]byte, min(size, gzipHeader))
	if err := readFullAt(r, head, 0); err != nil {
		return nil, err
	}
	if len(head) == gzipHeader && isGzip(head) && !canBeOurs(head) {
		return nil, nil
	}
	src := newGunzip(ctx, r, DefaultLimits().LogBytes)
	defer src.close()
	if err := src.discard(math.MaxInt64); err != io.EOF {
		return nil, err
	}
	return src.tail.log()
}

// canBeOurs reports whether an archive of ours can begin with the gzip header head: no flags,
// no time, unknown system.
func canBeOurs(head []byte) bool {
	return isGzip(head) && bytes.Equal(head[2:8], []byte{8, 0, 0, 0, 0, 0}) && head[9] == 255
}

// ending is the end of an archive as the reader of its log sees it.
type ending struct {
	r      io.ReaderAt
	from   int64      // the first readable byte
	size   int64      // of the archive
	tar    *memberSum // the first member; nil if it was not read
	maxLog int64
}

// read returns the log and the footer that refers to it; nil if the end shows none.
func (e *ending) read() (*Log, *footer, error) {
	tail, end, err := e.tail()
	if err != nil {
		return nil, nil, err
	}
	f, err := footerAt(tail)
	switch {
	case err != nil:
		return nil, nil, err
	case f != nil:
		log, err := e.log(f, tail, end)
		return log, f, err
	case brokenEnd(tail):
		return nil, nil, errLogDamaged
	case e.stray(tail, end):
		return nil, nil, errNotLast
	}
	return nil, nil, nil
}

// tail returns the last bytes of the archive, without padding, and where they end.
func (e *ending) tail() (tail []byte, end int64, err error) {
	end = e.size
	for n := int64(tailRead); ; n = min(2*n, 64*tailRead) {
		tail = make([]byte, min(end-e.from, n))
		if err := readFullAt(e.r, tail, end-int64(len(tail))); err != nil {
			return nil, 0, err
		}
		full := int64(len(bytes.TrimRight(tail, "\x00")))
		if full == 0 && int64(len(tail)) < end-e.from {
			end -= int64(len(tail))
			continue
		}
		at := min(end-int64(len(tail))+full+footZeros, e.size)
		if at == end {
			return tail, end, nil
		}
		end, n = at, tailRead/2
	}
}

// log returns the log that the footer f points to; f ends tail and the archive.
func (e *ending) log(f *footer, tail []byte, end int64) (*Log, error) {
	if err := f.check(end, e.maxLog); err != nil {
		return nil, err
	}
	if e.tar != nil && f.first != *e.tar {
		return nil, errOtherTar
	}
	// Results are followed by nothing of ours: one member of it is enough.
	from := f.logOff - gzipTrailer
	behind := make([]byte, min(end-footerSize-from, gzipTrailer+f.logLen+membersBytes(MaxResults)+maxMember))
	if in := from - (end - int64(len(tail))); in >= 0 {
		copy(behind, tail[in:])
	} else if err := readFullAt(e.r, behind, from); err != nil {
		return nil, err
	}
	if binary.LittleEndian.Uint32(behind) != f.first.crc || binary.LittleEndian.Uint32(behind[4:]) != uint32(f.first.raw) {
		return nil, errOtherTar
	}
	return f.decodeMembers(behind[gzipTrailer:], e.maxLog)
}

// stray reports whether tail contains a complete log followed by something else.
func (e *ending) stray(tail []byte, end int64) bool {
	at := bytes.LastIndex(tail, footerMagic) + footerSize - memberHead
	if at < footerSize || at > len(tail) {
		return false
	}
	end -= int64(len(tail) - at)
	tail = tail[:at]
	f, err := footerAt(tail)
	if f == nil || err != nil {
		return false
	}
	_, err = e.log(f, tail, end)
	return err == nil
}

func readFullAt(r io.ReaderAt, p []byte, off int64) error {
	n, err := r.ReadAt(p, off)
	switch {
	case n == len(p):
		return nil
	case errors.Is(err, ErrFormat):
		return err
	case err == nil || err == io.EOF:
		err = io.ErrUnexpectedEOF
	}
	return &readError{err}
}

// footerAt reads the footer at the end of tail; nil without one.
func footerAt(tail []byte) (*footer, error) {
	if len(tail) < footerSize {
		return nil, nil
	}
	payload, size, ok := parseEmptyMember(tail[len(tail)-footerSize:], subFooter)
	if !ok || size != footerSize {
		return nil, nil
	}
	return parseFooter(payload)
}

// memberStart begins every empty member.
var memberStart = []byte{0x1f, 0x8b, 8, flagExtra, 0, 0, 0, 0, 0, 255}

// brokenEnd reports whether p ends with members of a log without a footer, or within one of
// them.
func brokenEnd(p []byte) bool {
	p = p[max(0, len(p)-maxMember-footerSize):]
	for {
		i := bytes.Index(p, memberStart)
		if i < 0 {
			return false
		}
		if endsBroken(p[i:]) {
			return true
		}
		p = p[i+1:]
	}
}

// endsBroken is brokenEnd for the members at the start of p.
func endsBroken(p []byte) bool {
	if len(p) < memberHead || !ours(subfield(p[gzipHeader+2:])) {
		return false
	}
	for {
		n := int(binary.LittleEndian.Uint16(p[memberHead-2:]))
		if memberHead+n+emptyBody > len(p) {
			return int(binary.LittleEndian.Uint16(p[gzipHeader:])) == 4+n
		}
		_, size, ok := parseEmptyMember(p, subfield(p[gzipHeader+2:]))
		if !ok {
			return false
		}
		p = p[size:]
		switch {
		case len(p) < memberHead:
			return bytes.HasPrefix(memberStart, p[:min(len(p), gzipHeader)])
		case len(p) == footerSize, len(p) < footerSize && bytes.HasPrefix(p, memberStart):
			return true
		case !bytes.HasPrefix(p, memberStart):
			return false
		}
	}
}

// ours reports whether members of kind id follow the tar in archives of ours.
func ours(id subfield) bool { return id == subIndex || isLog(id) }

// isLog reports whether members of kind id belong to a log.
func isLog(id subfield) bool { return id == subLog || id == subResult || id == subFooter }

// decodeMembers returns the log of the members in behind, which begins with the log
// chain and may end within a member that is neither log nor result.
func (f *footer) decodeMembers(behind []byte, maxLog int64) (*Log, error) {
	payload, rest := joinMembers(behind[:f.logLen], subLog)
	if len(rest) > 0 {
		return nil, errLogDamaged
	}
	results, rest := joinMembers(behind[f.logLen:], subResult)
	end := f.logOff + int64(len(behind)-len(rest))
	if len(rest) >= memberHead && isLog(subfield(rest[gzipHeader+2:])) || f.index.len > 0 && end != f.index.off {
		return nil, errPieces
	}
	if int64(len(payload)) != f.logRaw || crc32c(payload) != f.logCRC {
		return nil, errLogDamaged
	}
	e := encodedLog{payload: payload, results: results}
	return e.decode(maxLog)
}
