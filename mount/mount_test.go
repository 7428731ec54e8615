package mount

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/internal/testenv"
	"github.com/workdir/workdir/mount/internal/host"
	"github.com/workdir/workdir/mount/internal/wire"
	"github.com/workdir/workdir/store"
)

func TestMain(m *testing.M) {
	if role := os.Getenv("WORKDIR_TEST_ROLE"); role != "" && os.Args[0] != wire.ServerName && os.Args[0] != shimName {
		os.Exit(playRole(role))
	}
	Init()
	os.Exit(m.Run())
}

// fixture is a store, a run directory and the options of a test's mounts.
type fixture struct {
	t      *testing.T
	dir    string // of the store
	runDir string
	view   View // of the workspaces, unless a test says which
	plain  bool // it is ViewPlain
}

func newFixture(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{t: t, dir: t.TempDir(), runDir: filepath.Join(t.TempDir(), "run"), view: viewOf(t), plain: viewOf(t) == ViewPlain}
	t.Cleanup(func() {
		if err := Stop(context.Background()); err != nil {
			t.Error(err)
		}
		f.noMountLeft()
	})
	return f
}

func (f *fixture) url(key string) string     { return "file://" + f.dir + "/" + key }
func (f *fixture) archive(key string) string { return filepath.Join(f.dir, key+".tar.gz") }

func (f *fixture) noMountLeft() {
	f.t.Helper()
	table, err := host.MountTable("self")
	if err != nil {
		f.t.Fatal(err)
	}
	for _, e := range table {
		if e.IsOurs() && host.Within(e.Path, filepath.Dir(f.dir)) { // all temporary directories of the test
			f.t.Errorf("left mounted: %s", e.Path)
			_ = host.Detach(e.Path) // so that the next test starts clean
		}
	}
	waitFor(f.t, "the last server to remove its session", func() bool { return len(host.SessionDirs(f.runDir)) == 0 })
	if left := f.temporary(); len(left) > 0 {
		f.t.Errorf("left beside the archives: %v", left)
	}
}

func (f *fixture) open(key string, opts *Options) *Mount {
	f.t.Helper()
	m, err := f.tryOpen(key, opts)
	if err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		m.Abandon()
		_, _ = m.Close(context.Background()) // closed already, mostly
	})
	return m
}

func (f *fixture) tryOpen(key string, opts *Options) (*Mount, error) {
	o := Options{}
	if opts != nil {
		o = *opts
	}
	if o.View == ViewAuto && !o.Plain && (f.view != ViewOverlay || !o.ReadOnly) { // no overlay is read-only
		o.View = f.view
	}
	if o.RunDir == "" {
		o.RunDir = f.runDir
	}
	if o.Grace == 0 {
		o.Grace = time.Millisecond // tests that are busy on purpose need not wait
	}
	return Open(f.t.Context(), f.url(key), &o)
}

// commit writes one file and commits.
func (f *fixture) commit(key, name, content string) Result {
	f.t.Helper()
	m := f.open(key, &Options{Grace: time.Minute})
	f.write(m, name, content)
	return f.close(m, true)
}

func (f *fixture) write(m *Mount, name, content string) {
	f.t.Helper()
	if err := os.WriteFile(m.Path(name), []byte(content), 0o644); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) close(m *Mount, mark bool) Result {
	f.t.Helper()
	if mark {
		if err := m.Commit(); err != nil {
			f.t.Fatal(err)
		}
	}
	res, err := m.Close(f.t.Context())
	if err != nil {
		f.t.Fatal(err)
	}
	return res
}

// content reads one file of a workspace through a read-only mount.
func (f *fixture) content(key, name string) string {
	f.t.Helper()
	m := f.open(key, &Options{ReadOnly: true, Grace: time.Minute})
	b, err := os.ReadFile(m.Path(name))
	if err != nil {
		f.t.Fatal(err)
	}
	f.close(m, false)
	return string(b)
}

// bytes returns the stored archive; nil for none.
func (f *fixture) bytes(key string) []byte {
	f.t.Helper()
	b, err := os.ReadFile(f.archive(key))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		f.t.Fatal(err)
	}
	return b
}

func TestCommitAndOpenAgain(t *testing.T) {
	f := newFixture(t)
	res := f.commit("a/b", "hello", "world")
	if !res.Stored || res.Changes.Created != 1 || res.Size == 0 || res.CommitID == "" || res.Revision == "" {
		t.Errorf("result = %+v, want one file stored", res)
	}
	if got := f.content("a/b", "hello"); got != "world" {
		t.Errorf("content = %q", got)
	}
}

func TestNothingIsStoredUnless(t *testing.T) {
	tests := []struct {
		name string
		end  func(*testing.T, *Mount)
	}{
		{"marked", func(*testing.T, *Mount) {}},
		{"not abandoned", func(t *testing.T, m *Mount) {
			if err := m.Commit(); err != nil {
				t.Fatal(err)
			}
			m.Abandon()
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t)
			f.commit("k", "name", "before")
			before := f.bytes("k")
			m := f.open("k", nil)
			f.write(m, "name", "after")
			tt.end(t, m)
			if res := f.close(m, false); res.Stored || res.Changes.Modified != 1 {
				t.Errorf("result = %+v, want one modified file, not stored", res)
			}
			if string(f.bytes("k")) != string(before) {
				t.Error("the archive changed")
			}
		})
	}
}

