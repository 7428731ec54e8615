package mount

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
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
