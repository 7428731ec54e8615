package store_test

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/workdir/workdir/store"
	"golang.org/x/sys/unix"
)

// An fsync that fails before the rename has stored nothing; after it the outcome is unknown.
func TestFileSyncFails(t *testing.T) {
	root := t.TempDir()
	fail := func(dirs bool) store.Store {
		return store.NewFileStoreWith(root, nil, func(fd int) error {
			if store.IsDir(fd) == dirs {
				return unix.EIO
			}
			return nil
		})
	}
	_, err := fail(true).Put(t.Context(), "dir/key", writes("first"), nil)
	wantError(t, err, store.ErrUnreachable) // the directory itself is not durable
	wantTree(t, root)
	_, err = fail(false).Put(t.Context(), "key", writes("first"), nil)
	wantError(t, err, store.ErrUnreachable)
	if errors.Is(err, store.ErrUnknown) {
		t.Errorf("a file that was not made durable is called unknown: %v", err)
	}
	wantTree(t, root)
	_, err = fail(true).Put(t.Context(), "key", writes("first"), nil)
	wantError(t, err, store.ErrUnknown)
	wantTree(t, root, "key.tar.gz")
	info, err := store.NewFileStore(root).Stat(t.Context(), "key")
	noError(t, err)
	wantError(t, fail(true).Delete(t.Context(), "key", info.Revision, nil), store.ErrUnknown)
	wantTree(t, root)
}

// An fsync that was interrupted each time was called for ever.
func TestFileSyncIsInterrupted(t *testing.T) {
	for _, of := range []struct {
		name string
		dirs bool
		want error
	}{{"file", false, store.ErrUnreachable}, {"directory", true, store.ErrUnknown}} {
		t.Run(of.name, func(t *testing.T) {
			for _, times := range []int{3, 0} { // 0: each time
				root, calls := t.TempDir(), 0
				noError(t, put(t, root, "another", "content")) // so that the directories above are durable
				s := store.NewFileStoreWith(root, nil, func(fd int) error {
					if store.IsDir(fd) != of.dirs {
						return nil
					}
					if calls++; times == 0 || calls <= times {
						return unix.EINTR
					}
					return nil
				})
				_, err := s.Put(t.Context(), "key", writes("first"), nil)
				if times > 0 {
					noError(t, err)
					continue
				}
				wantError(t, err, of.want)
				wantError(t, err, unix.EINTR)
			}
		})
	}
}

// A commit, a copy and a removal were once called done because they could be seen, though
// no flush of the directory had ever succeeded.
func TestFileSeenIsNotDurable(t *testing.T) {
	for name, do := range map[string]func(s store.Store, url string, c *commits) error{
		"commit": func(s store.Store, _ string, c *commits) error {
			_, err := store.Commit(t.Context(), s, "dir/key", &store.CommitRequest{ID: c.ours.id, Plan: store.Written(c.ours.write)})
			return err
		},
		"removal": func(s store.Store, _ string, _ *commits) error {
			_, err := store.Commit(t.Context(), s, "dir/old", &store.CommitRequest{Replace: stat(t, s, "dir/old").Revision, Delete: true})
			return err
		},
		"copy": func(_ store.Store, url string, _ *commits) error {
			_, err := store.Copy(t.Context(), url+"dir/old", url+"dir/new", nil)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCommits(t)
			for _, flushed := range []int{0, 1} { // after how many failures a flush succeeds; 0: never
				root := t.TempDir()
				_, err := store.NewFileStore(root).Put(t.Context(), "dir/old", writes("old"), nil)
				noError(t, err)
				flushes := 0
				s := store.NewFileStoreWith(root, nil, func(fd int) error {
					if !store.IsDir(fd) {
						return nil
					}
					if flushes++; flushed > 0 && flushes > flushed {
						return nil
					}
					return unix.EIO
				})
				scheme := overDriver(t, func(store.Store) store.Store { return s })
				err = do(s, scheme+"://any/", c)
				if flushed > 0 {
					noError(t, err)
					continue
				}
				wantError(t, err, store.ErrUnknown)
				wantError(t, err, unix.EIO)
			}
		})
	}
}

// A directory that another commit had made, and not flushed yet, was once taken for one
// that stays.
func TestFileDirectoryOfOthersIsFlushed(t *testing.T) {
	root := t.TempDir()
	noError(t, os.MkdirAll(root+"/a/b", 0o777)) // by somebody who flushes nothing
	flushed := map[string]bool{}
	s := store.NewFileStoreWith(root, nil, func(fd int) error {
		path, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd))
		flushed[path] = true
		return err
	})
	_, err := s.Put(t.Context(), "a/b/key", writes("content"), nil)
	noError(t, err)
	for _, dir := range []string{root, root + "/a", root + "/a/b"} {
		if !flushed[dir] {
			t.Errorf("%s was not flushed", dir)
		}
	}
	clear(flushed)
	_, err = s.Put(t.Context(), "a/b/next", writes("content"), nil)
	noError(t, err)
	if flushed[root] || flushed[root+"/a"] || !flushed[root+"/a/b"] {
		t.Errorf("flushed for a second archive: %v", flushed)
	}
}
