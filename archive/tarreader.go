package archive

import (
	"bytes"
	"errors"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/workdir/workdir/fs"
)

// newTarReader returns a parser of src.
func newTarReader(src *gunzip, lim Limits, warn *warner) *tarReader {
	return &tarReader{src: src, lim: lim, warn: warn, global: map[string]string{}}
}

// tarReader parses a tar as a stream. It knows the formats of POSIX (ustar and pax), GNU tar,
// star and Unix V7. It checks the syntax; the caller interprets names and kinds.
type tarReader struct {
	src  *gunzip
	lim  Limits
	warn *warner

	global map[string]string // records that apply to all entries
	left   int64             // bytes of the entry's content not yet read
	pad    int64             // bytes of padding in its last block
	seen   bool              // a header was read
	ended  bool
	open   bool // it has no end of its own
}

// extended is the content of the headers that precede an entry's own.
type extended struct {
	recs    records
	size    int64 // of all of them, in whole blocks
	name    string
	link    string
	pending bool // the entry itself must follow
}

var (
	errCutTar = &FormatError{Reason: "the tar within is cut off: its end is missing"}
	errNoTar  = &FormatError{Reason: "not a tar.gz: the compressed data is not a tar"}
	errOwner  = errors.New("its owner is not a 32-bit number")
	errHeader = &FormatError{Reason: "a header in the tar holds something that is not a number"}
)

// next returns the next entry; io.EOF at the end. Read then returns the entry's data: a file's
// content, or the data of its extents if it is sparse.
func (t *tarReader) next() (*header, error) {
	var ext extended
	for {
		b, err := t.header()
		if err != nil {
			return nil, err
		}
		if b == nil {
			if ext.pending {
				return nil, errCutTar
			}
			return nil, io.EOF
		}
		flag := b.bytes(fieldType)[0]
		switch flag {
		case 'x', 'X', 'g', 'L', 'K', 'V':
			if err := t.extend(&ext, flag, b); err != nil {
				return nil, err
			}
		default:
			return t.entry(b, &ext)
		}
	}
}

// header returns the next header block; nil at the end of the tar.
func (t *tarReader) header() (*block, error) {
	if t.ended {
		return nil, nil
	}
	if err := t.skip(); err != nil {
		return nil, err
	}
	var b block
	switch err := t.full(b[:]); {
	case errors.Is(err, errCutTar) && t.seen:
		// GNU tar, bsdtar and Python treat it as the end too. The gzip checksums are right, so
		// nothing was cut off later.
		t.ended, t.open = true, true
		return nil, nil
	case errors.Is(err, errCutTar):
		return nil, errNoTar
	case err != nil:
		return nil, err
	}
	if b.zero() {
		t.ended = true
		return nil, t.end()
	}
	if !b.valid() {
		return nil, t.invalid()
	}
	t.seen = true
	return &b, nil
}

func (t *tarReader) invalid() error {
	if !t.seen {
		return errNoTar
	}
	return formatErr("", "a header in the tar is damaged: its checksum is wrong")
}

// end continues after the first of the two zero blocks at a tar's end. GNU tar, bsdtar and
// Python stop after one, whatever follows, and so may lose an entry.
func (t *tarReader) end() error {
	var b block
	_, err := io.ReadFull(t.src, b[:])
	switch {
	case err == nil && b.zero():
		return nil
	case err == nil && b.valid():
		return formatErr("", "a block of zeros stands within the tar")
	case err != nil && err != io.EOF && err != io.ErrUnexpectedEOF:
		return err
	}
	t.warn.warn("", "the archive ends with one block of zeros instead of two")
	t.leftOut(b[:])
	return nil
}

// leftOut warns if p, the data after the end of the tar, is more than padding.
func (t *tarReader) leftOut(p []byte) {
	if len(bytes.Trim(p, "\x00")) > 0 {
		t.warn.warn("", "data after the end of the tar is left out")
	}
}

// drain reads the data after the end of the tar, so that all checksums are compared.
func (t *tarReader) drain() error {
	if t.open {
		t.warn.warn("", "the archive ends without blocks of zeros: if the program that wrote it was stopped, entries are missing")
	}
	buf := make([]byte, 32<<10)
	for {
		n, err := t.src.Read(buf)
		t.leftOut(buf[:n])
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
	}
	if t.src.garbage {
		t.warn.warn("", "bytes after the end of the archive are left out")
	}
	return nil
}

