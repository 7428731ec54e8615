package workspace_test

import (
	"archive/tar"
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/workspace"
)

func dirWith(t *testing.T, name, content string) string {
	t.Helper()
	dir := t.TempDir()
	noError(t, os.WriteFile(dir+"/"+name, []byte(content), 0o644))
	return dir
}

func catString(t *testing.T, url, path string) string {
	t.Helper()
	var out bytes.Buffer
	_, err := workspace.Cat(t.Context(), url, []string{path}, &out, nil)
	noError(t, err)
	return out.String()
}

func TestImportConditions(t *testing.T) {
	url := newURL()
	_, err := workspace.Import(t.Context(), dirWith(t, "f", "0"), url, &workspace.ImportOptions{Replace: "r"})
	wantError(t, err, store.ErrConflict)
	first, err := workspace.Import(t.Context(), dirWith(t, "f", "1"), url, nil)
	noError(t, err)
	for _, opts := range []*workspace.ImportOptions{nil, {Replace: "another"}} {
		_, err = workspace.Import(t.Context(), dirWith(t, "f", "2"), url, opts)
		wantError(t, err, store.ErrConflict)
		wantText(t, err, url, string(first.Info.Revision))
	}
	if got := catString(t, url, "f"); got != "1" {
		t.Errorf("the workspace holds %q", got)
	}
	second, err := workspace.Import(t.Context(), dirWith(t, "f", "3"), url, &workspace.ImportOptions{Replace: first.Info.Revision})
	noError(t, err)
	log, _, err := workspace.Log(t.Context(), url)
	if err != nil || log.Record.ID != second.CommitID || !log.Has(first.CommitID) {
		t.Errorf("the log is %+v, %v", log, err)
	}
}

// An archive that cannot be read can be replaced all the same.
func TestImportOverDamaged(t *testing.T) {
	url := newURL()
	_, err := workspace.Import(t.Context(), dirWith(t, "f", "old"), url, nil)
	noError(t, err)
	var b bytes.Buffer
	_, err = workspace.ExportArchive(t.Context(), url, &b, nil)
	noError(t, err)
	b.Bytes()[b.Len()-50] ^= 1 // within the footer
	damaged := putArchive(t, b.Bytes())
	var warnings []string
	_, err = workspace.Import(t.Context(), dirWith(t, "f", "new"), damaged, &workspace.ImportOptions{ReplaceAny: true, Options: workspace.Options{Warn: collect(&warnings)}})
	noError(t, err)
	if len(warnings) != 1 || catString(t, damaged, "f") != "new" {
		t.Errorf("the warnings are %q", warnings)
	}
	// Steps that were committed before are not to be done again.
	log, _, err := workspace.Log(t.Context(), damaged)
	noError(t, err)
	if log.Len() != 1 || log.Record.Parent == "" {
		t.Errorf("the log upon the damaged one is %+v", log.Record)
	}
}

func TestImportArchive(t *testing.T) {
	content := tarOf(t, file("./d/f", "content"), symlink("l", "d/f"), hardLink("h", "d/f"))
	path := filepath.Join(t.TempDir(), "foreign.tgz")
	noError(t, os.WriteFile(path, content, 0o600))
	byFile, byReader := newURL(), newURL()
	_, err := workspace.Import(t.Context(), path, byFile, nil)
	noError(t, err)
	_, err = workspace.ImportArchive(t.Context(), bytes.NewReader(content), byReader, nil)
	noError(t, err)
	for _, url := range []string{byFile, byReader} {
		differences, err := workspace.Diff(t.Context(), putArchive(t, content), url, nil)
		if err != nil || len(differences) > 0 {
			t.Errorf("Diff returns %v, %v", differences, err)
		}
		r, err := workspace.Verify(t.Context(), url, nil)
		if err != nil || r.Log == nil || r.Files != 1 || r.Names != 4 {
			t.Errorf("Verify returns %+v, %v", r, err)
		}
	}
}

