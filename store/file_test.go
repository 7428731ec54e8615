package store_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/workdir/workdir/store"
	"golang.org/x/sys/unix"
)

func TestFileWithoutAnyLocks(t *testing.T) {
	root := t.TempDir()
	s := store.NewFileStoreWith(root, func(int, int) error { return unix.ENOLCK }, nil)
	_, err := s.Put(t.Context(), "dir/key", writes("content"), nil)
	wantError(t, err, store.ErrNotAllowed)
	wantTree(t, root)
}

// What is in the archive's place, or above it, and what every operation says.
func TestFileNotArchive(t *testing.T) {
	root := t.TempDir()
	s := store.NewFileStore(root)
	noError(t, os.Mkdir(root+"/dir.tar.gz", 0o777))
	noError(t, unix.Mkfifo(root+"/fifo.tar.gz", 0o666))
	noError(t, os.Symlink("target", root+"/dangling.tar.gz"))
	noError(t, os.WriteFile(root+"/real", []byte("content"), 0o666))
	noError(t, os.Symlink("real", root+"/link.tar.gz"))
	noError(t, unix.Mknod(root+"/socket.tar.gz", unix.S_IFSOCK|0o666, 0))
	noError(t, os.WriteFile(root+"/file", nil, 0o666))
	before := tree(t, root)
	for key, says := range map[string]string{
		"dir":      "directory",
		"fifo":     "FIFO",
		"dangling": "symbolic link",
		"link":     "symbolic link",
		"socket":   "socket",
		"file/key": "a part of the path is a file",
		"file/a/b": "a part of the path is a file",
	} {
		for op, err := range every(t, s, key, "revision") {
			if !errors.Is(err, store.ErrNotArchive) || !strings.Contains(err.Error(), says) || !strings.HasPrefix(err.Error(), op+" "+root) {
				t.Errorf("%s of %s returns %v; want ErrNotArchive that says %q", op, key, err, says)
			}
		}
	}
	_, err := s.List(t.Context(), "file/")
	wantError(t, err, store.ErrNotArchive)
	infos, err := s.List(t.Context(), "")
	if err != nil || len(infos) != 0 {
		t.Errorf("List returns %+v, %v; want nothing", infos, err)
	}
	wantTree(t, root, before...)
}

// every returns the error of each operation on a key.
func every(t *testing.T, s store.Store, key string, replace store.Revision) map[string]error {
	t.Helper()
	errs := map[string]error{}
	o, err := s.Open(t.Context(), key)
	if err == nil {
		noError(t, o.Close())
	}
	errs["open"] = err
	_, errs["stat"] = s.Stat(t.Context(), key)
	_, errs["put"] = s.Put(t.Context(), key, writes("content"), &store.PutOptions{Replace: replace})
	errs["delete"] = s.Delete(t.Context(), key, replace, nil)
	return errs
}

