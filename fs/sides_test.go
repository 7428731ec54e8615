package fs

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/workdir/workdir/internal/eintr"
)

// side is a file tree that a test talks to: ours, or the kernel's tmpfs, which is
// the oracle. A path is relative, without symlinks in it; one that begins with
// "@0" or "@1" begins at an inode that was held.
type side interface {
	mknod(path string, mode uint32) syscall.Errno
	mkdir(path string, mode uint32) syscall.Errno
	symlink(path, target string) syscall.Errno
	link(old, path string) syscall.Errno
	tmpfile(dir string, slot int) syscall.Errno
	unlink(path string) syscall.Errno
	rmdir(path string) syscall.Errno
	rename(from, to string, flags uint32) syscall.Errno
	hold(path string, slot int) syscall.Errno
	drop(slot int)

	write(path string, p []byte, off int64) syscall.Errno
	truncate(path string, size int64) syscall.Errno
	allocate(path string, off, length int64, mode uint32) syscall.Errno
	copyRange(src string, soff int64, dst string, doff, length int64) (int64, syscall.Errno)
	chmod(path string, mode uint32) syscall.Errno
	chown(path string, uid, gid uint32) syscall.Errno
	setMtime(path string, t Time) syscall.Errno
	setXattr(path, name, value string, flags int) syscall.Errno
	removeXattr(path, name string) syscall.Errno

	stat(path string) (Attr, syscall.Errno)
	list(path string) ([]string, syscall.Errno)
	detail(path string, a Attr) string // what an inode of these attributes holds
}

// longAgo is a time of modification that shows whether an operation changes it.
var longAgo = Time{Sec: 1000, Nsec: 1}

// describe is all that a side holds, a line for each name and held inode.
func describe(s side) string {
	var b strings.Builder
	for _, root := range []string{"", "@0", "@1"} {
		describeBelow(s, root, &b)
	}
	return b.String()
}

func describeBelow(s side, path string, b *strings.Builder) {
	a, errno := s.stat(path)
	if errno != 0 {
		fmt.Fprintf(b, "%s: %v\n", path, errno)
		return
	}
	fmt.Fprintf(b, "%s: mode %o links %d owner %d:%d size %d blocks %d modified %t %s\n",
		path, a.Mode, a.Nlink, a.UID, a.GID, a.Size, a.Blocks, a.Mtime != longAgo, s.detail(path, a))
	if a.Mode&syscall.S_IFMT != syscall.S_IFDIR {
		return
	}
	names, errno := s.list(path)
	if errno != 0 {
		fmt.Fprintf(b, "%s/: %v\n", path, errno)
	}
	for _, name := range names {
		if strings.HasPrefix(path, "@") {
			fmt.Fprintf(b, "%s/%s\n", path, name) // the inode itself was described below the root
			continue
		}
		describeBelow(s, Join(path, name), b)
	}
}

// contentOfFile describes content, holes and data of an open file.
func contentOfFile(size int64, readAt func([]byte, int64) (int, error), seek func(int64, int) (int64, error)) string {
	p := make([]byte, min(size, 1<<20))
	n, err := readAt(p, 0)
	if err == io.EOF {
		err = nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "read %d %v sum %x runs", n, err, checksum(p[:n]))
	for pos := int64(0); ; {
		data, err := seek(pos, unix.SEEK_DATA)
		if err != nil {
			fmt.Fprintf(&b, " %v", err)
			break
		}
		if pos, err = seek(data, unix.SEEK_HOLE); err != nil {
			fmt.Fprintf(&b, " %v", err)
			break
		}
		fmt.Fprintf(&b, " %d-%d", data, pos)
	}
	return b.String()
}

func checksum(p []byte) (sum uint64) {
	for _, c := range p {
		sum = sum*1099511628211 + uint64(c)
	}
	return sum
}

// kernelSide is a detached tmpfs.
type kernelSide struct {
	root int
	held [2]int // descriptors, -1 for none
}

