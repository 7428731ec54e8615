package store_test

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/store/storetest"
)

// places returns a URL of a new bucket on each store that is always there.
func places(t *testing.T) map[string]string {
	return map[string]string{"file": "file://" + t.TempDir() + "/", "mem": "mem://" + rand.Text() + "/"}
}

// content of the archive of a URL, and its revision.
func contentOf(t *testing.T, url string) (string, store.Revision) {
	t.Helper()
	u, err := store.ParseURL(url)
	noError(t, err)
	s, err := store.OpenBucket(t.Context(), u)
	noError(t, err)
	defer s.Close()
	o, err := s.Open(t.Context(), u.Key)
	noError(t, err)
	defer o.Close()
	b, err := io.ReadAll(o)
	noError(t, err)
	return string(b), o.Info().Revision
}

func putAt(t *testing.T, url, content string, replace store.Revision) store.Revision {
	t.Helper()
	u, err := store.ParseURL(url)
	noError(t, err)
	s, err := store.OpenBucket(t.Context(), u)
	noError(t, err)
	defer s.Close()
	info, err := s.Put(t.Context(), u.Key, writes(content), &store.PutOptions{Replace: replace})
	noError(t, err)
	return info.Revision
}

func wantContent(t *testing.T, url, want string) {
	t.Helper()
	if got, _ := contentOf(t, url); got != want {
		t.Errorf("%s holds %.50q, want %.50q", url, got, want)
	}
}

func wantNone(t *testing.T, url string) {
	t.Helper()
	_, err := store.Stat(t.Context(), url)
	wantError(t, err, store.ErrNotExist)
}

func TestCopy(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 1<<17) // 2 MiB: more than one buffer
	for from, a := range places(t) {
		for to, b := range places(t) {
			t.Run(from+" to "+to, func(t *testing.T) {
				src, dst := a+"copy/of "+to, b+"dir/copy of "+from
				rev := putAt(t, src, long, "")
				var told int64
				opts := &store.CopyOptions{Progress: func(done, total int64) {
					if done < told || total != int64(len(long)) {
						t.Errorf("progress of %d after %d, of %d in all", done, told, total)
					}
					told = done
				}}
				done, err := store.Copy(t.Context(), src, dst, opts)
				noError(t, err)
				if done.From.Revision != rev || done.To.Size != int64(len(long)) || told != done.To.Size {
					t.Errorf("Copy returns %+v, and progress of %d", done, told)
				}
				wantContent(t, dst, long)
				wantContent(t, src, long)
				if _, have := contentOf(t, dst); have != done.To.Revision {
					t.Errorf("the copy has revision %s, Copy tells %s", have, done.To.Revision)
				}
			})
		}
	}
}

func TestCopyConditions(t *testing.T) {
	for name, at := range places(t) {
		t.Run(name, func(t *testing.T) {
			src, dst := at+"src", at+"dst"
			_, err := store.Copy(t.Context(), src, dst, nil)
			wantError(t, err, store.ErrNotExist)
			wantNone(t, dst)
			putAt(t, src, "new", "")
			_, err = store.Copy(t.Context(), src, dst, &store.CopyOptions{Replace: "r1"})
			wantError(t, err, store.ErrConflict)
			wantNone(t, dst)
			rev := putAt(t, dst, "old", "")
			for _, opts := range []*store.CopyOptions{nil, {Replace: "another"}} {
				_, err = store.Copy(t.Context(), src, dst, opts)
				wantError(t, err, store.ErrConflict)
				wantContent(t, dst, "old")
			}
			_, err = store.Copy(t.Context(), src, dst, &store.CopyOptions{Replace: rev})
			noError(t, err)
			wantContent(t, dst, "new")
			putAt(t, at+"third", "3", "")
			_, err = store.Copy(t.Context(), at+"third", dst, &store.CopyOptions{ReplaceAny: true})
			noError(t, err)
			wantContent(t, dst, "3")
		})
	}
}

// A move of an archive onto itself would copy it and then remove it.
func TestMoveOntoItself(t *testing.T) {
	dir := t.TempDir()
	noError(t, os.Mkdir(dir+"/real", 0o777))
	noError(t, os.Symlink("real", dir+"/link"))
	putAt(t, dir+"/real/key", "content", "")
	for _, dst := range []string{dir + "/real/key", "file://" + dir + "/real/key/", dir + "/link/key"} {
		_, err := store.Move(t.Context(), dir+"/real/key", dst, &store.CopyOptions{ReplaceAny: true})
		wantError(t, err, store.ErrURL)
		wantContent(t, dir+"/real/key", "content")
	}
}

