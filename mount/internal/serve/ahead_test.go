package serve

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/fs"
	"github.com/workdir/workdir/mount/internal/wire"
	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/store/storetest"
)

func init() { storetest.RegisterCounted("counted") }

// incompressible returns content that cannot be compressed.
func incompressible(size int) string {
	b := make([]byte, size)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b) // it never fails
	return string(b)
}

// newTestTree makes an empty tree in an arena; the end of the test closes it.
func newTestTree(t *testing.T, size int64) *fs.Tree {
	t.Helper()
	home, err := fs.NewArenaHome(size)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := fs.New(home, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(tree.Close(), home.Close()); err != nil {
			t.Error(err)
		}
	})
	return tree
}

// writeArchive writes an archive of ours of one file, and returns its path.
func writeArchive(t *testing.T, content string) string {
	t.Helper()
	tree := newTestTree(t, 64<<20)
	file, errno := tree.Mknod(tree.Root(), "file", 0o644, 0, fs.Owner{})
	if errno == 0 {
		_, errno = tree.WriteAt(file, []byte(content), 0, false)
	}
	if errno != 0 {
		t.Fatal(errno)
	}
	var (
		b   bytes.Buffer
		log *archive.Log
	)
	_, err := archive.NewWriter(&b, nil).WriteTree(t.Context(), tree, log.Next(archive.Record{ID: archive.NewCommitID()}))
	path := filepath.Join(t.TempDir(), "key.tar.gz")
	if err = errors.Join(err, os.WriteFile(path, b.Bytes(), 0o644)); err != nil {
		t.Fatal(err)
	}
	return path
}

// newTestLoader returns a loader of an archive, for a server with 16 MiB, of which 1 MiB is
// for fetching ahead.
func newTestLoader(t *testing.T, path string, req *wire.OpenRequest) *loader {
	t.Helper()
	u, err := store.ParseURL("counted://bucket" + strings.TrimSuffix(path, ".tar.gz"))
	if err != nil {
		t.Fatal(err)
	}
	st, err := store.OpenBucket(t.Context(), u)
	if err != nil {
		t.Fatal(err)
	}
	b := &budget{}
	b.limit(16 << 20)
	return &loader{
		budget: b, url: u, store: st, req: req,
		bases: &bases{cache: newReadCache(leastCache), failed: func(_ *base, err error) { t.Error(err) }},
		warn:  func(archive.Warning) {}, progress: func(wire.Progress) {},
	}
}

// loadIt opens and loads the archive.
func loadIt(t *testing.T, l *loader) (loaded, error) {
	t.Helper()
	obj, err := l.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return l.load(t.Context(), obj)
}

// Without room for the whole archive the open fails.
func TestFetchAllWithoutRoom(t *testing.T) {
	l := newTestLoader(t, writeArchive(t, incompressible(4<<20)), &wire.OpenRequest{FetchAll: true})
	c, err := loadIt(t, l)
	if !errors.Is(err, wire.ErrLimit) {
		t.Errorf("load = %v, want wire.ErrLimit", err)
	}
	c.free()
	if l.budget.ahead != 1<<20 {
		t.Errorf("%d bytes are left for what is fetched, in the end", l.budget.ahead)
	}
}

// Content that is read through a cache of size 0 is right, and is not kept.
func TestCacheOfNothing(t *testing.T) {
	content := incompressible(4 << 20)
	l := newTestLoader(t, writeArchive(t, content), &wire.OpenRequest{CacheBytes: 1})
	c, err := loadIt(t, l)
	if err != nil {
		t.Fatal(err)
	}
	image, err := c.base.archive.Image(c.base.source, nil)
	if err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(content))
	if _, err := image.Content(1).ReadAt(got, 0); err != nil || string(got) != content {
		t.Errorf("the content is another one, %v", err)
	}
	if used := c.base.cache.Used() + l.bases.cache.shared.Used(); used != 0 {
		t.Errorf("%d bytes are kept", used)
	}
	c.free()
}

// Caches with a limit of their own are reserved from the shared one, and are returned.
func TestReadCache(t *testing.T) {
	c := newReadCache(1 << 20)
	small, large := c.get(1), c.get(1<<30)
	if c.left != (1<<20)/2 {
		t.Errorf("%d bytes are left", c.left)
	}
	if c.get(0).Cache != c.shared || small.Cache == c.shared || large.Cache == c.shared {
		t.Error("the caches are not what was asked for")
	}
	large.release()
	small.release()
	if c.left != 1<<20 {
		t.Errorf("%d bytes are left in the end", c.left)
	}
}
