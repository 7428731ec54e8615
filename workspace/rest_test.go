package workspace_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/workspace"
)

// reads counts what is read of the archives of the scheme "counted", which are those of
// mem.
var reads struct {
	sync.Mutex
	opened   int
	requests int   // of ranges beyond the end that was asked for at first
	bytes    int64 // of them
}

func init() {
	store.Register("counted", func(ctx context.Context, u store.URL) (store.Store, error) {
		u.Scheme = "mem"
		s, err := store.OpenBucket(ctx, u)
		return &counted{s}, err
	})
}

type counted struct{ store.Store }

func (c *counted) OpenTail(ctx context.Context, key string, n int64) (store.Object, error) {
	o, err := store.OpenTail(ctx, c.Store, key, n)
	if err != nil {
		return nil, err
	}
	reads.Lock()
	defer reads.Unlock()
	reads.opened++
	return &countedObject{o, max(0, o.Info().Size-n)}, nil
}

type countedObject struct {
	store.Object
	tail int64
}

func (o *countedObject) ReadAt(p []byte, off int64) (int, error) {
	if off < o.tail {
		reads.Lock()
		reads.requests++
		reads.bytes += int64(len(p))
		reads.Unlock()
	}
	return o.Object.ReadAt(p, off)
}

// readsOf returns what fn reads.
func readsOf(fn func()) (opened, requests int, bytes int64) {
	reads.Lock()
	reads.opened, reads.requests, reads.bytes = 0, 0, 0
	reads.Unlock()
	fn()
	reads.Lock()
	defer reads.Unlock()
	return reads.opened, reads.requests, reads.bytes
}

// noise is content that does not compress.
func noise(seed uint64, n int) string {
	b := make([]byte, n)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)})
	_, _ = r.Read(b)
	return string(b)
}

// largeDir is a directory of 6 MiB that do not compress: files of 16 KiB, and one of 3 MiB.
func largeDir(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for i := range 192 {
		path := filepath.Join(dir, fmt.Sprintf("d%d", i%4), fmt.Sprintf("f%03d", i))
		noError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		noError(t, os.WriteFile(path, []byte(noise(uint64(i), 16<<10)), 0o644))
	}
	noError(t, os.WriteFile(filepath.Join(dir, "big"), []byte(noise(1000, 3<<20)), 0o644))
	return dir
}

// What a question needs of an archive is what is read: its end, and the segments that
// hold what was asked for.
func TestReadsOfAnArchiveAtRest(t *testing.T) {
	url, dir := newURL(), largeDir(t)
	_, err := workspace.Import(t.Context(), dir, url, nil)
	noError(t, err)
	changed := newURL()
	noError(t, os.WriteFile(filepath.Join(dir, "d1", "f001"), []byte(noise(77, 16<<10)), 0o644))
	_, err = workspace.Import(t.Context(), dir, changed, nil)
	noError(t, err)
	const most = 3 << 20 // a group, and what is read ahead of it
	for name, tt := range map[string]struct {
		requests int
		bytes    int64
		do       func(url, changed string) error
	}{
		"tree": {0, 0, func(url, _ string) error {
			all, err := workspace.Tree(t.Context(), url, "", nil)
			if len(all) != 197 {
				t.Errorf("Tree returns %d entries", len(all))
			}
			return err
		}},
		"blame": {0, 0, func(url, _ string) error {
			_, err := workspace.Blame(t.Context(), url, "", nil)
			return err
		}},
		"verify --quick": {0, 0, func(url, _ string) error {
			r, err := workspace.Verify(t.Context(), url, &workspace.VerifyOptions{Quick: true})
			if err == nil && (!r.Quick || r.Names != 197 || r.Files != 193) {
				t.Errorf("Verify returns %+v", r)
			}
			return err
		}},
		"cat of a small file": {2, most, func(url, _ string) error {
			var b strings.Builder
			_, err := workspace.Cat(t.Context(), url, []string{"d0/f000"}, &b, nil)
			if b.String() != noise(0, 16<<10) {
				t.Errorf("Cat writes other %d bytes", b.Len())
			}
			return err
		}},
		"diff with itself": {0, 0, func(url, _ string) error {
			d, err := workspace.Diff(t.Context(), url, url, nil)
			if len(d) != 0 {
				t.Errorf("Diff returns %v", d)
			}
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			_, requests, bytes := readsOf(func() {
				noError(t, tt.do(strings.Replace(url, "mem:", "counted:", 1), strings.Replace(changed, "mem:", "counted:", 1)))
			})
			if requests > tt.requests || bytes > tt.bytes {
				t.Errorf("%d requests of %d bytes beyond the end, at most %d of %d are needed", requests, bytes, tt.requests, tt.bytes)
			}
		})
	}
	d, err := workspace.Diff(t.Context(), url, changed, nil)
	noError(t, err)
	if len(d) != 1 || d[0].Path != "d1/f001" || len(d[0].What) != 1 || d[0].What[0] != "content" {
		t.Errorf("Diff returns %v", d)
	}
}