// "I may not look" is never "there is none".
func TestFileNotAllowed(t *testing.T) {
	root := openDirectory(t)
	s := store.NewFileStore(root)
	for _, dir := range []string{"closed", "readonly", "noread"} {
		noError(t, os.Mkdir(root+"/"+dir, 0o777))
		noError(t, os.WriteFile(root+"/"+dir+"/key.tar.gz", []byte("content"), 0o644))
	}
	noError(t, os.WriteFile(root+"/closed/secret.tar.gz", []byte("content"), 0o000))
	noError(t, os.WriteFile(root+"/readonly/secret.tar.gz", []byte("content"), 0o000))
	info, err := s.Stat(t.Context(), "readonly/key")
	noError(t, err)
	before := tree(t, root)
	noError(t, os.Chmod(root+"/closed", 0o600))
	noError(t, os.Chmod(root+"/readonly", 0o555))
	noError(t, os.Chmod(root+"/noread", 0o333))
	t.Cleanup(func() {
		for _, dir := range []string{"closed", "readonly", "noread"} {
			_ = os.Chmod(root+"/"+dir, 0o777)
		}
	})
	errs := map[string]error{}
	asNobody(t, func() {
		for _, key := range []string{"closed/key", "closed/none", "closed/sub/none", "readonly/secret"} {
			for op, err := range every(t, s, key, "revision") {
				errs[op+" "+key] = err
			}
		}
		called := false
		_, errs["put readonly/new"] = s.Put(t.Context(), "readonly/new", func(io.Writer) error { called = true; return nil }, nil)
		if called {
			t.Error("a Put that cannot be stored asked for the archive first")
		}
		_, errs["put readonly/sub/new"] = s.Put(t.Context(), "readonly/sub/new", writes("new"), nil)
		_, errs["put readonly/key"] = s.Put(t.Context(), "readonly/key", writes("new"), &store.PutOptions{Replace: info.Revision})
		errs["delete readonly/key"] = s.Delete(t.Context(), "readonly/key", info.Revision, nil)
		_, errs["list closed/sub"] = s.List(t.Context(), "closed/sub/")
		_, errs["list noread"] = s.List(t.Context(), "noread/")
		for _, url := range []string{"closed/key", "readonly/key", "readonly/sub/new"} {
			errs["writable "+url] = store.Writable(t.Context(), s, url)
		}
		if again, err := s.Stat(t.Context(), "readonly/key"); again != info {
			t.Errorf("Stat in a read-only directory returns %+v, %v", again, err)
		}
		o, err := s.Open(t.Context(), "noread/key")
		if err != nil {
			t.Errorf("Open in a directory that cannot be listed returns %v", err)
			return
		}
		_ = o.Close()
		infos, err := s.List(t.Context(), "readonly/")
		if err != nil || len(infos) != 2 || infos[0].Revision != info.Revision || infos[1].Revision != "" || infos[1].Size != 7 {
			t.Errorf("List returns %+v, %v", infos, err)
		}
	})
	for what, err := range errs {
		if !errors.Is(err, store.ErrNotAllowed) {
			t.Errorf("%s returns %v, want ErrNotAllowed", what, err)
		}
	}
	noError(t, os.Chmod(root+"/closed", 0o777))
	noError(t, os.Chmod(root+"/noread", 0o777))
	wantTree(t, root, before...)
}

func TestFileWritable(t *testing.T) {
	root := t.TempDir()
	s := store.NewFileStore(root)
	_, err := s.Put(t.Context(), "dir/key", writes("content"), nil)
	noError(t, err)
	for _, key := range []string{"dir/key", "dir/new", "new/new/new"} {
		noError(t, store.Writable(t.Context(), s, key))
	}
	noError(t, os.WriteFile(root+"/file", nil, 0o666))
	wantError(t, store.Writable(t.Context(), s, "file/key"), store.ErrNotArchive)
	wantTree(t, root, "dir/", "dir/key.tar.gz", "file")
}

func TestFileLongNames(t *testing.T) {
	s := store.NewFileStore(t.TempDir())
	longest := strings.Repeat("x", 255-len(".tar.gz"))
	_, err := s.Put(t.Context(), "dir/"+longest, writes("content"), nil)
	noError(t, err)
	for _, key := range []string{longest + "x", strings.Repeat("d", 256) + "/key", strings.Repeat("dir/", 1100) + "key"} {
		for op, err := range every(t, s, key, "") {
			if !errors.Is(err, store.ErrURL) {
				t.Errorf("%s of a key of %d bytes returns %v, want ErrURL", op, len(key), err)
			}
		}
	}
}

// inPlace does what the ancestor and cp do: it truncates and writes again.
func inPlace(t *testing.T, path, content string) {
	t.Helper()
	noError(t, os.WriteFile(path, []byte(content), 0o666))
}

func TestFileOverwrittenInPlace(t *testing.T) {
	root := t.TempDir()
	s := store.NewFileStore(root)
	info, err := s.Put(t.Context(), "key", writes("content"), nil)
	noError(t, err)
	o, err := s.Open(t.Context(), "key")
	noError(t, err)
	defer o.Close()
	half := make([]byte, 4)
	_, err = io.ReadFull(o, half)
	noError(t, err)
	inPlace(t, root+"/key.tar.gz", "CONTENT")
	_, err = o.Read(half)
	wantError(t, err, store.ErrConflict)
	n, err := o.ReadAt(half, 0)
	if wantError(t, err, store.ErrConflict); n != 0 {
		t.Errorf("ReadAt returns %d bytes of another revision", n)
	}
	_, err = s.Put(t.Context(), "key", writes("successor"), &store.PutOptions{Replace: info.Revision})
	wantError(t, err, store.ErrConflict)
	wantError(t, s.Delete(t.Context(), "key", info.Revision, nil), store.ErrConflict)
	if got, err := os.ReadFile(root + "/key.tar.gz"); string(got) != "CONTENT" {
		t.Errorf("the archive holds %q, %v; want what the other tool wrote", got, err)
	}
}

