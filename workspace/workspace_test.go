package workspace_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/workspace"
)

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantError(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("the error is %v, want %v", err, want)
	}
}

// wantText checks that an error says what its reader needs.
func wantText(t *testing.T, err error, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in the error %v", part, err)
		}
	}
}

// newURL names a workspace that there is not yet.
func newURL() string { return "mem://" + rand.Text() + "/dir/key" }

// putArchive stores bytes as the archive of a new workspace.
func putArchive(t *testing.T, content []byte) (url string) {
	t.Helper()
	url = newURL()
	putAt(t, url, content)
	return url
}

func putAt(t *testing.T, url string, content []byte) {
	t.Helper()
	u, err := store.ParseURL(url)
	noError(t, err)
	s, err := store.OpenBucket(t.Context(), u)
	noError(t, err)
	defer s.Close()
	_, err = s.Put(t.Context(), u.Key, func(w io.Writer) error { _, err := w.Write(content); return err }, nil)
	noError(t, err)
}

// tarOf makes a tar.gz with the standard library's writer.
func tarOf(t *testing.T, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	gz := gzip.NewWriter(&b)
	tw := tar.NewWriter(gz)
	for _, h := range headers {
		content := ""
		if h.Typeflag == tar.TypeReg {
			content = h.Linkname // a regular file has no link, so its content stands there
			h.Linkname, h.Size = "", int64(len(content))
		}
		h.Format = tar.FormatPAX
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		noError(t, tw.WriteHeader(&h))
		_, err := io.WriteString(tw, content)
		noError(t, err)
	}
	noError(t, tw.Close())
	noError(t, gz.Close())
	return b.Bytes()
}

func file(name, content string) tar.Header {
	return tar.Header{Typeflag: tar.TypeReg, Name: name, Linkname: content, ModTime: time.Unix(1e9, 0)}
}

func symlink(name, target string) tar.Header {
	return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target}
}

// paths returns what an export made, directories with a slash at the end.
func paths(t *testing.T, root string) []string {
	t.Helper()
	var names []string
	noError(t, filepath.WalkDir(root, func(path string, e os.DirEntry, err error) error {
		if name, _ := filepath.Rel(root, path); err == nil && name != "." {
			if e.IsDir() {
				name += "/"
			}
			names = append(names, name)
		}
		return err
	}))
	slices.Sort(names)
	return names
}

func lstat(t *testing.T, path string) (st unix.Stat_t) {
	t.Helper()
	noError(t, unix.Lstat(path, &st))
	return st
}

// makeAll makes a directory with one of everything that an archive can hold.
func makeAll(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "all")
	for _, sub := range []string{"", "/empty", "/deep/er/still", "/closed", "/many"} {
		noError(t, os.MkdirAll(dir+sub, 0o755))
	}
	write := func(name, content string, mode os.FileMode) {
		t.Helper()
		noError(t, os.WriteFile(dir+"/"+name, []byte(content), 0o600))
		noError(t, os.Chmod(dir+"/"+name, mode))
	}
	write("file", "content\n", 0o640)
	write("empty file", "", 0o604)
	write("deep/er/still/ü \x01 name", "odd", 0o755)
	write("raw-\xff", "not UTF-8", 0o644)
	write("closed/inside", "read me", 0o400)
	for i := range 1000 {
		write(fmt.Sprintf("many/%03d", i), strings.Repeat("x", i), 0o644)
	}
	sparse, err := os.Create(dir + "/sparse")
	noError(t, err)
	noError(t, sparse.Truncate(8<<20))
	_, err = sparse.WriteAt([]byte("in the middle"), 4<<20)
	noError(t, err)
	noError(t, sparse.Close())
	noError(t, os.Link(dir+"/file", dir+"/closed/hard link"))
	noError(t, os.Symlink("deep/er", dir+"/link"))
	noError(t, os.Symlink("/absolute/nowhere", dir+"/dangling"))
	noError(t, unix.Mkfifo(dir+"/fifo", 0o620))
	noError(t, unix.Setxattr(dir+"/file", "user.note", []byte("kept\x00"), 0))
	noError(t, unix.Setxattr(dir+"/deep", "user.note", []byte("too"), 0))
	noError(t, os.Chmod(dir+"/many", 0o1777))
	noError(t, os.Chmod(dir+"/closed", 0o500))
	when := []unix.Timespec{{Sec: 1, Nsec: 2}, {Sec: 1234567890, Nsec: 123456789}}
	for _, name := range []string{"/file", "/link", "/fifo", "/closed", "/deep/er", "/sparse", ""} {
		noError(t, unix.UtimesNanoAt(unix.AT_FDCWD, dir+name, when, unix.AT_SYMLINK_NOFOLLOW))
	}
	t.Cleanup(func() { os.Chmod(dir+"/closed", 0o700) })
	return dir
}

