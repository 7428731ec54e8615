package mount

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/workdir/workdir/internal/ipc"
	"github.com/workdir/workdir/mount/internal/host"
	"github.com/workdir/workdir/store"
)

func TestMountpointName(t *testing.T) {
	long := strings.Repeat("n", 200)
	tests := []struct{ name, url, want string }{
		{"plain", "s3://bucket/team/job-1", "job-1-"},
		{"options are left out", "s3://bucket/team/job-1?secret=hunter2&region=eu", "job-1-"},
		{"what a path or a shell takes for its own", "s3://bucket/a b:c$d'é\u202e", "a_b_c_d___-"},
		{"hidden, or an option of tools", "s3://bucket/.--x", "x-"},
		{"nothing is left", "s3://bucket/...", "-"},
		{"long", "s3://bucket/" + long, long[:maxMountpointName] + "-"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			u, err := store.ParseURL(tt.url)
			if err != nil {
				t.Fatal(err)
			}
			got := mountpointName(u)
			if !strings.HasPrefix(got, tt.want) || len(got) != len(tt.want)+2*digestBytes {
				t.Errorf("mountpointName = %q, want %q and a digest", got, tt.want)
			}
		})
	}
	name := func(url string) string {
		u, err := store.ParseURL(url)
		if err != nil {
			t.Fatal(err)
		}
		return mountpointName(u)
	}
	if a, b := name("s3://bucket/k?region=a"), name("s3://bucket/k?region=b"); a != b {
		t.Errorf("options change the name: %s, %s", a, b)
	}
	if a, b := name("s3://bucket/a/k"), name("s3://bucket/b/k"); a == b {
		t.Errorf("two workspaces have the name %s", a)
	}
}

func (f *fixture) usualMountpoint(key string) string {
	f.t.Helper()
	u, err := store.ParseURL(f.url(key))
	if err != nil {
		f.t.Fatal(err)
	}
	return host.MountpointAt(f.runDir, mountpointName(u), 1)
}