func newKernelSide(t rapid.TB) *kernelSide {
	t.Helper()
	root, err := mountDetached(testHomeSize, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Fchmodat(root, ".", 0o755, 0); err != nil {
		t.Fatal(err)
	}
	return &kernelSide{root: root, held: [2]int{-1, -1}}
}

func (k *kernelSide) close() {
	k.drop(0)
	k.drop(1)
	closeFD(k.root)
}

func errnoFrom(err error) syscall.Errno {
	if err == nil {
		return 0
	}
	return err.(syscall.Errno)
}

// open returns an O_PATH descriptor of an inode.
func (k *kernelSide) open(path string) (int, error) {
	fd := k.root
	parts := strings.Split(path, "/")
	if held, ok := strings.CutPrefix(parts[0], "@"); ok {
		if fd, parts = k.held[held[0]-'0'], parts[1:]; fd < 0 {
			return -1, syscall.EBADF
		}
	}
	fd, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	for _, part := range parts {
		if part == "" || err != nil {
			continue
		}
		next, openErr := unix.Openat(fd, part, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		closeFD(fd)
		fd, err = next, openErr
	}
	return fd, err
}

// at calls fn with an open directory and the last part of the path.
func (k *kernelSide) at(path string, fn func(dir int, name string) error) syscall.Errno {
	dir, name := Split(path)
	fd, err := k.open(dir)
	if err != nil {
		return errnoFrom(err)
	}
	defer closeFD(fd)
	return errnoFrom(fn(fd, name))
}

// inode calls fn with a path of the inode that follows no symlinks.
func (k *kernelSide) inode(path string, fn func(fd int, magic string) error) syscall.Errno {
	fd, err := k.open(path)
	if err != nil {
		return errnoFrom(err)
	}
	defer closeFD(fd)
	return errnoFrom(fn(fd, fmt.Sprintf("/proc/self/fd/%d", fd)))
}

// file calls fn with a descriptor that can be written.
func (k *kernelSide) file(path string, fn func(fd int) error) syscall.Errno {
	return k.inode(path, func(_ int, magic string) error {
		fd, err := unix.Open(magic, unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer closeFD(fd)
		return fn(fd)
	})
}

func (k *kernelSide) mknod(path string, mode uint32) syscall.Errno {
	return k.at(path, func(dir int, name string) error { return unix.Mknodat(dir, name, mode, 0) })
}

func (k *kernelSide) mkdir(path string, mode uint32) syscall.Errno {
	return k.at(path, func(dir int, name string) error { return unix.Mkdirat(dir, name, mode) })
}

func (k *kernelSide) symlink(path, target string) syscall.Errno {
	return k.at(path, func(dir int, name string) error { return unix.Symlinkat(target, dir, name) })
}

func (k *kernelSide) link(old, path string) syscall.Errno {
	return k.inode(old, func(fd int, _ string) error {
		return orNil(k.at(path, func(dir int, name string) error {
			return unix.Linkat(fd, "", dir, name, unix.AT_EMPTY_PATH)
		}))
	})
}

func (k *kernelSide) tmpfile(dir string, slot int) syscall.Errno {
	return k.inode(dir, func(_ int, magic string) error {
		fd, err := unix.Open(magic, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
		if err == nil {
			k.drop(slot)
			k.held[slot] = fd
		}
		return err
	})
}

func (k *kernelSide) unlink(path string) syscall.Errno {
	return k.at(path, func(dir int, name string) error { return unix.Unlinkat(dir, name, 0) })
}

func (k *kernelSide) rmdir(path string) syscall.Errno {
	return k.at(path, func(dir int, name string) error { return unix.Unlinkat(dir, name, unix.AT_REMOVEDIR) })
}

func (k *kernelSide) rename(from, to string, flags uint32) syscall.Errno {
	return k.at(from, func(odir int, oname string) error {
		return orNil(k.at(to, func(ndir int, nname string) error {
			return unix.Renameat2(odir, oname, ndir, nname, uint(flags))
		}))
	})
}

func (k *kernelSide) hold(path string, slot int) syscall.Errno {
	fd, err := k.open(path)
	if err == nil {
		k.drop(slot)
		k.held[slot] = fd
	}
	return errnoFrom(err)
}

func (k *kernelSide) drop(slot int) {
	if k.held[slot] >= 0 {
		closeFD(k.held[slot])
	}
	k.held[slot] = -1
}

func (k *kernelSide) write(path string, p []byte, off int64) syscall.Errno {
	return k.file(path, func(fd int) error { return second(unix.Pwrite(fd, p, off)) })
}

func (k *kernelSide) truncate(path string, size int64) syscall.Errno {
	return k.inode(path, func(_ int, magic string) error { return unix.Truncate(magic, size) })
}

func (k *kernelSide) allocate(path string, off, length int64, mode uint32) syscall.Errno {
	return k.file(path, func(fd int) error {
		return eintr.Retry(func() error { return unix.Fallocate(fd, mode, off, length) })
	})
}

func (k *kernelSide) copyRange(src string, soff int64, dst string, doff, length int64) (n int64, errno syscall.Errno) {
	a, errno := k.stat(src)
	if errno != 0 {
		return 0, errno
	}
	length = min(length, max(1, a.Size-soff)) // what the copy itself writes does not count
	errno = k.file(src, func(in int) error {
		return orNil(k.file(dst, func(out int) error {
			for {
				got, err := unix.CopyFileRange(in, &soff, out, &doff, int(length-n), 0) // which a signal ends early
				n += int64(max(0, got))
				if got <= 0 || n == length {
					return err
				}
			}
		}))
	})
	return n, errno
}

func (k *kernelSide) chmod(path string, mode uint32) syscall.Errno {
	return k.inode(path, func(_ int, magic string) error { return unix.Chmod(magic, mode) })
}

func (k *kernelSide) chown(path string, uid, gid uint32) syscall.Errno {
	return k.inode(path, func(fd int, _ string) error {
		return unix.Fchownat(fd, "", int(uid), int(gid), unix.AT_EMPTY_PATH)
	})
}

func (k *kernelSide) setMtime(path string, t Time) syscall.Errno {
	return k.inode(path, func(_ int, magic string) error {
		times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, {Sec: t.Sec, Nsec: int64(t.Nsec)}}
		return unix.UtimesNanoAt(unix.AT_FDCWD, magic, times, 0)
	})
}

func (k *kernelSide) setXattr(path, name, value string, flags int) syscall.Errno {
	return k.inode(path, func(_ int, magic string) error { return unix.Setxattr(magic, name, []byte(value), flags) })
}

func (k *kernelSide) removeXattr(path, name string) syscall.Errno {
	return k.inode(path, func(_ int, magic string) error { return unix.Removexattr(magic, name) })
}

func (k *kernelSide) stat(path string) (a Attr, errno syscall.Errno) {
	errno = k.inode(path, func(fd int, _ string) error {
		var st unix.Stat_t
		err := unix.Fstatat(fd, "", &st, unix.AT_EMPTY_PATH)
		a = Attr{
			Mode: st.Mode, Nlink: uint32(st.Nlink), UID: st.Uid, GID: st.Gid, Size: st.Size, Blocks: st.Blocks,
			Mtime: Time{st.Mtim.Sec, uint32(st.Mtim.Nsec)}, Ctime: Time{st.Ctim.Sec, uint32(st.Ctim.Nsec)},
		}
		return err
	})
	return a, errno
}

func (k *kernelSide) list(path string) (names []string, errno syscall.Errno) {
	errno = k.inode(path, func(_ int, magic string) error {
		fd, err := unix.Open(magic, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer closeFD(fd)
		buf := make([]byte, 64<<10)
		for {
			n, err := unix.Getdents(fd, buf) // which a signal ends early
			if n <= 0 {
				return err
			}
			_, _, names = unix.ParseDirent(buf[:n], -1, names)
		}
	})
	slices.Sort(names)
	return names, errno
}

func (k *kernelSide) detail(path string, a Attr) (text string) {
	k.inode(path, func(fd int, magic string) error {
		switch a.Mode & syscall.S_IFMT {
		case syscall.S_IFLNK:
			buf := make([]byte, 4096)
			n, err := unix.Readlinkat(fd, "", buf)
			text = fmt.Sprintf("target %s %v", buf[:max(0, n)], err)
			return nil
		case syscall.S_IFREG:
			k.file(path, func(fd int) error {
				text = contentOfFile(a.Size,
					func(p []byte, off int64) (int, error) { return unix.Pread(fd, p, off) },
					func(off int64, whence int) (int64, error) { return unix.Seek(fd, off, whence) })
				return nil
			})
		case syscall.S_IFDIR:
		default:
			return nil
		}
		buf := make([]byte, 64<<10)
		n, err := unix.Listxattr(magic, buf)
		if err != nil {
			text += err.Error()
			return nil
		}
		xattrs := strings.FieldsFunc(string(buf[:n]), func(r rune) bool { return r == 0 })
		slices.Sort(xattrs)
		for _, name := range xattrs {
			n, err := unix.Getxattr(magic, name, buf)
			text += fmt.Sprintf(" %s=%s %v", name, buf[:max(0, n)], err)
		}
		return nil
	})
	return text
}
