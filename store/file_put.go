package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/internal/eintr"
)

// errVanished: a directory was removed while we used it.
var errVanished = errors.New("the directory is removed repeatedly")

// Put implements Store.
func (s *fileStore) Put(ctx context.Context, key string, write func(io.Writer) error, opts *PutOptions) (Info, error) {
	if opts == nil {
		opts = &PutOptions{}
	}
	p, err := s.place(key)
	if err != nil {
		return Info{}, s.fail("put", key, err)
	}
	var info Info
	for range 10 { // a failed Put of another writer removes the directories that it created
		info, err = s.put(ctx, p, write, opts, nil)
		if !errors.Is(err, errVanished) {
			break
		}
	}
	if err != nil {
		return Info{}, s.fail("put", key, err)
	}
	return info, nil
}

// put is Put; like, which may be nil, has the owner and permissions for an archive that
// replaces none.
func (s *fileStore) put(ctx context.Context, p place, write func(io.Writer) error, opts *PutOptions, like *unix.Stat_t) (info Info, err error) {
	if err := ContextError(ctx); err != nil {
		return Info{}, err
	}
	made, err := s.makeDir(p.dir, opts.Replace)
	stored := false
	defer func() {
		if !stored {
			s.removeDirs(made)
		}
	}()
	if err != nil {
		return Info{}, err
	}
	d, err := openDir(p.dir, unix.O_RDONLY, &s.sys)
	if err != nil {
		return Info{}, vanished(err, opts.Replace)
	}
	defer d.close()
	old, err := d.compare(p, opts.Replace)
	if err != nil {
		return Info{}, err
	}
	if old != nil {
		like = old
	}
	t, err := d.newTemp(permissions(like))
	if err != nil {
		return Info{}, vanished(err, opts.Replace)
	}
	defer t.discard()
	if err := t.fill(ctx, write); err != nil {
		return Info{}, err
	}
	found, err := examine(t.file)
	if err != nil {
		return Info{}, err
	}
	unlock, old, err := d.lockFor(ctx, p, opts.Replace, opts.Before)
	if err != nil {
		return Info{}, err
	}
	if old != nil {
		like = old
	}
	keepOwner(t.file, like)
	stored, err = t.rename(d, p, old == nil)
	unlock() // others need not wait for the disk: the next writer makes this durable too
	if err != nil {
		return Info{}, err
	}
	if err := d.sync(); err != nil {
		return Info{}, fmt.Errorf("%w: the directory could not be made durable: %w", ErrUnknown, err)
	}
	return found.info(p.key), nil
}

// vanished translates the ENOENT of a directory for a Put.
func vanished(err error, replace Revision) error {
	if !errors.Is(err, unix.ENOENT) {
		return err
	}
	if replace != "" {
		return &ConflictError{Want: replace}
	}
	return errVanished
}

// compare returns a *ConflictError unless the archive has that revision, and otherwise its
// stat; nil if want is empty and there is no archive.
func (d *dir) compare(p place, want Revision) (*unix.Stat_t, error) {
	found, err := d.archive(p.name)
	if errors.Is(err, unix.ENOENT) {
		if want == "" {
			return nil, nil
		}
		return nil, &ConflictError{Key: p.key, Want: want}
	}
	if err != nil {
		return nil, err
	}
	defer found.file.Close()
	if found.revision != want {
		return nil, &ConflictError{Key: p.key, Want: want, Have: found.revision}
	}
	return found.stat, nil
}

// freshness is the maximum age of a caller's permission when the write is done.
const freshness = time.Second

// lockFor acquires the lock of the directory for a write that replaces the revision want, and
// returns the result of compare. It calls before without the lock, since a slow or stopped
// caller must not block all other writers of the directory; so it calls before once more if
// the lock, or anything else, took longer than freshness.
func (d *dir) lockFor(ctx context.Context, p place, want Revision, before func(context.Context) error) (unlock func(), old *unix.Stat_t, err error) {
	for {
		if err := ContextError(ctx); err != nil {
			return nil, nil, err
		}
		if err := d.ask(ctx, p, want, before); err != nil {
			return nil, nil, err
		}
		asked := time.Now()
		unlock, err := d.lock(ctx)
		if err != nil {
			return nil, nil, err
		}
		old, err := d.compare(p, want)
		if err == nil && (before == nil || time.Since(asked) < freshness) {
			return unlock, old, nil
		}
		unlock()
		if err != nil {
			return nil, nil, err
		}
	}
}

// ask calls before, which may be nil, unless there is already a conflict.
func (d *dir) ask(ctx context.Context, p place, want Revision, before func(context.Context) error) error {
	if before == nil {
		return nil
	}
	if _, err := d.compare(p, want); err != nil {
		return err
	}
	if err := before(ctx); err != nil {
		return &callerError{err}
	}
	return nil
}

// rename makes the file the archive in d. A first archive does not replace one that a tool has
// just created without the lock. stored reports, even with an error, whether the file may have
// become the archive.
//
// Preconditions: d is locked and the file durable.
func (t *temp) rename(d *dir, p place, create bool) (stored bool, err error) {
	err = unix.EINVAL
	if create {
		err = eintr.Retry(func() error { return unix.Renameat2(t.dir.fd, t.name, d.fd, p.name, unix.RENAME_NOREPLACE) })
	}
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) { // not every file system has the flag
		err = eintr.Retry(func() error { return unix.Renameat(t.dir.fd, t.name, d.fd, p.name) })
	}
	switch {
	case err == nil:
		t.name = ""
		return true, nil
	case errors.Is(err, unix.EEXIST):
		return false, &ConflictError{Key: p.key}
	case errors.Is(err, unix.EIO), !t.dir.local() && !slices.Contains(refusals, err):
		return true, fmt.Errorf("%w: rename: %w", ErrUnknown, err)
	}
	return false, fmt.Errorf("rename: %w", err)
}