// skip skips the rest of an entry.
func (t *tarReader) skip() error {
	n := t.left + t.pad
	t.left, t.pad = 0, 0
	return cutOff(t.src.discard(n))
}

func (t *tarReader) full(p []byte) error {
	_, err := io.ReadFull(t.src, p)
	return cutOff(err)
}

// cutOff makes the end of the stream, met within the tar, an error of the format.
func cutOff(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errCutTar
	}
	return err
}

// Read returns the data of the current entry.
func (t *tarReader) Read(p []byte) (int, error) {
	if t.left == 0 {
		return 0, io.EOF
	}
	n, err := t.src.Read(p[:min(int64(len(p)), t.left)])
	t.left -= int64(n)
	return n, cutOff(err)
}

// setBody makes n bytes the data of the current entry.
func (t *tarReader) setBody(n int64) error {
	if n < 0 || n > math.MaxInt64-blockSize {
		return errHeader
	}
	t.left, t.pad = n, -n&(blockSize-1)
	return nil
}

// body reads all data of a block into p.
func (t *tarReader) body(p []byte) error {
	if err := t.setBody(int64(len(p))); err != nil {
		return err
	}
	if _, err := io.ReadFull(t, p); err != nil {
		return err
	}
	return t.skip()
}

// extend reads an extended header whose block is b.
func (t *tarReader) extend(ext *extended, flag byte, b *block) error {
	n, err := b.number(fieldSize)
	if err != nil || n < 0 {
		return errHeader
	}
	if err := over("HeaderBytes", n, t.lim.HeaderBytes, ""); err != nil {
		return err
	}
	ext.size += blockSize + n + padding(n)
	if err := over("HeaderBytes", ext.size, t.lim.HeaderBytes, ""); err != nil {
		return err
	}
	data := make([]byte, n)
	if err := t.body(data); err != nil {
		return err
	}
	ext.pending = ext.pending || flag != 'g' && flag != 'V'
	switch flag {
	case 'V': // the label of a volume
	case 'L':
		ext.name = untilNUL(data)
	case 'K':
		ext.link = untilNUL(data)
	case 'g':
		err = t.extendAll(data)
	default:
		err = ext.recs.parse(data)
	}
	if err != nil {
		return &FormatError{Reason: "an extended header in the tar", Err: err}
	}
	return nil
}

// extendAll adds the records of a global header that can apply to all entries.
func (t *tarReader) extendAll(data []byte) error {
	var recs records
	if err := recs.parse(data); err != nil {
		return err
	}
	for _, key := range []string{paxUID, paxGID, paxMtime} {
		if v, ok := recs.vals[key]; ok {
			t.global[key] = v
		}
	}
	return nil
}

func untilNUL(p []byte) string {
	if i := bytes.IndexByte(p, 0); i >= 0 {
		p = p[:i]
	}
	return string(p)
}

// entry makes an entry from its header block and its extended headers.
func (t *tarReader) entry(b *block, ext *extended) (*header, error) {
	recs := ext.recs.over(t.global)
	h := &header{
		name: first(recs[paxPath], ext.name, b.name()),
		link: first(recs[paxLinkPath], ext.link, b.text(fieldLink)),
	}
	refuse := func(err error) (*header, error) { return nil, malformed(h.name, err) }
	size, err := t.attributes(h, b, recs)
	if err != nil {
		return refuse(err)
	}
	if err := t.setKind(h, b.bytes(fieldType)[0], size); err != nil {
		return refuse(err)
	}
	if h.kind.device() {
		major, err1 := b.number(fieldMajor)
		minor, err2 := b.number(fieldMinor)
		if err1 != nil || err2 != nil {
			return refuse(errNumber)
		}
		h.rdev = makedev(major, minor)
	}
	if err := t.sparse(h, b, &ext.recs); err != nil {
		return refuse(err)
	}
	if err := t.xattrs(h, recs); err != nil {
		return refuse(err)
	}
	return h, nil
}

