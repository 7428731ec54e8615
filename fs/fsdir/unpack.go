package fsdir

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/fs"
	"github.com/workdir/workdir/internal/eintr"
)

// readSize is how much content is read at a time, in bytes.
const readSize = 256 << 10

// UnpackOptions are the options of Unpack. Nil stands for the zero value.
type UnpackOptions struct {
	// KeepOwner keeps the owners that the tree has; it needs root.
	KeepOwner bool
	// Suid keeps set-user-ID and set-group-ID bits of files.
	Suid bool
	// From is the clean path of the directory of the tree that is unpacked; "" is the root.
	// Root and RootTime apply to it.
	From string
	// Root gives the target directory the mode and owner of the tree's root.
	Root bool
	// RootTime gives the target directory its mtime.
	RootTime bool
	// Mask holds permission bits that are withheld from files and directories.
	Mask uint32
	// Warn is called for everything in the tree that the directory does not take, from the
	// goroutine that called Unpack.
	Warn func(path, text string)
	// LeftOut is called for each extended attribute that the file system does not take.
	LeftOut func(path, name string)
	// Progress is called with the bytes of content written so far, from the same goroutine.
	Progress func(done int64)
}

// Unpack writes the files of a tree to the directory, which must be empty: content with its
// holes, permission bits, mtimes in nanoseconds, hard links, symbolic links, FIFOs, device
// nodes and extended attributes. It follows no symbolic link, even if others change the
// directory meanwhile. It returns the number of names that it made. On error some of the
// files are there.
//
// Errors are those of the file system, with the path in their text.
func (d *Dir) Unpack(ctx context.Context, tree *fs.Tree, opts *UnpackOptions) (names int64, err error) {
	if opts == nil {
		opts = &UnpackOptions{}
	}
	u := &unpacker{ctx: ctx, tree: tree, opts: opts, root: d.fd}
	err = u.unpack()
	return u.entries, err
}

// unpacker writes the files of a tree to an empty directory. Until all files are made,
// directories are accessible to this user alone. They get their modes and times at the end:
// making a name changes the time, and needs a mode that permits it.
type unpacker struct {
	ctx  context.Context
	tree *fs.Tree
	opts *UnpackOptions
	root int // descriptor of the directory

	walk  *descent
	open  []string          // paths of the directories from the root to where the walk is
	dirs  []finishedDir     // in the order in which they were made
	links map[uint64]string // first paths of files with several names

	warned  map[string]bool // by text
	entries int64
	done    int64 // bytes of content
	buf     []byte
}

type finishedDir struct {
	path string
	attr fs.Attr
}

// unpack writes the files. On error some of them are there.
func (u *unpacker) unpack() error {
	u.links, u.warned = map[uint64]string{}, map[string]bool{}
	u.buf = make([]byte, readSize)
	u.walk, u.open = newDescent(u.root), []string{""}
	defer u.walk.close()
	err := u.tree.Walk(func(path string, n *fs.Inode, a fs.Attr) error {
		if u.ctx.Err() != nil {
			return context.Cause(u.ctx)
		}
		path, ok := u.below(path)
		if !ok {
			return nil
		}
		if path == "" {
			u.dirs = append(u.dirs, finishedDir{"", a})
			return named(".", u.setXattrs(u.root, path, n))
		}
		u.entries++
		dir, name, err := u.enter(path)
		if err == nil {
			err = u.make(dir, name, path, n, a)
		}
		return named(path, err)
	})
	if err != nil {
		return err
	}
	for _, d := range slices.Backward(u.dirs) { // each directory before its parent
		if err := u.finish(d); err != nil {
			return named(d.path, err)
		}
	}
	return nil
}

// below returns the path relative to From; false if the path is not below it.
func (u *unpacker) below(path string) (string, bool) {
	if u.opts.From == "" || path == u.opts.From {
		return strings.TrimPrefix(path, u.opts.From), true
	}
	return strings.CutPrefix(path, u.opts.From+"/")
}

// named adds the path to an error.
func named(path string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%q: %w", path, err)
}

// enter goes up to the directory that contains path, one of the directories above the walk.
func (u *unpacker) enter(path string) (dir int, name string, err error) {
	parent, name := fs.Split(path)
	for last := len(u.open) - 1; u.open[last] != parent; last-- {
		if err := u.walk.leave(unix.O_RDONLY); err != nil {
			return 0, "", err
		}
		u.open = u.open[:last]
	}
	return u.walk.at, name, nil
}

