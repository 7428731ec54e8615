package fusefs

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hanwen/go-fuse/v2/posixtest"
	"golang.org/x/sys/unix"
)

// notPosix are those of go-fuse's tests that tmpfs does not pass either.
var notPosix = map[string]bool{
	"FcntlFlockLocksFile": true, // wants flock(2) and fcntl(2) locks to exclude each other; flock(2) says that they do not
}

func TestPosix(t *testing.T) {
	for _, c := range configs {
		t.Run(c.name, func(t *testing.T) {
			m := newMount(t, c.cfg)
			for name, test := range posixtest.All {
				if notPosix[name] {
					continue
				}
				t.Run(name, func(t *testing.T) {
					dir := filepath.Join(m.dir, name)
					if err := os.Mkdir(dir, 0o755); err != nil {
						t.Fatal(err)
					}
					test(t, dir)
				})
			}
		})
	}
}

func TestUnmountEndsTheConnection(t *testing.T) {
	m := newMount(t, childConfig{})
	if err := os.WriteFile(filepath.Join(m.dir, "f"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if end := m.unmount().End; end != "<nil>" {
		t.Errorf("Wait: %s, want nil", end)
	}
}

// An unmount was taken for an abort if the kernel still had RELEASEs to send.
func TestUnmountWithReleasesUnderWay(t *testing.T) {
	for round := range 20 {
		m := newMount(t, childConfig{})
		pages := make([][]byte, 2000)
		for i := range pages {
			pages[i] = mapNew(t, filepath.Join(m.dir, fmt.Sprint(i)))
		}
		if err := m.cmd.Process.Signal(unix.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		for _, p := range pages { // a RELEASE each, without a FLUSH that waits
			if err := unix.Munmap(p); err != nil {
				t.Fatal(err)
			}
		}
		if err := m.cmd.Process.Signal(unix.SIGCONT); err != nil {
			t.Fatal(err)
		}
		if end := m.unmount().End; end != "<nil>" {
			t.Fatalf("round %d: Wait: %s, want nil", round, end)
		}
	}
}

// mapNew returns a page of a new file, which is open for as long as that is mapped.
func mapNew(t *testing.T, name string) []byte {
	t.Helper()
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	p, err := unix.Mmap(int(f.Fd()), 0, os.Getpagesize(), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAbortIsTold(t *testing.T) {
	m := newMount(t, childConfig{Quiet: true})
	var st unix.Stat_t
	if err := unix.Stat(m.dir, &st); err != nil {
		t.Fatal(err)
	}
	ctl := t.TempDir()
	if err := unix.Mount("fusectl", ctl, "fusectl", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Unmount(ctl, 0) })
	abort := filepath.Join(ctl, fmt.Sprint(unix.Minor(st.Dev)), "abort")
	if err := os.WriteFile(abort, []byte("1"), 0); err != nil {
		t.Fatal(err)
	}
	if end := m.ask("wait").End; end != ErrAborted.Error() {
		t.Errorf("Wait: %s, want %v", end, ErrAborted)
	}
	if _, err := os.Stat(filepath.Join(m.dir, "x")); !errors.Is(err, unix.ENOTCONN) {
		t.Errorf("stat after the abort: %v, want ENOTCONN", err)
	}
}

func TestServeNeedsAMountedDescriptor(t *testing.T) {
	tree, err := (&childConfig{}).tree()
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Serve(fd, tree, nil); err == nil {
		t.Error("Serve of a descriptor that is not mounted: no error")
	}
	if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); !errors.Is(err, unix.EBADF) {
		t.Errorf("the descriptor after a failed Serve: %v, want EBADF", err)
	}
	if _, err := Serve(-1, tree, nil); !errors.Is(err, unix.EBADF) {
		t.Errorf("Serve(-1): %v, want EBADF", err)
	}
	if _, err := Serve(-1, tree, &Options{Disable: []string{"gravity"}}); err == nil || !strings.Contains(err.Error(), "gravity") {
		t.Errorf("Serve with an unknown feature: %v", err)
	}
}

func TestPanicEndsTheMountAlone(t *testing.T) {
	m := newMount(t, childConfig{Quiet: true})
	if err := os.Mkdir(filepath.Join(m.dir, "d"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{panicName, "new"} {
		if _, err := os.Stat(filepath.Join(m.dir, name)); !errors.Is(err, unix.EIO) {
			t.Errorf("stat %s: %v, want EIO", name, err)
		}
	}
	var sx unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, filepath.Join(m.dir, "d"), unix.AT_STATX_FORCE_SYNC, unix.STATX_BASIC_STATS, &sx); err != unix.EIO {
		t.Errorf("stat d: %v, want EIO", err)
	}
	if r := m.ask("err"); !strings.Contains(r.Err, "LOOKUP: panic: as asked") {
		t.Errorf("tree: %s", r.Err)
	}
	if end := m.unmount().End; end != "<nil>" {
		t.Errorf("Wait: %s, want nil", end)
	}
}

func TestReadOnly(t *testing.T) {
	m := newMount(t, childConfig{ReadOnly: true, Files: map[string]string{"f": "content"}})
	f := filepath.Join(m.dir, "f")
	if b, err := os.ReadFile(f); err != nil || string(b) != "content" {
		t.Errorf("read: %q, %v", b, err)
	}
	// The kernel refuses first. Made writable by root, the mount is still refused by us.
	for _, remount := range []bool{false, true} {
		if remount {
			flags := uintptr(unix.MS_REMOUNT | unix.MS_NOSUID | unix.MS_NODEV)
			if err := unix.Mount("", m.dir, "", flags, ""); err != nil {
				t.Fatalf("remount: %v", err)
			}
		}
		for what, err := range changesOf(m.dir) {
			if !errors.Is(err, unix.EROFS) {
				t.Errorf("remounted %v: %s: %v, want EROFS", remount, what, err)
			}
		}
	}
	if b, err := os.ReadFile(f); err != nil || string(b) != "content" {
		t.Errorf("read again: %q, %v", b, err)
	}
}

// changesOf tries all that changes a tree, in a directory with one file f.
func changesOf(dir string) map[string]error {
	f, n := filepath.Join(dir, "f"), filepath.Join(dir, "new")
	tmp := func() error {
		fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR, 0o600)
		if err == nil {
			_ = unix.Close(fd)
		}
		return err
	}
	write := func() error {
		fd, err := unix.Open(f, unix.O_WRONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		_, err = unix.Write(fd, []byte("x"))
		return errors.Join(err, unix.Close(fd))
	}
	return map[string]error{
		"mkdir":       unix.Mkdir(n, 0o755),
		"mknod":       unix.Mkfifo(n, 0o600),
		"create":      os.WriteFile(n, nil, 0o600),
		"tmpfile":     tmp(),
		"symlink":     unix.Symlink("t", n),
		"link":        unix.Link(f, n),
		"rename":      unix.Rename(f, n),
		"unlink":      unix.Unlink(f),
		"write":       write(),
		"truncate":    unix.Truncate(f, 1),
		"chmod":       unix.Chmod(f, 0o600),
		"setxattr":    unix.Setxattr(f, "user.a", nil, 0),
		"removexattr": unix.Removexattr(f, "user.a"),
	}
}

// A write that was answered long ago and cannot be kept must reach the tool by
// close or fsync, and must keep the tree from being committed.
func TestLostWriteback(t *testing.T) {
	const limit = 1 << 20
	for _, c := range []struct {
		name    string
		disable []string
		lost    bool
	}{
		{"writeback", nil, true},
		{"no writeback", []string{"writeback"}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMount(t, childConfig{MaxBytes: limit, Disable: c.disable, Quiet: true})
			f, err := os.Create(filepath.Join(m.dir, "f"))
			if err != nil {
				t.Fatal(err)
			}
			_, werr := f.Write(make([]byte, 4*limit))
			if err := errors.Join(werr, f.Sync(), f.Close()); !errors.Is(err, unix.ENOSPC) {
				t.Errorf("write beyond the limit: %v, want ENOSPC", err)
			}
			got := m.ask("err").Err
			if strings.Contains(got, "write back") != c.lost {
				t.Errorf("tree: %s, want something lost: %v", got, c.lost)
			}
		})
	}
}

// After the unmount the tree has what tools saw last, even though pages and times were
// written back at other times.
func TestTreeIsWhatToolsSaw(t *testing.T) {
	m := newMount(t, childConfig{})
	files := map[string]unix.Stat_t{}
	for i := range 40 {
		name := fmt.Sprintf("f%d", i)
		writeStrangely(t, filepath.Join(m.dir, name), i)
		var st unix.Stat_t
		if err := unix.Stat(filepath.Join(m.dir, name), &st); err != nil {
			t.Fatal(err)
		}
		files[name] = st
	}
	m.unmount()
	walk := m.ask("walk").Walk
	for name, st := range files {
		a := walk[name]
		if a.Size != st.Size || a.Mode != st.Mode || a.Mtime.Sec != st.Mtim.Sec || int64(a.Mtime.Nsec) != st.Mtim.Nsec ||
			a.Ctime.Sec != st.Ctim.Sec || int64(a.Ctime.Nsec) != st.Ctim.Nsec {
			t.Errorf("%s: tree has size %d, mtime %v, ctime %v; stat said %d, %v, %v",
				name, a.Size, a.Mtime, a.Ctime, st.Size, st.Mtim, st.Ctim)
		}
	}
}

// writeStrangely writes so that pages go to the server before, while and after
// their file's times do.
func writeStrangely(t *testing.T, path string, i int) {
	t.Helper()
	fd, err := unix.Open(path, unix.O_CREAT|unix.O_RDWR|unix.O_CLOEXEC, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, make([]byte, 3<<20)); err != nil {
		t.Fatal(err)
	}
	const start = 2 // SYNC_FILE_RANGE_WRITE: begin to write back, do not wait
	switch i % 5 {
	case 0:
		err = unix.SyncFileRange(fd, 0, 0, start)
	case 1:
		err = errors.Join(unix.SyncFileRange(fd, 0, 0, start), unix.Fchmod(fd, 0o600))
	case 2:
		err = errors.Join(unix.Fsync(fd), unix.Ftruncate(fd, int64(i)<<10))
	case 3:
		err = unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{{Sec: 1}, {Sec: int64(i), Nsec: 5}}, 0)
	case 4:
		tick()
		err = unix.Truncate(path, 3<<20) // as large as it is: the kernel leaves the times
	}
	if err != nil {
		t.Fatal(err)
	}
	tick()
}

// Programs ask for ACLs before they copy a file, and take only this errno for "there
// are none".
// One name in the root once belonged to the library that read the requests.
func TestNoNameIsReserved(t *testing.T) {
	m := newMount(t, childConfig{})
	name := filepath.Join(m.dir, ".go-fuse-epoll-hack")
	for _, err := range []error{unix.Mkdir(name, 0o755), unix.Rmdir(name), os.WriteFile(name, []byte("content"), 0o600), os.Remove(name)} {
		if err != nil {
			t.Error(err)
		}
	}
	if err := stat(name); err != unix.ENOENT {
		t.Errorf("stat after the removal: %v", err)
	}
}

func TestNoACLs(t *testing.T) {
	m := newMount(t, childConfig{})
	for _, name := range []string{"system.posix_acl_access", "system.posix_acl_default"} {
		if _, err := unix.Getxattr(m.dir, name, nil); err != unix.EOPNOTSUPP {
			t.Errorf("get %s: %v", name, err)
		}
		// Version 2, and one entry for each of owner, group and others.
		acl := []byte("\x02\x00\x00\x00\x01\x00\x07\x00\xff\xff\xff\xff\x04\x00\x05\x00\xff\xff\xff\xff\x20\x00\x05\x00\xff\xff\xff\xff")
		if err := unix.Setxattr(m.dir, name, acl, 0); err != unix.EOPNOTSUPP {
			t.Errorf("set %s: %v", name, err)
		}
	}
}

// ls -l asks each file for its label, unless it hears that there are none. A label
// that somebody has set is there all the same.
func TestAbsentLabels(t *testing.T) {
	m := newMount(t, childConfig{Files: map[string]string{"f": ""}})
	if _, err := unix.Getxattr(m.dir+"/f", "security.selinux", nil); err != unix.EOPNOTSUPP {
		t.Errorf("an absent label: %v, want %v", err, unix.EOPNOTSUPP)
	}
	if _, err := unix.Getxattr(m.dir+"/f", "security.other", nil); err != unix.ENODATA {
		t.Errorf("another attribute: %v, want %v", err, unix.ENODATA)
	}
	if err := unix.Setxattr(m.dir+"/f", "security.selinux", []byte("label"), 0); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 10)
	if n, err := unix.Getxattr(m.dir+"/f", "security.selinux", buf); err != nil || string(buf[:n]) != "label" {
		t.Errorf("a label that was set: %q, %v", buf[:max(n, 0)], err)
	}
}

func TestBDI(t *testing.T) {
	for _, c := range []struct {
		name  string
		limit int64
		want  map[string]string
	}{
		{"as much memory as there is", 0, map[string]string{"read_ahead_kb": "1024", "strict_limit": "0", "max_ratio": "100"}},
		{"a memory limit", 64 << 20, map[string]string{"read_ahead_kb": "1024", "strict_limit": "1", "max_ratio": "0"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := newMount(t, childConfig{})
			b := bdiAt(t, m.dir)
			if !b.FitDirty(c.limit) {
				t.Error("the dirty pages do not fit")
			}
			b.ReadAhead()
			for name, want := range c.want {
				got, err := os.ReadFile(b.dir + name)
				if err != nil || strings.TrimSpace(string(got)) != want {
					t.Errorf("%s: %q, %v, want %s", name, got, err, want)
				}
			}
			if most := b.mostDirty(); c.limit > 0 && (most <= 0 || most > c.limit/dirtyShare) {
				t.Errorf("%d bytes may be dirty, want no more than %d", most, c.limit/dirtyShare)
			}
		})
	}
	none := BDIOf("0:1048575")
	if none.FitDirty(1) || !none.FitDirty(1<<50) {
		t.Error("a mount whose limit cannot be set fits where the kernel's own does")
	}
}

func bdiAt(tb testing.TB, dir string) BDI {
	tb.Helper()
	var st unix.Stat_t
	if err := unix.Stat(dir, &st); err != nil {
		tb.Fatal(err)
	}
	return BDIOf(fmt.Sprintf("%d:%d", unix.Major(st.Dev), unix.Minor(st.Dev)))
}
