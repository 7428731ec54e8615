package workspace_test

import (
	"archive/tar"
	"bytes"
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/workspace"
)

func collect(into *[]string) func(archive.Warning) {
	return func(w archive.Warning) { *into = append(*into, w.String()) }
}

// Nothing in an archive leads out of the directory that it is exported to.
func TestExportHostile(t *testing.T) {
	tests := []struct {
		name    string
		headers []tar.Header
		want    error // nil: made, within the directory
	}{
		{"parent", []tar.Header{file("../escaped", "x")}, archive.ErrFormat},
		{"parent within", []tar.Header{file("a/../../escaped", "x")}, archive.ErrFormat},
		{"absolute", []tar.Header{file("/tmp/escaped", "x")}, nil},
		{"absolute parent", []tar.Header{file("/../tmp/escaped", "x")}, archive.ErrFormat},
		{"through a link", []tar.Header{symlink("dir", "../outside"), file("dir/escaped", "x")}, archive.ErrFormat},
		{"through an absolute link", []tar.Header{symlink("dir", "/tmp"), file("dir/escaped", "x")}, archive.ErrFormat},
		{"link, then directory", []tar.Header{symlink("dir", "../outside"), {Typeflag: tar.TypeDir, Name: "dir/", Mode: 0o755}, file("dir/escaped", "x")}, nil},
		{"link, then file", []tar.Header{symlink("f", "../outside/f"), file("f", "x")}, nil},
		{"hard link to a link", []tar.Header{symlink("l", "../outside/kept"), {Typeflag: tar.TypeLink, Name: "h", Linkname: "l"}}, nil},
		{"hard link out", []tar.Header{{Typeflag: tar.TypeLink, Name: "h", Linkname: "../outside/kept"}}, archive.ErrFormat},
		{"device", []tar.Header{{Typeflag: tar.TypeChar, Name: "null", Devmajor: 1, Devminor: 3}}, archive.ErrFormat},
		{"links only", []tar.Header{symlink("a", "/etc/passwd"), symlink("b", "../../.."), symlink("loop", "loop")}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			top := t.TempDir()
			noError(t, os.Mkdir(top+"/outside", 0o700))
			noError(t, os.WriteFile(top+"/outside/kept", []byte("kept"), 0o600))
			url := putArchive(t, tarOf(t, test.headers...))
			_, err := workspace.Export(t.Context(), url, top+"/out", nil)
			wantError(t, err, test.want)
			_, statErr := os.Lstat(top + "/out")
			if exists := statErr == nil; exists != (test.want == nil) {
				t.Errorf("the directory is there: %v, after %v", exists, err)
			}
			if got := paths(t, top+"/outside"); !slices.Equal(got, []string{"kept"}) {
				t.Errorf("outside there is %q", got)
			}
			if st := lstat(t, top+"/outside/kept"); st.Nlink != 1 {
				t.Error("outside there is a file that was linked")
			}
			if _, err := os.Lstat("/tmp/escaped"); err == nil {
				t.Error("a file was made in /tmp")
			}
		})
	}
}

// A program in an archive does not get the rights of who exports it.
func TestExportSetuid(t *testing.T) {
	suid := file("suid", "x")
	suid.Mode, suid.Uid, suid.Gid = 0o6755, 1234, 4321
	dir := tar.Header{Typeflag: tar.TypeDir, Name: "dir/", Mode: 0o3775, Uid: 1234, Gid: 4321}
	url := putArchive(t, tarOf(t, dir, suid))
	for _, keep := range []bool{false, true} {
		var warnings []string
		out := filepath.Join(t.TempDir(), "out")
		_, err := workspace.Export(t.Context(), url, out, &workspace.ExportOptions{KeepOwner: keep, Options: workspace.Options{Warn: collect(&warnings)}})
		noError(t, err)
		st := lstat(t, out+"/suid")
		if warned := len(warnings) == 1; warned == keep {
			t.Errorf("keeping owners %v: the warnings are %q", keep, warnings)
		}
		if keep && (st.Mode&0o7777 != 0o6755 || st.Uid != 1234 || st.Gid != 4321) {
			t.Errorf("kept: mode %o of %d:%d", st.Mode, st.Uid, st.Gid)
		}
		if !keep && (st.Mode&0o7777 != 0o755 || int(st.Uid) != os.Geteuid()) {
			t.Errorf("not kept: mode %o of %d", st.Mode, st.Uid)
		}
		if st := lstat(t, out+"/dir"); st.Mode&0o7777 != 0o3775 {
			t.Errorf("the directory has mode %o", st.Mode)
		}
	}
}

