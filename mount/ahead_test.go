package mount

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/mount/internal/wire"
	"github.com/workdir/workdir/store"
)

// remoteURL names an archive of the fixture as one that may be gone once it is replaced.
func (f *fixture) remoteURL(key string) string { return "counted://bucket" + f.dir + "/" + key }

// A mount that asked for all of its archive needs the store no more, whatever becomes of
// the archive.
func TestFetchAll(t *testing.T) {
	for _, tt := range []struct {
		name  string
		cache bool
	}{
		{name: "in memory"},
		{name: "on disk", cache: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t)
			content := noise(4 << 20)
			f.commit("key", "file", content)
			opts := &Options{RunDir: f.runDir, ReadOnly: true, FetchAll: true}
			if tt.cache {
				opts.Cache = t.TempDir()
			}
			var told Progress
			opts.Progress = func(p Progress) { told = p }
			m, err := Open(t.Context(), f.remoteURL("key"), opts)
			if err != nil {
				t.Fatal(err)
			}
			if told.Phase != PhaseOpening || told.Bytes == 0 || told.Bytes != told.Total {
				t.Errorf("the last progress is %+v", told)
			}
			status, err := m.Status(t.Context())
			if b := status.Base; err != nil || b == nil || b.Here != b.Bytes || b.Bytes < 4<<20 {
				t.Errorf("the status is %+v, %v", b, err)
			}
			before := status.Traffic["get"].Received
			if got, err := os.ReadFile(m.Path("file")); string(got) != content || err != nil {
				t.Errorf("the file has %d bytes, %v", len(got), err)
			}
			if status, err = m.Status(t.Context()); err != nil || status.Traffic["get"].Received != before {
				t.Errorf("reading has fetched %d bytes more, %v", status.Traffic["get"].Received-before, err)
			}
			f.close(m, false)
		})
	}
}

// What cannot be fetched is an error of Open, and not EIO for a tool.
func TestFetchAllOfWhatIsGone(t *testing.T) {
	f := newFixture(t)
	f.commit("gone", "file", noise(4<<20))
	opts := &Options{RunDir: f.runDir, ReadOnly: true, FetchAll: true}
	if _, err := Open(t.Context(), "onlytheend://here"+f.dir+"/gone", opts); err == nil || !strings.Contains(err.Error(), "somebody has replaced it") {
		t.Errorf("Open = %v, want the reason", err)
	}
}

// A file that stays open is read once, and kept nowhere; a damaged one is an error.
func TestFetchAllOfFile(t *testing.T) {
	f := newFixture(t)
	f.commit("key", "file", noise(4<<20))
	f.close(f.open("key", &Options{FetchAll: true}), false)
	archive := f.bytes("key")
	archive[1<<20] ^= 1
	if err := os.WriteFile(f.archive("key"), archive, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := f.tryOpen("key", &Options{FetchAll: true}); err == nil {
		t.Error("a damaged archive was opened")
	}
}

// newTestLoader returns a loader of an archive, beside 16 MiB for its server, of which
// 1 MiB is for what is fetched.
func (f *fixture) newTestLoader(key string, req *wire.OpenRequest) *loader {
	f.t.Helper()
	u, err := store.ParseURL(f.remoteURL(key))
	if err != nil {
		f.t.Fatal(err)
	}
	st, err := store.OpenBucket(f.t.Context(), u)
	if err != nil {
		f.t.Fatal(err)
	}
	b := &budget{}
	b.limit(16 << 20)
	return &loader{
		budget: b, url: u, store: st, req: req,
		bases: &bases{cache: newReadCache(leastCache), failed: func(_ *base, err error) { f.t.Error(err) }},
		warn:  func(archive.Warning) {}, progress: func(wire.Progress) {},
	}
}

// loadIt opens and loads the archive.
func (f *fixture) loadIt(l *loader) (loaded, error) {
	f.t.Helper()
	obj, err := l.open(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	return l.load(f.t.Context(), obj)
}

// Without room for all of it there is no mount.
func TestFetchAllWithoutRoom(t *testing.T) {
	f := newFixture(t)
	f.commit("key", "file", noise(4<<20))
	l := f.newTestLoader("key", &wire.OpenRequest{FetchAll: true})
	c, err := f.loadIt(l)
	if !errors.Is(err, ErrLimit) {
		t.Errorf("load = %v, want ErrLimit", err)
	}
	c.free()
	if l.budget.ahead != 1<<20 {
		t.Errorf("%d bytes are left for what is fetched, in the end", l.budget.ahead)
	}
}

// What is read with a cache of nothing is right, and is not kept.
func TestCacheOfNothing(t *testing.T) {
	f := newFixture(t)
	content := noise(4 << 20)
	f.commit("key", "file", content)
	l := f.newTestLoader("key", &wire.OpenRequest{CacheBytes: 1})
	c, err := f.loadIt(l)
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

// Caches of their own are set aside of the one that is shared, and come back.
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

// The cache directory holds no name while it is used, so that nothing can be left there.
func TestCacheDirectory(t *testing.T) {
	f := newFixture(t)
	dir := t.TempDir()
	content := noise(4 << 20)
	f.commit("key", "file", content)
	m, err := Open(t.Context(), f.remoteURL("key"), &Options{RunDir: f.runDir, Cache: dir})
	if err != nil {
		t.Fatal(err)
	}
	waitFor(t, "all of the archive to be fetched", func() bool {
		s, err := m.Status(t.Context())
		return err == nil && s.Base.Here == s.Base.Bytes
	})
	if left, err := os.ReadDir(dir); len(left) > 0 || err != nil {
		t.Errorf("the cache directory shows %v, %v", left, err)
	}
	if status, err := m.Status(t.Context()); err != nil || !holdsFileIn(t, status.ServerPID, dir) {
		t.Errorf("the server has no file in the cache directory, %v", err)
	}
	if _, err := Open(t.Context(), f.remoteURL("other"), &Options{RunDir: f.runDir, Cache: m.Path()}); !errors.Is(err, ErrCannotMount) {
		t.Errorf("a cache directory inside a mount: %v, want ErrCannotMount", err)
	}
	if _, err := Open(t.Context(), f.remoteURL("other"), &Options{RunDir: f.runDir, Cache: filepath.Join(dir, "missing")}); !errors.Is(err, ErrCannotMount) {
		t.Errorf("a cache directory that is missing: %v, want ErrCannotMount", err)
	}
	f.close(m, false)
}

// holdsFileIn reports whether a process has a file open that is in dir, or was.
func holdsFileIn(t *testing.T, pid int, dir string) bool {
	t.Helper()
	fds, err := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(fds, func(fd string) bool {
		to, err := os.Readlink(fd)
		return err == nil && strings.HasPrefix(to, dir+"/")
	})
}
