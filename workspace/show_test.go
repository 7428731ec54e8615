package workspace_test

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/workspace"
)

func dirHeader(name string) tar.Header {
	return tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755}
}

func hardLink(name, target string) tar.Header {
	return tar.Header{Typeflag: tar.TypeLink, Name: name, Linkname: target}
}

func TestTree(t *testing.T) {
	url := putArchive(t, tarOf(t,
		dirHeader("d"), file("d/b", "content"), file("d/a", ""), file("d-e", "x"),
		symlink("link", "d"), hardLink("z", "d/b"), file("raw\xff", "y"),
		tar.Header{Typeflag: tar.TypeFifo, Name: "fifo"}))
	tests := []struct {
		path string
		want string
	}{
		{"", "d:directory:0 d/a:file:0 d/b:file:7 d-e:file:1 fifo:fifo:0 link:symlink:0 raw\xff:file:1 z:file:7"},
		{"d", "d:directory:0 d/a:file:0 d/b:file:7"},
		{"/d/", "d:directory:0 d/a:file:0 d/b:file:7"},
		{"link/a", "d/a:file:0"},
		{"d-e", "d-e:file:1"},
		{".", "d:directory:0 d/a:file:0 d/b:file:7 d-e:file:1 fifo:fifo:0 link:symlink:0 raw\xff:file:1 z:file:7"},
	}
	for _, test := range tests {
		entries, err := workspace.Tree(t.Context(), url, test.path, nil)
		noError(t, err)
		var got []string
		for _, e := range entries {
			got = append(got, fmt.Sprintf("%s:%s:%d", e.Path, e.Kind, e.Size))
			if (e.RawPath != nil) != (e.Path == "raw\xff") {
				t.Errorf("%q has the raw path %q", e.Path, e.RawPath)
			}
			if want := e.Path == "d/b" || e.Path == "z"; (e.Links == 2) != want {
				t.Errorf("%q has %d links", e.Path, e.Links)
			}
		}
		if text := strings.Join(got, " "); text != test.want {
			t.Errorf("Tree of %q returns %q, want %q", test.path, text, test.want)
		}
	}
	_, err := workspace.Tree(t.Context(), url, "none", nil)
	wantError(t, err, workspace.ErrPath)
	_, err = workspace.Tree(t.Context(), newURL(), "", nil)
	wantError(t, err, store.ErrNotExist)
}

func TestCat(t *testing.T) {
	big := strings.Repeat("0123456789abcdef", 1<<16) // more than is read at once
	url := putArchive(t, tarOf(t,
		file("d/b", "content\n"), file("big", big), file("empty", ""),
		symlink("link", "d/../d/b"), symlink("dirlink", "d"), symlink("d/up", "../big"),
		symlink("out", "../../etc/passwd"), symlink("absolute", "/etc/passwd"), symlink("loop", "loop")))
	tests := []struct {
		paths []string
		want  string // "": ErrPath
		text  string // of the error
	}{
		{[]string{"d/b"}, "content\n", ""},
		{[]string{"/d//./b", "d/b"}, "content\ncontent\n", ""},
		{[]string{"link", "dirlink/b", "dirlink/up"}, "content\ncontent\n" + big, ""},
		{[]string{"big", "empty"}, big, ""},
		{[]string{"d"}, "", `"d": no such file in the workspace: it is a directory`},
		{[]string{""}, "", "it is a directory"},
		{[]string{"big", "none"}, "", `"none": no such file in the workspace`},
		{[]string{"big/x"}, "", `"big" is a file`},
		{[]string{"big/"}, "", `"big" is a file`},
		{[]string{"out"}, "", "no such file"},
		{[]string{"absolute"}, "", "out of the workspace"},
		{[]string{"loop"}, "", "too many symbolic links"},
	}
	for _, test := range tests {
		var out bytes.Buffer
		entries, err := workspace.Cat(t.Context(), url, test.paths, &out, nil)
		if out.String() != test.want {
			t.Errorf("Cat of %q writes %.50q, want %.50q", test.paths, out.String(), test.want)
		}
		if test.want == "" {
			wantError(t, err, workspace.ErrPath)
			wantText(t, err, test.text, "cat "+url)
			continue
		}
		noError(t, err)
		if len(entries) != len(test.paths) {
			t.Errorf("Cat of %q returns %+v", test.paths, entries)
		}
	}
	_, err := workspace.Cat(t.Context(), url, []string{"big"}, failing{}, nil)
	wantError(t, err, os.ErrClosed)
}

