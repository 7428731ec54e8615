package fsdir_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/fs"
	"github.com/workdir/workdir/fs/fsdir"
)

func write(t *testing.T, path, content string) {
	t.Helper()
	check(t, os.WriteFile(path, []byte(content), 0o644))
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func take(t *testing.T, dir string) *fsdir.Snapshot {
	t.Helper()
	s, err := fsdir.Take(t.Context(), dir, false)
	check(t, err)
	check(t, s.Settle(t.Context()))
	return s
}

func TestChanges(t *testing.T) {
	tests := []struct {
		name  string
		do    func(t *testing.T, dir string)
		want  fs.Changes
		equal bool
	}{
		{"nothing", func(t *testing.T, dir string) {
			_, err := os.ReadFile(filepath.Join(dir, "file"))
			check(t, err)
		}, fs.Changes{}, true},
		{"made", func(t *testing.T, dir string) { write(t, dir+"/new", "12345") }, fs.Changes{Created: 1, Bytes: 5}, false},
		{"made and removed", func(t *testing.T, dir string) {
			write(t, dir+"/new", "12345")
			check(t, os.Remove(dir+"/new"))
		}, fs.Changes{}, false},
		{"removed", func(t *testing.T, dir string) { check(t, os.Remove(dir+"/sub/file")) }, fs.Changes{Removed: 1}, false},
		{"replaced", func(t *testing.T, dir string) {
			write(t, dir+"/new", "123")
			check(t, os.Rename(dir+"/new", dir+"/file"))
		}, fs.Changes{Created: 1, Removed: 1, Bytes: 3}, false},
		{"number used again", func(t *testing.T, dir string) {
			check(t, os.Remove(dir+"/file"))
			write(t, dir+"/file", "123")
		}, fs.Changes{Created: 1, Removed: 1, Bytes: 3}, false},
		{"written", func(t *testing.T, dir string) { write(t, dir+"/file", "xy") }, fs.Changes{Modified: 1, Bytes: 2}, false},
		{"written as it was", func(t *testing.T, dir string) {
			var st unix.Stat_t
			check(t, unix.Stat(dir+"/file", &st))
			write(t, dir+"/file", "other12")
			check(t, unix.UtimesNanoAt(unix.AT_FDCWD, dir+"/file", []unix.Timespec{st.Atim, st.Mtim}, 0))
		}, fs.Changes{Modified: 1, Bytes: 7}, false},
		{"mode of a directory", func(t *testing.T, dir string) { check(t, os.Chmod(dir+"/sub", 0o700)) }, fs.Changes{Modified: 1}, false},
		{"mode of the root", func(t *testing.T, dir string) { check(t, os.Chmod(dir, 0o711)) }, fs.Changes{Modified: 1}, false},
		{"renamed directory", func(t *testing.T, dir string) { check(t, os.Rename(dir+"/sub", dir+"/other")) }, fs.Changes{Modified: 1}, false},
		{"second name", func(t *testing.T, dir string) { check(t, os.Link(dir+"/file", dir+"/second")) }, fs.Changes{Modified: 1, Bytes: 7}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			check(t, os.Mkdir(dir+"/sub", 0o755))
			write(t, dir+"/file", "content")
			write(t, dir+"/sub/file", "content")
			before := take(t, dir)
			tt.do(t, dir)
			after := take(t, dir)
			if got := before.Changes(after); got != tt.want {
				t.Errorf("changes = %+v, want %+v", got, tt.want)
			}
			if got := before.Equal(after); got != tt.equal {
				t.Errorf("equal = %v, want %v", got, tt.equal)
			}
		})
	}
}

func TestRemove(t *testing.T) {
	outside := t.TempDir()
	write(t, outside+"/kept", "content")
	dir := filepath.Join(t.TempDir(), "dir")
	check(t, os.MkdirAll(dir+"/closed/inner", 0o755))
	write(t, dir+"/closed/inner/file", "content")
	check(t, os.Symlink(outside, dir+"/closed/inner/link"))
	check(t, os.Symlink(outside+"/kept", dir+"/link"))
	check(t, unix.Mkfifo(dir+"/fifo", 0o600))
	check(t, os.Chmod(dir+"/closed/inner", 0))
	check(t, os.Chmod(dir+"/closed", 0o500))
	check(t, fsdir.Clear(dir))
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("after Clear: %v, %v", entries, err)
	}
	for range 2 {
		check(t, fsdir.Remove(dir))
	}
	if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after Remove: %v", err)
	}
	if _, err := os.Stat(outside + "/kept"); err != nil {
		t.Errorf("something outside was removed: %v", err)
	}
}

func TestRemoveFollowsNoLink(t *testing.T) {
	outside := t.TempDir()
	write(t, outside+"/kept", "content")
	link := filepath.Join(t.TempDir(), "link")
	check(t, os.Symlink(outside, link))
	if err := fsdir.Remove(link); err == nil {
		t.Error("Remove of a link gave no error")
	}
	if _, err := os.Stat(outside + "/kept"); err != nil {
		t.Errorf("something outside was removed: %v", err)
	}
}