// A directory of a workspace is exported by itself, with further names of files that lie
// elsewhere, and no more is read than is in it.
func TestExportPath(t *testing.T) {
	url, dir := newURL(), largeDir(t)
	noError(t, os.Link(filepath.Join(dir, "d0", "f000"), filepath.Join(dir, "d2", "other")))
	noError(t, os.Symlink("d2", filepath.Join(dir, "link")))
	noError(t, os.Mkdir(filepath.Join(dir, "d2", "empty"), 0o700))
	_, err := workspace.Import(t.Context(), dir, url, nil)
	noError(t, err)
	for _, path := range []string{"d2", "/d2/", "link", "d2/empty"} {
		out := filepath.Join(t.TempDir(), "out")
		_, _, bytes := readsOf(func() {
			_, err = workspace.Export(t.Context(), strings.Replace(url, "mem:", "counted:", 1), out, &workspace.ExportOptions{Path: path})
			noError(t, err)
		})
		whole, err := filepath.EvalSymlinks(filepath.Join(dir, path))
		noError(t, err)
		if want, got := paths(t, whole), paths(t, out); !slices.Equal(got, want) {
			t.Errorf("Export of %q makes %q, want %q", path, got, want)
		}
		if path != "d2/empty" {
			sameContent(t, filepath.Join(whole, "other"), filepath.Join(out, "other"))
		} else if bytes > 0 {
			t.Errorf("Export of an empty directory reads %d bytes of content", bytes)
		}
	}
	out := filepath.Join(t.TempDir(), "out")
	for _, path := range []string{"none", "big", "d2/f002"} {
		_, err := workspace.Export(t.Context(), url, out, &workspace.ExportOptions{Path: path})
		wantError(t, err, workspace.ErrPath)
	}
	if _, err := os.Stat(out); !os.IsNotExist(err) {
		t.Errorf("an export that failed has made its directory: %v", err)
	}
}

// Damage in the content of one file is found when that is read, with the reason; the
// others are there.
func TestDamageAtRest(t *testing.T) {
	url := newURL()
	_, err := workspace.Import(t.Context(), largeDir(t), url, nil)
	noError(t, err)
	var b bytes.Buffer
	_, err = workspace.ExportArchive(t.Context(), url, &b, nil)
	noError(t, err)
	content := b.Bytes()
	content[1000] ^= 1
	damaged := putArchive(t, content)
	all, err := workspace.Tree(t.Context(), damaged, "", nil)
	noError(t, err)
	sound := 0
	for _, e := range all {
		if e.Kind != workspace.File {
			continue
		}
		_, err := workspace.Cat(t.Context(), damaged, []string{e.Path}, io.Discard, nil)
		if err == nil {
			sound++
		} else {
			wantError(t, err, archive.ErrFormat)
		}
	}
	if sound < len(all)/2 || sound > 192 {
		t.Errorf("%d files of %d can be read", sound, len(all))
	}
	_, err = workspace.Verify(t.Context(), damaged, nil)
	wantError(t, err, archive.ErrFormat)
	_, err = workspace.Verify(t.Context(), damaged, &workspace.VerifyOptions{Quick: true})
	noError(t, err)
	dir := filepath.Join(t.TempDir(), "out")
	_, err = workspace.Export(t.Context(), damaged, dir, nil)
	wantError(t, err, archive.ErrFormat)
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("a part of the export stays: %v", err)
	}
}

func TestBlame(t *testing.T) {
	url, dir := newURL(), t.TempDir()
	noError(t, os.Mkdir(filepath.Join(dir, "d"), 0o755))
	noError(t, os.WriteFile(filepath.Join(dir, "d", "f"), []byte("content"), 0o644))
	_, err := workspace.Import(t.Context(), dir, url, nil)
	noError(t, err)
	log, _, err := workspace.Log(t.Context(), url)
	noError(t, err)
	blamed, err := workspace.Blame(t.Context(), url, "", nil)
	noError(t, err)
	for i, want := range []string{"d", "d/f"} {
		if b := blamed[i]; b.Path != want || b.Commit != log.Record.ID || b.Record == nil || b.Record.ID != b.Commit {
			t.Errorf("Blame returns %+v, want %s by %s", b, want, log.Record.ID)
		}
	}
	_, err = workspace.Blame(t.Context(), url, "none", nil)
	wantError(t, err, workspace.ErrPath)
	_, err = workspace.Blame(t.Context(), putArchive(t, tarOf(t, file("f", "x"))), "", nil)
	wantError(t, err, workspace.ErrNoIndex)
}
