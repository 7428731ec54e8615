package store_test

import (
	"context"
	"crypto/rand"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/store"
)

func TestList(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"b.tar.gz", "a.tar.gz", "a-b.tar.gz", "other", "a?b.tar.gz", "#.tar.gz", "..tar.gz", ".tar.gz", "\xff.tar.gz", "x\n.tar.gz"} {
		noError(t, os.WriteFile(dir+"/"+name, []byte("content"), 0o666))
	}
	noError(t, os.MkdirAll(dir+"/sub.tar.gz", 0o777))
	for _, prefix := range []string{dir, dir + "/", "file://" + dir + "//"} {
		found, err := store.List(t.Context(), prefix)
		noError(t, err)
		var names []string
		for _, w := range found {
			names = append(names, w.Name)
			info, err := store.Stat(t.Context(), w.URL.String())
			if err != nil || info.Size != w.Size || info.Revision != w.Revision || !info.ModTime.Equal(w.ModTime) {
				t.Errorf("List returns %+v, Stat %+v, %v", w, info, err)
			}
		}
		if got := strings.Join(names, " "); got != "a a-b b" {
			t.Errorf("List of %s returns %q", prefix, got)
		}
	}
	found, err := store.List(t.Context(), dir+"/none")
	if err != nil || len(found) != 0 {
		t.Errorf("List of nothing returns %+v, %v", found, err)
	}
	_, err = store.List(t.Context(), "s4://b")
	wantError(t, err, store.ErrURL)
	_, err = store.List(t.Context(), dir+"/b.tar.gz")
	wantError(t, err, store.ErrNotArchive)
}

func TestDelete(t *testing.T) {
	url := "mem://" + rand.Text() + "/dir/key"
	for _, want := range []bool{false, true, false} {
		if want {
			_, err := openBucket(t, strings.TrimSuffix(url, "/dir/key")).Put(t.Context(), "dir/key", writes("content"), nil)
			noError(t, err)
		}
		got, err := store.Delete(t.Context(), url)
		if got != want || err != nil {
			t.Errorf("Delete returns %v, %v; want %v", got, err, want)
		}
	}
	_, err := store.Stat(t.Context(), url)
	wantError(t, err, store.ErrNotExist)
	_, err = store.Delete(t.Context(), "mem://bucket")
	wantError(t, err, store.ErrURL)
}

func TestRegister(t *testing.T) {
	s := openBucket(t, "mem://"+rand.Text())
	store.Register("custom", func(_ context.Context, u store.URL) (store.Store, error) {
		if u.Bucket != "b" || u.Query != "x=y" {
			t.Errorf("the driver gets %+v", u)
		}
		return s, nil
	})
	t.Cleanup(func() { store.Unregister("custom") })
	_, err := s.Put(t.Context(), "key", writes("content"), nil)
	noError(t, err)
	info, err := store.Stat(t.Context(), "custom://b/key?x=y")
	if err != nil || info.Size != 7 {
		t.Errorf("Stat returns %+v, %v", info, err)
	}
	_, err = store.ParseURL("custom2://b/key")
	if wantError(t, err, store.ErrURL); !strings.Contains(err.Error(), "custom, file") {
		t.Errorf("the known schemes are not in %v", err)
	}
	for _, scheme := range []string{"custom", "file", "gcs", "", "Upper", "a:b"} {
		if !panics(func() { store.Register(scheme, nil) }) {
			t.Errorf("Register of %q does not panic", scheme)
		}
	}
}

func panics(fn func()) (panicked bool) {
	defer func() { panicked = recover() != nil }()
	fn()
	return false
}

func TestOpenBucketWithoutDriver(t *testing.T) {
	for scheme, path := range map[string]string{"s3": "drivers/s3", "gcs": "drivers/gs", "az": "drivers/azure"} {
		_, err := store.Stat(t.Context(), scheme+"://b/k?secret=hidden")
		wantError(t, err, store.ErrURL)
		if !strings.Contains(err.Error(), `import _ "github.com/workdir/workdir/store/`+path+`"`) || strings.Contains(err.Error(), "hidden") {
			t.Errorf("the error is %v", err)
		}
	}
	_, err := store.OpenBucket(t.Context(), store.URL{Scheme: "s4", Bucket: "b"})
	if wantError(t, err, store.ErrURL); !strings.Contains(err.Error(), "file, gs, mem, s3") {
		t.Errorf("the known schemes are not in %v", err)
	}
}

func TestMemDir(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	noError(t, store.RemoveMem())
	home, err := store.MemDir()
	noError(t, err)
	if fi, err := os.Stat(home); err != nil || fi.Mode().Perm() != 0o700 {
		t.Errorf("the directory is %v, %v", fi, err)
	}
	_, err = openBucket(t, "mem://b").Put(t.Context(), "key", writes("content"), nil)
	noError(t, err)
	noError(t, store.RemoveMem())
	if _, err := os.Stat(home); !os.IsNotExist(err) {
		t.Errorf("the directory is still there: %v", err)
	}
	_, err = store.Stat(t.Context(), "mem://b/key")
	wantError(t, err, store.ErrNotExist)

	// Another process's, which lives: it holds the lock.
	other := t.TempDir()
	lock, err := os.Open(other)
	noError(t, err)
	defer lock.Close()
	noError(t, unix.Flock(int(lock.Fd()), unix.LOCK_EX))
	store.SetMemDir(other)
	_, err = openBucket(t, "mem://b").Put(t.Context(), "key", writes("content"), nil)
	noError(t, err)
	wantTree(t, other, "b/", "b/key.tar.gz")
	noError(t, store.RemoveMem())
	wantTree(t, other, "b/", "b/key.tar.gz")

	// And once it is gone.
	store.SetMemDir(other)
	noError(t, lock.Close())
	noError(t, store.RemoveMem())
	if _, err := os.Stat(other); !os.IsNotExist(err) {
		t.Errorf("the directory of a dead process is still there: %v", err)
	}
}

// No listing of all levels shows a scratch archive as a workspace.
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
