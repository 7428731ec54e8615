package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// fileStore keeps archives as files beneath a directory. docs/adr/0002 explains why it is a
// native implementation of Store.
//
// A commit writes a temporary file in a hidden directory beside the archive, makes it
// durable, and then, under a lock of the archive's directory, compares the revision and
// renames. A reader keeps the descriptor that it opened, so it needs no lock.
//
// Changes by other tools, without the lock, are detected but not prevented: a tool that
// truncates and rewrites the archive in place changes its revision; if it does so in the
// microseconds between our last check and the rename its change is lost.
type fileStore struct {
	root  string // absolute; keys are paths beneath it
	label string // precedes a key in messages; "" shows the path of the file
	sys   syscalls
}

// syscalls are calls that a file system may lack, or that can be omitted.
type syscalls struct {
	flock func(fd, how int) error
	lock  func(fd int) error // of a whole file, for writing; does not block
	fsync func(fd int) error
}

var durable = syscalls{flock: unix.Flock, lock: lockWhole, fsync: unix.Fsync}

// openFile is the driver for file.
func openFile(_ context.Context, u URL) (Store, error) {
	if err := noOptions(u); err != nil {
		return nil, err
	}
	return &fileStore{root: "/", sys: durable}, nil
}

// place is where the archive of a key is.
type place struct {
	key, dir, name string
}

// maxName is the longest file name of Linux file systems, bytes.
const maxName = 255

// place returns the file of a key. ErrURL if no file can have that name.
func (s *fileStore) place(key string) (place, error) {
	if err := CheckKey(key); err != nil {
		return place{}, err
	}
	dir, name, err := s.split(key)
	if err != nil {
		return place{}, err
	}
	name += suffix
	if len(name) > maxName {
		return place{}, fmt.Errorf("%w: the file name has %d bytes with %s, and at most %d are allowed; choose a shorter one", ErrURL, len(name), suffix, maxName)
	}
	return place{key, dir, name}, nil
}

// at calls fn with the place of a key and its directory, opened in a mode of open(2), unless
// ctx has ended. Errors: those of place, openDir and fn.
func (s *fileStore) at(ctx context.Context, key string, mode int, fn func(place, *dir) error) error {
	if err := ContextError(ctx); err != nil {
		return err
	}
	p, err := s.place(key)
	if err != nil {
		return err
	}
	d, err := openDir(p.dir, mode, &s.sys)
	if err != nil {
		return err
	}
	defer d.close()
	return fn(p, d)
}

// split returns the directory and the last segment of a key or prefix.
func (s *fileStore) split(key string) (dir, name string, err error) {
	if err := CheckPrefix(key); err != nil {
		return "", "", err
	}
	segments := strings.Split(key, "/")
	last := len(segments) - 1
	if slices.Contains(segments[:last], homeName) {
		return "", "", fmt.Errorf("%w: the key %q has a segment %q, which is reserved for commits", ErrURL, key, homeName)
	}
	return filepath.Join(s.root, strings.Join(segments[:last], "/")), segments[last], nil
}

// Open implements Store.
func (s *fileStore) Open(ctx context.Context, key string) (Object, error) {
	o, err := s.openSteady(ctx, key)
	if err != nil {
		return nil, s.fail("open", key, err)
	}
	waitClockTick(o.found.stamp)
	return o, nil
}

// OpenTail implements TailOpener: nothing is prefetched from a file.
func (s *fileStore) OpenTail(ctx context.Context, key string, _ int64) (Object, error) {
	return s.Open(ctx, key)
}

// Stat implements Store.
func (s *fileStore) Stat(ctx context.Context, key string) (Info, error) {
	o, err := s.open(ctx, key)
	if err != nil {
		return Info{}, s.fail("stat", key, err)
	}
	return o.Info(), o.Close()
}

func (s *fileStore) open(ctx context.Context, key string) (*fileObject, error) {
	o := &fileObject{store: s, key: key}
	err := s.at(ctx, key, unix.O_PATH, func(p place, d *dir) (err error) {
		d.sweepHome()
		o.found, err = d.archive(p.name)
		return err
	})
	if err != nil {
		return nil, err
	}
	return o, nil
}

// List implements Store.
func (s *fileStore) List(ctx context.Context, prefix string) ([]Info, error) {
	infos, _, err := s.ListPage(ctx, prefix, "", math.MaxInt)
	slices.SortFunc(infos, func(a, b Info) int { return strings.Compare(a.Key, b.Key) })
	return infos, err
}

// ListPage implements Pager. It reads all names, but opens only the files of the page.
func (s *fileStore) ListPage(ctx context.Context, prefix, after string, n int) (infos []Info, more bool, err error) {
	infos, more, err = s.listFrom(ctx, prefix, after, n)
	if errors.Is(err, unix.ENOENT) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, s.fail("list", prefix, err)
	}
	return infos, more, nil
}

