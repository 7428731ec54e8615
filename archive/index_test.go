package archive

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// madeIndex makes the index of a tree of so many entries that is in no archive, and the
// figures of its tar. Equal calls make equal ones.
func madeIndex(seed uint64, rows int) (*index, memberSum) {
	m := &indexMaker{r: rand.New(rand.NewPCG(seed, 7)), x: &index{}}
	m.x.commits = []string{strings.Repeat("a", idBytes), strings.Repeat("b", idBytes)}
	m.rows(rows)
	m.places()
	m.x.segs = append(m.x.segs, segment{kind: segEnd, packed: 20, raw: 2 * blockSize, repeat: 1, crc: crcWithZeros(0, 2*blockSize)})
	first := m.x.sums()
	first.packed += emptyBody
	return m.x, first
}

type indexMaker struct {
	r              *rand.Rand
	x              *index
	names, targets []byte
}

func (m *indexMaker) row(name string, k kind) {
	x := m.x
	a := rowAttr{kind: k, mode: 0o644 | uint32(m.r.IntN(3)), uid: uint32(m.r.IntN(2)) * 1000, gid: 100}
	i := slices.Index(x.attrs, a)
	if i < 0 {
		i = len(x.attrs)
		x.attrs = append(x.attrs, a)
	}
	m.names = append(m.names, name...)
	x.nameEnd = append(x.nameEnd, uint32(len(m.names)))
	x.attr = append(x.attr, uint32(i))
	x.sec = append(x.sec, 1_700_000_000+m.r.Int64N(1_000_000))
	x.nsec = append(x.nsec, uint32(m.r.IntN(2)*m.r.IntN(1_000_000_000)))
	x.commit = append(x.commit, uint32(m.r.IntN(2)))
	x.value = append(x.value, 0)
	x.seg = append(x.seg, 0)
	x.inner = append(x.inner, 0)
}

// rows makes n rows with all columns but seg and inner.
func (m *indexMaker) rows(n int) {
	x := m.x
	m.row("", kindDir)
	for dir := 0; dir < x.rows(); dir++ {
		x.child = append(x.child, uint32(x.rows()))
		if x.kind(uint32(dir)) != kindDir {
			continue
		}
		names := make([]string, min(1+m.r.IntN(24), n-x.rows()))
		for i := range names {
			stem := [...]string{"test", "utils", "config", "index", "types"}[m.r.IntN(5)]
			names[i] = fmt.Sprintf("%s-%d.%s", stem, x.rows()+i, [...]string{"go", "js", "d.ts", "md"}[m.r.IntN(4)])
		}
		slices.Sort(names)
		for _, name := range names {
			m.child(name)
		}
	}
	x.child = append(x.child, uint32(x.rows()))
	x.names, x.targets = string(m.names), string(m.targets)
}

func (m *indexMaker) child(name string) {
	x := m.x
	row := x.rows()
	switch k := m.r.IntN(40); {
	case k == 0:
		m.row(name, kindSymlink)
		x.value[row] = int64(len(x.targetEnd))
		m.targets = append(m.targets, "../"+name...)
		x.targetEnd = append(x.targetEnd, uint32(len(m.targets)))
	case k == 1:
		m.row(name, kindFIFO)
	case k < 6 || row < 3:
		m.row(name, kindDir)
	case k == 6 && row > 10 && x.kind(uint32(row-1)) == kindFile:
		m.row(name, kindLink)
		x.value[row] = int64(row - 1)
	default:
		m.row(name, kindFile)
		x.value[row] = m.r.Int64N(20_000)
		if k == 7 && m.r.IntN(10) == 0 {
			x.value[row] += 3 * chunkSize
		}
		if m.r.IntN(100) == 0 {
			x.xattrRow = append(x.xattrRow, uint32(row))
			x.xattrs = append(x.xattrs, []xattr{{"user.a", []byte("1")}, {"user.b", []byte{}}})
		}
	}
}

