package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/store"
)

// directory is a Store that keeps archives as files.
type directory interface {
	store.Syncer
	// Dir returns the directory of the archive of key, which need not exist.
	Dir(key string) (string, error)
	// Local reports whether the file system of a directory belongs to this host alone.
	Local(dir string) bool
	// Lock acquires the lock for a commit of key, waiting until ctx ends.
	Lock(ctx context.Context, key string) (unlock func(), err error)
}

// fileSystems are the names of likely file systems for archives, by f_type of statfs(2). ZFS
// and bcachefs are not in the kernel's header.
var fileSystems = map[int64]string{
	unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "xfs", unix.BTRFS_SUPER_MAGIC: "btrfs",
	unix.F2FS_SUPER_MAGIC: "f2fs", unix.TMPFS_MAGIC: "tmpfs", unix.RAMFS_MAGIC: "ramfs",
	unix.OVERLAYFS_SUPER_MAGIC: "overlay", 0x2fc12fc1: "zfs", 0xca451a4e: "bcachefs",
	unix.NFS_SUPER_MAGIC: "NFS", unix.CIFS_SUPER_MAGIC: "SMB (cifs)", unix.SMB2_SUPER_MAGIC: "SMB",
	unix.CEPH_SUPER_MAGIC: "CephFS", unix.FUSE_SUPER_MAGIC: "FUSE", unix.V9FS_MAGIC: "9p",
	unix.AFS_FS_MAGIC: "AFS", unix.OCFS2_SUPER_MAGIC: "OCFS2",
}

// lookAt creates the directory of the scratch archive, if allowed, and reports on it.
func (d *diagnosis) lookAt(ctx context.Context, s directory) {
	dir, err := s.Dir(d.scratch)
	var st unix.Statfs_t
	if err == nil {
		d.cleanup = makeDirs(dir)
		if err = unix.Statfs(dir, &st); errors.Is(err, unix.ENOENT) { // it may not be made
			dir = filepath.Dir(dir)
			err = unix.Statfs(dir, &st)
		}
	}
	if err != nil {
		_, openErr := d.store.Open(ctx, d.scratch) // the store translates the error
		d.report(CheckOf("directory", "", cmp.Or(openErr, err)))
		return
	}
	name := cmp.Or(fileSystems[int64(st.Type)], fmt.Sprintf("of a kind that is not known (statfs type %#x)", st.Type))
	d.report(CheckOf("file system", name+", which belongs to this host", doubt(!s.Local(dir),
		"docs/stores.md says what holds on a shared directory, how to mount it, and how to try its locks from two hosts",
		"%s, which other hosts may mount; what follows was tried from this host alone", name)))
	free := int64(st.Bavail) * st.Bsize >> 20 // MiB
	d.report(CheckOf("space", fmt.Sprintf("%d MiB free", free), doubt(free < leastSpace, "make room",
		"%d MiB free; a commit writes the new archive beside the old one", free)))
	d.report(CheckOf("lock", "the file .workdir/lock is locked, and a second commit waits for it", lockTwice(ctx, s, d.scratch)))
	d.report(CheckOf("fsync", "of a file and of the directory", syncs(ctx, s, d.scratch, dir)))
	d.report(CheckOf("rename", "does not replace a file that another tool has just created", rename(dir)))
}

// leastSpace is the free space below which there is a warning, MiB.
const leastSpace = 100

// makeDirs creates a directory and missing parents, and returns the function that removes
// them, with everything in the first.
func makeDirs(path string) (remove func() error) {
	var made []string
	for at := path; ; at = filepath.Dir(at) {
		if _, err := os.Lstat(at); !errors.Is(err, os.ErrNotExist) {
			break
		}
		made = append(made, at)
	}
	_ = os.MkdirAll(path, 0o777) // the checks show an error
	return func() error {
		if len(made) == 0 {
			return nil
		}
		err := os.RemoveAll(path)
		for _, at := range made {
			_ = os.Remove(at) // others may use it by now
		}
		return err
	}
}

// lockTwice acquires the lock for a commit, and checks that it excludes a second one.
func lockTwice(ctx context.Context, s directory, key string) error {
	unlock, err := s.Lock(ctx, key)
	if err != nil {
		return err
	}
	defer unlock()
	ended, cancel := context.WithCancel(ctx)
	cancel()
	unlock, err = s.Lock(ended, key)
	if errors.Is(err, context.Canceled) {
		return nil
	}
	if err == nil {
		unlock()
	}
	return cmp.Or(err, wrong(err == nil, "mount the file system with locks (NFS: without nolock), or use another store", "two commits can have the lock at once"))
}

// syncs tests fsync of a file and of the directory of a key.
func syncs(ctx context.Context, s directory, key, dir string) error {
	f, err := os.CreateTemp(dir, ".workdir-tmp-")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	defer f.Close()
	if err = cmp.Or(f.Sync(), s.Sync(ctx, key)); err != nil {
		return fmt.Errorf("a commit could not be made durable: %w", err)
	}
	return nil
}

// rename checks that a file can be renamed without replacing another.
func rename(dir string) error {
	f, err := os.CreateTemp(dir, ".workdir-tmp-")
	if err != nil {
		return err
	}
	defer f.Close()
	old, name := f.Name(), f.Name()+"-renamed"
	defer func() { _ = cmp.Or(os.Remove(old), os.Remove(name)) }() // one of them is there
	err = unix.Renameat2(unix.AT_FDCWD, old, unix.AT_FDCWD, name, unix.RENAME_NOREPLACE)
	return doubt(err != nil, "let no other tool write these archives",
		"cannot be kept from replacing (RENAME_NOREPLACE: %v): what a tool without our lock makes in the instant of a first commit is lost", err)
}
