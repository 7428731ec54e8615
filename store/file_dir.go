package store

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/internal/eintr"
)

// dir is an open directory. All operations are relative to its descriptor, so it stays the
// same directory even if renamed.
type dir struct {
	fd   int
	path string
	sys  *syscalls
}

// openDir opens a directory; access is O_PATH, which needs no permission on the
// directory itself, or O_RDONLY.
func openDir(path string, access int, sys *syscalls) (*dir, error) {
	fd, err := openat(unix.AT_FDCWD, path, access|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	return &dir{fd: fd, path: path, sys: sys}, nil
}

func (d *dir) close() { _ = unix.Close(d.fd) }

// openat is openat(2) with O_CLOEXEC. It retries an interrupted call.
func openat(at int, path string, flags int, mode uint32) (fd int, err error) {
	err = eintr.Retry(func() error {
		fd, err = unix.Openat(at, path, flags|unix.O_CLOEXEC, mode)
		return err
	})
	return fd, err
}

// names lists the directory.
func (d *dir) names() ([]string, error) {
	fd, err := openat(d.fd, ".", unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), d.path)
	defer f.Close()
	return f.Readdirnames(-1)
}

// stat is lstat(2) of a name.
func (d *dir) stat(name string) (*unix.Stat_t, error) {
	var st unix.Stat_t
	err := eintr.Retry(func() error { return unix.Fstatat(d.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	return &st, err
}

// unlink removes the name of a file.
func (d *dir) unlink(name string) error {
	return eintr.Retry(func() error { return unix.Unlinkat(d.fd, name, 0) })
}

// sync makes the directory's entries durable.
func (d *dir) sync() error {
	return eintr.Retry(func() error { return d.sys.fsync(d.fd) })
}

// found is an archive that was found and opened.
type found struct {
	file     *os.File
	stamp    stamp
	stat     *unix.Stat_t
	revision Revision
}

func (f *found) info(key string) Info {
	return Info{Key: key, Revision: f.revision, Size: f.stamp.size, ModTime: f.stamp.time()}
}

// archive opens the archive of that name, which the caller closes. It opens only a regular
// file: opening a FIFO would block, opening a device could have effects, and a symlink would
// be replaced by the next commit while readers follow it.
func (d *dir) archive(name string) (*found, error) {
	st, err := d.stat(name)
	if err != nil {
		return nil, err
	}
	if err := regular(st); err != nil {
		return nil, err
	}
	fd, err := openat(d.fd, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	_ = unix.SetNonblock(fd, false)
	file := os.NewFile(uintptr(fd), d.path+"/"+name)
	f, err := examine(file)
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return f, nil
}

var errUnsteady = errors.New("another tool is writing the file in place")

// examine determines the revision of an open archive. It retries a few times if the file
// changes meanwhile.
func examine(file *os.File) (*found, error) {
	for range 3 {
		var st unix.Stat_t
		if err := eintr.Retry(func() error { return unix.Fstat(int(file.Fd()), &st) }); err != nil {
			return nil, err
		}
		if err := regular(&st); err != nil {
			return nil, err
		}
		seen := stampOf(&st)
		rev, err := revision(file, st.Ino, seen)
		if err != nil {
			return nil, err
		}
		if now, err := stampOfFile(file); err != nil || now == seen {
			return &found{file: file, stamp: seen, stat: &st, revision: rev}, err
		}
	}
	return nil, errUnsteady
}

// tailBytes is the length of the end of an archive that is part of its revision.
const tailBytes = 4096

// revision identifies a file: a digest of its inode number, size, mtime and last
// 4 KiB. The mtime and the inode change with every replacement and every write, but inode
// numbers are reused, an mtime has the granularity of a clock tick, and both can be set. The
// tail is unique: an archive ends with a checksum of all of it and, if it is ours, with the
// random id of the commit. The device is left out; it changes with each mount of the file
// system.
func revision(file *os.File, ino uint64, seen stamp) (Revision, error) {
	h := sha256.New()
	var head [4 * 8]byte
	for i, v := range []uint64{ino, uint64(seen.size), uint64(seen.sec), uint64(seen.nsec)} {
		binary.LittleEndian.PutUint64(head[i*8:], v)
	}
	h.Write(head[:])
	from := max(0, seen.size-tailBytes)
	if _, err := io.Copy(h, io.NewSectionReader(file, from, tailBytes)); err != nil {
		return "", err
	}
	return Revision(hex.EncodeToString(h.Sum(nil)[:16])), nil
}

// notRegularError describes what is in an archive's place.
type notRegularError struct{ mode uint32 }

func (e *notRegularError) Error() string {
	kinds := map[uint32]string{
		unix.S_IFDIR: "a directory", unix.S_IFLNK: "a symbolic link", unix.S_IFIFO: "a FIFO",
		unix.S_IFSOCK: "a socket", unix.S_IFCHR: "a character device", unix.S_IFBLK: "a block device",
	}
	if kind, ok := kinds[e.mode&unix.S_IFMT]; ok {
		return "it is " + kind
	}
	return "it is no regular file"
}

func regular(st *unix.Stat_t) error {
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return &notRegularError{st.Mode}
	}
	return nil
}

// zfsMagic and bcachefsMagic are f_type of statfs(2) for file systems outside of
// the kernel's header.
const (
	zfsMagic      = 0x2fc12fc1
	bcachefsMagic = 0xca451a4e
)

// local reports whether the file system belongs to this host alone. An unknown one counts as
// shared.
func (d *dir) local() bool {
	var st unix.Statfs_t
	if err := eintr.Retry(func() error { return unix.Fstatfs(d.fd, &st) }); err != nil {
		return false
	}
	return slices.Contains([]int64{
		unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC,
		unix.TMPFS_MAGIC, unix.RAMFS_MAGIC, unix.OVERLAYFS_SUPER_MAGIC, zfsMagic, bcachefsMagic,
	}, int64(st.Type))
}
