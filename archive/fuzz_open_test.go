package archive

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
	"testing"
)

// withIndex returns archive with another index, to which its footer leads.
func withIndex(tb testing.TB, archive, payload []byte) []byte {
	tb.Helper()
	f, err := footerAt(archive)
	if err != nil || f == nil {
		tb.Fatal(f, err)
	}
	out := bytes.Clone(archive[:f.index.off])
	out = appendIndex(out, payload, 0)
	f.index.len, f.index.raw, f.index.sum = int64(len(out))-f.index.off, int64(len(payload)), sha256.Sum256(payload)
	return append(out, f.encode()...)
}

// storedIndex returns the index of an archive, as it is stored.
func storedIndex(tb testing.TB, archive []byte) []byte {
	tb.Helper()
	f, err := footerAt(archive)
	if err != nil || f == nil {
		tb.Fatal(f, err)
	}
	payload, err := f.index.payload(archive[f.index.off:][:f.index.len])
	if err != nil {
		tb.Fatal(err)
	}
	return payload
}

// FuzzOpen opens an archive whose index says what the fuzzer wants, with a footer that
// fits. Whatever it says, a file that can be read is one that the tar has.
func FuzzOpen(f *testing.F) {
	tree := smallTree(f)
	archive := indexedSample(f, tree)
	want := dump(f, tree)
	f.Add(storedIndex(f, archive))
	f.Fuzz(func(t *testing.T, payload []byte) {
		if len(payload) == 0 {
			return
		}
		got, _, err := readImage(withIndex(t, archive, payload))
		if err != nil && !errors.Is(err, ErrFormat) && !errors.Is(err, ErrLimit) {
			t.Fatal(err)
		}
		for _, line := range got {
			file := strings.Contains(line, " size ") && !strings.Contains(line, " size 0 ")
			if err == nil && file && !slices.Contains(want, line) {
				t.Errorf("the tar has no\n%s", line)
			}
		}
	})
}

// An index that lies about one entry is found out when that is read.
func TestLyingIndex(t *testing.T) {
	tree := smallTree(t)
	archive := indexedSample(t, tree)
	foot, err := footerAt(archive)
	if err != nil {
		t.Fatal(err)
	}
	for name, lie := range map[string]func(x *index){
		"name": func(x *index) { x.names = strings.Replace(x.names, "big", "bog", 1) },
		"mode": func(x *index) { x.attrs[x.attr[x.mustFind("big")]].mode ^= 0o111 },
		"time": func(x *index) { x.sec[x.mustFind("big")]++ },
		"swap": func(x *index) {
			a, b := x.mustFind("dir/a"), x.mustFind("dir/b")
			x.inner[a], x.inner[b] = x.inner[b], x.inner[a]
		},
		"digest": func(x *index) { x.segs[0].sum[0]++ },
		"xattr":  func(x *index) { x.xattrs[0] = []xattr{{"user.x", []byte("z")}} },
	} {
		t.Run(name, func(t *testing.T) {
			x, err := decodeIndex(storedIndex(t, archive), foot.first, DefaultLimits())
			if err != nil {
				t.Fatal(err)
			}
			lie(x)
			payload, err := x.encode(DefaultLimits().IndexBytes)
			if err != nil {
				t.Fatal(err)
			}
			if _, _, err := readImage(withIndex(t, archive, payload)); !errors.Is(err, ErrFormat) {
				t.Errorf("reading says %v, want a *FormatError", err)
			}
		})
	}
}

func (x *index) mustFind(path string) uint32 { return (&Image{x: x}).find(path) }
