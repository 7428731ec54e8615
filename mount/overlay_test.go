package mount

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// openOverlay opens a workspace as an overlay, or fails.
func (f *fixture) openOverlay(key string, opts Options) *Mount {
	f.t.Helper()
	opts.View, opts.Grace = ViewOverlay, time.Minute
	m := f.open(key, &opts)
	if st := f.status(m); st.View != ViewOverlay || st.ViewReason != "" {
		f.t.Fatalf("view %q, reason %q; want the overlay", st.View, st.ViewReason)
	}
	return m
}

func (f *fixture) status(m *Mount) Status {
	f.t.Helper()
	st, err := m.Status(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	return st
}

// archiveOf stores what a script makes.
func (f *fixture) archiveOf(key, script string) {
	f.t.Helper()
	m := f.open(key, &Options{Grace: time.Minute})
	shell(f.t, m, script)
	f.close(m, true)
}

// output is what a script prints in a read-only mount.
func (f *fixture) output(key, script string) string {
	f.t.Helper()
	m := f.open(key, &Options{ReadOnly: true, Grace: time.Minute})
	defer f.close(m, false)
	return printed(f.t, m, script)
}

// printed is what a script prints in a mount.
func printed(t *testing.T, m *Mount, script string) string {
	t.Helper()
	out, err := Command(t.Context(), m, "sh", "-ec", script).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return string(out)
}

// Whatever the base is, and however the layers are named to the kernel.
func TestOverlayRoundTrip(t *testing.T) {
	const script = `echo more >>a; mv dir moved; rm b; mkdir new; echo new >new/file; ln moved/c link; chmod 600 d`
	const look = `find . -type f -printf '%P %m %s %n\n' | sort; cat a moved/c new/file d; [ moved/c -ef link ]`
	const want = "a 644 7 1\nd 600 2 1\nlink 644 2 2\nmoved/c 644 2 2\nnew/file 644 4 1\na\nmore\nc\nnew\nd\n"
	for _, without := range [][]string{nil, {"descriptors"}, {"detached"}} {
		for _, foreign := range []bool{false, true} {
			t.Run(fmt.Sprintf("foreign %v without %v", foreign, without), func(t *testing.T) {
				f := newFixture(t)
				const base = `mkdir dir; for f in a b dir/c d; do echo ${f#dir/} >$f; done; chmod 644 a b dir/c d`
				f.archiveOf("k", base)
				if foreign {
					run(t, f.dir, "sh", "-ec", "mkdir x; cd x; tar xzf ../k.tar.gz; rm ../k.tar.gz; tar czf ../k.tar.gz .; rm -r ../x")
				}
				m := f.openOverlay("k", Options{without: without})
				shell(t, m, script)
				counted := f.status(m).Changes
				res := f.close(m, true)
				if counted != res.Changes || !res.Stored {
					t.Errorf("status counted %+v, the commit %+v", counted, res)
				}
				if got := f.output("k", look); got != want {
					t.Errorf("stored:\n%s\nwant:\n%s", got, want)
				}
			})
		}
	}
}

// run runs a program outside of any mount.
func run(t *testing.T, dir, name string, arg ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, arg...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", name, err, out)
	}
}

