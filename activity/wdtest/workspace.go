package wdtest

import (
	"errors"
	iofs "io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/workspace"
)

// NewStore returns the URL of a new, empty store for this test, without a trailing slash. It
// is removed after the test.
func NewStore(t testing.TB) string {
	t.Helper()
	return "file://" + t.TempDir()
}

// Put stores a workspace with exactly these files, replacing an existing one. A name that ends
// in a slash is a directory; parent directories need no entry. On failure the test ends.
func Put(t testing.TB, url string, files map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := write(dir, name, content); err != nil {
			t.Fatalf("put %s: %v", url, err)
		}
	}
	there, err := store.Stat(t.Context(), url)
	if err != nil && !errors.Is(err, store.ErrNotExist) {
		t.Fatalf("put %s: %v", url, err)
	}
	if _, err := workspace.Import(t.Context(), dir, url, &workspace.ImportOptions{Replace: there.Revision}); err != nil {
		t.Fatalf("put %s: %v", url, err)
	}
}

func write(dir, name, content string) error {
	if !filepath.IsLocal(name) {
		return errors.New("name " + name + " leads out of the workspace")
	}
	path := filepath.Join(dir, name)
	if strings.HasSuffix(name, "/") {
		return os.MkdirAll(path, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, []byte(content), 0o644)
}

// Get returns the files of a stored workspace, in the form of Put: regular files, and empty
// directories, whose names end in a slash. Links and other entries are omitted; workspace.Tree
// lists all. The map is nil if the workspace does not exist.
func Get(t testing.TB, url string) map[string]string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "workspace")
	_, err := workspace.Export(t.Context(), url, dir, nil)
	if errors.Is(err, store.ErrNotExist) {
		return nil
	}
	files := map[string]string{}
	if err == nil {
		err = filepath.WalkDir(dir, func(path string, d iofs.DirEntry, err error) error {
			if err != nil || path == dir {
				return err
			}
			return read(files, dir, path, d)
		})
	}
	if err != nil {
		t.Fatalf("get %s: %v", url, err)
	}
	return files
}

// read adds one entry to files.
func read(files map[string]string, dir, path string, d iofs.DirEntry) error {
	name, err := filepath.Rel(dir, path)
	if err != nil {
		return err
	}
	switch {
	case d.IsDir():
		entries, err := os.ReadDir(path)
		if len(entries) == 0 {
			files[name+"/"] = ""
		}
		return err
	case !d.Type().IsRegular():
		return nil
	}
	content, err := os.ReadFile(path)
	files[name] = string(content)
	return err
}
