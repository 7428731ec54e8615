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

func open(t *testing.T, dir string) *fsdir.Dir {
	t.Helper()
	d, err := fsdir.OpenDir(dir)
	check(t, err)
	t.Cleanup(d.Close)
	return d
}

func take(t *testing.T, dir string) *fsdir.Snapshot {
	t.Helper()
	d := open(t, dir)
	s, err := d.Take(t.Context(), false)
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

func TestClear(t *testing.T) {
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
	check(t, open(t, dir).Clear())
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("after Clear: %v, %v", entries, err)
	}
	if _, err := os.Stat(outside + "/kept"); err != nil {
		t.Errorf("something outside was removed: %v", err)
	}
}

// The owner of a parent directory can redirect the path; the directory that was opened must
// stay the same.
func TestDirStaysWhatWasOpened(t *testing.T) {
	top := t.TempDir()
	check(t, os.MkdirAll(top+"/mine/ws/sub", 0o755))
	check(t, os.MkdirAll(top+"/victim/ws", 0o755))
	write(t, top+"/victim/ws/kept", "content")
	d := open(t, top+"/mine/ws")
	check(t, os.Rename(top+"/mine", top+"/moved"))
	check(t, os.Symlink(top+"/victim", top+"/mine"))
	check(t, d.Clear())
	if _, err := os.Stat(top + "/victim/ws/kept"); err != nil {
		t.Errorf("another directory was cleared: %v", err)
	}
	if empty, err := d.IsEmpty(); !empty || err != nil {
		t.Errorf("IsEmpty = %v, %v", empty, err)
	}
	if _, err := fsdir.OpenCanonical(top + "/mine/ws"); !errors.Is(err, unix.ENOTDIR) {
		t.Errorf("OpenCanonical through a link: %v, want ENOTDIR", err)
	}
	again, err := fsdir.OpenCanonical(top + "/moved/ws")
	check(t, err)
	again.Close()
}

func TestClearGoesIntoNoMount(t *testing.T) {
	victim, dir := t.TempDir(), t.TempDir()
	write(t, victim+"/kept", "content")
	check(t, os.MkdirAll(dir+"/sub/bound", 0o755))
	write(t, dir+"/sub/file", "content")
	check(t, unix.Mount(victim, dir+"/sub/bound", "", unix.MS_BIND, "")) // the same file system, so the device number does not reveal it
	defer func() { check(t, unix.Unmount(dir+"/sub/bound", 0)) }()
	if err := open(t, dir).Clear(); !errors.Is(err, unix.EXDEV) {
		t.Errorf("Clear = %v, want EXDEV", err)
	}
	if _, err := os.Stat(victim + "/kept"); err != nil {
		t.Errorf("what is mounted there was cleared: %v", err)
	}
	if _, err := os.Stat(dir + "/sub/file"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what could be removed was not: %v", err)
	}
}

// fewDescriptors lets this process open only a few more descriptors.
func fewDescriptors(t *testing.T, more int) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	check(t, err)
	var was unix.Rlimit
	check(t, unix.Getrlimit(unix.RLIMIT_NOFILE, &was))
	few := was
	few.Cur = uint64(len(fds) + more)
	check(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &few))
	t.Cleanup(func() { check(t, unix.Setrlimit(unix.RLIMIT_NOFILE, &was)) })
}

// deepDir makes directories nested in one another.
func deepDir(t *testing.T, dir string, depth int) {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_PATH, 0)
	check(t, err)
	for range depth {
		check(t, unix.Mkdirat(fd, "d", 0o755))
		next, err := unix.Openat(fd, "d", unix.O_PATH, 0)
		check(t, err)
		check(t, unix.Close(fd))
		fd = next
	}
	check(t, unix.Close(fd))
}

// Each level once took a descriptor.
func TestDeepDirectories(t *testing.T) {
	const archived, deeper = 500, 3000 // levels; an archive has paths of 4,095 bytes
	dir, copied := t.TempDir(), t.TempDir()
	deepDir(t, dir, archived)
	d, into := open(t, dir), open(t, copied)
	fewDescriptors(t, 30)
	before, err := d.Take(t.Context(), false)
	check(t, err)
	files, err := d.Files()
	check(t, err)
	defer files.Close()
	home, err := fs.NewArenaHome(1 << 20)
	check(t, err)
	tree, err := fs.New(home, nil)
	check(t, err)
	check(t, files.Load(t.Context(), tree, nil))
	if n, err := into.Unpack(t.Context(), tree, nil); n != archived || err != nil {
		t.Errorf("Unpack = %d, %v", n, err)
	}
	after, err := into.Take(t.Context(), false)
	check(t, err)
	if before.Len() != archived+1 || after.Len() != archived+1 {
		t.Errorf("%d and %d directories, want %d", before.Len(), after.Len(), archived+1)
	}
	check(t, d.Clear())
	deepDir(t, dir, deeper)
	var long *fs.TooLongError
	if _, err := d.Take(t.Context(), false); !errors.As(err, &long) || !errors.Is(err, unix.ENAMETOOLONG) {
		t.Errorf("Take of what no archive can hold: %v, want a *TooLongError", err)
	}
	check(t, d.Clear())
	if empty, err := d.IsEmpty(); !empty || err != nil {
		t.Errorf("after Clear: %v, %v", empty, err)
	}
}
