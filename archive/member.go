package archive

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
)

// The flags of a gzip header, RFC 1952.
const (
	flagHeadCRC  = 1 << 1
	flagExtra    = 1 << 2
	flagName     = 1 << 3
	flagComment  = 1 << 4
	flagReserved = 0xe0
)

// memberInfo is the content of a member's header.
type memberInfo struct {
	start int64 // offset of the member
	extra []byte
}

// header reads a member's header.
func (g *gunzip) header() (memberInfo, error) {
	h := memberInfo{start: g.offset()}
	sum := &crcReader{in: g.in}
	var b [gzipHeader]byte
	if err := sum.full(b[:]); err != nil {
		return h, err
	}
	flags := b[3]
	if !isGzip(b[:]) || b[2] != 8 || flags&flagReserved != 0 {
		return h, formatErr("", "the gzip header at byte %d is damaged", h.start)
	}
	if flags&flagExtra != 0 {
		var n [2]byte
		if err := sum.full(n[:]); err != nil {
			return h, err
		}
		h.extra = make([]byte, binary.LittleEndian.Uint16(n[:]))
		if err := sum.full(h.extra); err != nil {
			return h, err
		}
	}
	for _, flag := range []byte{flagName, flagComment} {
		if flags&flag != 0 {
			if err := sum.text(); err != nil {
				return h, err
			}
		}
	}
	if flags&flagHeadCRC != 0 {
		return h, sum.check()
	}
	return h, nil
}

// crcReader reads a header and computes its checksum.
type crcReader struct {
	in  *bufio.Reader
	crc uint32
}

func (c *crcReader) full(p []byte) error {
	_, err := io.ReadFull(c.in, p)
	c.crc = crc32.Update(c.crc, crc32.IEEETable, p)
	return err
}

// text reads up to the NUL that ends a name or a comment.
func (c *crcReader) text() error {
	var b [1]byte
	for range maxHeadText {
		if err := c.full(b[:]); err != nil || b[0] == 0 {
			return err
		}
	}
	return formatErr("", "a gzip header holds an endless name")
}

func (c *crcReader) check() error {
	want := uint16(c.crc)
	var b [2]byte
	if err := c.full(b[:]); err != nil {
		return err
	}
	if binary.LittleEndian.Uint16(b[:]) != want {
		return formatErr("", "a gzip header does not have its checksum")
	}
	return nil
}

func isGzip(p []byte) bool { return len(p) >= 2 && p[0] == 0x1f && p[1] == 0x8b }

// looksLike names the kind of file that begins with head.
func looksLike(head []byte) string {
	if len(head) == 0 {
		return "an empty file"
	}
	for _, k := range []struct {
		magic string
		off   int
		name  string
	}{
		{"ustar", 257, "a plain tar, not compressed: gzip it"},
		{"\x28\xb5\x2f\xfd", 0, "compressed with zstd: use gzip"},
		{"\xfd7zXZ\x00", 0, "compressed with xz: use gzip"},
		{"BZh", 0, "compressed with bzip2: use gzip"},
		{"\x04\x22\x4d\x18", 0, "compressed with lz4: use gzip"},
		{"\x1f\x9d", 0, "compressed with compress: use gzip"},
		{"PK\x03\x04", 0, "a zip file"},
		{"7z\xbc\xaf\x27\x1c", 0, "a 7z file"},
		{"<", 0, "text or markup"},
		{"{", 0, "text or markup"},
	} {
		if len(head) > k.off && bytes.HasPrefix(head[k.off:], []byte(k.magic)) {
			return k.name
		}
	}
	return "something else"
}
