package store_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/workdir/workdir/store"
	"golang.org/x/sys/unix"
)

// Every user who could read the directory of an archive could take the lock that commits wait
// for, and keep it.
func TestFileReadersKeepNobodyWaiting(t *testing.T) {
	root := openDirectory(t)
	noError(t, os.Chmod(root, 0o755))
	s := store.NewFileStore(root)
	info, err := s.Put(t.Context(), "key", writes("first"), nil)
	noError(t, err)
	asNobody(t, func() {
		fd, err := unix.Open(root, unix.O_RDONLY, 0)
		noError(t, err)
		t.Cleanup(func() { _ = unix.Close(fd) })
		noError(t, unix.Flock(fd, unix.LOCK_EX|unix.LOCK_NB))
		for _, flags := range []int{unix.O_RDONLY, unix.O_WRONLY, unix.O_RDWR} {
			_, err := unix.Open(root+lockPath, flags, 0)
			wantError(t, err, unix.EACCES)
		}
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	_, err = s.Put(ctx, "key", writes("second"), &store.PutOptions{Replace: info.Revision})
	noError(t, err)
	noError(t, s.Delete(ctx, "key", stat(t, s, "key").Revision, nil))
}

// The lock is for those who may write the directory.
func TestFileLockIsForWriters(t *testing.T) {
	for dir, want := range map[uint32][2]uint32{
		0o755: {0o700, 0o600}, 0o775: {0o770, 0o660}, 0o777: {0o777, 0o666},
		0o2775: {0o2770, 0o660}, 0o1777: {0o1777, 0o666}, 0o700: {0o700, 0o600}, 0o757: {0o707, 0o606},
	} {
		root := t.TempDir()
		noError(t, unix.Chmod(root, dir))
		_, err := store.NewFileStore(root).Put(t.Context(), "key", writes("content"), nil)
		noError(t, err)
		var home, lock, at unix.Stat_t
		noError(t, unix.Stat(root, &at))
		noError(t, unix.Stat(filepath.Dir(root+lockPath), &home))
		noError(t, unix.Stat(root+lockPath, &lock))
		if got := [2]uint32{home.Mode & 0o7777, lock.Mode & 0o7777}; got != want || home.Gid != at.Gid || lock.Gid != at.Gid {
			t.Errorf("in a directory of mode %o and group %d: %o of group %d, %d; want %o", dir, at.Gid, got, home.Gid, lock.Gid, want)
		}
	}
}

// A lock that is never given back ends in an error, and the log says before what a commit
// waits for.
func TestFileLockIsNotWaitedForForEver(t *testing.T) {
	root := t.TempDir()
	unlock, err := store.LockDir(t.Context(), root)
	noError(t, err)
	defer unlock()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		ctx := store.WithLogger(t.Context(), slog.New(slog.NewTextHandler(&log, nil)))
		began := time.Now()
		_, err := store.NewFileStore(root).Put(ctx, "key", writes("content"), nil)
		wantError(t, err, store.ErrUnreachable)
		if !strings.Contains(err.Error(), root+lockPath) || time.Since(began) < store.LockPatience {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		if strings.Count(log.String(), root+lockPath) != 1 {
			t.Errorf("the log has %q, want the lock in one message", log.String())
		}
	})
	wantTree(t, root)
}

// A commit in a directory of many archives, and each open after one, once read the whole
// directory.
func TestFileReadsNoDirectory(t *testing.T) {
	root := t.TempDir()
	s := store.NewFileStore(root)
	_, err := s.Put(t.Context(), "first", writes("content"), nil)
	noError(t, err)
	fd, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	noError(t, err)
	defer unix.Close(fd)
	_, err = unix.InotifyAddWatch(fd, root, unix.IN_ACCESS|unix.IN_ONLYDIR)
	noError(t, err)
	// reads counts what was read of the directory itself: an event without a name.
	reads := func() (n int) {
		buf := make([]byte, 64<<10)
		size, err := unix.Read(fd, buf)
		if err == unix.EAGAIN {
			return 0
		}
		noError(t, err)
		for buf = buf[:size]; len(buf) > 0; {
			name := int(buf[unix.SizeofInotifyEvent-4]) // the length of a name, which is short
			if name == 0 {
				n++
			}
			buf = buf[unix.SizeofInotifyEvent+name:]
		}
		return n
	}
	store.ForgetSweeps()
	info, err := s.Put(t.Context(), "key", writes("content"), nil)
	noError(t, err)
	o, err := s.Open(t.Context(), "key")
	noError(t, err)
	noError(t, o.Close())
	stat(t, s, "first")
	noError(t, s.Delete(t.Context(), "key", info.Revision, nil))
	if n := reads(); n > 0 {
		t.Errorf("the directory was read %d times", n)
	}
	_, err = s.List(t.Context(), "")
	noError(t, err)
	if reads() == 0 {
		t.Error("a listing reads no directory, so this test sees nothing")
	}
}

// What is in the place of the directory for temporary files, and is not ours.
func TestFileStrangeHome(t *testing.T) {
	for name, make := range map[string]func(path string) error{
		"file":    func(path string) error { return os.WriteFile(path, nil, 0o666) },
		"symlink": func(path string) error { return os.Symlink(t.TempDir(), path) },
		"closed":  func(path string) error { return os.Mkdir(path, 0o700) },
	} {
		root := openDirectory(t)
		noError(t, os.WriteFile(root+"/key.tar.gz", []byte("content"), 0o644))
		home := filepath.Dir(root + lockPath)
		noError(t, make(home))
		s := store.NewFileStore(root)
		rev := stat(t, s, "key").Revision
		asNobody(t, func() {
			_, err := s.Put(t.Context(), "new", writes("new"), nil)
			for op, err := range map[string]error{
				"put": err, "delete": s.Delete(t.Context(), "key", rev, nil), "writable": store.Writable(t.Context(), s, "key"),
			} {
				if name != "closed" && op == "writable" {
					continue // of which access(2) says nothing
				}
				if !errors.Is(err, store.ErrNotAllowed) || !strings.Contains(err.Error(), home) {
					t.Errorf("%s beside a %s: %v, want ErrNotAllowed that names %s", op, name, err, home)
				}
			}
		})
		if left, err := filepath.Glob(root + "/.workdir-*"); len(left) > 0 || err != nil {
			t.Errorf("beside a %s there is %q, %v", name, left, err)
		}
	}
}

// In a directory like /tmp the first user to commit owns what all others would have
// their temporary files in, and could put other bytes in their place.
func TestFileStickyDirectory(t *testing.T) {
	root := openDirectory(t)
	noError(t, os.Chmod(root, 0o777|os.ModeSticky))
	s := store.NewFileStore(root)
	asNobody(t, func() {
		_, err := s.Put(t.Context(), "first", writes("content"), nil)
		noError(t, err)
	})
	noError(t, os.Chown(filepath.Dir(root+lockPath), 65534, 65534)) // as for an ordinary user who came first
	var inside []string
	_, err := s.Put(t.Context(), "key", func(w io.Writer) error {
		inside, _ = filepath.Glob(filepath.Dir(root+lockPath) + "/.*")
		_, err := io.WriteString(w, "content")
		return err
	}, nil)
	noError(t, err)
	if len(inside) > 0 {
		t.Errorf("a temporary file is where another user can replace it: %q", inside)
	}
	wantTree(t, root, "first.tar.gz", "key.tar.gz")
}

// No key leads to what commits keep for themselves, and no listing shows it.
func TestFileHomeIsNoWorkspace(t *testing.T) {
	root := t.TempDir()
	s := store.NewFileStore(root)
	for _, key := range []string{"a/b/key", ".workdir", "a/.workdir"} {
		_, err := s.Put(t.Context(), key, writes("content"), nil)
		noError(t, err)
	}
	noError(t, os.WriteFile(root+"/a/.workdir/x.tar.gz", nil, 0o666))
	for _, key := range []string{".workdir/x", "a/.workdir/x", "a/.workdir/b/x"} {
		for op, err := range every(t, s, key, "") {
			if !errors.Is(err, store.ErrURL) {
				t.Errorf("%s of %q: %v, want ErrURL", op, key, err)
			}
		}
	}
	_, err := s.List(t.Context(), "a/.workdir/")
	wantError(t, err, store.ErrURL)
	all, err := s.(store.Lister).ListAll(t.Context(), "")
	noError(t, err)
	var keys []string
	for _, info := range all {
		keys = append(keys, info.Key)
	}
	if got := strings.Join(keys, " "); got != ".workdir a/.workdir a/b/key" {
		t.Errorf("ListAll shows %q", got)
	}
	found, err := s.(store.Completer).Complete(t.Context(), "a/.w", 10)
	noError(t, err)
	if got := strings.Join(found, " "); got != "a/.workdir" {
		t.Errorf("Complete offers %q", got)
	}
}

// A kill while the directory for the temporary files is made left it under another name for
// ever. That of a process that is still at it stays.
func TestFileHomeThatAKillLeft(t *testing.T) {
	root := t.TempDir()
	left, busy := filepath.Join(root, ".workdir-tmp-0123456789abcdef"), filepath.Join(root, ".workdir-tmp-fedcba9876543210")
	for _, dir := range []string{left, busy} {
		noError(t, os.Mkdir(dir, 0o700))
		noError(t, os.WriteFile(filepath.Join(dir, "lock"), nil, 0o600))
	}
	at, err := os.Open(busy)
	noError(t, err)
	defer at.Close()
	noError(t, unix.Flock(int(at.Fd()), unix.LOCK_EX))
	_, err = store.NewFileStore(root).Put(t.Context(), "key", writes("content"), nil)
	noError(t, err)
	if _, err := os.Stat(left); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("what a kill left: %v", err)
	}
	if _, err := os.Stat(filepath.Join(busy, "lock")); err != nil {
		t.Errorf("what somebody is making: %v", err)
	}
}
