package mount

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/fs/fsdir"
	"github.com/workdir/workdir/store"
)

// plainLife is the test that lives lives in plain directories.
const plainLife = "TestPlainLife"

// fuseLife is the test that lives lives in FUSE mounts where overlays can be had.
const fuseLife = "TestFUSELife"

// viewOf is the view of a test's workspaces.
func viewOf(t *testing.T) View {
	switch life, _, _ := strings.Cut(t.Name(), "/"); life {
	case plainLife:
		return ViewPlain
	case fuseLife:
		return ViewFUSE
	}
	return ViewAuto // an overlay, for those who run these tests
}

// A plain workspace has the life of a mount: these are the tests of mounts.
func TestPlainLife(t *testing.T) {
	for name, test := range map[string]func(*testing.T){
		"commit and open again": TestCommitAndOpenAgain,
		"nothing is stored":     TestNothingIsStoredUnless,
		"unchanged":             TestUnchangedIsNotStored,
		"emptied":               TestEmptiedWorkspace,
		"conflict":              TestConflict,
		"before store":          TestBeforeStoreCanRefuse,
		"command":               TestCommandRunsInTheMount,
		"remote":                TestRemote,
		"dead record":           TestDeadRecordBesideANewMount,
		"what lives stays":      TestCleanUpLeavesALivingWorkspace,
		"cancelled":             TestOpenCanBeCancelled,
		"mem":                   TestMemLivesAsLongAsTheClient,
		"busy":                  TestBusyIsNamedAndCanBeClosedAgain,
		"bad archives":          TestBadArchives,
		"owner":                 TestOwner,
		"read-only is no step":  TestReadOnlyIsNoStep,
		"other conflicts":       TestOtherConflictsStay,
		"damaged in between":    TestConflictWithADamagedArchive,
		"origins":               TestOriginsThatAreRefused,
		"the log reaches back":  TestTheLogReachesBack,
		"a step":                TestAStepIsDoneOnce,
		"no step":               TestNoExecutionNoStep,
		"overlapping attempts":  TestOverlappingAttempts,
		"a copy's steps":        TestACopyHasDoneNothing,
		"emptied, its steps":    TestEmptiedWorkspaceForgetsItsSteps,
		"largest result":        TestLargestResult,
		"dropped result":        TestDroppedResult,
		"before store twice":    TestBeforeStoreIsAskedTwice,
		"revoked commit":        TestRevokeEndsACommit,
		"same mountpoint":       TestMountpointIsTheSameEachTime,
		"mountpoint in use":     TestMountpointInUse,
		"another's mountpoint":  TestMountpointOfAnotherProcess,
		"nobody's mountpoint":   TestMountpointThatNobodyHas,
		"rewound":               TestRewind,
		"rewound to nothing":    TestRewindToNothing,
		"rewound, unchanged":    TestRewindThatChangesNothing,
		"rewound, saved":        TestRewoundIsSaved,
	} {
		t.Run(name, test)
	}
}

func (f *fixture) openPlain(key string, opts Options) *Mount {
	f.t.Helper()
	opts.Plain = true
	return f.open(key, &opts)
}