func TestMove(t *testing.T) {
	for from, a := range places(t) {
		for to, b := range places(t) {
			t.Run(from+" to "+to, func(t *testing.T) {
				src, dst := a+"move to "+to, b+"moved from "+from
				putAt(t, src, "content", "")
				done, err := store.Move(t.Context(), src, dst, nil)
				noError(t, err)
				wantContent(t, dst, "content")
				wantNone(t, src)
				if _, rev := contentOf(t, dst); rev != done.To.Revision {
					t.Errorf("Move returns %+v, the archive has %s", done, rev)
				}
			})
		}
	}
}

// overDriver makes the stores of a scheme of this test from those of mem.
func overDriver(t *testing.T, wrap func(store.Store) store.Store) (scheme string) {
	t.Helper()
	scheme = "t" + strings.ToLower(rand.Text())
	store.Register(scheme, func(ctx context.Context, u store.URL) (store.Store, error) {
		s, err := store.OpenBucket(ctx, store.URL{Scheme: "mem", Bucket: u.Bucket})
		if err != nil {
			return nil, err
		}
		return wrap(s), nil
	})
	t.Cleanup(func() { store.Unregister(scheme) })
	return scheme
}

// hooked is a store that does something once an archive was opened.
type hooked struct {
	store.Store
	opened func()
}

func (h hooked) Open(ctx context.Context, key string) (store.Object, error) {
	o, err := h.Store.Open(ctx, key)
	h.opened()
	return o, err
}

// What was committed while the copy was under way stays at the source.
func TestMoveOfReplaced(t *testing.T) {
	bucket := rand.Text()
	var rev store.Revision
	commit := sync.OnceFunc(func() { putAt(t, "mem://"+bucket+"/src", "newer", rev) })
	scheme := overDriver(t, func(s store.Store) store.Store { return hooked{s, commit} })
	rev = putAt(t, "mem://"+bucket+"/src", "content", "")
	done, err := store.Move(t.Context(), scheme+"://"+bucket+"/src", "mem://"+bucket+"/dst", nil)
	wantError(t, err, store.ErrConflict)
	for _, part := range []string{"mem://" + bucket + "/dst is complete", string(done.To.Revision), "source was not removed"} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in %v", part, err)
		}
	}
	wantContent(t, "mem://"+bucket+"/dst", "content")
	wantContent(t, "mem://"+bucket+"/src", "newer")
}

// A copy whose answer is lost is looked for, and one that is stored is done.
func TestCopyLostAnswers(t *testing.T) {
	tests := []struct {
		name   string
		faults []storetest.Fault
		stored bool
	}{
		{"stored", []storetest.Fault{lostAnswer}, true},
		{"not stored at first", []storetest.Fault{lostRequest}, true},
		{"stored, then lost again", []storetest.Fault{lostAnswer, lostRequest}, true},
	}
	for _, test := range tests {
		bubble(t, test.name, func(t *testing.T) {
			bucket := rand.Text()
			putAt(t, "mem://"+bucket+"/src", "content", "")
			scheme := overDriver(t, func(s store.Store) store.Store { return storetest.NewFaulty(s, test.faults...) })
			_, err := store.Copy(t.Context(), "mem://"+bucket+"/src", scheme+"://"+bucket+"/dst", nil)
			noError(t, err)
			wantContent(t, "mem://"+bucket+"/dst", "content")
		})
	}
}

// other puts another archive of the same size in the place of the copy, whose
// answer is then lost.
type other struct{ store.Store }

func (s other) Put(ctx context.Context, key string, _ func(io.Writer) error, opts *store.PutOptions) (store.Info, error) {
	if _, err := s.Store.Put(ctx, key, writes("anotheR"), opts); err != nil {
		return store.Info{}, err
	}
	return store.Info{}, store.ErrUnknown
}

func TestCopyUnknown(t *testing.T) {
	bubble(t, "unknown", func(t *testing.T) {
		bucket := rand.Text()
		putAt(t, "mem://"+bucket+"/src", "content", "")
		scheme := overDriver(t, func(s store.Store) store.Store { return other{s} })
		_, err := store.Copy(t.Context(), "mem://"+bucket+"/src", scheme+"://"+bucket+"/dst", nil)
		wantError(t, err, store.ErrUnknown)
	})
}

// A driver that asks for the bytes again gets those of the same revision.
type twice struct {
	store.Store
	between func()
}

func (s twice) Put(ctx context.Context, key string, write func(io.Writer) error, opts *store.PutOptions) (store.Info, error) {
	if err := write(io.Discard); err != nil {
		return store.Info{}, err
	}
	s.between()
	return s.Store.Put(ctx, key, write, opts)
}