// A tool that keeps size and times, on the inode that it was, is noticed by the
// end of the file.
func TestFileSameTimes(t *testing.T) {
	root := t.TempDir()
	path := root + "/key.tar.gz"
	s := store.NewFileStore(root)
	first, err := s.Put(t.Context(), "key", writes("content"), nil)
	noError(t, err)
	inPlace(t, path, "CONTENT")
	noError(t, os.Chtimes(path, first.ModTime, first.ModTime))
	second, err := s.Stat(t.Context(), "key")
	noError(t, err)
	if second.ModTime != first.ModTime || second.Revision == first.Revision {
		t.Errorf("two archives of one size and time: %+v, %+v", first, second)
	}
}

// A chmod, a link and an access are no new revision; a new mtime is one.
func TestFileSameRevision(t *testing.T) {
	root := t.TempDir()
	path := root + "/key.tar.gz"
	s := store.NewFileStore(root)
	first, err := s.Put(t.Context(), "key", writes("content"), nil)
	noError(t, err)
	noError(t, os.Chmod(path, 0o600))
	noError(t, os.Link(path, root+"/backup"))
	noError(t, os.Chtimes(path, time.Unix(1, 0), first.ModTime))
	if now, err := s.Stat(t.Context(), "key"); now != first {
		t.Errorf("revision %+v becomes %+v, %v by a change that is none", first, now, err)
	}
	noError(t, os.Chtimes(path, time.Time{}, first.ModTime.Add(time.Nanosecond)))
	if now, err := s.Stat(t.Context(), "key"); now.Revision == first.Revision {
		t.Errorf("another mtime gives the same revision %+v, %v", now, err)
	}
}

func TestFileKeepsPermissions(t *testing.T) {
	root := t.TempDir()
	path := root + "/key.tar.gz"
	s := store.NewFileStore(root)
	info, err := s.Put(t.Context(), "key", writes("first"), nil)
	noError(t, err)
	fi, err := os.Stat(path)
	noError(t, err)
	inPlace(t, root+"/other", "")
	if other, err := os.Stat(root + "/other"); err != nil || fi.Mode() != other.Mode() {
		t.Errorf("a new archive has mode %v, another tool's file %v, %v", fi.Mode(), other.Mode(), err)
	}
	noError(t, os.Chmod(path, 0o640))
	if os.Geteuid() == 0 {
		noError(t, os.Chown(path, 1234, 4321))
	}
	fi, err = os.Stat(path)
	noError(t, err)
	_, err = s.Put(t.Context(), "key", writes("second"), &store.PutOptions{Replace: info.Revision})
	noError(t, err)
	now, err := os.Stat(path)
	noError(t, err)
	was, is := fi.Sys().(*syscall.Stat_t), now.Sys().(*syscall.Stat_t)
	if now.Mode() != fi.Mode() || was.Uid != is.Uid || was.Gid != is.Gid {
		t.Errorf("mode %v of %d:%d becomes %v of %d:%d", fi.Mode(), was.Uid, was.Gid, now.Mode(), is.Uid, is.Gid)
	}
}

// Another tool, which does not know the lock, comes while Before asks.
func TestFileChangedInBefore(t *testing.T) {
	for _, first := range []string{"", "first"} {
		root := t.TempDir()
		s := store.NewFileStore(root)
		var info store.Info
		if first != "" {
			var err error
			info, err = s.Put(t.Context(), "key", writes(first), nil)
			noError(t, err)
		}
		_, err := s.Put(t.Context(), "key", writes("ours"), &store.PutOptions{
			Replace: info.Revision,
			Before:  func(context.Context) error { inPlace(t, root+"/key.tar.gz", "other"); return nil },
		})
		wantError(t, err, store.ErrConflict)
		if got, err := os.ReadFile(root + "/key.tar.gz"); string(got) != "other" {
			t.Errorf("the archive holds %q, %v; want what the other tool wrote", got, err)
		}
	}
}

// A caller that is asked, and does not answer, once kept all other writers of the
// directory waiting for the lock.
func TestFileOthersGoOnWhileBeforeAsks(t *testing.T) {
	s := store.NewFileStore(t.TempDir())
	_, err := s.Put(t.Context(), "key", writes("slow"), &store.PutOptions{Before: func(ctx context.Context) error {
		_, err := s.Put(ctx, "other", writes("other"), nil)
		if err == nil {
			_, err = s.Put(ctx, "key", writes("fast"), nil)
		}
		return err
	}})
	wantError(t, err, store.ErrConflict)
}

