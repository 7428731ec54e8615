package store_test

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/store/storetest"
)

// openAddress opens, in another process, the store that a test told of: a directory.
func openAddress(_ context.Context, address string) (store.Store, error) {
	return store.NewFileStore(address), nil
}

// lacks is what no directory has.
var lacks = map[storetest.Ability]string{storetest.EmptySegments: "a path of a file system has no empty segments"}

func TestFile(t *testing.T) {
	roots := map[store.Store]string{}
	open := func(t *testing.T) store.Store {
		root := t.TempDir()
		s := store.NewFileStore(root)
		roots[s] = root
		return s
	}
	storetest.Run(t, open, &storetest.Options{
		Pinned:  true,
		Lacks:   lacks,
		Address: func(s store.Store) string { return roots[s] },
		Litter:  func(t *testing.T, s store.Store) []string { return litter(t, roots[s]) },
	})
}

// openBucket opens a store by a URL; what mem keeps is removed after the test.
func openBucket(t *testing.T, prefix string) store.Store {
	t.Helper()
	t.Cleanup(func() { noError(t, store.RemoveMem()) })
	u, err := store.ParsePrefix(prefix)
	noError(t, err)
	s, err := store.OpenBucket(t.Context(), u)
	noError(t, err)
	return s
}

// lockPath ends the path of each lock.
const lockPath = "/.workdir/lock"

// litter returns what is beneath root and neither archive nor directory nor lock.
func litter(t *testing.T, root string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && !strings.HasSuffix(path, ".tar.gz") && !strings.HasSuffix(path, lockPath) {
			found = append(found, path)
		}
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return found
}

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
