package archive

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// countingAt counts reads, and fails them once it is gone.
type countingAt struct {
	io.ReaderAt
	reads atomic.Int64
	gone  atomic.Bool
}

var errGone = errors.New("replaced")

func (c *countingAt) ReadAt(p []byte, off int64) (int, error) {
	c.reads.Add(1)
	if c.gone.Load() {
		return 0, errGone
	}
	return c.ReaderAt.ReadAt(p, off)
}

// large is an archive of more than OpenRead bytes that do not compress: groups of small
// files, and one file in chunks.
func large(tb testing.TB) (archive []byte, want map[string]string) {
	largeOnce.Do(func() { largeArchive, largeFiles = makeLarge(tb) })
	return largeArchive, largeFiles
}

var (
	largeOnce    sync.Once
	largeArchive []byte
	largeFiles   map[string]string
)

func makeLarge(tb testing.TB) (archive []byte, want map[string]string) {
	tree := newTree(tb)
	m := maker{tb, tree}
	want = map[string]string{}
	r := rand.New(rand.NewPCG(1, 1))
	noise := func(n int) string {
		b := make([]byte, 0, n+8)
		for len(b) < n {
			b = binary.LittleEndian.AppendUint64(b, r.Uint64())
		}
		return string(b[:n])
	}
	for i := range 30 {
		want["f"+string(rune('A'+i))] = noise(20_000)
	}
	want["big"] = noise(5<<20 + 1234)
	for name, content := range want {
		m.file(name, content)
	}
	return packIndexed(tb, tree, testLog(0), 64<<10), want
}

func (im *Image) find(path string) uint32 {
	row := uint32(0)
	for _, name := range bytes.Split([]byte(path), []byte("/")) {
		row, _ = im.x.lookup(row, string(name))
	}
	return row
}

func openCounted(tb testing.TB, archive []byte, cache *Cache, opts *SourceOptions) (*countingAt, *Source, *Image) {
	tb.Helper()
	r := &countingAt{ReaderAt: bytes.NewReader(archive)}
	a, err := Open(context.Background(), r, int64(len(archive)), nil)
	if err != nil {
		tb.Fatal(err)
	}
	src := source(tb, a, cache, opts)
	im, err := a.Image(src, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return r, src, im
}

func readFile(im *Image, path string) (string, error) {
	row := im.find(path)
	var out bytes.Buffer
	_, err := out.ReadFrom(io.NewSectionReader(im.Content(row), 0, im.Attr(row).Size))
	return out.String(), err
}

// Opening is one read, a small file another, and a large one no more than its chunks,
// of which the first comes with the header.
func TestReads(t *testing.T) {
	archive, want := large(t)
	r, _, im := openCounted(t, archive, nil, nil)
	reads := func(most int64, what string) {
		t.Helper()
		if n := r.reads.Swap(0); n > most {
			t.Errorf("%s took %d reads, want at most %d", what, n, most)
		}
	}
	reads(1, "opening")
	for _, path := range []string{"fA", "fA"} {
		if got, err := readFile(im, path); err != nil || got != want[path] {
			t.Fatalf("%s: %d bytes, %v", path, len(got), err)
		}
	}
	reads(1, "a small file, twice,")
	p := make([]byte, 1000)
	if _, err := im.Content(im.find("big")).ReadAt(p, 0); err != nil || string(p) != want["big"][:1000] {
		t.Fatal(err)
	}
	reads(1, "the beginning of a large file")
	if got, err := readFile(im, "big"); err != nil || got != want["big"] {
		t.Fatal(len(got), err)
	}
	reads(5, "the rest of a large file")
}

// Readers get the right content from a cache that is too small for any segment.
func TestConcurrentReads(t *testing.T) {
	archive, want := large(t)
	for _, size := range []int64{0, 64 << 20} {
		cache := NewCache(size)
		_, _, im := openCounted(t, archive, cache, nil)
		var readers sync.WaitGroup
		for range 4 {
			readers.Go(func() {
				for path, content := range want {
					if got, err := readFile(im, path); err != nil || got != content {
						t.Errorf("%s: %d bytes, %v", path, len(got), err)
					}
				}
			})
		}
		readers.Wait()
		if used := cache.Used(); used > size {
			t.Errorf("a cache of %d bytes holds %d", size, used)
		}
	}
}

// memory is a Packed.
type memory struct {
	mu sync.Mutex
	b  []byte
}

func (m *memory) WriteAt(p []byte, off int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if end := off + int64(len(p)); end > int64(len(m.b)) {
		m.b = append(m.b, make([]byte, end-int64(len(m.b)))...)
	}
	return copy(m.b[off:], p), nil
}

func (m *memory) ReadAt(p []byte, off int64) (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return bytes.NewReader(m.b).ReadAt(p, off)
}

// What was prefetched can be read when the archive is gone, and what was not is the
// archive's error, which is told.
func TestPrefetch(t *testing.T) {
	archive, want := large(t)
	for _, limit := range []int64{0, 1 << 20} {
		var told atomic.Pointer[error]
		r, src, im := openCounted(t, archive, NewCache(1<<20), &SourceOptions{
			Packed: &memory{}, PackedBytes: limit, Failed: func(err error) { told.Store(&err) },
		})
		all, err := src.Prefetch(context.Background(), nil)
		if err != nil || all != (limit == 0) {
			t.Fatalf("Prefetch into %d bytes says %t, %v", limit, all, err)
		}
		r.gone.Store(true)
		missing := 0
		for path, content := range want {
			got, err := readFile(im, path)
			switch {
			case errors.Is(err, errGone):
				missing++
			case err != nil || got != content:
				t.Errorf("%s: %d bytes, %v", path, len(got), err)
			}
		}
		if (missing > 0) != (limit > 0) || (told.Load() != nil) != (limit > 0) {
			t.Errorf("with %d bytes %d files are missing; told: %v", limit, missing, told.Load())
		}
	}
}

// stuckAt does not answer after the first read.
type stuckAt struct {
	io.ReaderAt
	reads atomic.Int64
	stuck chan struct{} // closed when one does not
	free  chan struct{}
}

func (s *stuckAt) ReadAt(p []byte, off int64) (int, error) {
	if n := s.reads.Add(1); n > 1 {
		if n == 2 {
			close(s.stuck)
		}
		<-s.free
	}
	return s.ReaderAt.ReadAt(p, off)
}

// A read that the store does not answer ends, by its patience or by Close.
func TestStalledRead(t *testing.T) {
	archive, _ := large(t)
	for _, test := range []struct {
		name     string
		patience time.Duration
		want     error
	}{
		{"patience", time.Millisecond, ErrStalled},
		{"close", time.Hour, errSourceClosed},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := &stuckAt{ReaderAt: bytes.NewReader(archive), stuck: make(chan struct{}), free: make(chan struct{})}
			defer close(r.free)
			a, err := Open(context.Background(), r, int64(len(archive)), nil)
			if err != nil {
				t.Fatal(err)
			}
			src := source(t, a, nil, &SourceOptions{Patience: test.patience})
			im, err := a.Image(src, nil)
			if err != nil {
				t.Fatal(err)
			}
			if test.want == errSourceClosed {
				go func() {
					<-r.stuck
					_ = src.Close()
				}()
			}
			if _, err := readFile(im, "fA"); !errors.Is(err, test.want) {
				t.Errorf("reading says %v, want %v", err, test.want)
			}
		})
	}
}
