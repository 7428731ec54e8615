package store_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/store"
)

// diagnose gives the checks of a run, by name.
func diagnose(t *testing.T, ctx context.Context, url string, opts *store.DiagnoseOptions) (map[string]store.Check, error) {
	t.Helper()
	checks := map[string]store.Check{}
	err := store.Diagnose(ctx, url, opts, func(c store.Check) {
		if _, twice := checks[c.Name]; twice {
			t.Errorf("check %q is reported twice", c.Name)
		}
		if c.Detail == "" {
			t.Errorf("check %q has no detail", c.Name)
		}
		checks[c.Name] = c
	})
	return checks, err
}

// below lists everything beneath a directory.
func below(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		names = append(names, path)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestDiagnoseFile(t *testing.T) {
	dir := t.TempDir()
	if err := os.MkdirAll(filepath.Join(dir, "jobs"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "jobs", "a.tar.gz"), []byte("an archive"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		url       string
		workspace string // in the detail of its check; "" for no check
		list      string
	}{
		{"/jobs/a", "10 bytes", "1 workspaces"},
		{"/jobs/b", "no archive yet", "1 workspaces"},
		{"/jobs/", "", "1 workspaces"},
		{"/new/deep/c", "no archive yet", "0 workspaces"},
	} {
		t.Run(tt.url, func(t *testing.T) {
			before := below(t, dir)
			checks, err := diagnose(t, context.Background(), "file://"+dir+tt.url, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, c := range checks {
				if c.Status != store.CheckOK && c.Name != "space" {
					t.Errorf("%+v", c)
				}
			}
			if c, ok := checks["workspace"]; ok != (tt.workspace != "") || !strings.Contains(c.Detail, tt.workspace) {
				t.Errorf("workspace: %+v", c)
			}
			if c := checks["list"]; !strings.Contains(c.Detail, tt.list) {
				t.Errorf("list: %+v", c)
			}
			for _, name := range []string{"lock", "fsync", "rename", "create", "race of two", "parts", "parts stale", "delete", "left behind"} {
				if _, ok := checks[name]; !ok {
					t.Errorf("%s was not checked", name)
				}
			}
			if after := below(t, dir); !slices.Equal(before, after) {
				t.Errorf("left behind: %v, before %v", after, before)
			}
		})
	}
}

func TestDiagnoseQuickly(t *testing.T) {
	checks, err := diagnose(t, context.Background(), "file://"+t.TempDir()+"/a", &store.DiagnoseOptions{Quick: true})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]store.CheckStatus{"parts": store.CheckSkip, "parts stale": store.CheckSkip, "range": store.CheckOK, "replaced in read": store.CheckOK} {
		if checks[name].Status != want {
			t.Errorf("%s: %+v", name, checks[name])
		}
	}
}

func TestDiagnoseBadURL(t *testing.T) {
	for _, url := range []string{"", "nowhere://b/k", "file:///a/../b", "mem://b/k?option=1"} {
		checks, err := diagnose(t, context.Background(), url, nil)
		if !errors.Is(err, store.ErrURL) || len(checks) > 0 {
			t.Errorf("%q: %v, %v", url, checks, err)
		}
	}
}

// odd is a store that can do one thing wrong.
type odd struct {
	store.Store
	put func(opts *store.PutOptions, send func() (store.Info, error)) (store.Info, error)

	remove func(rev *store.Revision) error
	stat   func(*store.Info) error
	read   func([]byte)
}

func (s *odd) Put(ctx context.Context, key string, write func(io.Writer) error, opts *store.PutOptions) (store.Info, error) {
	send := func() (store.Info, error) { return s.Store.Put(ctx, key, write, opts) }
	if s.put == nil {
		return send()
	}
	return s.put(opts, send)
}

// force makes the condition of a write the one that holds.
func (s *odd) force(key string, rev *store.Revision) {
	info, _ := s.Store.Stat(context.Background(), key) // no archive, no revision
	*rev = info.Revision
}

func (s *odd) Delete(ctx context.Context, key string, rev store.Revision, before func(context.Context) error) error {
	if s.remove != nil {
		if err := s.remove(&rev); err != nil {
			return err
		}
		s.force(key, &rev)
	}
	return s.Store.Delete(ctx, key, rev, before)
}

func (s *odd) Stat(ctx context.Context, key string) (store.Info, error) {
	info, err := s.Store.Stat(ctx, key)
	if s.stat != nil && err == nil {
		err = s.stat(&info)
	}
	return info, err
}

func (s *odd) Open(ctx context.Context, key string) (store.Object, error) {
	o, err := s.Store.Open(ctx, key)
	if err == nil && s.read != nil {
		o = &oddObject{o, s.read}
	}
	return o, err
}

type oddObject struct {
	store.Object
	read func([]byte)
}

func (o *oddObject) ReadAt(p []byte, off int64) (int, error) {
	n, err := o.Object.ReadAt(p, off)
	o.read(p[:n])
	return n, err
}

func (o *oddObject) Read(p []byte) (int, error) {
	n, err := o.Object.Read(p)
	o.read(p[:n])
	return n, err
}

// ignoring is a put of a store that looks at no condition.
func ignoring(s *odd) func(*store.PutOptions, func() (store.Info, error)) (store.Info, error) {
	return func(opts *store.PutOptions, send func() (store.Info, error)) (store.Info, error) {
		info, err := send()
		var conflict *store.ConflictError
		for errors.As(err, &conflict) {
			opts.Replace = conflict.Have
			info, err = send()
		}
		return info, err
	}
}

// Each way in which a store can be wrong is found by the check that is for it.
func TestDiagnoseFindsWhatIsWrong(t *testing.T) {
	denied := &store.Error{Op: "put", Object: "odd://b/k", Kind: store.ErrNotAllowed, Todo: "give this user s3:PutObject"}
	tests := []struct {
		name  string
		spoil func(*odd)
		check string
		want  store.Check // Detail is a part of it
	}{
		{"conditions are ignored", func(s *odd) { s.put = ignoring(s) }, "create again",
			store.Check{Status: store.CheckFail, Detail: "overwrite each other"}},
		{"conditions are ignored, in a race", func(s *odd) { s.put = ignoring(s) }, "race of two",
			store.Check{Status: store.CheckFail, Detail: "2 of two writers"}},
		{"a stale upload is accepted", func(s *odd) { s.put = ignoring(s) }, "parts stale",
			store.Check{Status: store.CheckFail, Detail: "overwrite each other"}},
		{"a stale delete is accepted", func(s *odd) { s.remove = func(*store.Revision) error { return nil } }, "delete stale",
			store.Check{Status: store.CheckFail, Detail: "overwrite each other"}},
		{"writes are not allowed", func(s *odd) {
			s.put = func(*store.PutOptions, func() (store.Info, error)) (store.Info, error) { return store.Info{}, denied }
		}, "create", store.Check{Status: store.CheckFail, Detail: "put odd://b/k: not allowed", Fix: "give this user s3:PutObject"}},
		{"nothing to replace", func(s *odd) {
			s.put = func(*store.PutOptions, func() (store.Info, error)) (store.Info, error) { return store.Info{}, denied }
		}, "further writes", store.Check{Status: store.CheckSkip, Detail: "no scratch archive"}},
		{"the clock is off", func(s *odd) {
			s.stat = func(i *store.Info) error { i.ModTime = i.ModTime.AddDate(0, 0, -1); return nil }
		}, "clock",
			store.Check{Status: store.CheckWarn, Detail: "24h0m0s"}},
		{"an old revision is shown", func(s *odd) { s.stat = func(i *store.Info) error { i.Revision = "old"; return nil } }, "replace",
			store.Check{Status: store.CheckFail, Detail: "stored revision"}},
		{"ranges are wrong", func(s *odd) { s.read = func(p []byte) { clear(p) } }, "range",
			store.Check{Status: store.CheckFail, Detail: "other bytes"}},
		{"readers are mixed up", func(s *odd) { s.read = func(p []byte) { clear(p) } }, "replaced in read",
			store.Check{Status: store.CheckFail, Detail: "another archive"}},
		{"deletes are not allowed", func(s *odd) { s.remove = func(*store.Revision) error { return denied } }, "left behind",
			store.Check{Status: store.CheckFail, Detail: "not allowed", Fix: "by hand"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := &odd{Store: store.NewFileStore(t.TempDir())}
			tt.spoil(s)
			store.Register("odd", func(context.Context, store.URL) (store.Store, error) { return s, nil })
			defer store.Unregister("odd")
			checks, err := diagnose(t, context.Background(), "odd://b/k", &store.DiagnoseOptions{Quick: tt.check != "parts stale"})
			if err != nil {
				t.Fatal(err)
			}
			c := checks[tt.check]
			if c.Status != tt.want.Status || !strings.Contains(c.Detail, tt.want.Detail) || !strings.Contains(c.Fix, tt.want.Fix) {
				t.Errorf("%s: %+v, want %+v", tt.check, c, tt.want)
			}
			if c.Status != store.CheckOK && c.Status != store.CheckSkip && c.Fix == "" {
				t.Errorf("%s: no fix in %+v", tt.check, c)
			}
		})
	}
}

// Whatever is cancelled, nothing stays.
func TestDiagnoseCancelled(t *testing.T) {
	dir := t.TempDir()
	before := below(t, dir)
	for name := range mustDiagnose(t, "file://"+dir+"/a") {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			err := store.Diagnose(ctx, "file://"+dir+"/a", &store.DiagnoseOptions{Quick: name != "parts"}, func(c store.Check) {
				if c.Name == name {
					cancel()
				}
			})
			if !errors.Is(err, context.Canceled) {
				t.Errorf("error %v", err)
			}
			if after := below(t, dir); !slices.Equal(before, after) {
				t.Errorf("left behind: %v", after)
			}
		})
	}
}