func TestImportRefuses(t *testing.T) {
	damaged := tarOf(t, file("f", "content"))
	damaged[len(damaged)-3] ^= 1
	link := t.TempDir()
	noError(t, os.Symlink("/etc", link+"/l"))
	tests := []struct {
		name string
		do   func(url string) error
		want error
	}{
		{"damaged", func(url string) error {
			_, err := workspace.ImportArchive(t.Context(), bytes.NewReader(damaged), url, nil)
			return err
		}, archive.ErrFormat},
		{"no archive", func(url string) error {
			_, err := workspace.ImportArchive(t.Context(), strings.NewReader("text"), url, nil)
			return err
		}, archive.ErrFormat},
		{"devices", func(url string) error {
			_, err := workspace.ImportArchive(t.Context(), bytes.NewReader(tarOf(t, tar.Header{Typeflag: tar.TypeChar, Name: "null"})), url, nil)
			return err
		}, archive.ErrFormat},
		{"nothing there", func(url string) error {
			_, err := workspace.Import(t.Context(), link+"/none", url, nil)
			return err
		}, os.ErrNotExist},
		{"not portable", func(url string) error {
			_, err := workspace.Import(t.Context(), link, url, &workspace.ImportOptions{Portable: true})
			return err
		}, archive.ErrPortable},
		{"cancelled", func(url string) error {
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_, err := workspace.Import(ctx, link, url, nil)
			return err
		}, context.Canceled},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			url := newURL()
			wantError(t, test.do(url), test.want)
			_, err := store.Stat(t.Context(), url)
			wantError(t, err, store.ErrNotExist)
		})
	}
}

// A file that changes between being found and being packed is an error, since
// half of the old and half of the new would be neither.
func TestImportChanging(t *testing.T) {
	big := strings.Repeat("0123456789abcdef", 5<<16) // more than lies between two calls of Progress
	tests := map[string]func(path string) error{
		"overwritten": func(path string) error { return os.WriteFile(path, []byte(big[1:]+"x"), 0o644) },
		"shorter":     func(path string) error { return os.Truncate(path, 5) },
		"replaced":    func(path string) error { return os.Rename(filepath.Dir(path)+"/third", path) },
		"removed":     os.Remove,
		"a link":      func(path string) error { _ = os.Remove(path); return os.Symlink("/etc/passwd", path) },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			dir, url := dirWith(t, "first", big), newURL()
			noError(t, os.WriteFile(dir+"/second", []byte(big), 0o644))
			noError(t, os.WriteFile(dir+"/third", []byte(big), 0o644))
			changed := false
			opts := &workspace.ImportOptions{Options: workspace.Options{Progress: func(p workspace.Progress) {
				if p.Phase == workspace.Writing && !changed {
					changed = true
					noError(t, change(dir+"/second"))
				}
			}}}
			_, err := workspace.Import(t.Context(), dir, url, opts)
			if err == nil || !changed {
				t.Fatalf("Import returns %v, and the file was changed: %v", err, changed)
			}
			wantText(t, err, `"second": `)
			_, err = store.Stat(t.Context(), url)
			wantError(t, err, store.ErrNotExist)
		})
	}
}

// A link to a directory is a link, and what is behind it is not imported.
func TestImportFollowsNoLinks(t *testing.T) {
	outside, dir, url := dirWith(t, "secret", "x"), t.TempDir(), newURL()
	noError(t, os.Symlink(outside, dir+"/l"))
	_, err := workspace.Import(t.Context(), dir, url, nil)
	noError(t, err)
	entries, err := workspace.Tree(t.Context(), url, "", nil)
	if err != nil || len(entries) != 1 || entries[0].Target != outside {
		t.Errorf("Tree returns %+v, %v", entries, err)
	}
}

func TestImportLeavesSocketsOut(t *testing.T) {
	dir, url := dirWith(t, "f", "content"), newURL()
	l, err := net.Listen("unix", dir+"/s")
	noError(t, err)
	defer l.Close()
	var warnings []string
	_, err = workspace.Import(t.Context(), dir, url, &workspace.ImportOptions{Options: workspace.Options{Warn: collect(&warnings)}})
	noError(t, err)
	if len(warnings) != 1 || !strings.Contains(warnings[0], "sockets are left out") {
		t.Errorf("the warnings are %q", warnings)
	}
	entries, err := workspace.Tree(t.Context(), url, "", nil)
	if err != nil || len(entries) != 1 {
		t.Errorf("Tree returns %+v, %v", entries, err)
	}
}