func TestCopyReadsAgain(t *testing.T) {
	for _, replaced := range []bool{false, true} {
		bucket := rand.Text()
		src := "mem://" + bucket + "/src"
		rev := putAt(t, src, "content", "")
		scheme := overDriver(t, func(s store.Store) store.Store {
			return twice{s, func() {
				if replaced {
					putAt(t, src, "another", rev)
				}
			}}
		})
		_, err := store.Copy(t.Context(), src, scheme+"://"+bucket+"/dst", nil)
		noError(t, err)
		wantContent(t, "mem://"+bucket+"/dst", "content")
	}
}

func TestCopyFrom(t *testing.T) {
	a, b := openBucket(t, "mem://"+rand.Text()), openBucket(t, "mem://"+rand.Text())
	copier, ok := b.(store.Copier)
	if !ok {
		t.Fatal("the file driver is no Copier")
	}
	_, err := copier.CopyFrom(t.Context(), a, "src", "r", "dst", nil)
	wantError(t, err, store.ErrNotExist)
	info, err := a.Put(t.Context(), "src", writes("content"), nil)
	noError(t, err)
	_, err = copier.CopyFrom(t.Context(), a, "src", "another", "dst", nil)
	wantError(t, err, store.ErrConflict)
	_, err = copier.CopyFrom(t.Context(), hooked{a, func() {}}, "src", info.Revision, "dst", nil)
	wantError(t, err, errors.ErrUnsupported)
	_, err = b.Stat(t.Context(), "dst")
	wantError(t, err, store.ErrNotExist)
	refused := errors.New("refused")
	_, err = copier.CopyFrom(t.Context(), a, "src", info.Revision, "dst", &store.PutOptions{Before: func(context.Context) error { return refused }})
	wantError(t, err, refused)
	_, err = copier.CopyFrom(t.Context(), a, "src", info.Revision, "dst", nil)
	noError(t, err)
	_, err = copier.CopyFrom(t.Context(), a, "src", info.Revision, "dst", nil)
	wantError(t, err, store.ErrConflict)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = copier.CopyFrom(ctx, a, "src", info.Revision, "dst2", nil)
	wantError(t, err, context.Canceled)
}

func TestListAll(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b.tar.gz", "a.tar.gz", "a/x.tar.gz", "a/y/z.tar.gz", "a-b/c.tar.gz", "e/empty/no", "dir.tar.gz/in.tar.gz", "bad#dir/x.tar.gz"} {
		noError(t, os.MkdirAll(filepath.Dir(dir+"/"+name), 0o777))
		noError(t, os.WriteFile(dir+"/"+name, []byte("content"), 0o666))
	}
	noError(t, os.Symlink("..", dir+"/a/circle"))
	for prefix, want := range map[string]string{
		"":             "a a-b/c a/x a/y/z b dir.tar.gz/in",
		"/a":           "x y/z",
		"/dir.tar.gz/": "in",
		"/e":           "",
		"/none":        "",
	} {
		found, err := store.ListAll(t.Context(), dir+prefix)
		noError(t, err)
		var names []string
		for _, w := range found {
			names = append(names, w.Name)
			if info, err := store.Stat(t.Context(), w.URL.String()); err != nil || info.Revision != w.Revision {
				t.Errorf("ListAll returns %+v, Stat %+v, %v", w, info, err)
			}
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("ListAll of %q returns %q, want %q", prefix, got, want)
		}
	}
	_, err := store.ListAll(t.Context(), dir+"/b.tar.gz")
	wantError(t, err, store.ErrNotArchive)
	scheme := overDriver(t, func(s store.Store) store.Store { return hooked{s, func() {}} })
	_, err = store.ListAll(t.Context(), scheme+"://b")
	wantError(t, err, errors.ErrUnsupported)
}

// A directory that may not be read is no directory without archives.
func TestListAllNotAllowed(t *testing.T) {
	dir := openDirectory(t)
	noError(t, os.MkdirAll(dir+"/closed", 0o700))
	asNobody(t, func() {
		_, err := store.ListAll(t.Context(), dir)
		wantError(t, err, store.ErrNotAllowed)
	})
}

func TestDeleteRevision(t *testing.T) {
	for name, at := range places(t) {
		t.Run(name, func(t *testing.T) {
			deleted, err := store.DeleteRevision(t.Context(), at+"key", "r")
			if deleted || err != nil {
				t.Errorf("DeleteRevision of nothing returns %v, %v", deleted, err)
			}
			rev := putAt(t, at+"key", "content", "")
			deleted, err = store.DeleteRevision(t.Context(), at+"key", "another")
			if wantError(t, err, store.ErrConflict); deleted {
				t.Error("DeleteRevision says true with an error")
			}
			wantContent(t, at+"key", "content")
			deleted, err = store.DeleteRevision(t.Context(), at+"key", rev)
			if !deleted || err != nil {
				t.Errorf("DeleteRevision returns %v, %v", deleted, err)
			}
			wantNone(t, at+"key")
		})
	}
}