// Nor does a listing of all levels show a scratch archive as a workspace.
func TestListAllWithoutScratch(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a.tar.gz", ".workdir-doctor-1/trial.tar.gz", "b/.workdir-doctor-2/trial.tar.gz"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	found, err := store.ListAll(context.Background(), dir)
	if err != nil || len(found) != 1 || found[0].Name != "a" {
		t.Errorf("%+v, %v", found, err)
	}
}

func mustDiagnose(t *testing.T, url string) map[string]store.Check {
	t.Helper()
	checks, err := diagnose(t, context.Background(), url, &store.DiagnoseOptions{Quick: true})
	if err != nil {
		t.Fatal(err)
	}
	return checks
}

// fileChecks returns the checks of a directory.
func fileChecks(t *testing.T, s store.Store) map[string]store.Check {
	t.Helper()
	checks := map[string]store.Check{}
	for _, c := range s.(store.Diagnoser).Diagnose(context.Background(), "k") {
		checks[c.Name] = c
	}
	return checks
}

func TestDiagnoseLocks(t *testing.T) {
	always := func(err error) func(int) error { return func(int) error { return err } }
	tests := []struct {
		name string
		lock func(fd int) error
		want store.Check
	}{
		{"of the kernel", store.LockFile, store.Check{Status: store.CheckOK, Detail: "the file .workdir/lock is locked"}},
		{"that keep nobody out", always(nil), store.Check{Status: store.CheckFail, Detail: "two commits", Fix: "nolock"}},
		{"that fail", always(unix.EIO), store.Check{Status: store.CheckFail, Detail: "input/output error"}},
		{"that there are none of", always(unix.ENOLCK), store.Check{Status: store.CheckFail, Detail: "no locks"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := fileChecks(t, store.NewFileStoreLockedBy(t.TempDir(), tt.lock))["lock"]
			if c.Status != tt.want.Status || !strings.Contains(c.Detail, tt.want.Detail) || !strings.Contains(c.Fix, tt.want.Fix) {
				t.Errorf("%+v, want %+v", c, tt.want)
			}
		})
	}
}

func TestDiagnoseSync(t *testing.T) {
	c := fileChecks(t, store.NewFileStoreWith(t.TempDir(), nil, func(int) error { return unix.EIO }))["fsync"]
	if c.Status != store.CheckFail || !strings.Contains(c.Detail, fmt.Sprint(unix.EIO)) {
		t.Errorf("%+v", c)
	}
}
