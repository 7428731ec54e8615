package serve

import (
	"archive/tar"
	"compress/gzip"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/mount/internal/wire"
	"github.com/workdir/workdir/store"
)

// What a mount has reserved is not available to others until it is closed.
func TestBudget(t *testing.T) {
	b := &budget{}
	b.limit(128 << 20)
	shared, err := b.sharedHome()
	if err != nil {
		t.Fatal(err)
	}
	defer shared.Close()
	sharedSize := func(want int64) {
		t.Helper()
		if total, _, err := shared.StatFS(); total != want || err != nil {
			t.Errorf("the shared home has %d bytes, %v; want %d", total, err, want)
		}
	}
	own, err := b.ownHome(48 << 20)
	if err != nil {
		t.Fatal(err)
	}
	sharedSize(16 << 20)
	if _, err := b.ownHome(17 << 20); !errors.Is(err, wire.ErrLimit) {
		t.Errorf("more than is left: %v, want wire.ErrLimit", err)
	}
	f, err := shared.NewFile()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt(make([]byte, 8<<20), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := b.ownHome(12 << 20); !errors.Is(err, wire.ErrLimit) {
		t.Errorf("what others use: %v, want wire.ErrLimit", err)
	}
	sharedSize(16 << 20)
	if err := own.Close(); err != nil {
		t.Fatal(err)
	}
	sharedSize(64 << 20)
	if all, err := b.ownHome(56 << 20); err != nil {
		t.Error(err)
	} else if err := all.Close(); err != nil {
		t.Error(err)
	}
}

// writeSymlinks writes an archive of n symlinks whose targets have 4,000 bytes.
func writeSymlinks(t *testing.T, path string, n int) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	gz, _ := gzip.NewWriterLevel(f, gzip.BestSpeed)
	w := tar.NewWriter(gz)
	for i := range n {
		h := &tar.Header{Typeflag: tar.TypeSymlink, Name: fmt.Sprint(i), Linkname: strings.Repeat("t", 4000)}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(w.Close(), gz.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
}

// An archive of a few megabytes whose names and targets are large once took as much memory
// as it asked for, for each mount again.
func TestArchivesShareTheHeap(t *testing.T) {
	dir := t.TempDir()
	writeSymlinks(t, filepath.Join(dir, "k.tar.gz"), 1500)
	u, err := store.ParseURL("file://" + dir + "/k")
	if err != nil {
		t.Fatal(err)
	}
	st, err := store.OpenBucket(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	b := &budget{}
	b.limit(64 << 20) // of which names and targets may take 8 MiB
	l := &loader{
		budget: b, bases: &bases{}, url: u, store: st, req: &wire.OpenRequest{MaxInodes: 1 << 20},
		warn: func(archive.Warning) {}, progress: func(wire.Progress) {},
	}
	load := func() (loaded, error) {
		obj, err := l.open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return l.load(t.Context(), obj)
	}
	first, err := load()
	if err != nil {
		t.Fatal(err)
	}
	second, err := load()
	if !errors.Is(err, wire.ErrLimit) {
		t.Errorf("beside it another one of 6 MB: %v, want wire.ErrLimit", err)
	}
	second.free()
	first.free()
	third, err := load()
	if err != nil {
		t.Errorf("when they are closed: %v", err)
	}
	third.free()
	if free := b.heap.Free(); free != 8<<20 {
		t.Errorf("%d bytes are free in the end", free)
	}
	if err := errors.Join(b.shared.Close(), st.Close()); err != nil {
		t.Error(err)
	}
}
