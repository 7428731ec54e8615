package doctor_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/doctor"
	"github.com/workdir/workdir/store"
)

// diagnose returns the checks of a run, by name.
func diagnose(t *testing.T, ctx context.Context, url string, opts *doctor.Options) (map[string]doctor.Check, error) {
	t.Helper()
	checks := map[string]doctor.Check{}
	at, err := doctor.ParseTarget(url)
	if err != nil {
		return nil, err
	}
	err = doctor.Diagnose(ctx, at, opts, func(c doctor.Check) {
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
				if c.Status != doctor.OK && c.Name != "space" {
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
	checks, err := diagnose(t, context.Background(), "file://"+t.TempDir()+"/a", &doctor.Options{Quick: true})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]doctor.Status{"parts": doctor.Skip, "parts stale": doctor.Skip, "range": doctor.OK, "replaced in read": doctor.OK} {
		if checks[name].Status != want {
			t.Errorf("%s: %+v", name, checks[name])
		}
	}
}

func TestDiagnoseBadURL(t *testing.T) {
	for _, url := range []string{"", "nowhere://b/k", "s3:///k", "mem://b/k?option=1"} {
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

	remove  func(rev *store.Revision) error
	missing error // of Stat where there is no archive; nil is the store's own
	stat    func(*store.Info) error
	read    func([]byte)
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
	switch {
	case errors.Is(err, store.ErrNotExist) && s.missing != nil:
		err = s.missing
	case s.stat != nil && err == nil:
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
		want  doctor.Check // Detail is a part of it
	}{
		{"conditions are ignored", func(s *odd) { s.put = ignoring(s) }, "create again",
			doctor.Check{Status: doctor.Fail, Detail: "overwrite each other"}},
		{"conditions are ignored, in a race", func(s *odd) { s.put = ignoring(s) }, "race of two",
			doctor.Check{Status: doctor.Fail, Detail: "2 of two writers"}},
		{"a stale upload is accepted", func(s *odd) { s.put = ignoring(s) }, "parts stale",
			doctor.Check{Status: doctor.Fail, Detail: "overwrite each other"}},
		{"a stale delete is accepted", func(s *odd) { s.remove = func(*store.Revision) error { return nil } }, "delete stale",
			doctor.Check{Status: doctor.Fail, Detail: "overwrite each other"}},
		{"writes are not allowed", func(s *odd) {
			s.put = func(*store.PutOptions, func() (store.Info, error)) (store.Info, error) { return store.Info{}, denied }
		}, "create", doctor.Check{Status: doctor.Fail, Detail: "put odd://b/k: not allowed", Fix: "give this user s3:PutObject"}},
		{"nothing to replace", func(s *odd) {
			s.put = func(*store.PutOptions, func() (store.Info, error)) (store.Info, error) { return store.Info{}, denied }
		}, "further writes", doctor.Check{Status: doctor.Skip, Detail: "no scratch archive"}},
		{"the clock is off", func(s *odd) {
			s.stat = func(i *store.Info) error { i.ModTime = i.ModTime.AddDate(0, 0, -1); return nil }
		}, "clock",
			doctor.Check{Status: doctor.Warn, Detail: "24h0m0s"}},
		{"an old revision is shown", func(s *odd) { s.stat = func(i *store.Info) error { i.Revision = "old"; return nil } }, "replace",
			doctor.Check{Status: doctor.Fail, Detail: "stored revision"}},
		{"ranges are wrong", func(s *odd) { s.read = func(p []byte) { clear(p) } }, "range",
			doctor.Check{Status: doctor.Fail, Detail: "other bytes"}},
		{"readers are mixed up", func(s *odd) { s.read = func(p []byte) { clear(p) } }, "replaced in read",
			doctor.Check{Status: doctor.Fail, Detail: "another archive"}},
		{"deletes are not allowed", func(s *odd) { s.remove = func(*store.Revision) error { return denied } }, "left behind",
			doctor.Check{Status: doctor.Fail, Detail: "not allowed", Fix: "by hand"}},
	}
	var s *odd // of the test that runs
	store.Register("odd", func(context.Context, store.URL) (store.Store, error) { return s, nil })
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s = &odd{Store: memory(t)}
			tt.spoil(s)
			checks, err := diagnose(t, context.Background(), "odd://b/k", &doctor.Options{Quick: tt.check != "parts stale"})
			if err != nil {
				t.Fatal(err)
			}
			c := checks[tt.check]
			if c.Status != tt.want.Status || !strings.Contains(c.Detail, tt.want.Detail) || !strings.Contains(c.Fix, tt.want.Fix) {
				t.Errorf("%s: %+v, want %+v", tt.check, c, tt.want)
			}
			if c.Status != doctor.OK && c.Status != doctor.Skip && c.Fix == "" {
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
			at, err := doctor.ParseTarget("file://" + dir + "/a")
			if err != nil {
				t.Fatal(err)
			}
			err = doctor.Diagnose(ctx, at, &doctor.Options{Quick: name != "parts"}, func(c doctor.Check) {
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

func mustDiagnose(t *testing.T, url string) map[string]doctor.Check {
	t.Helper()
	checks, err := diagnose(t, context.Background(), url, &doctor.Options{Quick: true})
	if err != nil {
		t.Fatal(err)
	}
	return checks
}

// memory returns a new store.
func memory(t *testing.T) store.Store {
	t.Helper()
	s, err := store.OpenBucket(t.Context(), store.URL{Scheme: "mem", Bucket: t.Name()})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// directory is a store of files whose locks and whose fsync can be others.
type directory struct {
	store.Store
	files
	lock func(ctx context.Context, key string) (func(), error)
	sync func() error
}

// files are the methods by which Diagnose knows a store of files.
type files interface {
	Dir(key string) (string, error)
	Local(dir string) bool
	Lock(ctx context.Context, key string) (func(), error)
	Sync(ctx context.Context, key string) error
}

func (d *directory) Lock(ctx context.Context, key string) (func(), error) {
	if d.lock != nil {
		return d.lock(ctx, key)
	}
	return d.files.Lock(ctx, key)
}

func (d *directory) Sync(ctx context.Context, key string) error {
	if d.sync != nil {
		return d.sync()
	}
	return d.files.Sync(ctx, key)
}

func TestDiagnoseDirectory(t *testing.T) {
	locks := func(err error) func(*directory) {
		return func(d *directory) {
			d.lock = func(context.Context, string) (func(), error) { return func() {}, err }
		}
	}
	tests := []struct {
		name, check string
		spoil       func(*directory)
		want        doctor.Check
	}{
		{"the kernel's locks", "lock", func(*directory) {}, doctor.Check{Status: doctor.OK, Detail: "the file .workdir/lock is locked"}},
		{"locks that keep nobody out", "lock", locks(nil), doctor.Check{Status: doctor.Fail, Detail: "two commits", Fix: "nolock"}},
		{"locks that fail", "lock", locks(unix.EIO), doctor.Check{Status: doctor.Fail, Detail: "input/output error"}},
		{"a lock that only the first gets", "lock", func(d *directory) {
			d.lock = func(ctx context.Context, key string) (func(), error) {
				if ctx.Err() != nil {
					return nil, unix.ENOLCK
				}
				return func() {}, nil
			}
		}, doctor.Check{Status: doctor.Fail, Detail: "no locks"}},
		{"a disk that fails", "fsync", func(d *directory) { d.sync = func() error { return unix.EIO } }, doctor.Check{Status: doctor.Fail, Detail: "could not be made durable: input/output error"}},
	}
	var s *directory // of the test that runs
	store.Register("directory", func(context.Context, store.URL) (store.Store, error) { return s, nil })
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file, err := store.OpenBucket(t.Context(), store.URL{Scheme: "file"})
			if err != nil {
				t.Fatal(err)
			}
			s = &directory{Store: file, files: file.(files)}
			tt.spoil(s)
			dir := t.TempDir()
			checks, err := diagnose(t, t.Context(), "directory://b"+dir+"/k", &doctor.Options{Quick: true})
			if err != nil {
				t.Fatal(err)
			}
			if c := checks[tt.check]; c.Status != tt.want.Status || !strings.Contains(c.Detail, tt.want.Detail) || !strings.Contains(c.Fix, tt.want.Fix) {
				t.Errorf("%+v, want %+v", c, tt.want)
			}
			if c := checks["left behind"]; c.Status != doctor.OK || len(below(t, dir)) != 1 {
				t.Errorf("%+v: %v", c, below(t, dir))
			}
		})
	}
}