func TestDiff(t *testing.T) {
	same := []tar.Header{dirHeader("same"), file("same/f", "content"), symlink("same/l", "f")}
	mode := file("mode", "x")
	mode.Mode = 0o755
	a := append(slices.Clone(same), file("a-only", "1"), dirHeader("gone"), file("gone/f", "2"), file("kind", "x"), file("mode", "x"),
		file("size", "x"), file("content", "old"), symlink("target", "old"), file("several", "1"),
		tar.Header{Typeflag: tar.TypeChar, Name: "dev", Devmajor: 1, Devminor: 3})
	several := file("several", "22")
	several.Mode = 0o600
	b := append(slices.Clone(same), file("b-only", "1"), symlink("kind", "x"), mode,
		file("size", "xx"), file("content", "new"), symlink("target", "new"), several,
		tar.Header{Typeflag: tar.TypeChar, Name: "dev", Devmajor: 1, Devminor: 5})
	urlA, urlB := putArchive(t, tarOf(t, a...)), putArchive(t, tarOf(t, b...))
	differences, err := workspace.Diff(t.Context(), urlA, urlB, nil)
	noError(t, err)
	var got []string
	for _, d := range differences {
		got = append(got, d.String())
	}
	want := []string{
		"- a-only (file)",
		"+ b-only (file)",
		"M content (content)",
		"M dev (device 1:5, was 1:3)",
		"- gone (directory)",
		"- gone/f (file)",
		"M kind (symlink, was file)",
		"M mode (mode 0755, was 0644)",
		"M several (mode 0600, was 0644, 2 bytes, was 1)",
		"M size (2 bytes, was 1)",
		"M target (leads to new, was to old)",
	}
	if !slices.Equal(got, want) {
		t.Errorf("Diff gives\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	differences, err = workspace.Diff(t.Context(), urlA, urlA, nil)
	if err != nil || len(differences) != 0 {
		t.Errorf("Diff with itself returns %v, %v", differences, err)
	}
	for _, urls := range [][2]string{{urlA, newURL()}, {newURL(), urlA}} {
		_, err = workspace.Diff(t.Context(), urls[0], urls[1], nil)
		wantError(t, err, store.ErrNotExist)
	}
}

// What is a hole in both is equal without being read.
func TestDiffOfHoles(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "b"} {
		f, err := os.Create(dir + "/" + name)
		noError(t, err)
		noError(t, f.Truncate(1<<24))
		_, err = f.WriteAt([]byte("end"), 1<<24-3)
		noError(t, err)
		noError(t, f.Close())
	}
	urls := []string{newURL(), newURL()}
	for _, url := range urls {
		_, err := workspace.Import(t.Context(), dir, url, nil)
		noError(t, err)
	}
	differences, err := workspace.Diff(t.Context(), urls[0], urls[1], nil)
	if err != nil || len(differences) != 0 {
		t.Errorf("Diff returns %v, %v", differences, err)
	}
	f, err := os.OpenFile(dir+"/b", os.O_WRONLY, 0)
	noError(t, err)
	_, err = f.WriteAt([]byte("data"), 1<<23)
	noError(t, err)
	noError(t, f.Close())
	other := newURL()
	_, err = workspace.Import(t.Context(), dir, other, nil)
	noError(t, err)
	for _, pair := range [][2]string{{urls[0], other}, {other, urls[0]}} {
		differences, err = workspace.Diff(t.Context(), pair[0], pair[1], nil)
		if err != nil || len(differences) != 1 || differences[0].String() != "M b (content)" {
			t.Errorf("Diff returns %v, %v", differences, err)
		}
	}
}

func TestVerify(t *testing.T) {
	url := newURL()
	dir := makeAll(t)
	_, err := workspace.Import(t.Context(), dir, url, nil)
	noError(t, err)
	r, err := workspace.Verify(t.Context(), url, nil)
	noError(t, err)
	names := int64(len(paths(t, dir)))
	if r.Names != names || r.Files != 1006 || r.Directories != 6 || r.Symlinks != 2 || r.Others != 1 || r.Files+r.Directories+r.Symlinks+r.Others+1 != names {
		t.Errorf("Verify counts %+v, of %d names", r, names)
	}
	if r.Log == nil || r.Log.Record.Tool != "workdir" || r.Info.Size == 0 {
		t.Errorf("Verify tells of %+v, %+v", r.Info, r.Log)
	}
	if !slices.Equal(r.NotPortable, []string{"dangling", "fifo"}) {
		t.Errorf("not portable are %q", r.NotPortable)
	}
}

// Every flipped bit and every missing end is found, or harms nothing.
func TestVerifyDamaged(t *testing.T) {
	content := tarOf(t, file("f", strings.Repeat("content", 100)), file("g", "x"))
	sound := putArchive(t, content)
	r, err := workspace.Verify(t.Context(), sound, nil)
	noError(t, err)
	if r.Log != nil || len(r.NotPortable) > 0 || r.Files != 2 || r.Bytes != 701 {
		t.Errorf("Verify returns %+v", r)
	}
	for _, at := range []int{0, 30, len(content) / 2, len(content) - 3} {
		damaged := slices.Clone(content)
		damaged[at] ^= 0x10
		_, err := workspace.Verify(t.Context(), putArchive(t, damaged), nil)
		wantError(t, err, archive.ErrFormat)
	}
	for _, to := range []int{0, 5, len(content) / 2, len(content) - 1} {
		_, err := workspace.Verify(t.Context(), putArchive(t, content[:to]), nil)
		wantError(t, err, archive.ErrFormat)
	}
	r, err = workspace.Verify(t.Context(), putArchive(t, append(slices.Clone(content), "garbage"...)), nil)
	if err != nil || len(r.Warnings) != 1 {
		t.Errorf("with something behind it Verify returns %+v, %v", r, err)
	}
	_, err = workspace.Verify(t.Context(), newURL(), nil)
	wantError(t, err, store.ErrNotExist)
}

// A file that is no tar.gz was taken for an archive that another program wrote.
func TestLogOfWhatIsNoArchive(t *testing.T) {
	for _, content := range []string{"no tar.gz, whatever its name", strings.Repeat("\x00", 1000), "PK\x03\x04 a zip, say"} {
		_, _, err := workspace.Log(t.Context(), putArchive(t, []byte(content)))
		wantError(t, err, archive.ErrFormat)
	}
}

// An archive of ours that was cut off was taken for one that another program wrote.
func TestDamagedLog(t *testing.T) {
	url := newURL()
	_, err := workspace.Import(t.Context(), dirWith(t, "f", "content"), url, nil)
	noError(t, err)
	var b bytes.Buffer
	_, err = workspace.ExportArchive(t.Context(), url, &b, nil)
	noError(t, err)
	whole := b.Bytes()
	padded := putArchive(t, append(slices.Clone(whole), make([]byte, 1000)...))
	log, _, err := workspace.Log(t.Context(), padded)
	if err != nil || log.Len() != 1 {
		t.Errorf("with zeros behind it the log is %+v, %v", log, err)
	}
	tarEnd := bytes.Index(whole, []byte("\x1f\x8b\x08\x04"))
	for _, n := range []int{0, 1, 9, 10, tarEnd / 2, tarEnd - 1, tarEnd + 1, tarEnd + 20, len(whole) - 154, len(whole) - 1} {
		_, _, err := workspace.Log(t.Context(), putArchive(t, whole[:n]))
		wantError(t, err, archive.ErrFormat)
	}
	damaged := putArchive(t, append(slices.Clone(whole), "more"...))
	_, err = workspace.Verify(t.Context(), damaged, nil)
	wantError(t, err, archive.ErrFormat)
	_, _, err = workspace.Log(t.Context(), damaged)
	wantError(t, err, archive.ErrFormat)
	var warnings []string
	entries, err := workspace.Tree(t.Context(), damaged, "", &workspace.Options{Warn: collect(&warnings)})
	if err != nil || len(entries) != 1 || len(warnings) != 2 {
		t.Errorf("Tree returns %v, %v and warns %q", entries, err, warnings)
	}
}

func TestLog(t *testing.T) {
	url := putArchive(t, tarOf(t, file("f", "content")))
	log, info, err := workspace.Log(t.Context(), url)
	if log != nil || info.Size == 0 || err != nil {
		t.Errorf("the log of a foreign archive is %+v, %+v, %v", log, info, err)
	}
	var ids []archive.CommitID
	for range 3 {
		done, err := workspace.Import(t.Context(), t.TempDir(), url, &workspace.ImportOptions{ReplaceAny: true})
		noError(t, err)
		ids = append(ids, done.CommitID)
	}
	log, _, err = workspace.Log(t.Context(), url)
	noError(t, err)
	var logged []archive.CommitID
	for r := range log.All() {
		logged = append(logged, r.ID)
	}
	slices.Reverse(ids)
	if log.Record.Parent != ids[1] || !slices.Equal(logged, ids) {
		t.Errorf("the log has %v, of the commits %v", logged, ids)
	}
	_, _, err = workspace.Log(t.Context(), newURL())
	wantError(t, err, store.ErrNotExist)
}
