package archive

import (
	"strconv"
	"strings"
)

// The names of the blocks that precede an entry's own. Readers that know these blocks ignore
// the names.
const (
	paxName  = "././@PaxHeader"
	longName = "././@LongLink"
)

// encode appends the header blocks of h to out: ustar, preceded by a pax header for values
// that ustar cannot represent, and by GNU tar's long names for readers that skip pax headers.
// Names are in ustar's own fields wherever they fit, whatever their bytes: every reader
// accepts that, while some refuse a pax path that is not UTF-8. extended is the entry's share
// of Limits.HeaderBytes, in whole blocks.
func (h *header) encode(out []byte) (blocks []byte, extended int64) {
	name := h.name
	if h.kind == kindDir {
		name += "/"
	}
	prefix, short, nameFits := splitUstar(name)
	linkFits := len(h.link) <= fieldLink.len
	start := len(out)
	if !linkFits {
		out = appendExtended(out, longName, 'K', append([]byte(h.link), 0))
	}
	if !nameFits {
		out = appendExtended(out, longName, 'L', append([]byte(name), 0))
		short = name[:fieldName.len]
	}
	var pax []byte
	if !nameFits && ascii(name) {
		pax = appendPax(pax, paxPath, name)
	}
	if !linkFits && ascii(h.link) {
		pax = appendPax(pax, paxLinkPath, h.link)
	}
	if pax = h.appendPax(pax); len(pax) > 0 {
		out = appendExtended(out, paxName, 'x', pax)
	}
	extended = int64(len(out) - start)
	return h.appendUstar(out, prefix, short), extended
}

func ascii(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r >= 0x80 }) < 0
}

// appendPax appends the records for numbers that ustar cannot hold and for
// extended attributes.
func (h *header) appendPax(out []byte) []byte {
	for _, n := range []struct {
		key   string
		f     field
		value int64
	}{
		{paxUID, fieldUID, int64(h.owner.UID)},
		{paxGID, fieldGID, int64(h.owner.GID)},
		{paxSize, fieldSize, h.size},
	} {
		if !fitsOctal(n.f, n.value) {
			out = appendPax(out, n.key, strconv.FormatInt(n.value, 10))
		}
	}
	if h.mtime.Nsec != 0 || !fitsOctal(fieldMtime, h.mtime.Sec) {
		out = appendPax(out, paxMtime, formatTime(h.mtime))
	}
	for _, x := range h.xattrs {
		out = appendPax(out, paxXattr+xattrEscape.Replace(x.name), string(x.value))
	}
	return out
}

func (h *header) appendUstar(out []byte, prefix, name string) []byte {
	var b block
	b.setText(fieldName, name)
	b.setText(fieldPrefix, prefix)
	b.setText(fieldLink, h.link[:min(len(h.link), fieldLink.len)])
	b.setNumber(fieldMode, int64(h.mode))
	b.setNumber(fieldUID, int64(h.owner.UID))
	b.setNumber(fieldGID, int64(h.owner.GID))
	b.setNumber(fieldSize, h.size)
	b.setNumber(fieldMtime, h.mtime.Sec)
	if h.kind.device() {
		b.setNumber(fieldMajor, devMajor(h.rdev))
		b.setNumber(fieldMinor, devMinor(h.rdev))
	}
	return appendBlock(out, &b, byte(h.kind))
}

// appendExtended appends a block that describes the next entry, and its data.
func appendExtended(out []byte, name string, flag byte, data []byte) []byte {
	var b block
	b.setText(fieldName, name)
	b.setNumber(fieldMode, 0o644)
	b.setNumber(fieldUID, 0)
	b.setNumber(fieldGID, 0)
	b.setNumber(fieldSize, int64(len(data)))
	b.setNumber(fieldMtime, 0)
	out = appendBlock(out, &b, flag)
	out = append(out, data...)
	var zeros block
	return append(out, zeros[:padding(int64(len(data)))]...)
}

func appendBlock(out []byte, b *block, flag byte) []byte {
	b[fieldType.off] = flag
	b.setText(fieldMagic, magicUstar)
	b.seal()
	return append(out, b[:]...)
}

// padding is the number of bytes that pad n bytes to whole blocks.
func padding(n int64) int64 { return -n & (blockSize - 1) }

// splitUstar splits a name between ustar's two fields, at a slash that neither contains. ok is
// false if it does not fit.
func splitUstar(name string) (prefix, short string, ok bool) {
	if len(name) <= fieldName.len {
		return "", name, true
	}
	if len(name) > fieldPrefix.len+1+fieldName.len {
		return "", "", false
	}
	from := len(name) - fieldName.len - 1
	i := strings.IndexByte(name[from:], '/')
	if i < 0 || from+i == 0 || from+i > fieldPrefix.len || from+i == len(name)-1 {
		return "", "", false
	}
	return name[:from+i], name[from+i+1:], true
}