func TestExportDevices(t *testing.T) {
	url := putArchive(t, tarOf(t, tar.Header{Typeflag: tar.TypeChar, Name: "null", Devmajor: 1, Devminor: 3, Mode: 0o666}))
	out := filepath.Join(t.TempDir(), "out")
	_, err := workspace.Export(t.Context(), url, out, &workspace.ExportOptions{Devices: true})
	noError(t, err)
	if st := lstat(t, out+"/null"); st.Mode != unix.S_IFCHR|0o666 || st.Rdev != unix.Mkdev(1, 3) {
		t.Errorf("the device has mode %o and number %x", st.Mode, st.Rdev)
	}
	entries, err := workspace.Tree(t.Context(), url, "", nil)
	if err != nil || len(entries) != 1 || entries[0].Device != "1:3" {
		t.Errorf("Tree returns %+v, %v", entries, err)
	}
}

func TestExportTarget(t *testing.T) {
	url := putArchive(t, tarOf(t, file("f", "content")))
	dir := t.TempDir()
	noError(t, os.WriteFile(dir+"/file", nil, 0o600))
	noError(t, os.Mkdir(dir+"/full", 0o700))
	noError(t, os.WriteFile(dir+"/full/x", nil, 0o600))
	noError(t, os.Mkdir(dir+"/empty", 0o751))
	for _, name := range []string{"/file", "/full"} {
		_, err := workspace.Export(t.Context(), url, dir+name, nil)
		wantError(t, err, workspace.ErrTarget)
	}
	if got := paths(t, dir+"/full"); !slices.Equal(got, []string{"x"}) {
		t.Errorf("there is %q", got)
	}
	_, err := workspace.Export(t.Context(), url, dir+"/no/parent", nil)
	wantError(t, err, os.ErrNotExist)
	_, err = workspace.Export(t.Context(), newURL(), dir+"/none", nil)
	wantError(t, err, store.ErrNotExist)
	if _, err := os.Lstat(dir + "/none"); err == nil {
		t.Error("a directory was made for a workspace that there is not")
	}
	_, err = workspace.Export(t.Context(), url, dir+"/empty", nil)
	noError(t, err)
	if st := lstat(t, dir+"/empty"); st.Mode&0o777 != 0o751 {
		t.Errorf("a directory that was there has mode %o now", st.Mode)
	}
	sameContentAs(t, dir+"/empty/f", "content")
}

func sameContentAs(t *testing.T, path, want string) {
	t.Helper()
	got, err := os.ReadFile(path)
	noError(t, err)
	if string(got) != want {
		t.Errorf("%s holds %.100q, want %.100q", path, got, want)
	}
}

// An export that is cancelled, or finds no room, leaves nothing behind.
func TestExportFails(t *testing.T) {
	big := strings.Repeat("0123456789abcdef", 1<<16)
	url := putArchive(t, tarOf(t, file("a/f", "content"), file("a/g", big)))
	for _, there := range []bool{false, true} {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		dir := filepath.Join(t.TempDir(), "out")
		if there {
			noError(t, os.Mkdir(dir, 0o700))
		}
		opts := &workspace.ExportOptions{Options: workspace.Options{Progress: func(p workspace.Progress) {
			if p.Phase == workspace.Writing {
				cancel()
			}
		}}}
		_, err := workspace.Export(ctx, url, dir, opts)
		wantError(t, err, context.Canceled)
		if _, err := os.Lstat(dir); (err == nil) != there {
			t.Errorf("the directory is there: %v", err == nil)
		}
		if there && len(paths(t, dir)) > 0 {
			t.Errorf("there is %q", paths(t, dir))
		}
	}
}