// make makes one entry, or another name for a file that is already there.
func (u *unpacker) make(dir int, name, path string, n *fs.Inode, a fs.Attr) error {
	kind := a.Mode & unix.S_IFMT
	if first, ok := u.links[a.Ino]; ok {
		return beneath(u.root, first, func(firstDir int, firstName string) error {
			return eintr.Retry(func() error { return unix.Linkat(firstDir, firstName, dir, name, 0) })
		})
	}
	if a.Nlink > 1 && kind != unix.S_IFDIR && kind != unix.S_IFSOCK {
		u.links[a.Ino] = path
	}
	switch kind {
	case unix.S_IFDIR:
		return u.directory(dir, name, path, n, a)
	case unix.S_IFREG:
		return u.file(dir, name, path, n, a)
	case unix.S_IFLNK:
		return u.symlink(dir, name, n, a)
	case unix.S_IFSOCK:
		return nil // archives hold no sockets
	default:
		return u.node(dir, name, a)
	}
}

func (u *unpacker) directory(dir int, name, path string, n *fs.Inode, a fs.Attr) error {
	if err := eintr.Retry(func() error { return unix.Mkdirat(dir, name, 0o700) }); err != nil {
		return err
	}
	if err := u.walk.enter(name, unix.O_RDONLY); err != nil {
		return err
	}
	u.open = append(u.open, path)
	u.dirs = append(u.dirs, finishedDir{path, a})
	return u.setXattrs(u.walk.at, path, n)
}

// finish sets the owner, times and mode of a directory.
func (u *unpacker) finish(d finishedDir) error {
	if d.path == "" {
		return u.finishDir(u.root, d.attr, u.opts.Root, u.opts.RootTime)
	}
	return beneath(u.root, d.path, func(dir int, name string) error {
		fd, err := openDirAt(dir, name, unix.O_RDONLY)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		return u.finishDir(fd, d.attr, true, true)
	})
}

func (u *unpacker) finishDir(fd int, a fs.Attr, attr, time bool) error {
	if attr && u.opts.KeepOwner {
		if err := unix.Fchown(fd, int(a.UID), int(a.GID)); err != nil {
			return chownError(err)
		}
	}
	if time {
		if err := setTimeAt(fd, ".", a.Mtime); err != nil {
			return err
		}
	}
	if !attr {
		return nil
	}
	return unix.Fchmod(fd, a.Mode&fs.PermBits&^u.opts.Mask)
}

func chownError(err error) error {
	return fmt.Errorf("set the owner: %w; only root can keep owners", err)
}

func (u *unpacker) file(dir int, name, path string, n *fs.Inode, a fs.Attr) (err error) {
	fd, err := openAt(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := unix.Close(fd); err == nil {
			err = closeErr
		}
	}()
	if err := u.content(fd, n, a.Size); err != nil {
		return err
	}
	if err := u.setXattrs(fd, path, n); err != nil {
		return err
	}
	if u.opts.KeepOwner {
		if err := unix.Fchown(fd, int(a.UID), int(a.GID)); err != nil { // chown clears set-user-ID, so it comes before the mode
			return chownError(err)
		}
	}
	if err := setTimeAt(dir, name, a.Mtime); err != nil {
		return err
	}
	return unix.Fchmod(fd, u.mode(path, a))
}

// mode returns the permission bits for a file.
func (u *unpacker) mode(path string, a fs.Attr) uint32 {
	mode := a.Mode & fs.PermBits &^ u.opts.Mask
	if mode&suidBits != 0 && !u.opts.Suid {
		u.warn(path, SuidLeftOut)
		mode &^= suidBits
	}
	return mode
}

// suidBits run a program with the rights of its owner or group.
const suidBits = unix.S_ISUID | unix.S_ISGID

// SuidLeftOut is the warning for suid bits that are left out.
const SuidLeftOut = "set-user-ID and set-group-ID bits of files are left out unless owners are kept"

// warn reports a text once.
func (u *unpacker) warn(path, text string) {
	if !u.warned[text] && u.opts.Warn != nil {
		u.warned[text] = true
		u.opts.Warn(path, text)
	}
}