func TestUnchangedIsNotStored(t *testing.T) {
	f := newFixture(t)
	f.commit("k", "name", "content")
	before := f.bytes("k")
	m := f.open("k", nil)
	if _, err := os.ReadFile(m.Path("name")); err != nil {
		t.Fatal(err)
	}
	if res := f.close(m, true); res.Stored {
		t.Errorf("result = %+v, want nothing stored", res)
	}
	if string(f.bytes("k")) != string(before) {
		t.Error("the archive changed")
	}
}

func TestEmptiedWorkspace(t *testing.T) {
	for _, keep := range []bool{false, true} {
		f := newFixture(t)
		f.commit("k", "name", "content")
		m := f.open("k", &Options{KeepEmpty: keep})
		if err := os.Remove(m.Path("name")); err != nil {
			t.Fatal(err)
		}
		res := f.close(m, true)
		if res.Deleted == keep || res.Stored != keep || (f.bytes("k") != nil) != keep {
			t.Errorf("KeepEmpty %v: result = %+v, archive of %d bytes", keep, res, len(f.bytes("k")))
		}
	}
}

func TestReadOnly(t *testing.T) {
	f := newFixture(t)
	f.commit("k", "name", "content")
	m := f.open("k", &Options{ReadOnly: true})
	if err := os.WriteFile(m.Path("name"), nil, 0o644); !errors.Is(err, unix.EROFS) {
		t.Errorf("write = %v, want EROFS", err)
	}
	if err := m.Commit(); !errors.Is(err, ErrReadOnly) {
		t.Errorf("Commit = %v, want ErrReadOnly", err)
	}
	f.close(m, false)
}

func TestConflict(t *testing.T) {
	f := newFixture(t)
	first := f.commit("k", "name", "0")
	slow := f.open("k", nil)
	f.write(slow, "name", "slow")
	second := f.commit("k", "name", "fast")
	if err := slow.Commit(); err != nil {
		t.Fatal(err)
	}
	_, err := slow.Close(t.Context())
	var conflict *store.ConflictError
	if !errors.As(err, &conflict) || conflict.Want != first.Revision || conflict.Have != second.Revision {
		t.Errorf("Close = %v (%+v), want a conflict of %s and %s", err, conflict, first.Revision, second.Revision)
	}
	if len(conflict.Between) != 1 || conflict.Between[0].ID != second.CommitID {
		t.Errorf("%+v came in between, want %s", conflict.Between, second.CommitID)
	}
	if errors.Is(err, ErrCommit) {
		t.Errorf("Close = %v, which is also ErrCommit", err)
	}
	if _, again := slow.Close(t.Context()); !errors.Is(again, store.ErrConflict) {
		t.Errorf("Close again = %v, want the same", again)
	}
	if got := f.content("k", "name"); got != "fast" {
		t.Errorf("content = %q, want the winner's", got)
	}
}

func TestBeforeStoreCanRefuse(t *testing.T) {
	f := newFixture(t)
	fenced := errors.New("fenced off")
	asked := 0
	m := f.open("k", &Options{BeforeStore: func(context.Context) error { asked++; return fenced }})
	f.write(m, "name", "content")
	if err := m.Commit(); err != nil {
		t.Fatal(err)
	}
	_, err := m.Close(t.Context())
	if !errors.Is(err, ErrCommit) || !strings.Contains(err.Error(), fenced.Error()) || asked != 1 {
		t.Errorf("Close = %v after %d questions, want ErrCommit with the reason after one", err, asked)
	}
	if f.bytes("k") != nil {
		t.Error("an archive was stored")
	}
}

// A command that started after the unmount once worked in the empty mountpoint, unnoticed.
func TestCommandAfterTheUnmount(t *testing.T) {
	f := newFixture(t)
	dir := t.TempDir() // stays
	m := f.open("k", &Options{Dir: dir})
	cmd := Command(t.Context(), m, "sh", "-c", "echo lost >lost")
	f.close(m, false)
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != exitCannotRun || !strings.Contains(string(out), ErrNotMounted.Error()) {
		t.Errorf("command = %q, %v, want exit code %d", out, err, exitCannotRun)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("the mountpoint has %v, %v", left, err)
	}
}

