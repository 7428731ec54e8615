package store_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/workdir/workdir/store"
)

func TestComplete(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"jobs/a.tar.gz", "jobs/ab.tar.gz", "jobs/b.tar.gz", "jobs/a b/c.tar.gz", "jobs/notes.txt", "jobs/.tar.gz", "jobs/.hidden.tar.gz", "jobs/.workdir-tmp-0.tar.gz"} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(dir, "jobs"), filepath.Join(dir, "jot")); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	for _, tt := range []struct {
		url  string
		want []string
	}{
		{dir + "/jo", []string{dir + "/jobs/", dir + "/jot/"}},
		{dir + "/jobs/", []string{dir + "/jobs/a", dir + "/jobs/a b/", dir + "/jobs/ab", dir + "/jobs/b"}},
		{dir + "/jobs/a", []string{dir + "/jobs/a", dir + "/jobs/a b/", dir + "/jobs/ab"}},
		{"file://" + dir + "/jobs/b", []string{"file://" + dir + "/jobs/b"}},
		{"file:" + dir + "/jobs/b", []string{"file:" + dir + "/jobs/b"}},
		{dir + "/jobs/.", []string{dir + "/jobs/.hidden"}},
		{dir + "/none/", nil},
		{dir + "/jobs/a//", nil},
		{"jo", []string{"jobs/", "jot/"}},
		{"./jobs/ab", []string{"./jobs/ab"}},
		{"fi", []string{"file:///"}},
		{"file:/", []string{"file:///"}},
		{"m", []string{"mem://"}},
		{"mem:/", []string{"mem://"}},
		{"mem://b", nil},
		{"nowhere://b/", nil},
	} {
		got, err := store.Complete(context.Background(), tt.url)
		if got = forRoot(got, tt.url); !slices.Equal(got, tt.want) || err != nil {
			t.Errorf("%q: %q, %v; want %q", tt.url, got, err, tt.want)
		}
	}
}

// forRoot leaves out what the root directory of this host has: "file:/" is a
// directory too.
func forRoot(urls []string, typed string) []string {
	return slices.DeleteFunc(urls, func(u string) bool { return typed == "file:/" && u != "file:///" })
}

// Without a Completer the store is listed, and the options are preserved.
func TestCompleteByList(t *testing.T) {
	s := struct{ store.Store }{store.NewFileStore(t.TempDir())}
	store.Register("odd", func(context.Context, store.URL) (store.Store, error) { return s, nil })
	defer store.Unregister("odd")
	for _, key := range []string{"p/one", "p/two"} {
		if _, err := s.Put(context.Background(), key, func(io.Writer) error { return nil }, nil); err != nil {
			t.Fatal(err)
		}
	}
	got, err := store.Complete(context.Background(), "odd://b/p/o?region=x")
	if want := []string{"odd://b/p/one?region=x"}; !slices.Equal(got, want) || err != nil {
		t.Errorf("%q, %v; want %q", got, err, want)
	}
	if got, _ := store.Complete(context.Background(), "od"); !slices.Contains(got, "odd://") {
		t.Errorf("schemes: %q", got)
	}
}

func TestCompleteNotAllowed(t *testing.T) {
	got, err := store.Complete(context.Background(), "/dev/null/x")
	if len(got) > 0 || err == nil || !strings.Contains(err.Error(), "list /dev/null") {
		t.Errorf("%q, %v", got, err)
	}
}