func TestImportLeavesXattrsOut(t *testing.T) {
	dir, url := dirWith(t, "f", "content"), newURL()
	for _, name := range []string{"trusted.a", "trusted.b", "user.c"} {
		noError(t, unix.Setxattr(dir+"/f", name, []byte("x"), 0))
	}
	var warnings []string
	_, err := workspace.Import(t.Context(), dir, url, &workspace.ImportOptions{Options: workspace.Options{Warn: collect(&warnings)}})
	noError(t, err)
	if len(warnings) != 1 || warnings[0] != `"f": extended attributes "trusted".* are left out` {
		t.Errorf("the warnings are %q", warnings)
	}
}

func TestImportDevices(t *testing.T) {
	dir, url := t.TempDir(), newURL()
	noError(t, unix.Mknod(dir+"/null", unix.S_IFCHR|0o600, int(unix.Mkdev(1, 3))))
	_, err := workspace.Import(t.Context(), dir, url, nil)
	wantError(t, err, archive.ErrFormat)
	_, err = workspace.Import(t.Context(), dir, url, &workspace.ImportOptions{Devices: true})
	noError(t, err)
	entries, err := workspace.Tree(t.Context(), url, "", nil)
	if err != nil || len(entries) != 1 || entries[0].Device != "1:3" {
		t.Errorf("Tree returns %+v, %v", entries, err)
	}
}

// A path that is longer than any archive can hold is refused, before descriptors
// run out.
func TestImportDeep(t *testing.T) {
	dir := t.TempDir()
	at, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY, 0)
	noError(t, err)
	name := strings.Repeat("d", 200)
	for range 30 {
		noError(t, unix.Mkdirat(at, name, 0o700))
		next, err := unix.Openat(at, name, unix.O_RDONLY|unix.O_DIRECTORY, 0)
		noError(t, err)
		noError(t, unix.Close(at))
		at = next
	}
	noError(t, unix.Close(at))
	_, err = workspace.Import(t.Context(), dir, newURL(), nil)
	wantError(t, err, archive.ErrLimit)
}

// More content of an archive without an index than is kept in memory goes to the
// temporary directory, and nothing of it stays there.
func TestSpill(t *testing.T) {
	dir, temp := t.TempDir(), t.TempDir()
	chunk := []byte(strings.Repeat("0123456789abcdef", 1<<16))
	for _, name := range []string{"a", "b"} {
		f, err := os.Create(dir + "/" + name)
		noError(t, err)
		for range 40 {
			_, err = f.Write(chunk)
			noError(t, err)
		}
		noError(t, f.Close())
	}
	var b bytes.Buffer
	pack := exec.Command("tar", "-C", dir, "-cz", ".")
	pack.Stdout = &b
	noError(t, pack.Run())
	url := putArchive(t, b.Bytes())
	spilled := false
	out := filepath.Join(t.TempDir(), "out")
	opts := &workspace.ExportOptions{Options: workspace.Options{TempDir: temp, Progress: func(p workspace.Progress) {
		if p.Phase == workspace.Writing {
			found, _ := filepath.Glob(temp + "/.workdir-spill-*/*")
			spilled = spilled || len(found) > 0
		}
	}}}
	_, err := workspace.Export(t.Context(), url, out, opts)
	noError(t, err)
	sameContent(t, dir+"/b", out+"/b")
	if !spilled {
		t.Error("nothing went to the temporary directory")
	}
	if left := paths(t, temp); len(left) > 0 {
		t.Errorf("left in the temporary directory: %q", left)
	}
}

// An import whose source hangs can be given up.
func TestImportOfHangingReader(t *testing.T) {
	r, w, err := os.Pipe()
	noError(t, err)
	defer r.Close()
	defer w.Close()
	ctx, cancel := context.WithCancel(t.Context())
	_, err = w.Write(tarOf(t, file("f", "content"))[:20])
	noError(t, err)
	go cancel()
	_, err = workspace.ImportArchive(ctx, r, newURL(), nil)
	wantError(t, err, context.Canceled)
}
