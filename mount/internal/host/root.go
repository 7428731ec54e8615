package host

import (
	"errors"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// rootWith replaces the root of the namespace by one that has all that the old one has,
// and an empty directory at a path whose first element was not there. The host's root
// stays as it was. Nothing can be made in the new root itself, a tmpfs that is read-only:
// it would be lost.
//
// stage is a directory that the new root can be mounted on until it takes its place.
// Preconditions: the namespace is the calling thread's own.
func rootWith(at, stage string) error {
	names, err := cloneEntries("/")
	if err != nil {
		return err
	}
	defer names.close()
	const flags = unix.MS_NOSUID | unix.MS_NODEV
	if err := unix.Mount("tmpfs", stage, "tmpfs", flags, "mode=755"); err != nil {
		return &os.PathError{Op: "mount tmpfs", Path: stage, Err: err}
	}
	if err := names.placeIn(stage); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Join(stage, at), 0o755); err != nil {
		return err
	}
	if err := pivotTo(stage); err != nil {
		return err
	}
	err = unix.Mount("", "/", "", flags|unix.MS_REMOUNT|unix.MS_BIND|unix.MS_RDONLY, "")
	return os.NewSyscallError("mount(MS_RDONLY)", err)
}

// pivotTo makes the mount at dir the root, and takes the old root away. With "." for both,
// pivot_root(2) puts the old root on top of the new one.
func pivotTo(dir string) error {
	if err := os.Chdir(dir); err != nil {
		return err
	}
	if err := unix.PivotRoot(".", "."); err != nil {
		return &os.PathError{Op: "pivot_root", Path: dir, Err: err}
	}
	if err := unix.Unmount(".", unix.MNT_DETACH); err != nil {
		return os.NewSyscallError("umount the old root", err)
	}
	return os.Chdir("/")
}

// clonedEntry is a copy of one name of a directory: a tree that is mounted nowhere, or the
// target of a symlink.
type clonedEntry struct {
	name   string
	dir    bool
	tree   int // -1 for a symlink
	target string
}

type clonedEntries []clonedEntry

func (c clonedEntries) close() {
	for _, e := range c {
		if e.tree >= 0 {
			unix.Close(e.tree)
		}
	}
}

// cloneEntries copies the names of a directory, without those that vanish meanwhile.
func cloneEntries(dir string) (clonedEntries, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var all clonedEntries
	for _, e := range entries {
		c := clonedEntry{name: e.Name(), dir: e.IsDir(), tree: -1}
		if e.Type() == os.ModeSymlink {
			c.target, err = os.Readlink(filepath.Join(dir, c.name))
		} else {
			c.tree, err = cloneTree(filepath.Join(dir, c.name))
		}
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			all.close()
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// placeIn makes the names in an empty directory.
func (c clonedEntries) placeIn(dir string) error {
	for _, e := range c {
		path := filepath.Join(dir, e.name)
		var err error
		switch {
		case e.tree < 0:
			err = os.Symlink(e.target, path)
		case e.dir:
			err = os.Mkdir(path, 0o755)
		default:
			err = os.WriteFile(path, nil, 0o644)
		}
		if err == nil && e.tree >= 0 {
			err = attachTree(e.tree, path)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