// An export of an import is the directory that was imported, to the last attribute,
// and imported again it is the same workspace.
func TestRoundTrip(t *testing.T) {
	dir, url := makeAll(t), newURL()
	var warnings []string
	opts := &workspace.ImportOptions{Tool: "test/1", Options: workspace.Options{Warn: collect(&warnings)}}
	done, err := workspace.Import(t.Context(), dir, url, opts)
	noError(t, err)
	if done.Entries != int64(len(paths(t, dir)))-1 || done.Info.Revision == "" {
		t.Errorf("Import returns %+v, of %d names, of which one is a hard link", done, len(paths(t, dir)))
	}
	if text := strings.Join(warnings, "\n"); len(warnings) != 2 || !strings.Contains(text, "symbolic links") || !strings.Contains(text, "FIFOs") {
		t.Errorf("the warnings are %q", warnings)
	}
	out := filepath.Join(t.TempDir(), "out")
	exported, err := workspace.Export(t.Context(), url, out, nil)
	noError(t, err)
	if exported.Entries != int64(len(paths(t, dir))) || exported.Info.Revision != done.Info.Revision {
		t.Errorf("Export returns %+v", exported)
	}
	sameFiles(t, dir, out)

	again := newURL()
	_, err = workspace.Import(t.Context(), out, again, nil)
	noError(t, err)
	differences, err := workspace.Diff(t.Context(), url, again, nil)
	if err != nil || len(differences) > 0 {
		t.Errorf("Diff returns %v, %v", differences, err)
	}
}

// sameFiles compares two directories by all that an archive keeps.
func sameFiles(t *testing.T, a, b string) {
	t.Helper()
	names := paths(t, a)
	if got := paths(t, b); !slices.Equal(got, names) {
		t.Fatalf("there is %q, want %q", got, names)
	}
	for _, name := range append(names, "") {
		x, y := lstat(t, a+"/"+name), lstat(t, b+"/"+name)
		if x.Mode != y.Mode || x.Mtim != y.Mtim || x.Nlink != y.Nlink || x.Uid != y.Uid {
			t.Errorf("%q: mode %o, time %v, links %d; want %o, %v, %d", name, y.Mode, y.Mtim, y.Nlink, x.Mode, x.Mtim, x.Nlink)
		}
		if x.Mode&unix.S_IFMT == unix.S_IFREG {
			sameContent(t, a+"/"+name, b+"/"+name)
			if y.Blocks > x.Blocks+8 {
				t.Errorf("%q takes %d blocks, want %d: a hole was filled", name, y.Blocks, x.Blocks)
			}
		}
		if target, err := os.Readlink(a + "/" + name); err == nil {
			if got, _ := os.Readlink(b + "/" + name); got != target {
				t.Errorf("%q leads to %q, want %q", name, got, target)
			}
		}
	}
	for name, want := range map[string]string{"/file": "kept\x00", "/deep": "too"} {
		value := make([]byte, 100)
		n, err := unix.Getxattr(b+name, "user.note", value)
		if err != nil || string(value[:n]) != want {
			t.Errorf("%s has the extended attribute %q, %v", name, value[:max(n, 0)], err)
		}
	}
	if x, y := lstat(t, b+"/file"), lstat(t, b+"/closed/hard link"); x.Ino != y.Ino {
		t.Error("the hard link is another file")
	}
}

func sameContent(t *testing.T, a, b string) {
	t.Helper()
	x, err := os.ReadFile(a)
	noError(t, err)
	y, err := os.ReadFile(b)
	noError(t, err)
	if !bytes.Equal(x, y) {
		t.Errorf("%s has another content than %s", b, a)
	}
}
