package fs

import (
	"fmt"
	"math"
	"strconv"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/internal/eintr"
)

// tmpfsHome keeps each file as a file named by a number in a tmpfs that is mounted nowhere:
// the kernel enforces its limit, and it disappears with its last descriptor, however the
// process dies.
type tmpfsHome struct {
	root   atomic.Int64     // descriptor of the root directory; -1 once closed
	files  atomic.Uint64    // the number of the last file
	cached *descriptorCache // immutable
}

// NewTmpfsHome makes a detached tmpfs of at most size bytes and inodes files (0: the
// kernel's default, half of the memory). It needs root or CAP_SYS_ADMIN in the user
// namespace that owns the mount namespace; without it the error is EPERM, and before Linux
// 5.2 ENOSYS.
func NewTmpfsHome(size, inodes int64) (Home, error) {
	root, err := mountDetached(size, inodes)
	if err != nil {
		return nil, fmt.Errorf("make detached tmpfs: %w", err)
	}
	h := &tmpfsHome{cached: descriptors}
	h.root.Store(int64(root))
	return h, nil
}

// mountDetached returns a descriptor of the root of a new tmpfs.
func mountDetached(size, inodes int64) (int, error) {
	ctx, err := unix.Fsopen("tmpfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return -1, err
	}
	defer closeFD(ctx)
	// Huge pages would make the use of a file coarser than its limit.
	options := [][2]string{{"mode", "0700"}, {"huge", "never"}}
	if size > 0 {
		options = append(options, [2]string{"size", strconv.FormatInt(size, 10)})
	}
	if inodes > 0 {
		// The kernel also counts the root directory.
		options = append(options, [2]string{"nr_inodes", strconv.FormatInt(inodes+1, 10)})
	}
	for _, o := range options {
		if err := unix.FsconfigSetString(ctx, o[0], o[1]); err != nil {
			return -1, fmt.Errorf("option %s=%s: %w", o[0], o[1], err)
		}
	}
	if err := unix.FsconfigCreate(ctx); err != nil {
		return -1, err
	}
	return unix.Fsmount(ctx, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID|unix.MOUNT_ATTR_NODEV)
}

// NewFile makes an empty file.
func (h *tmpfsHome) NewFile() (File, error) {
	f := &tmpfsFile{home: h, number: h.files.Add(1)}
	d, err := h.cached.acquire(f, unix.O_CREAT|unix.O_EXCL)
	if err != nil {
		return nil, err
	}
	h.cached.release(d)
	return f, nil
}

// StatFS returns the size and what this user may still use of it, in bytes. A disk, unlike
// a tmpfs, may keep a part of what is free for others.
func (h *tmpfsHome) StatFS() (total, free int64, err error) {
	var st unix.Statfs_t
	if err := eintr.Retry(func() error { return unix.Fstatfs(int(h.root.Load()), &st) }); err != nil {
		return 0, 0, err
	}
	return int64(st.Blocks) * st.Bsize, int64(st.Bavail) * st.Bsize, nil
}

// Resize changes the tmpfs's size=.
func (h *tmpfsHome) Resize(size int64) error { return h.reconfigure("size", size) }

// Close releases the tmpfs with everything in it. EBADF if it is already closed.
func (h *tmpfsHome) Close() error {
	root := int(h.root.Swap(-1))
	h.cached.dropHome(h)
	return unix.Close(root)
}

// tmpfsFile is a file of a tmpfsHome. It is kept small, because there is one for every file
// that was written.
type tmpfsFile struct {
	home   *tmpfsHome  // immutable
	number uint64      // its name; immutable
	open   *descriptor // nil if it is not open now; guarded by the descriptor cache
}

func (f *tmpfsFile) name() string { return strconv.FormatUint(f.number, 10) }

func (f *tmpfsFile) openat(flags int) (fd int, err error) {
	err = eintr.Retry(func() (err error) {
		fd, err = unix.Openat(int(f.home.root.Load()), f.name(), unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOFOLLOW|flags, 0o600)
		return err
	})
	return fd, err
}

// with calls fn with an open descriptor of f.
func (f *tmpfsFile) with(fn func(fd int) error) error {
	d, err := f.home.cached.acquire(f, 0)
	if err != nil {
		return err
	}
	defer f.home.cached.release(d)
	return fn(d.fd)
}

func (f *tmpfsFile) ReadAt(p []byte, off int64) (n int, err error) {
	err = f.with(func(fd int) (err error) { n, err = readFull(fd, p, off); return err })
	return n, err
}

func (f *tmpfsFile) WriteAt(p []byte, off int64) (n int, err error) {
	err = f.with(func(fd int) (err error) { n, err = writeFull(fd, p, off); return err })
	return n, err
}

func (f *tmpfsFile) Truncate(size int64) error {
	return f.with(func(fd int) error {
		return eintr.Retry(func() error { return unix.Ftruncate(fd, size) })
	})
}

func (f *tmpfsFile) PunchHole(off, length int64) error {
	return f.fallocate(unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, off, length)
}

func (f *tmpfsFile) Allocate(off, length int64) error {
	return f.fallocate(unix.FALLOC_FL_KEEP_SIZE, off, length)
}

func (f *tmpfsFile) fallocate(mode uint32, off, length int64) error {
	return f.with(func(fd int) error {
		return eintr.Retry(func() error { return unix.Fallocate(fd, mode, off, length) })
	})
}

func (f *tmpfsFile) SeekData(off int64) (int64, error) { return f.seek(off, unix.SEEK_DATA) }
func (f *tmpfsFile) SeekHole(off int64) (int64, error) { return f.seek(off, unix.SEEK_HOLE) }

// seek is used only for SEEK_DATA and SEEK_HOLE, whose results do not depend on the
// position that all users of a descriptor share.
func (f *tmpfsFile) seek(off int64, whence int) (pos int64, err error) {
	err = f.with(func(fd int) (err error) { pos, err = unix.Seek(fd, off, whence); return err })
	if err == nil && pos < off {
		return math.MaxInt64, nil // the end of the very last page, 2^63, overflows in the kernel
	}
	return pos, err
}

func (f *tmpfsFile) stat() (st unix.Stat_t, err error) {
	err = f.with(func(fd int) error { return eintr.Retry(func() error { return unix.Fstat(fd, &st) }) })
	return st, err
}

func (f *tmpfsFile) Used() (int64, error) {
	st, err := f.stat()
	return st.Blocks * 512, err
}

func (f *tmpfsFile) Size() (int64, error) {
	st, err := f.stat()
	return st.Size, err
}

// Close removes the name and the descriptor, so that the kernel frees the pages.
func (f *tmpfsFile) Close() error {
	if !f.home.cached.close(f) {
		return syscall.EBADF
	}
	return unix.Unlinkat(int(f.home.root.Load()), f.name(), 0)
}
