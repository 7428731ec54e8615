package overlay

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// newTmpfs makes a tmpfs that is attached nowhere. The end of the test closes it.
func newTmpfs(t *testing.T) int {
	t.Helper()
	ctx, err := newContext("tmpfs")
	if err != nil {
		t.Fatalf("these tests need root: %v", err)
	}
	defer ctx.close()
	fd, err := ctx.mount(0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	return fd
}

func mkdirs(t *testing.T, dir int, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := unix.Mkdirat(dir, name, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

// newConfig makes a lower layer with the directory "base/sub", and a home.
func newConfig(t *testing.T, without ...string) *Config {
	t.Helper()
	cfg := &Config{
		Source: "a workspace", Lower: newTmpfs(t), Home: newTmpfs(t), Metacopy: true,
		Scratch: filepath.Join(t.TempDir(), "scratch: with, \\ characters"), Without: without,
	}
	mkdirs(t, cfg.Lower, "base", "base/sub")
	mkdirs(t, cfg.Home, UpperName, WorkName)
	return cfg
}

// However the layers are named to the kernel, the overlay is the same, and no layer stays
// attached.
func TestMake(t *testing.T) {
	for _, without := range [][]string{nil, {"descriptors"}, {"detached"}} {
		t.Run("without "+strings.Join(without, " "), func(t *testing.T) {
			cfg := newConfig(t, without...)
			before := mountinfo(t)
			o, err := Make(cfg)
			if err != nil {
				t.Fatal(err)
			}
			if now := mountinfo(t); now != before {
				t.Errorf("something is attached:\n%s\nbefore:\n%s", now, before)
			}
			if _, err := os.Lstat(cfg.Scratch); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the scratch directory is there: %v", err)
			}
			dir := t.TempDir()
			if err := o.Attach(dir); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
			checkTable(t, dir, o.Device())
			if err := os.Rename(filepath.Join(dir, "base"), filepath.Join(dir, "moved")); err != nil {
				t.Errorf("a directory of the lower layer cannot be moved: %v", err)
			}
			if err := unix.Faccessat(cfg.Home, UpperName+"/moved", unix.F_OK, 0); err != nil {
				t.Errorf("upper: %v", err)
			}
			if _, err := os.Lstat(filepath.Join(dir, "moved", "sub")); err != nil {
				t.Error(err)
			}
			if err := unix.Unmount(dir, unix.UMOUNT_NOFOLLOW); err != nil {
				t.Error(err)
			}
		})
	}
}

func mountinfo(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	var ours []string // other tests also mount
	for line := range strings.Lines(string(b)) {
		if strings.Contains(line, "TestMake") {
			ours = append(ours, line)
		}
	}
	return strings.Join(ours, "")
}

// checkTable looks for the overlay in the mount table.
func checkTable(t *testing.T, dir, device string) {
	t.Helper()
	for line := range strings.Lines(mountinfo(t)) {
		fields := strings.Fields(line)
		if fields[4] != dir {
			continue
		}
		if fields[2] != device || !strings.Contains(line, ` - overlay a\040workspace `) || !strings.Contains(line, "nosuid,nodev") {
			t.Errorf("device %s is shown as %s", device, line)
		}
		return
	}
	t.Error("the overlay is not in the mount table")
}

func TestMakeUnsupported(t *testing.T) {
	for _, feature := range []string{"overlay", "user xattrs"} {
		t.Run(feature, func(t *testing.T) {
			o, err := Make(newConfig(t, feature))
			var why *Unsupported
			if !errors.As(err, &why) || why.Why == "" {
				t.Fatalf("%v, %v; want an *Unsupported", o, err)
			}
			t.Log(err)
		})
	}
}

func TestReadOnly(t *testing.T) {
	o, err := Make(newConfig(t))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := o.Attach(dir); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Unmount(dir, unix.MNT_DETACH) }()
	f, err := os.Create(filepath.Join(dir, "f"))
	if err != nil {
		t.Fatal(err)
	}
	if err := ReadOnly(dir); !errors.Is(err, unix.EBUSY) {
		t.Errorf("with a writer: %v, want EBUSY", err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	if err := ReadOnly(dir); err != nil {
		t.Error(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "d"), 0o700); !errors.Is(err, unix.EROFS) {
		t.Errorf("mkdir: %v, want EROFS", err)
	}
}

// If a process is killed while layers are attached, they are removed.
func TestClearScratch(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "scratch")
	for _, name := range []string{"", "lower", "empty"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	err := unix.MoveMount(newTmpfs(t), "", unix.AT_FDCWD, filepath.Join(dir, "lower"), unix.MOVE_MOUNT_F_EMPTY_PATH)
	if err != nil {
		t.Fatal(err)
	}
	ClearScratch(dir)
	if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("left: %v", err)
	}
}
