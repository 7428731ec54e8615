package mount

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/archive"
)

func TestOwner(t *testing.T) {
	f := newFixture(t)
	m := f.open("k", &Options{AllowOther: !f.plain})
	f.write(m, "name", "content")
	if err := os.Chown(m.Path("name"), 1234, 2345); err != nil {
		t.Fatal(err)
	}
	f.close(m, true)
	tests := []struct {
		name string
		opts Options
		uid  uint32
		gid  uint32
	}{
		{"the one who mounts", Options{}, 0, 0},
		{"the archive's", Options{Owner: &Owner{Keep: true}}, 1234, 2345},
		{"another", Options{Owner: &Owner{UID: 77, GID: 88}}, 77, 88},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := f.open("k", &tt.opts)
			var st unix.Stat_t
			if err := unix.Stat(m.Path("name"), &st); err != nil {
				t.Fatal(err)
			}
			if st.Uid != tt.uid || st.Gid != tt.gid {
				t.Errorf("owner = %d:%d, want %d:%d", st.Uid, st.Gid, tt.uid, tt.gid)
			}
			f.close(m, false)
		})
	}
}

func TestMountFlags(t *testing.T) {
	f := newFixture(t)
	tests := []struct {
		name      string
		opts      Options
		want, not []string
	}{
		{"by default", Options{}, []string{"nosuid", "nodev"}, []string{"allow_other"}},
		{"all", Options{Suid: true, Dev: true}, nil, []string{"nosuid", "nodev"}},
		{"FUSE", Options{View: ViewFUSE}, []string{"nosuid", "nodev"}, []string{"allow_other"}},
		{"FUSE, all", Options{View: ViewFUSE, AllowOther: true, Suid: true, Dev: true}, []string{"allow_other"}, []string{"nosuid", "nodev"}},
		{"read-only", Options{ReadOnly: true, Presence: MayBeAbsent}, []string{"ro"}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := f.open("k", &tt.opts)
			b, err := os.ReadFile("/proc/self/mounts")
			if err != nil {
				t.Fatal(err)
			}
			var opts string
			for line := range strings.Lines(string(b)) {
				if fields := strings.Fields(line); fields[1] == m.Path() {
					opts = "," + fields[3] + ","
				}
			}
			for _, o := range tt.want {
				if !strings.Contains(opts, ","+o+",") {
					t.Errorf("options %s lack %s", opts, o)
				}
			}
			for _, o := range tt.not {
				if strings.Contains(opts, ","+o+",") {
					t.Errorf("options %s have %s", opts, o)
				}
			}
			f.close(m, false)
		})
	}
}

func TestDeviceNodesByOption(t *testing.T) {
	f := newFixture(t)
	m := f.open("k", &Options{Dev: true})
	if err := unix.Mknod(m.Path("null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(m.Path("null"), []byte("gone"), 0); err != nil {
		t.Errorf("write to a device node: %v", err)
	}
	f.close(m, true)
	if _, err := f.tryOpen("k", nil); !errors.Is(err, archive.ErrFormat) {
		t.Errorf("Open without the option = %v, want ErrFormat", err)
	}
	m = f.open("k", &Options{Dev: true})
	var st unix.Stat_t
	if err := unix.Stat(m.Path("null"), &st); err != nil || st.Rdev != unix.Mkdev(1, 3) {
		t.Errorf("device = %#x, %v", st.Rdev, err)
	}
	f.close(m, false)
}

func TestSpill(t *testing.T) {
	f := newFixture(t)
	spill := t.TempDir()
	content := strings.Repeat("0123456789abcdef", 1<<18) // 4 MiB
	m := f.open("k", &Options{MaxBytes: 1 << 20, Spill: spill})
	f.write(m, "big", content)
	if err := syscall.Access(m.Path("big"), 0); err != nil {
		t.Fatal(err)
	}
	f.close(m, true)
	m = f.open("k", &Options{MaxBytes: 1 << 20, Spill: spill})
	got, err := os.ReadFile(m.Path("big"))
	if err != nil || string(got) != content {
		t.Errorf("read %d bytes, %v", len(got), err)
	}
	f.close(m, false)
	waitFor(t, "the spill directory to be empty", func() bool {
		left, err := filepath.Glob(filepath.Join(spill, ".*"))
		return err == nil && len(left) == 0
	})
	if _, err := f.tryOpen("k", &Options{Spill: filepath.Join(spill, "missing")}); !errors.Is(err, ErrCannotMount) {
		t.Errorf("Open = %v, want ErrCannotMount", err)
	}
}

// A read-only mount is the kernel's: nothing gets through, for root neither.
func TestReadOnlyRefusesEverything(t *testing.T) {
	f := newFixture(t)
	f.commit("k", "name", "content")
	before := f.bytes("k")
	m := f.open("k", &Options{ReadOnly: true})
	name, other := m.Path("name"), m.Path("other")
	tests := map[string]func() error{
		"open for writing":  func() error { _, err := unix.Open(name, unix.O_RDWR, 0); return err },
		"open to truncate":  func() error { _, err := unix.Open(name, unix.O_RDONLY|unix.O_TRUNC, 0); return err },
		"create":            func() error { _, err := unix.Open(other, unix.O_CREAT|unix.O_RDONLY, 0o644); return err },
		"temporary file":    func() error { _, err := unix.Open(m.Path(), unix.O_TMPFILE|unix.O_RDWR, 0o644); return err },
		"truncate":          func() error { return unix.Truncate(name, 0) },
		"mkdir":             func() error { return unix.Mkdir(other, 0o755) },
		"mkfifo":            func() error { return unix.Mkfifo(other, 0o644) },
		"symlink":           func() error { return unix.Symlink("x", other) },
		"link":              func() error { return unix.Link(name, other) },
		"rename":            func() error { return unix.Rename(name, other) },
		"unlink":            func() error { return unix.Unlink(name) },
		"chmod":             func() error { return unix.Chmod(name, 0o600) },
		"chown":             func() error { return unix.Chown(name, 1, 1) },
		"utimes":            func() error { return unix.Utimes(name, make([]unix.Timeval, 2)) },
		"set an attribute":  func() error { return unix.Setxattr(name, "user.x", []byte("x"), 0) },
		"drop an attribute": func() error { return unix.Removexattr(name, "user.x") },
	}
	for what, do := range tests {
		if err := do(); !errors.Is(err, unix.EROFS) {
			t.Errorf("%s: %v, want EROFS", what, err)
		}
	}
	fd, err := unix.Open(name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unix.Mmap(fd, 0, 4096, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED); !errors.Is(err, unix.EACCES) {
		t.Errorf("shared mapping for writing: %v, want EACCES", err)
	}
	if err := unix.Close(fd); err != nil {
		t.Error(err)
	}
	f.close(m, false)
	if string(f.bytes("k")) != string(before) {
		t.Error("the archive changed")
	}
}