// If the kernel refuses a piece, or the workspace or an option rules the overlay out, FUSE
// serves and the reason is shown; for an overlay asked for by name, the reason is an error.
func TestViewFallsBack(t *testing.T) {
	f := newFixture(t)
	f.archiveOf("big", "truncate -s 65M big")
	f.archiveOf("quarter", "head -c 3M /dev/zero | tr '\\0' x >quarter")
	f.archiveOf("linked", "mkdir b; echo >b/link; ln b/link c")
	deep := strings.Repeat("d", 200) + "/" + strings.Repeat("e", 55)
	f.archiveOf("deep", "mkdir -p "+deep)
	for _, tt := range []struct {
		name, key string
		opts      Options
		want      string
		byName    bool // it can be had by name
	}{
		{"no overlay", "k", Options{without: []string{"overlay"}}, "no such device", false},
		{"no user xattrs", "k", Options{without: []string{"user xattrs"}}, "extended attributes of users", false},
		{"read-only", "k", Options{ReadOnly: true, Presence: MayBeAbsent}, "read-only mounts are FUSE mounts", false},
		{"limit of inodes", "k", Options{MaxInodes: 1000, MaxBytes: 1 << 20}, "limit of inodes", false},
		{"spill", "k", Options{Spill: t.TempDir()}, "no reserve", true},
		{"big file", "big", Options{without: []string{"nothing"}}, "copied whole", true},
		{"a quarter of the memory", "quarter", Options{MaxBytes: 8 << 20, without: []string{"nothing"}}, "copied whole", true},
		{"hard link", "linked", Options{without: []string{"nothing"}}, "is a hard link", false},
		{"long path", "deep", Options{without: []string{"nothing"}}, "path of 256 bytes", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			tt.opts.Grace = time.Minute
			m := f.open(tt.key, &tt.opts)
			if st := f.status(m); st.View != ViewFUSE || !strings.Contains(st.ViewReason, tt.want) {
				t.Errorf("view %q, reason %q; want FUSE and %q", st.View, st.ViewReason, tt.want)
			}
			f.close(m, false)
			tt.opts.View = ViewOverlay
			m, err := f.tryOpen(tt.key, &tt.opts)
			switch {
			case tt.byName && err == nil:
				f.close(m, false)
			case tt.byName || !errors.Is(err, ErrCannotMount) || !strings.Contains(err.Error(), tt.want):
				t.Errorf("by name: %v", err)
			}
		})
	}
}

func TestViewIsChecked(t *testing.T) {
	f := newFixture(t)
	for _, opts := range []Options{{View: "other"}, {View: ViewOverlay, Plain: true}} {
		if m, err := f.tryOpen("k", &opts); err == nil {
			f.close(m, false)
			t.Errorf("%+v was opened", opts)
		}
	}
}

// An overlay uses its mounter's credentials, so that FUSE keeps nobody out.
func TestOverlayIsPrivate(t *testing.T) {
	f := newFixture(t)
	dir := mountpointForAll(t)
	f.archiveOf("k", "chmod 755 .; echo content >file; chmod 644 file")
	look := func() error {
		cmd := exec.CommandContext(t.Context(), "cat", filepath.Join(dir, "file"))
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
		return cmd.Run()
	}
	m := f.openOverlay("k", Options{Dir: dir})
	if err := look(); err == nil {
		t.Error("another user could read")
	}
	if res := f.close(m, true); res.Changes.Total() != 0 {
		t.Errorf("changes: %+v, want none", res.Changes)
	}
	m = f.openOverlay("k", Options{Dir: dir, AllowOther: true})
	if err := look(); err != nil {
		t.Errorf("with AllowOther another user could not read: %v", err)
	}
	f.close(m, false)
	m = f.openOverlay("k", Options{Dir: dir})
	shell(t, m, "chmod 750 .")
	f.close(m, true)
	m = f.openOverlay("k", Options{Dir: dir, AllowOther: true})
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o750 {
		t.Errorf("mode %v, %v; want the one that was set in the mount", info.Mode(), err)
	}
	f.close(m, false)
	// As on tmpfs the mode decides, also one that a tool has set unasked.
	m = f.openOverlay("k", Options{Dir: dir})
	shell(t, m, "mkdir -m 755 x; tar cf x.tar -C x .; tar xf x.tar; rm -r x x.tar")
	if err := look(); err != nil {
		t.Errorf("with mode 0755 another user could not read: %v", err)
	}
	if res := f.close(m, true); res.Changes.Total() != 1 {
		t.Errorf("changes: %+v, want the root's mode alone", res.Changes)
	}
	if got := f.output("k", "stat -c %a ."); got != "755\n" {
		t.Errorf("mode %s, want that of the unpacked archive", got)
	}
}