// places puts the rows into segments.
func (m *indexMaker) places() {
	x := m.x
	group := func() *segment { return &x.segs[len(x.segs)-1] }
	add := func(s segment) { x.segs = append(x.segs, s) }
	fill := func(s *segment) {
		s.packed, s.crc, s.repeat = s.raw/4+1, m.r.Uint32(), max(1, s.repeat)
		if s.kind == segZeros {
			s.crc = crcWithZeros(0, int64(s.raw))
		}
		for i := range s.sum {
			s.sum[i] = byte(m.r.Uint32())
		}
	}
	for row := 1; row < x.rows(); row++ {
		size := x.size(uint32(row))
		if need := uint32(blockSize + size + padding(size)); need <= groupSize {
			if len(x.segs) == 0 || group().kind != segGroup || group().raw+need > groupSize {
				add(segment{kind: segGroup})
			}
			x.seg[row], x.inner[row] = uint32(len(x.segs)-1), group().raw
			group().raw += need
			continue
		}
		x.seg[row] = uint32(len(x.segs))
		add(segment{kind: segHeader, raw: blockSize})
		add(segment{kind: segChunk, raw: chunkSize})
		add(segment{kind: segZeros, raw: chunkSize, repeat: uint32(size/chunkSize) - 1})
		if size += padding(size); size%chunkSize > 0 {
			add(segment{kind: segChunk, raw: uint32(size % chunkSize)})
		}
		add(segment{kind: segPad})
	}
	for i := range x.segs {
		fill(&x.segs[i])
	}
}

// An index is decoded to what was encoded.
func TestIndexRoundTrip(t *testing.T) {
	for _, rows := range []int{1, 2, 3, 10, 1000, 20_000} {
		x, first := madeIndex(uint64(rows), rows)
		payload := encodedIndex(t, x)
		got, err := decodeIndex(payload, first, DefaultLimits())
		if err != nil {
			t.Fatal(rows, err)
		}
		if !reflect.DeepEqual(normal(x), normal(got)) {
			t.Errorf("%d rows come back as others", rows)
		}
		if again := encodedIndex(t, got); !bytes.Equal(payload, again) {
			t.Errorf("%d rows are encoded to other bytes", rows)
		}
		checkIndex(t, got, first)
	}
}

// normal is x without the difference between none and nil.
func normal(x *index) *index {
	y := *x
	y.targetEnd, y.xattrRow, y.xattrs = append([]uint32{}, x.targetEnd...), append([]uint32{}, x.xattrRow...), append([][]xattr{}, x.xattrs...)
	return &y
}

func encodedIndex(tb testing.TB, x *index) []byte {
	tb.Helper()
	p, err := x.encode(DefaultLimits().IndexBytes)
	if err != nil {
		tb.Fatal(err)
	}
	return p
}

// checkIndex holds what was decoded against what its users rely on, in other ways than
// the decoder does.
func checkIndex(t *testing.T, x *index, first memberSum) {
	t.Helper()
	if err := indexFault(x, first); err != nil {
		t.Error(err)
	}
}