// What a caller said long ago, before it waited for the lock, does not count.
func TestFileAsksAgainAfterALongWait(t *testing.T) {
	root := t.TempDir()
	s := store.NewFileStore(root)
	unlock, err := store.LockDir(t.Context(), root)
	noError(t, err)
	asked := make(chan struct{}, 2)
	go func() {
		<-asked
		<-time.After(store.Freshness)
		unlock()
	}()
	n := 0
	_, err = s.Put(t.Context(), "key", writes("content"), &store.PutOptions{Before: func(context.Context) error {
		n++
		asked <- struct{}{}
		return nil
	}})
	noError(t, err)
	if n < 2 {
		t.Errorf("asked %d times, want once more after the lock", n)
	}
}

func stat(t *testing.T, s store.Store, key string) store.Info {
	t.Helper()
	info, err := s.Stat(t.Context(), key)
	noError(t, err)
	return info
}

// What a function of the caller fails with says nothing of the store.
func TestFileErrorsOfCaller(t *testing.T) {
	s := store.NewFileStore(t.TempDir())
	for _, errno := range []syscall.Errno{unix.ENOSPC, unix.EACCES, unix.ENOENT} {
		fail := func() error { return &os.PathError{Op: "read", Path: "/elsewhere", Err: errno} }
		_, err := s.Put(t.Context(), "key", func(io.Writer) error { return fail() }, nil)
		_, berr := s.Put(t.Context(), "key", writes("content"), &store.PutOptions{Before: func(context.Context) error { return fail() }})
		for _, err := range []error{err, berr} {
			wantError(t, err, errno)
			for _, kind := range []error{store.ErrFull, store.ErrNotAllowed, store.ErrNotExist, store.ErrUnreachable} {
				if errors.Is(err, kind) {
					t.Errorf("%v is called %q", err, kind)
				}
			}
		}
	}
}

// An archive whose name begins like a temporary file's is not removed.
func TestFileLooksLikeTemporary(t *testing.T) {
	root := t.TempDir()
	s := store.NewFileStore(root)
	key := ".workdir-tmp-0123456789abcdef"
	_, err := s.Put(t.Context(), key, writes("content"), nil)
	noError(t, err)
	noError(t, os.Mkdir(root+"/.workdir-tmp-fedcba9876543210", 0o777))
	noError(t, os.WriteFile(root+"/.tar.gz", nil, 0o666)) // is of no key
	infos, err := s.List(t.Context(), "")
	noError(t, err)
	if len(infos) != 1 || infos[0].Key != key {
		t.Errorf("List returns %+v", infos)
	}
	wantTree(t, root, ".tar.gz", ".workdir-tmp-0123456789abcdef.tar.gz", ".workdir-tmp-fedcba9876543210/")
}

func TestFileOptions(t *testing.T) {
	for _, url := range []string{"/tmp/x?a=b", "mem://b/k?a=b"} {
		u, err := store.ParseURL(url)
		noError(t, err)
		_, err = store.OpenBucket(t.Context(), u)
		wantError(t, err, store.ErrURL)
	}
}

// asNobody runs fn on a thread that has the file permissions of an ordinary
// user, where this process is root.
func asNobody(t *testing.T, fn func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		fn()
		return
	}
	const nobody = 65534
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		_, _ = unix.SetfsgidRetGid(nobody)
		_, _ = unix.SetfsuidRetUid(nobody)
		fn()
	}()
	<-done
}

// openDirectory is a temporary directory that other users can search.
func openDirectory(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	noError(t, os.Chmod(filepath.Dir(root), 0o755))
	noError(t, os.Chmod(root, 0o777))
	return root
}

// tree returns all names beneath root, directories with a slash at the end, without
// locks and the directories that they are in.
func tree(t *testing.T, root string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(root, func(path string, e os.DirEntry, err error) error {
		name, _ := filepath.Rel(root, path)
		home := e.IsDir() && e.Name() == filepath.Base(filepath.Dir(lockPath))
		if err == nil && name != "." && !home && !strings.HasSuffix(path, lockPath) {
			if e.IsDir() {
				name += "/"
			}
			names = append(names, name)
		}
		return err
	})
	noError(t, err)
	slices.Sort(names)
	return names
}

func wantTree(t *testing.T, root string, want ...string) {
	t.Helper()
	if got := tree(t, root); !slices.Equal(got, want) {
		t.Errorf("there is %q, want %q", got, want)
	}
}

func wantError(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("the error is %v, want %v", err, want)
	}
}
