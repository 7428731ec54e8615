package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/internal/eintr"
)

// cannotLink are the errors of link(2) for a file that cannot have another hard link: the file
// system has none, or no more, or the file is another user's (protected_hardlinks).
var cannotLink = []error{unix.EPERM, unix.EACCES, unix.EXDEV, unix.EMLINK, unix.ENOSYS, unix.EOPNOTSUPP}

// linkat is link(2), which tests can disable.
var linkat = unix.Linkat

// Keep implements Keeper by a hard link to the archive. The next commit replaces the original
// name.
func (s *fileStore) Keep(ctx context.Context, key string, rev Revision, as string) error {
	to, err := s.place(as)
	if err == nil {
		err = s.at(ctx, key, unix.O_RDONLY, func(p place, d *dir) error { return s.keep(ctx, d, p, rev, to) })
	}
	return s.fail("keep", key, err)
}

func (s *fileStore) keep(ctx context.Context, d *dir, p place, rev Revision, to place) (err error) {
	for range homeTries { // Drop of the last version removes its directory
		if err = s.link(d, p, rev, to); !errors.Is(err, unix.ENOENT) {
			break
		}
	}
	switch {
	case errors.Is(err, unix.ENOENT):
		return errVanished
	case errors.Is(err, errors.ErrUnsupported):
		return s.duplicate(ctx, d, p, rev, to)
	}
	return err
}

// link makes a hard link to the archive of p, in d, of revision rev. errors.ErrUnsupported if
// it cannot have one.
func (s *fileStore) link(d *dir, p place, rev Revision, to place) error {
	st, err := d.compare(p, rev)
	if err != nil {
		return err
	}
	v, err := s.makeVersions(d, to.dir)
	if err != nil {
		return err
	}
	defer v.close()
	err = eintr.Retry(func() error { return linkat(d.fd, p.name, v.fd, to.name, 0) })
	switch {
	case errors.Is(err, unix.EEXIST):
		return v.sync()
	case slices.Contains(cannotLink, err):
		return errors.ErrUnsupported
	case err != nil:
		return err
	}
	now, err := v.archive(to.name)
	if err != nil {
		return err
	}
	defer now.file.Close()
	if now.stat.Ino != st.Ino || now.revision != rev { // another commit, or a tool without the lock
		_ = unix.Unlinkat(v.fd, to.name, 0)
		return &ConflictError{Key: p.key, Want: rev}
	}
	return v.sync()
}

// duplicate copies the archive of p, for the same users.
func (s *fileStore) duplicate(ctx context.Context, d *dir, p place, rev Revision, to place) error {
	found, err := d.archive(p.name)
	if err != nil {
		return err
	}
	o := &fileObject{store: s, key: p.key, found: found}
	defer func() { _ = o.Close() }() // it was opened for reading
	if found.revision != rev {
		return &ConflictError{Key: p.key, Want: rev, Have: found.revision}
	}
	_, err = s.put(ctx, to, composed(o, []Piece{{Len: found.stamp.size}}), &PutOptions{}, found.stat)
	if errors.As(err, new(*ConflictError)) {
		return nil // it exists already
	}
	return err
}

// makeVersions opens the directory of the versions of an archive in d, and creates it, for the
// users of d, if need be.
func (s *fileStore) makeVersions(d *dir, path string) (*dir, error) {
	made, err := s.makeDir(path, "")
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err := eintr.Retry(func() error { return unix.Fstat(d.fd, &st) }); err != nil {
		return nil, err
	}
	for _, path := range made {
		if err := admit(path, &st); err != nil {
			return nil, err
		}
		if err := s.syncDir(filepath.Dir(path)); err != nil {
			return nil, err
		}
	}
	for _, path := range []string{filepath.Dir(path), path} {
		if err := s.trusted(d, path); err != nil {
			return nil, err
		}
	}
	return openDir(path, unix.O_RDONLY, &s.sys)
}

// admit sets the owner, group and mode of a directory to those of another one.
func admit(path string, st *unix.Stat_t) error {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return errnoOf(err)
	}
	defer f.Close()
	if f.Chown(int(st.Uid), int(st.Gid)) != nil {
		_ = f.Chown(-1, int(st.Gid))
	}
	_ = unix.Fchmod(int(f.Fd()), st.Mode&0o7777) // file systems without modes ignore it
	return nil
}

// errNotTrusted is for a directory whose owner could replace versions by other archives.
var errNotTrusted = errors.New("it belongs to another user, who could change what is in it; remove it, or keep workspaces in a directory of their own")

func (s *fileStore) trusted(d *dir, path string) error {
	v, err := openDir(path, unix.O_RDONLY|unix.O_NOFOLLOW, &s.sys)
	if err != nil {
		return &homeError{path, err}
	}
	defer v.close()
	if !d.trusts(v) {
		return &homeError{path, errNotTrusted}
	}
	return nil
}

// Drop implements Keeper. The directory is removed with its last version.
func (s *fileStore) Drop(ctx context.Context, as string, rev Revision) error {
	err := s.at(ctx, as, unix.O_RDONLY, func(p place, d *dir) error { return s.drop(d, p, rev) })
	return s.fail("delete", as, err)
}

func (s *fileStore) drop(d *dir, p place, rev Revision) error {
	if _, err := d.compare(p, rev); err != nil {
		return err
	}
	if err := d.unlink(p.name); err != nil {
		return err
	}
	if names, err := d.names(); err == nil && (len(names) == 0 || d.empty()) {
		s.removeDirs([]string{filepath.Dir(p.dir), p.dir})
	}
	return d.sync()
}