// refusals are errors of a rename that are definite, and not due to a lost answer. ENOENT is
// not definite: a network file system may repeat a completed rename.
var refusals = []error{unix.EACCES, unix.EPERM, unix.EROFS, unix.ENOSPC, unix.EDQUOT, unix.EISDIR, unix.ENOTDIR}

// permissions are those for creating a new archive, before the umask.
func permissions(old *unix.Stat_t) uint32 {
	if old == nil {
		return 0o666
	}
	return old.Mode & 0o777
}

// keepOwner sets the owner and permissions of a successor to those of the replaced archive, as
// far as this user may, as if it had been written in place.
func keepOwner(f *os.File, old *unix.Stat_t) {
	if old == nil {
		return
	}
	if f.Chown(int(old.Uid), int(old.Gid)) != nil {
		_ = f.Chown(-1, int(old.Gid))
	}
	_ = f.Chmod(os.FileMode(old.Mode & 0o777))
}

// makeDir creates the directory of an archive, and its parents. made are the new ones, deepest
// last, even with an error. If an archive is to be replaced the directory must exist already.
func (s *fileStore) makeDir(path string, replace Revision) (made []string, err error) {
	var missing []string
	for at := path; ; at = filepath.Dir(at) {
		var st unix.Stat_t
		err := eintr.Retry(func() error { return unix.Stat(at, &st) })
		if err == nil {
			break
		}
		if !errors.Is(err, unix.ENOENT) {
			return nil, err
		}
		missing = append(missing, at)
	}
	if len(missing) > 0 && replace != "" {
		return nil, &ConflictError{Want: replace}
	}
	for _, at := range slices.Backward(missing) {
		err := eintr.Retry(func() error { return unix.Mkdir(at, 0o777) })
		if err == nil {
			made = append(made, at)
		} else if !errors.Is(err, unix.EEXIST) {
			return made, vanished(err, replace)
		}
	}
	return made, nil
}

func (s *fileStore) syncDir(path string) error {
	d, err := openDir(path, unix.O_RDONLY, &s.sys)
	if err != nil {
		return err
	}
	defer d.close()
	return d.sync()
}

// removeDirs removes those of the directories that have no archive; the deepest is last in the
// list.
func (s *fileStore) removeDirs(made []string) {
	for _, path := range slices.Backward(made) {
		if unix.Rmdir(path) == nil {
			continue
		}
		if d, err := openDir(path, unix.O_RDONLY, &s.sys); err == nil {
			if d.empty() {
				d.removeHome()
			}
			d.close()
		}
		_ = unix.Rmdir(path)
	}
}

// empty reports whether d contains nothing except a home.
func (d *dir) empty() bool {
	names, err := d.names()
	return err == nil && slices.Equal(names, []string{homeName})
}

// Writable checks whether this user may create files in the directory of key or, if that does
// not exist, in the closest parent.
func (s *fileStore) Writable(_ context.Context, key string) error {
	p, err := s.place(key)
	if err != nil {
		return s.fail("put", key, err)
	}
	for at := p.dir; ; at = filepath.Dir(at) {
		err := mayMakeFiles(at)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.ENOENT) || at == "/" {
			return s.fail("put", key, err)
		}
	}
}

// mayMakeFiles also checks the permission to read, which flushing a directory needs, and the
// home if there is one.
func mayMakeFiles(path string) error {
	d, err := openDir(path, unix.O_PATH, &durable)
	if err != nil {
		return err
	}
	defer d.close()
	const access = unix.R_OK | unix.W_OK | unix.X_OK
	err = eintr.Retry(func() error { return unix.Faccessat(d.fd, ".", access, unix.AT_EACCESS) })
	if err != nil {
		return err
	}
	err = eintr.Retry(func() error { return unix.Faccessat(d.fd, homeName, access, unix.AT_EACCESS) })
	if err != nil && !errors.Is(err, unix.ENOENT) {
		return &homeError{path + "/" + homeName, err}
	}
	return nil
}

// Delete implements Store. It does not remove empty directories.
func (s *fileStore) Delete(ctx context.Context, key string, rev Revision, before func(context.Context) error) error {
	err := s.at(ctx, key, unix.O_RDONLY, func(p place, d *dir) error { return d.delete(ctx, p, rev, before) })
	return s.fail("delete", key, err)
}

func (d *dir) delete(ctx context.Context, p place, rev Revision, before func(context.Context) error) error {
	if _, err := d.stat(p.name); err != nil {
		return err
	}
	unlock, _, err := d.lockFor(ctx, p, rev, before)
	if err != nil {
		return err
	}
	err = d.unlink(p.name)
	unlock()
	if err != nil {
		return err
	}
	if err := d.sync(); err != nil {
		return fmt.Errorf("%w: the directory could not be made durable: %w", ErrUnknown, err)
	}
	return nil
}