// malformed makes err an error of the entry, unless it is not an error of the archive.
func malformed(name string, err error) error {
	if errors.Is(err, errNumber) || errors.Is(err, errPax) || errors.Is(err, errSparse) || errors.Is(err, errOwner) {
		return &FormatError{Entry: name, Reason: "its header is malformed", Err: err}
	}
	return named(name, err)
}

// named adds the entry's name to an error of the archive that has none yet.
func named(name string, err error) error {
	switch e := err.(type) { //nolint:errorlint // wrapping errors would be lost
	case *FormatError:
		if e.Entry == "" {
			return &FormatError{Entry: name, Reason: e.Reason, Err: e.Err}
		}
	case *LimitError:
		if e.Entry == "" {
			return &LimitError{Limit: e.Limit, Value: e.Value, Max: e.Max, Entry: name}
		}
	}
	return err
}

func first(names ...string) string {
	for _, n := range names {
		if n != "" {
			return n
		}
	}
	return ""
}

// attributes sets the attributes that every kind of entry has, and returns the length of its
// data.
func (t *tarReader) attributes(h *header, b *block, recs map[string]string) (size int64, err error) {
	var uid, gid, mode int64
	for _, n := range []struct {
		to  *int64
		key string
		f   field
	}{
		{&mode, "", fieldMode},
		{&uid, paxUID, fieldUID},
		{&gid, paxGID, fieldGID},
		{&size, paxSize, fieldSize},
		{&h.mtime.Sec, "", fieldMtime},
	} {
		if v := recs[n.key]; n.key != "" && v != "" {
			*n.to, err = strconv.ParseInt(v, 10, 64)
		} else {
			*n.to, err = b.number(n.f)
		}
		if err != nil {
			return 0, errNumber
		}
	}
	if !fits32(uid) || !fits32(gid) {
		return 0, errOwner
	}
	h.mode = uint32(mode) & fs.PermBits
	h.owner = fs.Owner{UID: uint32(uid), GID: uint32(gid)}
	if v := recs[paxMtime]; v != "" {
		h.mtime, err = paxTime(v)
	}
	return size, err
}

// fits32 accepts negative numbers too: some tars write the owner -2.
func fits32(n int64) bool { return n == int64(uint32(n)) || n == int64(int32(n)) }

// setKind sets the kind of h, from its typeflag, and the data that follow.
func (t *tarReader) setKind(h *header, flag byte, size int64) error {
	switch flag {
	case 0, '0', '7', 'S':
		h.kind = kindFile
		if strings.HasSuffix(h.name, "/") { // how V7 marks directories
			h.kind, size = kindDir, 0
		}
	case '1', '2', '3', '4', '5', '6': // no data, whatever the size says
		h.kind, size = kind(flag), 0
	case 'D': // GNU tar's directory with a list of its names
		h.kind = kindDir
	case 'M':
		return formatErr(h.name, "it goes on from another volume: join the volumes first")
	default:
		return formatErr(h.name, "its kind %q is unknown", flag)
	}
	if err := t.setBody(size); err != nil {
		return err
	}
	if h.kind == kindFile {
		h.size = size
	}
	if h.kind == kindLink || h.kind == kindSymlink {
		return nil
	}
	h.link = ""
	return nil
}

func (t *tarReader) sparse(h *header, b *block, recs *records) error {
	if h.kind != kindFile {
		return nil
	}
	if b.bytes(fieldType)[0] == 'S' {
		return t.gnuSparse(h, b)
	}
	return t.paxSparse(h, recs)
}

// xattrs sets the extended attributes that the records hold, sorted by name.
// libarchive writes each in two forms; its own form is the exact one.
func (t *tarReader) xattrs(h *header, recs map[string]string) error {
	var exact []xattr
	for key, value := range recs {
		if key == paxSELinux || strings.HasPrefix(key, paxACL) {
			t.warn.warn(h.name, "access control lists and security labels are left out")
			continue
		}
		x, ok, err := paxXattrOf(key, value)
		switch {
		case err != nil:
			return err
		case !ok:
		case strings.HasPrefix(key, paxXattrB64):
			exact = append(exact, x)
		default:
			h.xattrs = append(h.xattrs, x)
		}
	}
	if exact != nil {
		h.xattrs = exact
	}
	slices.SortFunc(h.xattrs, func(a, b xattr) int { return strings.Compare(a.name, b.name) })
	return nil
}