// content writes the data of a file and leaves its holes.
func (u *unpacker) content(fd int, n *fs.Inode, size int64) error {
	if err := eintr.Retry(func() error { return unix.Ftruncate(fd, size) }); err != nil {
		return err
	}
	for r, errno := range u.tree.Data(n, 0, size) {
		if errno != 0 {
			return errno
		}
		if err := u.data(fd, n, r.Off, r.End()); err != nil {
			return err
		}
	}
	u.done += size
	u.progress(0)
	return nil
}

func (u *unpacker) data(fd int, n *fs.Inode, off, end int64) error {
	for off < end {
		if u.ctx.Err() != nil {
			return context.Cause(u.ctx)
		}
		got, errno := u.tree.ReadAt(n, u.buf[:min(readSize, end-off)], off)
		if errno != 0 {
			return errno
		}
		if got == 0 {
			return syscall.EIO
		}
		if err := writeSparse(fd, u.buf[:got], off); err != nil {
			return err
		}
		off += int64(got)
		u.progress(off)
	}
	return nil
}

// progress reports the files that are done, plus this much of the next one.
func (u *unpacker) progress(of int64) {
	if u.opts.Progress != nil {
		u.opts.Progress(u.done + of)
	}
}

// sparseBlock is the unit, in bytes, in which zeros become holes: a page, and a block of
// most file systems.
const sparseBlock = 4096

var zeros [sparseBlock]byte

// writeSparse writes p at byte off of a file that has a hole there. Whole blocks of zeros
// stay a hole: an archive stores holes shorter than a chunk as zeros.
func writeSparse(fd int, p []byte, off int64) error {
	for from, at := 0, 0; at < len(p); {
		block := min(sparseBlock-int((off+int64(at))%sparseBlock), len(p)-at)
		isHole := bytes.Equal(p[at:at+block], zeros[:block])
		at += block
		if isHole || at == len(p) {
			end := at
			if isHole {
				end -= block
			}
			if err := writeAll(fd, p[from:end], off+int64(from)); err != nil {
				return err
			}
			from = at
		}
	}
	return nil
}

func writeAll(fd int, p []byte, off int64) error {
	for len(p) > 0 {
		var n int
		err := eintr.Retry(func() (err error) { n, err = unix.Pwrite(fd, p, off); return err })
		if err != nil {
			return err
		}
		p, off = p[n:], off+int64(n)
	}
	return nil
}

// setXattrs sets the extended attributes. If the file system does not take them, it warns.
func (u *unpacker) setXattrs(fd int, path string, n *fs.Inode) error {
	names, errno := u.tree.ListXattr(n)
	if errno != 0 {
		return errno
	}
	for _, name := range names {
		value, errno := u.tree.GetXattr(n, name)
		if errno != 0 {
			return errno
		}
		err := unix.Fsetxattr(fd, name, value, 0)
		if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EPERM) {
			u.warn(path, "extended attributes are left out: the file system does not take them")
			if u.opts.LeftOut != nil {
				u.opts.LeftOut(path, name)
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("extended attribute %q: %w", name, err)
		}
	}
	return nil
}

func (u *unpacker) symlink(dir int, name string, n *fs.Inode, a fs.Attr) error {
	target, errno := u.tree.Readlink(n)
	if errno != 0 {
		return errno
	}
	if err := eintr.Retry(func() error { return unix.Symlinkat(target, dir, name) }); err != nil {
		return err
	}
	return u.ownAndTime(dir, name, a)
}

// node makes a FIFO or a device node. A tree has device nodes only on request.
func (u *unpacker) node(dir int, name string, a fs.Attr) error {
	const ownerOnly = 0o600
	err := eintr.Retry(func() error {
		return unix.Mknodat(dir, name, a.Mode&syscall.S_IFMT|ownerOnly, int(a.Rdev))
	})
	if err != nil {
		return err
	}
	if err := u.ownAndTime(dir, name, a); err != nil {
		return err
	}
	fd, err := openAt(dir, name, unix.O_PATH, 0) // chmod(2) would follow a link, and opening a FIFO blocks
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	return unix.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), a.Mode&0o777&^u.opts.Mask)
}

// ownAndTime sets owner and times of what cannot be opened.
func (u *unpacker) ownAndTime(dir int, name string, a fs.Attr) error {
	if u.opts.KeepOwner {
		if err := unix.Fchownat(dir, name, int(a.UID), int(a.GID), unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return chownError(err)
		}
	}
	return setTimeAt(dir, name, a.Mtime)
}