func TestExportFile(t *testing.T) {
	content := tarOf(t, file("f", "content"))
	url := putArchive(t, content)
	dir := t.TempDir()
	path := dir + "/copy.tar.gz"
	done, err := workspace.ExportFile(t.Context(), url, path, nil)
	noError(t, err)
	if done.Bytes != int64(len(content)) {
		t.Errorf("ExportFile returns %+v", done)
	}
	sameContentAs(t, path, string(content))
	noError(t, os.WriteFile(path, []byte("mine"), 0o600))
	_, err = workspace.ExportFile(t.Context(), url, path, nil)
	wantError(t, err, workspace.ErrTarget)
	sameContentAs(t, path, "mine")
	_, err = workspace.ExportFile(t.Context(), url, path, &workspace.ExportOptions{Replace: true})
	noError(t, err)
	sameContentAs(t, path, string(content))

	content[len(content)/2] ^= 1
	damaged := putArchive(t, content)
	_, err = workspace.ExportFile(t.Context(), damaged, dir+"/damaged.tar.gz", nil)
	wantError(t, err, archive.ErrFormat)
	if got := paths(t, dir); !slices.Equal(got, []string{"copy.tar.gz"}) {
		t.Errorf("there is %q", got)
	}
}

func TestExportArchive(t *testing.T) {
	// What follows the archive is no part of it, and still is of the bytes.
	content := append(tarOf(t, file("f", "content")), "trailing garbage"...)
	url := putArchive(t, content)
	var out bytes.Buffer
	_, err := workspace.ExportArchive(t.Context(), url, &out, nil)
	noError(t, err)
	if !bytes.Equal(out.Bytes(), content) {
		t.Errorf("%d bytes were written, want %d", out.Len(), len(content))
	}
	_, err = workspace.ExportArchive(t.Context(), url, failing{}, nil)
	wantError(t, err, os.ErrClosed)
}

type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, os.ErrClosed }

// Times far from now are kept as the file system can.
func TestExportTimes(t *testing.T) {
	old := file("old", "x")
	old.ModTime = time.Unix(-1e9, 5)
	url := putArchive(t, tarOf(t, old))
	out := filepath.Join(t.TempDir(), "out")
	_, err := workspace.Export(t.Context(), url, out, nil)
	noError(t, err)
	if st := lstat(t, out+"/old"); st.Mtim.Sec != -1e9 || st.Mtim.Nsec != 5 {
		t.Errorf("the time is %v", st.Mtim)
	}
}

// An ordinary user gets directories that are closed to that user, with all that is
// in them, and a hard link out of one.
func TestExportAsUser(t *testing.T) {
	closed := dirHeader("closed")
	closed.Mode = 0o400
	top, url := openDirectory(t), "file://"+openDirectory(t)+"/key"
	putAt(t, url, tarOf(t, closed, dirHeader("closed/in"), file("closed/in/f", "content"), hardLink("z", "closed/in/f")))
	opts := &workspace.ExportOptions{Options: workspace.Options{TempDir: openDirectory(t)}}
	asNobody(t, func() {
		if _, err := workspace.Export(t.Context(), url, top+"/out", opts); err != nil {
			t.Error(err)
		}
		opts.KeepOwner = true
		_, err := workspace.Export(t.Context(), url, top+"/kept", opts)
		if os.Geteuid() == 0 { // else the owner is this user
			wantError(t, err, unix.EPERM)
			wantText(t, err, "only root can keep owners")
		}
	})
	st := lstat(t, top+"/out/closed")
	if f := lstat(t, top+"/out/closed/in/f"); st.Mode&0o777 != 0o400 || f.Nlink != 2 || f.Ino != lstat(t, top+"/out/z").Ino {
		t.Errorf("the directory has mode %o, the file %d links", st.Mode, f.Nlink)
	}
	if got := paths(t, top); slices.Contains(got, "kept/") {
		t.Error("the export that failed left its directory")
	}
}

// The names of a symbolic link or a FIFO became one inode each.
func TestExportHardLinks(t *testing.T) {
	url := putArchive(t, tarOf(t,
		file("f", "x"), hardLink("f2", "f"), symlink("l", "nowhere"), hardLink("l2", "l"),
		tar.Header{Typeflag: tar.TypeFifo, Name: "p"}, dirHeader("d"), hardLink("d/p2", "p")))
	dir := t.TempDir() + "/out"
	_, err := workspace.Export(t.Context(), url, dir, nil)
	noError(t, err)
	for _, names := range [][2]string{{"f", "f2"}, {"l", "l2"}, {"p", "d/p2"}} {
		a, b := lstat(t, dir+"/"+names[0]), lstat(t, dir+"/"+names[1])
		if a.Ino != b.Ino || a.Nlink != 2 {
			t.Errorf("%v are not two names of one", names)
		}
	}
}
