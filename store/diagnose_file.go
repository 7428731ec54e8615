package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// leastSpace is the free space below which a directory deserves a warning, bytes.
// A commit writes the new archive beside the old one.
const leastSpace = 100 << 20

// fileSystems names those that archives are likely to be on, by f_type of
// statfs(2).
var fileSystems = map[int64]string{
	unix.EXT4_SUPER_MAGIC: "ext4", unix.XFS_SUPER_MAGIC: "xfs", unix.BTRFS_SUPER_MAGIC: "btrfs",
	unix.F2FS_SUPER_MAGIC: "f2fs", unix.TMPFS_MAGIC: "tmpfs", unix.RAMFS_MAGIC: "ramfs",
	unix.OVERLAYFS_SUPER_MAGIC: "overlay", zfsMagic: "zfs", bcachefsMagic: "bcachefs",
	unix.NFS_SUPER_MAGIC: "NFS", unix.CIFS_SUPER_MAGIC: "SMB (cifs)", unix.SMB2_SUPER_MAGIC: "SMB",
	unix.CEPH_SUPER_MAGIC: "CephFS", unix.FUSE_SUPER_MAGIC: "FUSE", unix.V9FS_MAGIC: "9p",
	unix.AFS_FS_MAGIC: "AFS", unix.OCFS2_SUPER_MAGIC: "OCFS2",
}

// scratchDir makes the directory of a scratch archive, as far as that is allowed,
// and gives what removes all that was made, the lock file in it included.
func (s *fileStore) scratchDir(key string) (remove func() error) {
	p, err := s.place(key)
	if err != nil {
		return func() error { return nil }
	}
	made, _ := s.makeDir(p.dir, "") // the checks tell of an error
	return func() error {
		s.removeDirs(made)
		if unix.Access(p.dir, unix.F_OK) == nil {
			return fmt.Errorf("the directory %s could not be removed", p.dir)
		}
		return nil
	}
}

// Diagnose implements Diagnoser.
func (s *fileStore) Diagnose(ctx context.Context, key string) []Check {
	p, err := s.place(key)
	if err != nil {
		return []Check{newCheck("directory", "", s.fail("put", key, err))}
	}
	d, err := openDir(p.dir, unix.O_RDONLY, &s.sys)
	if errors.Is(err, unix.ENOENT) { // scratchDir was not allowed to make it
		d, err = openDir(filepath.Dir(p.dir), unix.O_RDONLY, &s.sys)
	}
	if err != nil {
		return []Check{newCheck("directory", "", s.fail("open", key, err))}
	}
	defer d.close()
	return []Check{d.checkKind(), d.checkSpace(), d.checkLock(ctx), d.checkSync(), d.checkRename()}
}

// checkKind tells what file system it is.
func (d *dir) checkKind() Check {
	var st unix.Statfs_t
	if err := again(func() error { return unix.Fstatfs(d.fd, &st) }); err != nil {
		return newCheck("file system", "", err)
	}
	name := fileSystems[int64(st.Type)]
	if name == "" {
		name = fmt.Sprintf("of a kind that is not known (statfs type %#x)", st.Type)
	}
	if d.local() {
		return newCheck("file system", name+", which belongs to this host", nil)
	}
	return newCheck("file system", "", &oddity{
		CheckWarn, name + ", which other hosts may mount; what follows was tried from this host alone",
		"docs/stores.md says what holds on a shared directory, how to mount it, and how to try its locks from two hosts",
	})
}

// checkSpace tells how much room a new archive has.
func (d *dir) checkSpace() Check {
	var st unix.Statfs_t
	if err := again(func() error { return unix.Fstatfs(d.fd, &st) }); err != nil {
		return newCheck("space", "", err)
	}
	free := int64(st.Bavail) * st.Bsize
	detail := fmt.Sprintf("%d MiB free", free>>20)
	if free < leastSpace {
		return newCheck("space", "", &oddity{CheckWarn, detail + "; a commit writes the new archive beside the old one", "make room"})
	}
	return newCheck("space", detail, nil)
}

// checkLock takes the lock of a commit, and looks whether it keeps a second one out.
func (d *dir) checkLock(ctx context.Context) Check {
	unlock, err := d.lock(ctx)
	if err != nil {
		return newCheck("lock", "", err)
	}
	defer unlock()
	second, err := openDir(d.path, unix.O_RDONLY, d.sys)
	if err != nil {
		return newCheck("lock", "", err)
	}
	defer second.close()
	ended, cancel := context.WithCancel(ctx)
	cancel()
	unlockSecond, err := second.lock(ended)
	if err == nil {
		unlockSecond()
		return newCheck("lock", "", &oddity{CheckFail, "two commits can have the lock at once", "mount the file system with locks (NFS: without nolock), or use another store"})
	}
	if !errors.Is(err, context.Canceled) {
		return newCheck("lock", "", err)
	}
	return newCheck("lock", "the file "+homeName+"/"+lockName+" is locked, and a second commit waits for it", nil)
}

// checkSync makes a file and the directory durable.
func (d *dir) checkSync() Check {
	t, err := d.newTemp(0o600)
	if err != nil {
		return newCheck("fsync", "", err)
	}
	defer t.discard()
	if err = again(func() error { return d.sys.fsync(int(t.file.Fd())) }); err == nil {
		err = d.sync()
	}
	if err != nil {
		return newCheck("fsync", "", fmt.Errorf("a commit could not be made durable: %w", err))
	}
	return newCheck("fsync", "of a file and of the directory", nil)
}

// checkRename looks whether a rename can be kept from replacing anything.
func (d *dir) checkRename() Check {
	t, err := d.newTemp(0o600)
	if err != nil {
		return newCheck("rename", "", err)
	}
	defer t.discard()
	other := tempPrefix + randomName()
	err = again(func() error { return unix.Renameat2(t.dir.fd, t.name, t.dir.fd, other, unix.RENAME_NOREPLACE) })
	if err == nil {
		t.name = other
		return newCheck("rename", "can be kept from replacing what another tool has just made", nil)
	}
	return newCheck("rename", "", &oddity{
		CheckWarn, fmt.Sprintf("cannot be kept from replacing (RENAME_NOREPLACE: %v): what a tool without our lock makes in the instant of a first commit is lost", err),
		"let no other tool write these archives",
	})
}