// shell runs a script in a plain workspace.
func shell(t *testing.T, m *Mount, script string) {
	t.Helper()
	if out, err := Command(t.Context(), m, "sh", "-ec", script).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// every makes files of every kind.
const every = `
umask 022
mkdir -p dir/empty sticky && chmod 1777 sticky && chmod 2755 dir
echo content >file && ln file dir/second && chmod 640 file && touch -d '2001-02-03 04:05:06.123456789' file
ln -s ../file dir/link && ln -s /nowhere dangling && touch -h -d '1999-01-01 00:00:00.5' dangling
mkfifo -m 604 fifo
truncate -s 1M sparse && printf x | dd of=sparse bs=1 seek=700000 conv=notrunc status=none
setfattr -n user.note -v 'a value' file && setfattr -n user.dir -v d dir
printf '#!/bin/sh\n' >tool && chmod 4755 tool
printf x >"$(printf 'odd \377 name')"
touch -d '2005-05-05 05:05:05.5' dir`

// listing returns what a tool sees of every file.
const listing = `find . -mindepth 1 \( -type d -printf '%p %y %m %U:%G %n %T@\n' -o -printf '%p %y %m %U:%G %s %n %T@ %l\n' \) | sort
getfattr -R -h -d -m '^user' . 2>/dev/null | sort; cat file dir/second | md5sum; md5sum <sparse; stat -c %m%a . | tail -c4`

func (f *fixture) listing(key string, plain bool) string {
	f.t.Helper()
	m := f.open(key, &Options{Plain: plain, AllowOther: !plain, Grace: time.Minute})
	out, err := Command(f.t.Context(), m, "sh", "-c", listing).Output()
	if err != nil {
		f.t.Fatal(err)
	}
	f.close(m, false)
	return string(out)
}

// What a plain workspace stores a mount shows, and the other way round, whatever kind
// of file it is.
func TestPlainRoundTrip(t *testing.T) {
	for _, madePlain := range []bool{true, false} {
		t.Run(fmt.Sprintf("made plain %v", madePlain), func(t *testing.T) {
			f := newFixture(t)
			m := f.open("k", &Options{Plain: madePlain, AllowOther: !madePlain, Grace: time.Minute})
			shell(t, m, every)
			out, err := Command(t.Context(), m, "sh", "-c", listing).Output()
			if err != nil {
				t.Fatal(err)
			}
			made := f.close(m, true)
			if made.Changes.Created != 10 {
				t.Errorf("changes = %+v, want 10 created", made.Changes)
			}
			want := string(out)
			if got := f.listing("k", false); got != want {
				t.Errorf("mounted:\n%s\nas it was made:\n%s", got, want)
			}
			// A plain directory is given no set-user-ID bits.
			if got := f.listing("k", true); got != strings.Replace(want, "tool f 4755", "tool f 755", 1) {
				t.Errorf("plain:\n%s\nas it was made:\n%s", got, want)
			}
			m = f.openPlain("k", Options{Grace: time.Minute})
			shell(t, m, "echo more >more")
			if res := f.close(m, true); !res.Stored || res.Changes.Created != 1 || res.Changes.Total() != 1 {
				t.Errorf("result = %+v, want one new file", res)
			}
			// But it loses none: nobody took them away.
			if got := f.listing("k", false); !strings.Contains(got, "tool f 4755") {
				t.Errorf("the set-user-ID bit is lost:\n%s", got)
			}
		})
	}
}

// What the directory had lost of a file comes back, but not the rights that its owner
// lent when it has another one now.
func TestPlainAnotherOwnerLendsNoRights(t *testing.T) {
	f := newFixture(t)
	m := f.open("k", nil)
	shell(t, m, "echo >tool && chmod 4755 tool && cp -p tool same")
	f.close(m, true)
	m = f.openPlain("k", Options{Grace: time.Minute})
	shell(t, m, "chown 7:8 tool")
	f.close(m, true)
	m = f.open("k", &Options{Owner: &Owner{Keep: true}})
	for name, want := range map[string]uint32{"tool": 0o755, "same": 0o4755} {
		var st unix.Stat_t
		if err := unix.Stat(m.Path(name), &st); err != nil || st.Mode&0o7777 != want {
			t.Errorf("%s: owner %d, mode %o, %v; want %o", name, st.Uid, st.Mode&0o7777, err, want)
		}
	}
	f.close(m, false)
}

func TestPlainLeavesSocketsOut(t *testing.T) {
	f := newFixture(t)
	m := f.openPlain("k", Options{})
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.Open(m.Path())
	if err != nil {
		t.Fatal(err)
	}
	err = unix.Bind(fd, &unix.SockaddrUnix{Name: fmt.Sprintf("/proc/self/fd/%d/socket", dir.Fd())})
	dir.Close()
	unix.Close(fd)
	if err != nil {
		t.Fatal(err)
	}
	f.write(m, "name", "content")
	res := f.close(m, true)
	if !slices.ContainsFunc(res.Warnings, func(w string) bool { return strings.HasPrefix(w, "socket: ") }) {
		t.Errorf("warnings = %q, want one on the socket", res.Warnings)
	}
	if f.content("k", "name") != "content" {
		t.Error("the rest is not stored")
	}
}

func TestPlainReadOnly(t *testing.T) {
	f := newFixture(t)
	f.commit("k", "name", "content")
	before := f.bytes("k")
	m := f.openPlain("k", Options{ReadOnly: true})
	var st unix.Stat_t
	for _, path := range []string{m.Path(), m.Path("name")} {
		if err := unix.Stat(path, &st); err != nil || st.Mode&0o222 != 0 {
			t.Errorf("%s: mode %o, %v; want no write bits", path, st.Mode, err)
		}
	}
	if err := m.Commit(); !errors.Is(err, ErrReadOnly) {
		t.Errorf("Commit = %v, want ErrReadOnly", err)
	}
	f.write(m, "name", "root can write all the same, and it is lost")
	f.close(m, false)
	if string(f.bytes("k")) != string(before) {
		t.Error("the archive changed")
	}
}

// What was written while the directory was packed is in no archive, so none may be
// stored.
func TestPlainWrittenWhileStored(t *testing.T) {
	for name, write := range map[string]func(m *Mount) error{
		"content":  func(m *Mount) error { return os.WriteFile(m.Path("name"), []byte("changed"), 0o644) },
		"new file": func(m *Mount) error { return os.WriteFile(m.Path("new"), nil, 0o644) },
		"mode":     func(m *Mount) error { return os.Chmod(m.Path("name"), 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			var m *Mount
			asked := 0
			m = f.openPlain("k", Options{BeforeStore: func(context.Context) error {
				if asked++; asked > 1 {
					return nil
				}
				return write(m)
			}})
			f.write(m, "name", "content")
			if err := m.Commit(); err != nil {
				t.Fatal(err)
			}
			if _, err := m.Close(t.Context()); !errors.Is(err, ErrCommit) || !strings.Contains(err.Error(), fsdir.ErrChanged.Error()) {
				t.Errorf("Close = %v, want ErrCommit, because something changed", err)
			}
			if f.bytes("k") != nil {
				t.Error("an archive was stored")
			}
		})
	}
}

// A directory that somebody has removed is not an emptied workspace.
func TestPlainDirectoryRemoved(t *testing.T) {
	f := newFixture(t)
	f.commit("k", "name", "content")
	before := f.bytes("k")
	for name, again := range map[string]bool{"removed": false, "replaced": true} {
		m := f.openPlain("k", Options{})
		if err := os.RemoveAll(m.Path()); err != nil {
			t.Fatal(err)
		}
		if again {
			if err := os.Mkdir(m.Path(), 0o700); err != nil {
				t.Fatal(err)
			}
		}
		if err := m.Commit(); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Close(t.Context()); !errors.Is(err, ErrUnmounted) {
			t.Errorf("%s: Close = %v, want ErrUnmounted", name, err)
		}
		if again {
			os.Remove(m.Path()) // it is not ours
		}
	}
	if string(f.bytes("k")) != string(before) {
		t.Error("the archive changed")
	}
}

func TestPlainOwnDirectory(t *testing.T) {
	f := newFixture(t)
	f.commit("k", "name", "content")
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o711); err != nil {
		t.Fatal(err)
	}
	m := f.openPlain("k", Options{Dir: dir})
	if _, err := f.tryOpen("other", &Options{Plain: true, Dir: dir}); !errors.Is(err, ErrCannotMount) {
		t.Errorf("a second workspace in it: %v, want ErrCannotMount", err)
	}
	if err := os.Mkdir(filepath.Join(dir, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := f.tryOpen("other", &Options{Plain: true, Dir: filepath.Join(dir, "sub")}); !errors.Is(err, ErrCannotMount) {
		t.Errorf("a workspace within it: %v, want ErrCannotMount", err)
	}
	if res := f.close(m, true); !res.Stored || res.Changes.Total() != 1 {
		t.Errorf("result = %+v, want one new directory", res)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 0 {
		t.Errorf("after Close: %v, %v; want an empty directory", entries, err)
	}
	m = f.open("k", &Options{AllowOther: true, Grace: time.Minute})
	var st unix.Stat_t
	if err := unix.Stat(m.Path(), &st); err != nil || st.Mode&0o7777 != 0o755 {
		t.Errorf("mode of the workspace = %o, %v; want what it was, not the directory's", st.Mode, err)
	}
	f.close(m, false)
}

func TestPlainRefusesWhatItCannotGive(t *testing.T) {
	f := newFixture(t)
	for name, opts := range map[string]Options{
		"Suid": {Suid: true}, "Dev": {Dev: true}, "AllowOther": {AllowOther: true},
	} {
		opts.Plain = true
		if _, err := f.tryOpen("k", &opts); !errors.Is(err, ErrCannotMount) || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v, want ErrCannotMount that names it", name, err)
		}
	}
}

func TestPlainLimits(t *testing.T) {
	f := newFixture(t)
	f.commit("k", "name", strings.Repeat("x", 1000))
	for name, opts := range map[string]Options{"bytes": {MaxBytes: 999}, "inodes": {MaxInodes: 1}} {
		opts.Plain = true
		if _, err := f.tryOpen("k", &opts); !errors.Is(err, ErrLimit) {
			t.Errorf("open, %s: %v, want ErrLimit", name, err)
		}
	}
	before := f.bytes("k")
	for name, opts := range map[string]Options{"bytes": {MaxBytes: 1001}, "inodes": {MaxInodes: 2}} {
		m := f.openPlain("k", opts)
		f.write(m, "more", "yy")
		if err := m.Commit(); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Close(t.Context()); !errors.Is(err, ErrLimit) || !errors.Is(err, ErrCommit) {
			t.Errorf("close, %s: %v, want ErrCommit by ErrLimit", name, err)
		}
	}
	if string(f.bytes("k")) != string(before) {
		t.Error("the archive changed")
	}
}

// A program without Init has no shim and no server, and needs none.
func TestPlainCommandWithoutInit(t *testing.T) {
	f := newFixture(t)
	initCalled.Store(false)
	defer initCalled.Store(true)
	t.Setenv("PATH", "/usr/bin:/bin")
	m := f.openPlain("k", Options{})
	out, err := Command(t.Context(), m, "pwd").Output()
	if err != nil || string(out) != m.Path()+"\n" {
		t.Errorf("command = %q, %v", out, err)
	}
	if res := f.close(m, true); res.Stored {
		t.Errorf("result = %+v, want nothing to store", res)
	}
}

func BenchmarkPlain(b *testing.B) {
	const files = 10_000
	ctx := context.Background()
	opts := &Options{Plain: true, RunDir: filepath.Join(b.TempDir(), "run")}
	url := "mem://bench/plain"
	defer func() {
		if err := errors.Join(Stop(ctx), store.RemoveMem()); err != nil {
			b.Error(err)
		}
	}()
	run := func(work func(m *Mount) error) Result {
		m, err := Open(ctx, url, opts)
		if err != nil {
			b.Fatal(err)
		}
		if err := errors.Join(work(m), m.Commit()); err != nil {
			b.Fatal(err)
		}
		res, err := m.Close(ctx)
		if err != nil {
			b.Fatal(err)
		}
		return res
	}
	run(func(m *Mount) error {
		for i := range files {
			if err := os.WriteFile(m.Path(fmt.Sprintf("file%05d", i)), make([]byte, 4096), 0o644); err != nil {
				return err
			}
		}
		return nil
	})
	round := 0
	for name, work := range map[string]func(m *Mount) error{
		"unchanged": func(*Mount) error { return nil },
		"one file": func(m *Mount) error {
			round++
			return os.WriteFile(m.Path("file00000"), fmt.Append(nil, round), 0o644)
		},
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				run(work)
			}
		})
	}
}