func indexFault(x *index, first memberSum) error {
	seen := 0
	var walk func(row uint32, depth int) error
	walk = func(row uint32, depth int) error {
		seen++
		if seen > x.rows() || depth > 4096 {
			return errors.New("a row is met twice")
		}
		kid, n := x.children(row)
		before := ""
		for r := kid; r < kid+n; r++ {
			name := x.name(r)
			if name <= before || strings.ContainsAny(name, "/\x00") || x.parent(r) != row {
				return fmt.Errorf("row %d: name %q after %q", r, name, before)
			}
			if found, ok := x.lookup(row, name); !ok || found != r {
				return fmt.Errorf("row %d is not found by its name", r)
			}
			before = name
			if err := walk(r, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	if err := walk(0, 0); err != nil {
		return err
	}
	if seen != x.rows() {
		return fmt.Errorf("%d rows are met, of %d", seen, x.rows())
	}
	for row := uint32(1); row < uint32(x.rows()); row++ {
		if err := rowFault(x, row, first); err != nil {
			return fmt.Errorf("row %d: %w", row, err)
		}
	}
	return nil
}

func rowFault(x *index, row uint32, first memberSum) error {
	h := x.header(row)
	blocks, _ := h.encode(nil)
	size := h.size + padding(h.size)
	switch place := x.place(row); {
	case place < 0 || place+blockSize+size > first.raw-2*blockSize:
		return fmt.Errorf("it is at %d of %d bytes", place, first.raw)
	case len(blocks) == 0 || h.size < 0 || x.inode(x.inode(row)) != x.inode(row):
		return errors.New("it has no header")
	}
	s := &x.segs[x.seg[row]]
	if s.off < gzipHeader || s.off+s.packedLen() > first.packed-emptyBody {
		return errors.New("its segment is elsewhere")
	}
	if s.kind == segHeader {
		next := x.segs[x.seg[row]+1]
		if next.kind != segChunk || next.rawOff+size > first.raw-2*blockSize {
			return errors.New("its content is elsewhere")
		}
	}
	return nil
}

// rawIndex are the unpacked sections of an index, one after another, so that a change
// of a byte is one of the index and not of its compression.
type rawIndex struct {
	tags []string
	raw  [][]byte
}

func unpackIndex(tb testing.TB, payload []byte) *rawIndex {
	tb.Helper()
	r := &rawIndex{}
	z := newZstdDecoder()
	defer z.Close()
	for len(payload) > 0 {
		tag, content, rest, err := cutSection(payload)
		if err != nil {
			tb.Fatal(err)
		}
		payload = rest
		if tag != tagHead {
			if content, err = unpackColumn(z, content); err != nil {
				tb.Fatal(err)
			}
		}
		r.tags, r.raw = append(r.tags, tag), append(r.raw, content)
	}
	return r
}

func (r *rawIndex) pack() []byte {
	var out []byte
	for i, tag := range r.tags {
		content := r.raw[i]
		if tag != tagHead {
			content = append(binary.LittleEndian.AppendUint32(nil, uint32(len(content))), content...)
		}
		out = appendSection(out, tag, content)
	}
	return out
}

// An index that lies in any of its fields is refused, or is one that leads nowhere it
// must not.
func TestIndexLiesInEveryByte(t *testing.T) {
	x, first := madeIndex(3, 60)
	r := unpackIndex(t, encodedIndex(t, x))
	refused, harmless := 0, 0
	for i, tag := range r.tags {
		for at := range r.raw[i] {
			for _, to := range []byte{0, 1, 0x7f, 0x80, 0xff, r.raw[i][at] + 1, r.raw[i][at] - 1, '/'} {
				was := r.raw[i][at]
				r.raw[i][at] = to
				got, err := decodeIndex(r.pack(), first, DefaultLimits())
				switch {
				case errors.Is(err, ErrFormat), errors.Is(err, ErrLimit):
					refused++
				case err != nil:
					t.Fatalf("%s, byte %d: %v", tag, at, err)
				default:
					harmless++
					if fault := indexFault(got, first); fault != nil {
						t.Fatalf("%s, byte %d to %#x: %v", tag, at, to, fault)
					}
				}
				r.raw[i][at] = was
			}
		}
	}
	t.Logf("%d refused, %d harmless", refused, harmless)
}

// Sections that are missing, doubled, cut off, longer, or unknown.
func TestIndexSections(t *testing.T) {
	x, first := madeIndex(4, 40)
	payload := encodedIndex(t, x)
	if _, err := decodeIndex(appendSection(payload[:len(payload):len(payload)], "NEWS", make([]byte, 4)), first, DefaultLimits()); err != nil {
		t.Error("a section of a later version:", err)
	}
	for n := range len(payload) {
		if _, err := decodeIndex(payload[:n], first, DefaultLimits()); !errors.Is(err, ErrFormat) {
			t.Fatalf("cut off after %d bytes: %v", n, err)
		}
	}
	for i := range unpackIndex(t, payload).tags {
		r := unpackIndex(t, payload)
		tag := r.tags[i]
		for name, edit := range map[string]func(){
			"missing": func() { r.tags[i] = "GONE" },
			"twice":   func() { r.tags, r.raw = append(r.tags, tag), append(r.raw, r.raw[i]) },
			"empty":   func() { r.raw[i] = nil },
			"longer":  func() { r.raw[i] = append(bytes.Clone(r.raw[i]), 1) },
			"shorter": func() { r.raw[i] = r.raw[i][:max(0, len(r.raw[i])-1)] },
		} {
			r = unpackIndex(t, payload)
			whole := len(r.raw[i])
			edit()
			_, err := decodeIndex(r.pack(), first, DefaultLimits())
			same := whole == len(r.raw[i]) && r.tags[i] == tag && len(r.tags) == len(indexColumns)+1
			if !errors.Is(err, ErrFormat) && !same && (tag != tagHead || name != "longer") {
				t.Errorf("section %s is %s: %v", tag, name, err)
			}
		}
	}
}

// An index of a different tar is refused.
func TestIndexOfAnotherTar(t *testing.T) {
	x, first := madeIndex(5, 100)
	payload := encodedIndex(t, x)
	for _, other := range []memberSum{
		{first.packed + 1, first.raw, first.crc}, {first.packed, first.raw - 512, first.crc}, {first.packed, first.raw, first.crc + 1},
	} {
		if _, err := decodeIndex(payload, other, DefaultLimits()); !errors.Is(err, ErrFormat) {
			t.Errorf("%+v: %v", other, err)
		}
	}
}

// Every limit that names the index, or what it holds, is kept by the decoder.
func TestIndexLimits(t *testing.T) {
	x, first := madeIndex(6, 3000)
	payload := encodedIndex(t, x)
	for name, lim := range map[string]Limits{
		"Entries": {Entries: 2998}, "PathLen": {PathLen: 20}, "NameLen": {NameLen: 10}, "Depth": {Depth: 2},
		"SymlinkLen": {SymlinkLen: 5}, "FileBytes": {FileBytes: chunkSize}, "TotalBytes": {TotalBytes: 30 << 20},
		"MetaBytes": {MetaBytes: 1000}, "IndexBytes": {IndexBytes: 1000},
	} {
		_, err := decodeIndex(payload, first, lim.withDefaults())
		var l *LimitError
		if !errors.As(err, &l) || l.Limit != name || l.Value <= l.Max {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCRCCombine(t *testing.T) {
	s := segment{raw: 512, repeat: 1000, crc: crcWithZeros(0, 512)}
	if got, want := s.appendCRC(5), crcWithZeros(5, 512000); got != want {
		t.Errorf("%08x, want %08x", got, want)
	}
}

func FuzzIndex(f *testing.F) {
	x, first := madeIndex(7, 30)
	r := unpackIndex(f, encodedIndex(f, x))
	lens := make([]int, len(r.raw))
	var all []byte
	for i, p := range r.raw {
		lens[i] = len(p)
		all = append(all, p...)
	}
	f.Add(all)
	lim := (&Limits{IndexBytes: 1 << 20}).withDefaults()
	f.Fuzz(func(t *testing.T, p []byte) {
		if len(p) > 1<<16 {
			return
		}
		for i, n := range lens {
			n = min(n, len(p))
			r.raw[i], p = p[:n], p[n:]
		}
		r.raw[len(lens)-1] = append(bytes.Clone(r.raw[len(lens)-1]), p...)
		got, err := decodeIndex(r.pack(), first, lim)
		if err == nil {
			checkIndex(t, got, first)
		} else if !errors.Is(err, ErrFormat) && !errors.Is(err, ErrLimit) {
			t.Error(err)
		}
	})
}

func BenchmarkIndex(b *testing.B) {
	x, first := madeIndex(1, 1_000_000)
	payload := encodedIndex(b, x)
	b.Run("encode", func(b *testing.B) {
		for b.Loop() {
			encodedIndex(b, x)
		}
		b.ReportMetric(float64(len(payload))/1e6, "MB")
		for rest := payload; len(rest) > 0; {
			var tag string
			var content []byte
			tag, content, rest, _ = cutSection(rest)
			b.ReportMetric(float64(len(content))/1e3, "kB-"+tag)
		}
	})
	x = nil
	b.Run("decode", func(b *testing.B) {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		var got *index
		for b.Loop() {
			var err error
			if got, err = decodeIndex(payload, first, DefaultLimits()); err != nil {
				b.Fatal(err)
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/1e6, "MB-live")
		runtime.KeepAlive(got)
	})
}

// The chain of an index is found again, however long it is, and damage is found.
func TestIndexChain(t *testing.T) {
	for _, size := range []int{1, maxChunk, maxChunk + 1, 2100 * maxChunk} {
		payload := make([]byte, size)
		_, _ = rand.NewChaCha8([32]byte{}).Read(payload)
		chain := appendIndex(nil, payload, 2000)
		place := indexPlace{raw: int64(size), len: int64(len(chain)), sum: sha256.Sum256(payload)}
		got, err := place.payload(chain)
		if err != nil || !bytes.Equal(got, payload) {
			t.Fatalf("%d bytes: %d come back, %v", size, len(got), err)
		}
		if got, want := bytes.Count(chain, zerosEnd), (size/maxChunk+2000)/zerosAt; got != want {
			t.Errorf("%d bytes: %d members hold zeros, want %d", size, got, want)
		}
		r, err := gzip.NewReader(bytes.NewReader(chain))
		if err != nil {
			t.Fatal(err)
		}
		raw, err := io.ReadAll(r)
		if err != nil || len(bytes.Trim(raw, "\x00")) > 0 {
			t.Errorf("%d bytes: as gzip it is %d bytes, %v", size, len(raw), err)
		}
		for range 50 {
			broken := bytes.Clone(chain)
			broken[rand.IntN(len(broken))] ^= 1 << rand.IntN(8)
			if _, err := place.payload(broken); !errors.Is(err, ErrFormat) {
				t.Fatal(err)
			}
		}
	}
}

func BenchmarkSmallIndex(b *testing.B) {
	x, first := madeIndex(1, 100)
	for b.Loop() {
		payload := encodedIndex(b, x)
		if _, err := decodeIndex(payload, first, DefaultLimits()); err != nil {
			b.Fatal(err)
		}
	}
}