func TestCommandRunsInTheMount(t *testing.T) {
	f := newFixture(t)
	m := f.open("k", nil)
	cmd := Command(t.Context(), m, "sh", "-c", `pwd; echo made >made`)
	out, err := cmd.CombinedOutput()
	if err != nil || string(out) != m.Path()+"\n" {
		t.Fatalf("command = %q, %v", out, err)
	}
	out, err = CommandIn(t.Context(), m, "a/b", "sh", "-c", "pwd").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "a/b") {
		t.Errorf("command in a directory that is not there = %q, %v", out, err)
	}
	if err := os.MkdirAll(m.Path("a/b"), 0o755); err != nil {
		t.Fatal(err)
	}
	out, err = CommandIn(t.Context(), m, "a/b", "sh", "-c", "pwd").CombinedOutput()
	if err != nil || string(out) != m.Path("a/b")+"\n" {
		t.Errorf("command in a directory = %q, %v", out, err)
	}
	for name, want := range map[string]int{"no-such-command": exitNotFound, m.Path("made"): exitCannotRun} {
		err := Command(t.Context(), m, name).Run()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != want {
			t.Errorf("command %s = %v, want exit code %d", name, err, want)
		}
	}
	if res := f.close(m, true); !res.Stored {
		t.Errorf("result = %+v", res)
	}
}

func TestRemote(t *testing.T) {
	f := newFixture(t)
	m := f.open("k", nil)
	if err := os.MkdirAll(m.Path("sub", "dir"), 0o755); err != nil {
		t.Fatal(err)
	}
	r, err := Find(t.Context(), m.Path("sub", "dir"), f.runDir)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	st, err := r.Status(t.Context())
	if err != nil || !st.Marked || st.Path != m.Path() || st.ClientPID != os.Getpid() || st.Changes.Created != 2 {
		t.Errorf("status = %+v, %v", st, err)
	}
	all, err := List(t.Context(), f.runDir)
	if err != nil || len(all) != 1 || all[0].Path != m.Path() {
		t.Errorf("list = %+v, %v", all, err)
	}
	res, err := r.Close(t.Context(), nil)
	if err != nil || !res.Stored {
		t.Errorf("close = %+v, %v", res, err)
	}
	<-m.Done()
	if own, err := m.Close(t.Context()); err != nil || own.Revision != res.Revision {
		t.Errorf("owner's Close = %+v, %v; want what the remote one gave", own, err)
	}
	if _, err := Find(t.Context(), f.dir, f.runDir); !errors.Is(err, ErrNotMounted) {
		t.Errorf("Find = %v, want ErrNotMounted", err)
	}
}

func TestOpenCanBeCancelled(t *testing.T) {
	f := newFixture(t)
	f.commit("k", "name", strings.Repeat("x", 1<<20))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, f.url("k"), &Options{RunDir: f.runDir, View: f.view}); !errors.Is(err, context.Canceled) {
		t.Errorf("Open = %v, want context.Canceled", err)
	}
	f.noMountLeftNow()
}

func (f *fixture) noMountLeftNow() {
	f.t.Helper()
	all, err := List(f.t.Context(), f.runDir)
	if err != nil || len(all) != 0 {
		f.t.Errorf("mounts = %+v, %v; want none", all, err)
	}
}

func TestMemLivesAsLongAsTheClient(t *testing.T) {
	f := newFixture(t)
	for want := range 2 {
		m, err := Open(t.Context(), "mem://bucket/key", &Options{RunDir: f.runDir, View: f.view})
		if err != nil {
			t.Fatal(err)
		}
		entries, err := os.ReadDir(m.Path())
		if err != nil || len(entries) != want {
			t.Errorf("entries = %v, %v; want %d", entries, err, want)
		}
		f.write(m, "name", "content")
		f.close(m, true)
	}
	if err := store.RemoveMem(); err != nil {
		t.Error(err)
	}
}

// The value goes to the server unchanged: a URL that has no text form is not parsed as
// another one.
func TestOpenURLParsesNothing(t *testing.T) {
	f := newFixture(t)
	dir := strings.TrimPrefix(f.dir, "/")
	opts := &Options{RunDir: f.runDir, View: f.view}
	m, err := OpenURL(t.Context(), store.URL{Scheme: "file", Key: dir + "/a#b"}, opts)
	if err != nil {
		t.Fatal(err)
	}
	f.write(m, "name", "content")
	f.close(m, true)
	if _, err := os.Stat(f.archive("a#b")); err != nil {
		t.Error(err)
	}
	if _, err := OpenURL(t.Context(), store.URL{Scheme: "file", Key: dir + "/\xff"}, opts); !errors.Is(err, store.ErrURL) {
		t.Errorf("error %v", err)
	}
}

// writeTar writes an archive of one file as other programs do.
func writeTar(t *testing.T, path, name, content string) {
	t.Helper()
	var out bytes.Buffer
	gz := gzip.NewWriter(&out)
	w := tar.NewWriter(gz)
	err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(content))})
	if err == nil {
		_, err = w.Write([]byte(content))
	}
	if err = errors.Join(err, w.Close(), gz.Close()); err == nil {
		err = os.WriteFile(path, out.Bytes(), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// waitFor is testenv.WaitFor; tests here use it often.
func waitFor(t *testing.T, what string, cond func() bool) {
	t.Helper()
	testenv.WaitFor(t, what, cond)
}
