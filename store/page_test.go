package store_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/workdir/workdir/store"
)

// Pages of a store that has them and of one that has not are the same, and names that no
// URL can have cost a page nothing.
func TestListPage(t *testing.T) {
	root := t.TempDir()
	names := []string{"a", "a-b", "b", "c"}
	noError(t, os.Mkdir(filepath.Join(root, "dir"), 0o755))
	for _, name := range append(names, "a#", "b#", "b##", "bad?", "z\n") {
		noError(t, os.WriteFile(filepath.Join(root, "dir", name+".tar.gz"), []byte(name), 0o600))
	}
	want := []string{"a-b", "a", "b", "c"}
	scheme := overDriver(t, func(store.Store) store.Store { return plainStore{store.NewFileStore(root)} })
	for _, url := range []string{"file://" + root + "/dir", scheme + "://any/dir/"} {
		for n := 1; n <= 5; n++ {
			var got []string
			for after, more := "", true; more; {
				var page []store.Workspace
				var err error
				page, more, err = store.ListPage(t.Context(), url, after, n)
				noError(t, err)
				if len(page) > n {
					t.Fatalf("%s: a page of %d has %d", url, n, len(page))
				}
				for _, w := range page {
					got, after = append(got, w.Name), w.Name
				}
				if len(page) == 0 && more {
					t.Fatalf("%s: an empty page, and more behind it", url)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: pages of %d have %q, want %q", url, n, got, want)
			}
		}
	}
	_, _, err := store.ListPage(t.Context(), "file://"+root+"/dir?x=y", "", 1)
	wantError(t, err, store.ErrURL)
}