// listFrom is ListPage with the file system's own errors.
func (s *fileStore) listFrom(ctx context.Context, prefix, after string, n int) (infos []Info, more bool, err error) {
	if err := ContextError(ctx); err != nil {
		return nil, false, err
	}
	path, _, err := s.split(prefix)
	if err != nil {
		return nil, false, err
	}
	d, err := openDir(path, unix.O_RDONLY, &s.sys)
	if err != nil {
		return nil, false, err
	}
	defer d.close()
	d.sweepHome()
	names, err := d.names()
	if err != nil {
		return nil, false, err
	}
	slices.Sort(names)
	start := after
	if after != "" {
		start += suffix
	}
	for _, name := range names {
		if err := ContextError(ctx); err != nil {
			return nil, false, err
		}
		key, isArchive := strings.CutSuffix(name, suffix)
		if !isArchive || key == "" || prefix+name <= start {
			continue
		}
		if infos, err = d.appendInfo(infos, prefix+key); err != nil {
			return nil, false, err
		}
		if len(infos) > n {
			return infos[:n], true, nil
		}
	}
	return infos, false, nil
}

// appendInfo appends the Info of the archive of key, in d. It skips anything that is not a
// file or no longer exists.
func (d *dir) appendInfo(infos []Info, key string) ([]Info, error) {
	name := key[strings.LastIndexByte(key, '/')+1:] + suffix
	found, err := d.archive(name)
	var other *notRegularError
	switch {
	case errors.Is(err, unix.ENOENT), errors.As(err, &other):
		return infos, nil
	case errors.Is(err, unix.EACCES):
		st, err := d.stat(name)
		if err != nil {
			return infos, nil
		}
		seen := stampOf(st)
		return append(infos, Info{Key: key, Size: seen.size, ModTime: seen.time()}), nil
	case err != nil:
		return infos, err
	}
	defer found.file.Close()
	return append(infos, found.info(key)), nil
}

// Sync implements Syncer: a crash may undo a rename or a removal whose directory has not been
// flushed.
func (s *fileStore) Sync(ctx context.Context, key string) error {
	if err := ContextError(ctx); err != nil {
		return err
	}
	p, err := s.place(key)
	if err == nil {
		err = s.syncDir(p.dir)
	}
	return s.fail("sync", key, err)
}

// Close implements Store.
func (s *fileStore) Close() error { return nil }

// fileObject is an Object on the descriptor of an archive.
type fileObject struct {
	store *fileStore
	key   string
	found *found
	off   atomic.Int64 // of Read, bytes
}

func (o *fileObject) Info() Info   { return o.found.info(o.key) }
func (o *fileObject) Close() error { return o.found.file.Close() }

func (o *fileObject) Read(p []byte) (int, error) {
	n, err := o.ReadAt(p, o.off.Load())
	o.off.Add(int64(n))
	return n, err
}

var errOverwritten = errors.New("another tool overwrote the file in place while it was read")

// ReadAt returns bytes only if the file is unchanged after they were read.
func (o *fileObject) ReadAt(p []byte, off int64) (int, error) {
	n, err := o.found.file.ReadAt(p, off)
	if err != nil && err != io.EOF {
		return 0, o.store.fail("read", o.key, err)
	}
	now, serr := stampOfFile(o.found.file)
	if serr != nil {
		return 0, o.store.fail("read", o.key, serr)
	}
	if now != o.found.stamp {
		return 0, &Error{Op: "read", Object: o.store.object(o.key), Kind: ErrConflict, Cause: errOverwritten, Todo: "open the workspace again"}
	}
	return n, err
}

// stamp is the attributes of a file that change with its bytes. It does not include the ctime,
// which a chmod, a chown and a new or removed link change too.
type stamp struct {
	size      int64
	sec, nsec int64 // mtime
}

func stampOf(st *unix.Stat_t) stamp {
	sec, nsec := st.Mtim.Unix()
	return stamp{size: st.Size, sec: sec, nsec: nsec}
}

func stampOfFile(f *os.File) (stamp, error) {
	fi, err := f.Stat()
	if err != nil {
		return stamp{}, err
	}
	return stamp{size: fi.Size(), sec: fi.ModTime().Unix(), nsec: int64(fi.ModTime().Nanosecond())}, nil
}

func (s stamp) time() time.Time { return time.Unix(s.sec, s.nsec) }

// waitClockTick waits until a write would get an mtime other than seen's. File times advance
// with the coarse clock, by ticks of 1 to 10 ms, so the second of two writes within one tick
// may not change the mtime.
func waitClockTick(seen stamp) {
	const tick = 10 * time.Millisecond
	for range 4 * tick / time.Millisecond {
		var now unix.Timespec
		if unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &now) != nil {
			return
		}
		ahead := seen.time().Sub(time.Unix(now.Unix()))
		if ahead < 0 || ahead > tick { // a time far ahead was set by hand
			return
		}
		time.Sleep(time.Millisecond)
	}
}
