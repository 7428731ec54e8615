package archive

import (
	"bytes"
	"compress/gzip"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
)

// deflate writes parts, cut by cut into pieces, as the member of a tar.
func deflate(t *testing.T, raw []byte, cut func(left int) int, holes bool) []byte {
	t.Helper()
	var out bytes.Buffer
	d, err := newDeflater(&sink{w: &out}, DefaultLevel, func() error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	for left := raw; len(left) > 0 && err == nil; {
		part := left[:cut(len(left))]
		left = left[len(part):]
		if holes && len(bytes.Trim(part, "\x00")) == 0 {
			d.writeZeros(int64(len(part)))
			continue
		}
		err = d.write(part)
	}
	if err := d.close(err); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// Long runs of zeros are not compressed, but what comes out is what they were, and the
// same however they came.
func TestZerosAreRepeated(t *testing.T) {
	noise := func(n int) []byte {
		r := rand.NewChaCha8([32]byte{byte(n)})
		b := make([]byte, n)
		_, _ = r.Read(b)
		return b
	}
	text := bytes.Repeat([]byte("what a later block refers to, across the zeros. "), 3000)
	for _, c := range []struct {
		name  string
		parts [][]byte
	}{
		{"none", [][]byte{text, noise(100000)}},
		{"nothing", nil},
		{"too few", [][]byte{text, make([]byte, zeroRun-1), text}},
		{"enough", [][]byte{text, make([]byte, zeroRun), text}},
		{"at the start", [][]byte{make([]byte, zeroRun+zeroPiece+1), text}},
		{"at the end", [][]byte{text, make([]byte, 3*zeroPiece)}},
		{"nothing else", [][]byte{make([]byte, 5*zeroPiece+zeroWindow)}},
		{"twice", [][]byte{noise(gzipBlock - 7), make([]byte, zeroRun+3), {1}, make([]byte, zeroRun), text, noise(99)}},
		{"just before a block is full", [][]byte{noise(gzipBlock - zeroWindow), make([]byte, zeroRun), text}},
		{"over the end of a block", [][]byte{noise(gzipBlock - zeroWindow + 100), make([]byte, zeroRun), text}},
		{"more than a batch", [][]byte{{1}, make([]byte, (zeroBatch+1)*zeroPiece), {2}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			raw := slices.Concat(c.parts...)
			whole := deflate(t, raw, func(left int) int { return left }, false)
			r, err := gzip.NewReader(bytes.NewReader(whole))
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(r)
			if err != nil || !bytes.Equal(got, raw) {
				t.Fatalf("%d bytes came back as %d others, %v", len(raw), len(got), err)
			}
			for seed := range 4 {
				r := rand.New(rand.NewPCG(1, uint64(seed)))
				cut := func(left int) int { return min(left, 1+r.IntN(300_000)) }
				if !bytes.Equal(deflate(t, raw, cut, seed%2 == 0), whole) {
					t.Error("cut into pieces it returns other bytes")
				}
			}
		})
	}
}

func TestCRCWithZeros(t *testing.T) {
	head := []byte("something")
	for _, n := range []int{0, 1, 2, 3, 255, 256, 65537, 1 << 20} {
		want := crc32.ChecksumIEEE(append(slices.Clone(head), make([]byte, n)...))
		if got := crcWithZeros(crc32.ChecksumIEEE(head), int64(n)); got != want {
			t.Errorf("%d zeros: %08x, want %08x", n, got, want)
		}
	}
}

// A file that was made as large as a disk once took hours to be stored.
func TestHugeHole(t *testing.T) {
	tree := newTree(t)
	m := maker{t, tree}
	m.file("before", "content")
	m.file("hole", "content")
	m.truncate("hole", 1<<40)
	m.file("later", "content")
	var out byteCounter
	sum, err := NewWriter(&out, nil).WriteTree(t.Context(), tree, testLog(0))
	if err != nil {
		t.Fatal(err)
	}
	if sum.Size != int64(out) || sum.Size > 1<<40/1000 {
		t.Errorf("%+v, and %d bytes were written", sum, out)
	}
}

type byteCounter int64

func (c *byteCounter) Write(p []byte) (int, error) { *c += byteCounter(len(p)); return len(p), nil }

func BenchmarkHole(b *testing.B) {
	const size = 4 << 30
	tree := newTree(b)
	m := maker{b, tree}
	m.file("hole", "x")
	m.truncate("hole", size)
	var archive bytes.Buffer
	b.Run("pack", func(b *testing.B) {
		b.SetBytes(size)
		for range b.N {
			archive.Reset()
			if _, err := NewWriter(&archive, nil).WriteTree(b.Context(), tree, nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("load", func(b *testing.B) {
		b.SetBytes(size)
		for range b.N {
			mustLoad(b, archive.Bytes(), nil)
		}
	})
}
