package archive

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"hash/crc32"
	"io"
	"testing"

	"github.com/klauspost/compress/flate"
)

// indexOf reads the index of an archive.
func indexOf(tb testing.TB, archive []byte) *index {
	tb.Helper()
	f, err := footerAt(archive)
	if err != nil || f == nil {
		tb.Fatal(f, err)
	}
	if err := f.check(int64(len(archive)), maxLogBytes); err != nil {
		tb.Fatal(err)
	}
	payload, err := f.index.payload(archive[f.index.off:][:f.index.len])
	if err != nil {
		tb.Fatal(err)
	}
	x, err := decodeIndex(payload, f.first, DefaultLimits())
	if err != nil {
		tb.Fatal(err)
	}
	return x
}

// checkArchive holds the index of an archive against its tar: every segment has its
// digest, unpacks by itself to what the tar has there, and every header is where its
// row says and says what it says.
func checkArchive(tb testing.TB, archive []byte) *index {
	tb.Helper()
	x := indexOf(tb, archive)
	z, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		tb.Fatal(err)
	}
	z.Multistream(false)
	tar, err := io.ReadAll(z)
	if err != nil {
		tb.Fatal(err)
	}
	for i := range x.segs {
		s := &x.segs[i]
		for c := range int64(s.repeat) {
			packed := archive[s.off+c*int64(s.packed):][:s.packed]
			raw := make([]byte, s.raw)
			if _, err := io.ReadFull(flate.NewReader(bytes.NewReader(append(bytes.Clone(packed), 3, 0))), raw); err != nil {
				tb.Fatalf("segment %d: %v", i, err)
			}
			if sha256.Sum256(packed) != s.sum || crc32.ChecksumIEEE(raw) != s.crc || !bytes.Equal(raw, tar[s.rawOff+c*int64(s.raw):][:s.raw]) {
				tb.Fatalf("segment %d is not what the index says", i)
			}
		}
	}
	for row := uint32(1); row < uint32(x.rows()); row++ {
		blocks, _ := x.header(row).encode(nil)
		if !bytes.HasPrefix(tar[x.place(row):], blocks) {
			tb.Errorf("row %d, %s, is not at %d", row, x.path(row), x.place(row))
		}
	}
	return x
}

func TestArchiveWithIndex(t *testing.T) {
	tree := fullTree(t)
	archive := pack(t, tree, testLog(3), nil)
	x := checkArchive(t, archive)
	got, log := mustLoad(t, archive, nil)
	wantSame(t, packed(dump(t, tree)), dump(t, got))
	if log.Len() != 4 {
		t.Error(log)
	}
	if again := pack(t, tree, testLog(3), nil); !bytes.Equal(archive, again) {
		t.Error("packed again it has other bytes")
	}
	t.Logf("%d rows, %d segments, %d bytes", x.rows(), len(x.segs), len(archive))
}