// mountpointForAll is a directory that every user can reach.
func mountpointForAll(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, p := range []string{dir, filepath.Dir(dir)} {
		if err := os.Chmod(p, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// What the kernel has seen once, or has made itself, is no round trip.
func TestOverlayRoundTrips(t *testing.T) {
	f := newFixture(t)
	f.archiveOf("k", "mkdir -p a/b; for i in $(seq 40); do echo text $i >a/b/$i; ln -s $i a/l$i; done")
	m := f.openOverlay("k", Options{})
	for _, tt := range []struct{ name, once, twice string }{
		{"ls -lR", "ls -lR", "ls -lR"},
		{"grep -r", "grep -r 'text 7' .", "grep -r 'text 7' ."},
		{"new directory", "mkdir new", `cd new
			for i in $(seq 50); do echo $i >$i; done; mkdir d; mv 1 d; ln 2 d/2; rm 3; cat 4 >>5; chmod 600 6; rm -r d; ls -l`},
	} {
		shell(t, m, tt.once)
		before := f.status(m).Requests
		shell(t, m, tt.twice)
		after := f.status(m).Requests
		for op, n := range after {
			most := map[string]uint64{
				"STATFS":   1, // the shim asks whether it is in a mount
				"GETXATTR": 4, // ls asks for a label and an ACL until one is said not to be supported here
			}[op]
			if n-before[op] > most {
				t.Errorf("%s: %d requests %s, want %d at most", tt.name, n-before[op], op, most)
			}
		}
	}
	f.close(m, false)
}

// What a tool only looks at, or changes there and back, is no change.
func TestOverlayNoChange(t *testing.T) {
	f := newFixture(t)
	f.archiveOf("k", "mkdir d; echo text >d/f; echo text >g; ln -s f d/l; chmod 644 d/f g")
	m := f.openOverlay("k", Options{})
	shell(t, m, "mv d e; mv e d; : <>g; chmod -R u+r .; mkdir x; rmdir x; chmod 600 g; chmod 644 g")
	if st := f.status(m); st.Changes.Total() != 0 || st.Bytes == 0 {
		t.Errorf("status: %+v, %d bytes; want no change, and what was copied up", st.Changes, st.Bytes)
	}
	if res := f.close(m, true); res.Changes.Total() != 0 || res.Stored {
		t.Errorf("%+v, want no change", res)
	}
}

// An attribute that listxattr(2) showed could not be removed: ENOTSUP.
func TestOverlayRemovesXattrs(t *testing.T) {
	f := newFixture(t)
	names := []string{"file", "changed", "dir"}
	m := f.open("k", nil)
	shell(t, m, "mkdir dir; touch file changed")
	for _, name := range names {
		if err := unix.Setxattr(m.Path(name), "user.a", []byte("value"), 0); err != nil {
			t.Fatal(err)
		}
	}
	f.close(m, true)
	m = f.openOverlay("k", Options{})
	shell(t, m, "echo >changed")
	dropCaches(t)
	for _, name := range names {
		if got := xattrs(t, m.Path(name)); got != "user.a\x00" {
			t.Errorf("%s has %q", name, got)
		}
		if err := unix.Removexattr(m.Path(name), "user.a"); err != nil {
			t.Errorf("remove that of %s: %v", name, err)
		}
		if err := unix.Removexattr(m.Path(name), "user.a"); !errors.Is(err, unix.ENODATA) {
			t.Errorf("remove that of %s again: %v, want ENODATA", name, err)
		}
	}
	f.close(m, true)
	m = f.openOverlay("k", Options{})
	for _, name := range names {
		if got := xattrs(t, m.Path(name)); got != "" {
			t.Errorf("%s has %q again", name, got)
		}
	}
	f.close(m, false)
}

// xattrs lists the extended attributes of a path.
func xattrs(t *testing.T, path string) string {
	t.Helper()
	list := make([]byte, 1<<10)
	n, err := unix.Listxattr(path, list)
	if err != nil {
		t.Fatal(err)
	}
	return string(list[:n])
}

// A file of the archive is copied whole at its first change, for which there may be no
// room: the tool gets an error, and everything else stays as it was.
func TestOverlayNoSpaceInACopy(t *testing.T) {
	f := newFixture(t)
	f.archiveOf("k", "head -c 6000000 /dev/zero | tr '\\0' x >big; echo small >small")
	m := f.openOverlay("k", Options{MaxBytes: 8 << 20})
	shell(t, m, "head -c 4000000 /dev/zero >filler; echo more >>small")
	big, err := os.OpenFile(m.Path("big"), os.O_WRONLY|os.O_APPEND, 0)
	if !errors.Is(err, unix.ENOSPC) {
		t.Errorf("opening the big file: %v, want ENOSPC", err)
		big.Close()
	}
	shell(t, m, `[ $(stat -c %s big) = 6000000 ]; [ "$(tail -c 3 big)" = xxx ]; rm filler; echo y >>big`)
	f.close(m, true)
	if got := f.output("k", "tail -c 3 big; cat small; ls"); got != "xy\nsmall\nmore\nbig\nsmall\n" {
		t.Errorf("stored: %q", got)
	}
}

// Removing a name takes an inode of the memory, so there must be one for each name.
func TestOverlayRemovesMoreThanMayBeMade(t *testing.T) {
	f := newFixture(t)
	f.archiveOf("k", "mkdir d; cd d; seq 3000 | xargs touch")
	m := f.openOverlay("k", Options{MaxBytes: 1 << 20})
	shell(t, m, "ls d | sed s,^,d/, | xargs rm; echo content >file")
	if res := f.close(m, true); res.Changes.Removed != 3000 || res.Changes.Created != 1 {
		t.Errorf("%+v", res.Changes)
	}
}

// An overlay keeps working when its server is gone, but nobody will store it.
func TestOverlayOfADeadServer(t *testing.T) {
	f := newFixture(t)
	m := f.openOverlay("k", Options{})
	shell(t, m, "mkdir new; echo content >new/file")
	if err := syscall.Kill(f.status(m).ServerPID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-m.Done()
	for _, err := range []error{
		second(os.ReadFile(m.Path("new/file"))), os.WriteFile(m.Path("new/late"), nil, 0o644), second(os.ReadDir(m.Path())),
	} {
		if !errors.Is(err, unix.ENOTCONN) {
			t.Errorf("%v, want ENOTCONN", err)
		}
	}
	if _, err := m.Close(t.Context()); !errors.Is(err, ErrServerLost) {
		t.Errorf("Close = %v, want ErrServerLost", err)
	}
	if _, err := os.Lstat(m.Path()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the mountpoint after Close: %v, want it gone", err)
	}
}

func second[T any](_ T, err error) error { return err }

// JavaScript holds st_ino as a double: where two files have one, its tar packs them as
// hard links of each other. What was changed may get another number, but none that
// another file has or had.
func TestOverlayInodeNumbers(t *testing.T) {
	f := newFixture(t)
	f.archiveOf("k", "seq 2000 | xargs touch")
	m := f.openOverlay("k", Options{})
	shell(t, m, "touch new; mkdir dir; for i in $(seq 1 3 2000); do echo >>$i; done")
	seen, devices := map[float64]string{}, map[uint64]bool{}
	for range 3 {
		checkNumbers(t, m, seen, devices)
		dropCaches(t)
	}
	if len(devices) != 1 || len(seen) < 2002+667 {
		t.Errorf("%d numbers on %d devices; want more numbers than files, since some were forgotten", len(seen), len(devices))
	}
	f.close(m, false)
}

// checkNumbers adds the inode numbers in a mount, as doubles, to those that were seen, and
// its devices. Each belongs to one name.
func checkNumbers(t *testing.T, m *Mount, seen map[float64]string, devices map[uint64]bool) {
	t.Helper()
	entries, err := os.ReadDir(m.Path())
	if err != nil || len(entries) != 2002 {
		t.Fatalf("%d entries, %v", len(entries), err)
	}
	for _, e := range entries {
		var st unix.Stat_t
		if err := unix.Lstat(m.Path(e.Name()), &st); err != nil {
			t.Fatal(err)
		}
		devices[st.Dev] = true
		if other, known := seen[float64(st.Ino)]; known && other != e.Name() || int64(st.Ino) < 0 {
			t.Fatalf("%s has number %d, as %q", e.Name(), st.Ino, other)
		}
		seen[float64(st.Ino)] = e.Name()
	}
}

// Each mount has descriptors, layers and threads of its own.
func TestOverlayManyMounts(t *testing.T) {
	const count = 1000
	f := newFixture(t)
	f.archiveOf("k", "echo content >base")
	mounts := make([]*Mount, count)
	for i := range mounts {
		mounts[i] = f.open("k", &Options{View: ViewOverlay, Grace: time.Minute, Logger: slog.New(slog.DiscardHandler)})
	}
	if st := f.status(mounts[count-1]); st.View != ViewOverlay {
		t.Errorf("the last one: %+v", st)
	}
	for i, m := range mounts {
		if b, err := os.ReadFile(m.Path("base")); string(b) != "content\n" || err != nil {
			t.Fatalf("mount %d: %q, %v", i, b, err)
		}
		f.write(m, "own", fmt.Sprint(i))
	}
	for i, m := range slices.Backward(mounts) {
		if b, err := os.ReadFile(m.Path("own")); string(b) != fmt.Sprint(i) || err != nil {
			t.Fatalf("mount %d: %q, %v", i, b, err)
		}
		f.close(m, false)
	}
}
