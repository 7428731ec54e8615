package archive

import (
	"bytes"
	"io"
)

// tailReader keeps the parts of a streamed archive that the reader of its log needs: the bytes
// after the first member, as long as they can be a log's, and the last ones.
type tailReader struct {
	maxLog int64

	begun bool // the first member has ended
	first memberSum
	ours  bool   // a member of a log was met
	head  []byte // the archive's bytes from offset from on
	from  int64
	last  []byte // its bytes before the zeros at its end
	size  int64
	zeros int64 // at the end
}

// member records a member that was read and checked. follow is the part of the archive read
// beyond it.
func (t *tailReader) member(h memberInfo, sum memberSum, trailer, follow []byte) {
	if t.begun {
		t.ours = t.ours || ours(subfieldOf(h.extra))
		return
	}
	t.begun, t.first = true, sum
	t.from = sum.packed - gzipTrailer
	t.size = t.from
	t.add(trailer)
	t.add(follow)
}

// add takes the next bytes of the archive.
func (t *tailReader) add(p []byte) {
	if !t.begun {
		return
	}
	t.addHead(p)
	t.size += int64(len(p))
	full := bytes.TrimRight(p, "\x00")
	if len(full) == 0 {
		t.zeros += int64(len(p))
		return
	}
	t.last = append(t.last, make([]byte, min(t.zeros, tailRead))...)
	t.last = append(t.last, full...)
	t.zeros = int64(len(p) - len(full))
	if len(t.last) > 4*tailRead {
		t.last = append(t.last[:0], t.last[len(t.last)-tailRead:]...)
	}
}

// addHead keeps p if it can be the beginning or continuation of a log.
func (t *tailReader) addHead(p []byte) {
	const start = gzipTrailer + memberHead
	if len(t.head) >= start && !t.headIsLog() {
		return
	}
	room := gzipTrailer + membersBytes(t.maxLog) + membersBytes(MaxResults) + 2*maxMember - int64(len(t.head))
	t.head = append(t.head, p[:min(int64(len(p)), room)]...)
	if len(t.head) > start && !t.headIsLog() {
		t.head = t.head[:start:start]
	}
}

func (t *tailReader) headIsLog() bool {
	p := t.head[gzipTrailer:]
	return bytes.HasPrefix(p, memberStart) && subfield(p[gzipHeader+2:]) == subLog
}

// ReadAt returns bytes of the archive that were kept.
func (t *tailReader) ReadAt(p []byte, off int64) (int, error) {
	if in := off - t.from; in >= 0 && in+int64(len(p)) <= int64(len(t.head)) {
		return copy(p, t.head[in:]), nil
	}
	end := t.size - t.zeros
	in := off - (end - int64(len(t.last)))
	if in < 0 {
		return 0, errLogDamaged
	}
	clear(p)
	copy(p, t.last[min(in, int64(len(t.last))):])
	n := min(int64(len(p)), t.size-off)
	if n < int64(len(p)) {
		return int(n), io.EOF
	}
	return int(n), nil
}

// log returns the log of the archive, which was read to its end; nil without one. Errors:
// *FormatError if it cannot be read, *LimitError.
func (t *tailReader) log() (*Log, error) {
	e := ending{r: t, from: t.from, size: t.size, tar: &t.first, maxLog: t.maxLog}
	log, _, err := e.read()
	if log == nil && err == nil && t.ours {
		return nil, errNotLast
	}
	return log, err
}

// subfieldOf returns the id of the only subfield of a member's FEXTRA.
func subfieldOf(extra []byte) subfield {
	if len(extra) < 4 || int(extra[2])|int(extra[3])<<8 != len(extra)-4 {
		return subfield{}
	}
	return subfield(extra)
}
