package store_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"testing"

	"github.com/workdir/workdir/store"
)

func TestFileDirectories(t *testing.T) {
	root := t.TempDir()
	s := store.NewFileStore(root)
	_, err := s.Put(t.Context(), "a/b/c/key", func(io.Writer) error { return errors.New("wanted") }, nil)
	if err == nil {
		t.Error("a Put whose write failed returns no error")
	}
	wantTree(t, root)
	_, err = s.Put(t.Context(), "a/b/key", writes("content"), &store.PutOptions{Replace: "revision"})
	wantError(t, err, store.ErrConflict)
	wantTree(t, root)
	info, err := s.Put(t.Context(), "a/b/key", writes("content"), nil)
	noError(t, err)
	noError(t, s.Delete(t.Context(), "a/b/key", info.Revision, nil))
	wantTree(t, root, "a/", "a/b/")
}

// A Put that fails removes the directories that it made, while another one goes
// into them.
func TestFileDirectoriesVanish(t *testing.T) {
	root := t.TempDir()
	s := store.NewFileStore(root)
	for round := range 100 {
		dir := fmt.Sprintf("dir-%d/sub/", round)
		var wg sync.WaitGroup
		for i := range 4 {
			wg.Go(func() {
				_, err := s.Put(t.Context(), fmt.Sprintf("%skey-%d", dir, i), func(w io.Writer) error {
					if i%2 == 0 {
						return errors.New("wanted")
					}
					_, err := w.Write([]byte("content"))
					return err
				}, nil)
				if (err == nil) != (i%2 == 1) {
					t.Errorf("round %d: Put %d returns %v", round, i, err)
				}
			})
		}
		wg.Wait()
	}
}

// Somebody removes the directory, with the temporary file in it, while it is written.
func TestFileDirectoryRemoved(t *testing.T) {
	root := t.TempDir()
	_, err := store.NewFileStore(root).Put(t.Context(), "dir/key", func(io.Writer) error { return os.RemoveAll(root + "/dir") }, nil)
	wantError(t, err, store.ErrUnreachable)
	if errors.Is(err, store.ErrUnknown) || errors.Is(err, store.ErrNotExist) {
		t.Errorf("the error is %v", err)
	}
	wantTree(t, root)
}

func TestFileParentLeadsNowhere(t *testing.T) {
	root := t.TempDir()
	noError(t, os.Symlink("nowhere", root+"/dir"))
	_, err := store.NewFileStore(root).Put(t.Context(), "dir/key", writes("content"), nil)
	wantError(t, err, store.ErrUnreachable)
	wantTree(t, root, "dir")
}
