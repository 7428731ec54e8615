package fs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"syscall"
	"testing"
	"testing/iotest"
)

func newSpool(t testing.TB, tree *Tree) *Spool {
	t.Helper()
	s, err := tree.NewSpool()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// readBase reads all of a base, in pieces of an odd size.
func readBase(t testing.TB, b Base) []byte {
	t.Helper()
	var all []byte
	p := make([]byte, 7777)
	for {
		n, err := b.ReadAt(p, int64(len(all)))
		all = append(all, p[:n]...)
		if err == io.EOF {
			return all
		}
		if err != nil || n == 0 {
			t.Fatalf("ReadAt at %d: %d, %v", len(all), n, err)
		}
	}
}

// named gives bases to files in the root directory.
func named(t testing.TB, tree *Tree, bases ...Base) {
	t.Helper()
	for _, b := range bases {
		n := file(t, tree, tree.Root(), fmt.Sprint(tree.Root().dir().cookie), "")
		ok(t, tree.SetBase(n, b))
		tree.Unref(n, 1)
	}
}

// runs returns the data of a base as its seeks find it.
func runs(t *testing.T, b Base) (runs []Extent) {
	t.Helper()
	for pos := int64(0); ; {
		data, err := b.SeekData(pos)
		must(t, err)
		if data >= b.Size() {
			return runs
		}
		if pos, err = b.SeekHole(data); err != nil || pos <= data || pos > b.Size() {
			t.Fatalf("SeekHole(%d) = %d, %v", data, pos, err)
		}
		runs = append(runs, Extent{data, pos - data})
	}
}

// blocks is content of blocks: "d" for data, "z" for zeros, and more bytes.
func blocks(kinds string, more int) []byte {
	var content []byte
	for i, kind := range kinds {
		block := make([]byte, spoolBlock)
		if kind == 'd' {
			copy(block, pattern(spoolBlock, byte(i)))
		}
		content = append(content, block...)
	}
	return append(content, pattern(more, 9)...)
}

func TestSpoolKeepsContentAndHoles(t *testing.T) {
	const k = spoolBlock
	eachTree(t, nil, func(t *testing.T, tree *Tree) {
		s := newSpool(t, tree)
		type added struct {
			base    Base
			content []byte
		}
		var all []added
		for _, c := range []struct {
			content []byte
			runs    []Extent
			blocks  int64
		}{
			{nil, nil, 0},
			{[]byte("small"), []Extent{{0, 5}}, 1},
			{make([]byte, 100), []Extent{{0, 100}}, 1}, // no whole block
			{blocks("d", 0), []Extent{{0, k}}, 1},
			{blocks("dd", 10), []Extent{{0, 2*k + 10}}, 3},
			{blocks("z", 0), nil, 0},
			{blocks("z", 10), []Extent{{k, 10}}, 1},
			{blocks("dzzd", 0), []Extent{{0, k}, {3 * k, k}}, 2},
			{blocks("dzdzz", 0), []Extent{{0, k}, {2 * k, k}}, 2},
			{pattern(3*spoolBuffer+1, 0), []Extent{{0, 3*spoolBuffer + 1}}, 3*spoolBuffer/k + 1},
		} {
			b, err := s.Add(iotest.HalfReader(bytes.NewReader(c.content)))
			must(t, err)
			named(t, tree, b)
			all = append(all, added{b, c.content})
			if b.Size() != int64(len(c.content)) || b.Used() != c.blocks*k {
				t.Errorf("%d bytes: size %d, used %d", len(c.content), b.Size(), b.Used())
			}
			if got := runs(t, b); fmt.Sprint(got) != fmt.Sprint(c.runs) {
				t.Errorf("%d bytes: data at %v, want %v", len(c.content), got, c.runs)
			}
		}
		for range 2 {
			for _, a := range all {
				if got := readBase(t, a.base); !bytes.Equal(got, a.content) {
					t.Fatalf("%d bytes: other bytes were read", len(a.content))
				}
			}
			tree.Seal() // writes what is held back; then everything is read again
		}
		checkTree(t, tree)
	})
}

func TestSpoolAddSparse(t *testing.T) {
	eachTree(t, nil, func(t *testing.T, tree *Tree) {
		s := newSpool(t, tree)
		data := pattern(30000, 0)
		b, err := s.AddSparse(bytes.NewReader(data), 1<<40, []Extent{{10, 9990}, {10000, 5}, {1 << 30, 20005}, {1 << 40, 0}})
		must(t, err)
		if got := runs(t, b); fmt.Sprint(got) != fmt.Sprint([]Extent{{10, 9995}, {1 << 30, 20005}}) {
			t.Errorf("data at %v", got)
		}
		p := make([]byte, 20100)
		if n, err := b.ReadAt(p, 1<<30-50); n != len(p) || err != nil {
			t.Fatalf("ReadAt: %d, %v", n, err)
		}
		want := append(make([]byte, 50), data[9995:]...)
		if !bytes.Equal(p, append(want, make([]byte, 45)...)) {
			t.Error("other bytes were read")
		}
		f := file(t, tree, tree.Root(), "f", "")
		ok(t, tree.SetBase(f, b))
		write(t, tree, f, "x", 0)
		if got := tree.Attr(f).Blocks * 512 / pageSize; got != 8 {
			t.Errorf("copied up it takes %d pages, want 8", got)
		}
		checkTree(t, tree, f)
	})
}

func TestSpoolRefusesExtents(t *testing.T) {
	tree := newTree(t, nil)
	s := newSpool(t, tree)
	for _, c := range []struct {
		name string
		size int64
		data []Extent
		want error
	}{
		{"negative size", -1, nil, syscall.EINVAL},
		{"beyond the end", 10, []Extent{{5, 6}}, syscall.EINVAL},
		{"overflow", 10, []Extent{{5, 1<<63 - 1}}, syscall.EINVAL},
		{"negative", 10, []Extent{{-1, 5}}, syscall.EINVAL},
		{"negative length", 10, []Extent{{5, -1}}, syscall.EINVAL},
		{"overlap", 10, []Extent{{0, 5}, {4, 2}}, syscall.EINVAL},
		{"out of order", 10, []Extent{{5, 1}, {0, 1}}, syscall.EINVAL},
		{"more than there is", 100, []Extent{{0, 100}}, io.ErrUnexpectedEOF},
	} {
		if _, err := s.AddSparse(bytes.NewReader(make([]byte, 20)), c.size, c.data); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.name, err, c.want)
		}
	}
}