// Each mount had another path, so that noted absolute paths were broken at the next mount.
func TestMountpointIsTheSameEachTime(t *testing.T) {
	f := newFixture(t)
	usual := f.usualMountpoint("k")
	for range 2 {
		m := f.open("k", nil)
		if m.Path() != usual {
			t.Errorf("the mountpoint is %s, want %s", m.Path(), usual)
		}
		f.close(m, false)
		if _, err := os.Lstat(usual); !os.IsNotExist(err) {
			t.Errorf("after Close the mountpoint is there: %v", err)
		}
	}
	if err := os.WriteFile(f.archive("bad"), []byte("no archive"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.tryOpen("bad", nil); err == nil {
		t.Fatal("what is no archive was opened")
	}
	if left, err := os.ReadDir(filepath.Dir(usual)); err != nil || len(left) > 0 {
		t.Errorf("after a failed Open: %v, %v", left, err)
	}
}

func TestMountpointInUse(t *testing.T) {
	f := newFixture(t)
	var said bytes.Buffer
	logger := slog.New(slog.NewTextHandler(&said, nil))
	usual := f.usualMountpoint("k")
	first := f.open("k", &Options{Logger: logger})
	if said.Len() > 0 {
		t.Errorf("logged: %s", &said)
	}
	second := f.open("k", &Options{Logger: logger})
	if first.Path() != usual || second.Path() != usual+".2" {
		t.Errorf("mountpoints %s and %s, want %s and the second one of that name", first.Path(), second.Path(), usual)
	}
	if s := said.String(); !strings.Contains(s, "level=WARN") || !strings.Contains(s, "usual="+usual+" ") {
		t.Errorf("logged %q", s)
	}
	f.close(first, false)
	if third := f.open("k", nil); third.Path() != usual {
		t.Errorf("the mountpoint that is free again was not taken: %s", third.Path())
	}
}

// A mountpoint that another process has is never taken from it; that of a killed one is.
func TestMountpointOfAnotherProcess(t *testing.T) {
	f := newFixture(t)
	usual := f.usualMountpoint("k")
	client, server, path := f.mounted("")
	if path != usual {
		t.Fatalf("the other process has %s, want %s", path, usual)
	}
	m := f.open("k", nil)
	if m.Path() == usual {
		t.Fatal("the mountpoint of another process was taken")
	}
	if _, err := os.Stat(filepath.Join(usual, "written")); err != nil {
		t.Errorf("the other process has lost its file: %v", err)
	}
	f.close(m, false)
	if !f.plain { // a plain workspace has one process
		stopAndWait(t, server)
	}
	if err := client.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = client.Wait() // killed
	if !f.plain {
		killAndWait(t, server)
	}
	if m = f.open("k", nil); m.Path() != usual { // in the session that was there before
		t.Errorf("the mountpoint of a killed process was not taken: %s", m.Path())
	}
	if left, err := os.ReadDir(m.Path()); err != nil || len(left) > 0 {
		t.Errorf("the new mount shows %v, %v", left, err)
	}
}

// The server of a killed client needs a moment to detach; a retry at once had to go elsewhere.
func TestMountpointOfAClientThatWasKilledJustNow(t *testing.T) {
	defer func(d time.Duration) { endingPatience = d }(endingPatience)
	endingPatience = time.Minute // a machine may be busy
	f := newFixture(t)
	client, _, path := f.mounted("")
	if err := client.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = client.Wait() // killed
	if m := f.open("k", nil); m.Path() != path {
		t.Errorf("the mountpoint is %s, want %s", m.Path(), path)
	}
}

func TestMountpointThatNobodyHas(t *testing.T) {
	f := newFixture(t)
	f.close(f.open("other", nil), false) // makes the directories
	usual := f.usualMountpoint("k")
	if err := os.Mkdir(usual, 0o700); err != nil {
		t.Fatal(err)
	}
	m := f.open("k", nil)
	if m.Path() != usual {
		t.Errorf("an empty directory that nobody has was not taken: %s", m.Path())
	}
	f.close(m, false)
	if err := os.Mkdir(usual, 0o700); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(usual, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	m = f.open("k", nil)
	if m.Path() == usual {
		t.Error("a directory with files was taken")
	}
	f.close(m, false)
	if err := os.Remove(file); err != nil {
		t.Errorf("the file is gone: %v", err)
	}
}

// Between removing its mountpoint and its record a server was killed; the next owner of
// the name must not lose its own directory to the clean-up.
func TestCleanUpLeavesTheNextOwnersMountpoint(t *testing.T) {
	f := newFixture(t)
	f.close(f.open("other", nil), false)
	path := f.usualMountpoint("k")
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	old, err := host.DirIDOf(path)
	if err != nil {
		t.Fatal(err)
	}
	session, lock, err := host.NewSession(t.Context(), f.runDir)
	if err != nil {
		t.Fatal(err)
	}
	if err := host.WriteRecord(session, 1, host.Record{Path: ipc.Path(path), Made: true, Dir: old}); err != nil {
		t.Fatal(err)
	}
	lock.Close()
	if err := os.Rename(path, path+".old"); err != nil { // so that its number is not used again
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := CleanUp(context.Background(), f.runDir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the clean-up took another's mountpoint: %v", err)
	}
	if _, err := os.Stat(session); !os.IsNotExist(err) {
		t.Errorf("the dead session is still there: %v", err)
	}
}

// By the colon of the URL in the mount table GNU tools took a mount for a network file
// system: df -l left it out, and du warned of it.
func TestMountIsALocalFileSystem(t *testing.T) {
	f := newFixture(t)
	m := f.open("k", nil)
	table, err := host.MountTable("self")
	if err != nil {
		t.Fatal(err)
	}
	e, ok := host.TopMountAt(table, m.Path())
	want := mountpointName(m.url)
	if f.status(m).View == ViewOverlay {
		want = host.OverlaySource + want
	}
	if !ok || e.Source != want {
		t.Errorf("the source is %q, want %q", e.Source, want)
	}
	out, err := exec.Command("df", "--local", "--output=target", m.Path()).CombinedOutput()
	if err != nil || !strings.Contains(string(out), m.Path()) {
		t.Errorf("df --local: %v: %s", err, out)
	}
}