// TestSpoolForgetsWhatFailed adds files, some of which fail in the middle, after less and
// after more than a buffer.
func TestSpoolForgetsWhatFailed(t *testing.T) {
	eachTree(t, nil, func(t *testing.T, tree *Tree) {
		s := newSpool(t, tree)
		cause := errors.New("torn")
		var all []Base
		for i := range 10 {
			b, err := s.Add(bytes.NewReader(pattern(1000*i, byte(i))))
			must(t, err)
			named(t, tree, b)
			all = append(all, b)
			torn := io.MultiReader(bytes.NewReader(pattern(i*spoolBuffer/3, 77)), iotest.ErrReader(cause))
			if _, err := s.Add(torn); !errors.Is(err, cause) {
				t.Fatalf("got %v, want %v", err, cause)
			}
		}
		for i, b := range all {
			if !bytes.Equal(readBase(t, b), pattern(1000*i, byte(i))) {
				t.Errorf("file %d holds other bytes", i)
			}
		}
		if s.end != 45000 {
			t.Errorf("45,000 bytes were added, %d are kept", s.end)
		}
		checkTree(t, tree)
	})
}

func TestSpoolIsFullExactlyAtTheLimit(t *testing.T) {
	eachLimit(t, 200, func(t *testing.T, tree *Tree) {
		s := newSpool(t, tree)
		var all []Base
		add := func(n int64) error {
			b, err := s.Add(bytes.NewReader(pattern(int(n), 0)))
			if err == nil {
				all = append(all, b)
			}
			return err
		}
		must(t, add(150*pageSize))
		if err := add(51 * pageSize); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("more than there is: %v", err)
		}
		must(t, add(49*pageSize+1))
		must(t, add(pageSize-1))
		if err := add(1); !errors.Is(err, syscall.ENOSPC) {
			t.Fatalf("one byte more than there is: %v", err)
		}
		tree.Seal()
		if st := tree.StatFS(); st.Free != 0 {
			t.Errorf("full: %+v", st)
		}
		for _, b := range all {
			if !bytes.Equal(readBase(t, b), pattern(int(b.Size()), 0)) {
				t.Errorf("a file of %d bytes holds others", b.Size())
			}
		}
	})
}

func TestSealGivesBackWhatASpoolHeldReady(t *testing.T) {
	eachTree(t, nil, func(t *testing.T, tree *Tree) {
		s := newSpool(t, tree)
		b, err := s.Add(bytes.NewReader([]byte("content")))
		must(t, err)
		tree.Seal()
		if used := tree.bytes.used.Load(); used != pageSize || s.buf != nil {
			t.Errorf("%d bytes are used, %d are the buffer's", used, cap(s.buf))
		}
		again, err := s.Add(bytes.NewReader([]byte("more")))
		must(t, err)
		named(t, tree, b, again)
		if string(readBase(t, b)) != "content" || string(readBase(t, again)) != "more" {
			t.Error("other bytes were read")
		}
		checkTree(t, tree)
	})
}

func TestSpoolOfAClosedTree(t *testing.T) {
	tree := newTree(t, nil)
	s := newSpool(t, tree)
	must(t, tree.Close())
	if _, err := s.Add(bytes.NewReader(nil)); !errors.Is(err, syscall.EBADF) {
		t.Errorf("got %v", err)
	}
}
