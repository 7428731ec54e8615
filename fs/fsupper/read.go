package fsupper

import (
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/internal/eintr"
)

// The prefix of extended attributes that the overlay keeps for itself
// (fs/overlayfs/xattrs.c in the kernel), and the one by which it escapes a user's
// attributes of such names.
const (
	ownPrefix     = "trusted.overlay."
	escapedPrefix = ownPrefix + "overlay."
)

// reader reads a directory and everything below it by one descriptor, and follows no
// symbolic link.
type reader struct {
	root  int
	value []byte // buffer for an extended attribute
	names []byte // buffer for all names of a file's extended attributes
}

// Sizes of buffers, in bytes: the largest that a value or a list of names can be, and the
// size that is tried first, because the kernel allocates as much at each call.
const (
	xattrMost  = 1 << 16
	xattrFirst = 512
)

func newReader(root int) reader {
	return reader{root: root, value: make([]byte, xattrMost), names: make([]byte, xattrMost)}
}

// fill calls read with a part of buf that is large enough.
func fill(buf []byte, read func([]byte) (int, error)) ([]byte, error) {
	for _, size := range []int{xattrFirst, len(buf)} {
		n := 0
		err := eintr.Retry(func() (err error) { n, err = read(buf[:size]); return err })
		switch {
		case errors.Is(err, unix.ERANGE) && size < len(buf):
			continue
		case err != nil:
			return nil, err
		}
		return buf[:n], nil
	}
	return nil, unix.ERANGE
}

// openDir opens a directory by its path; "" is the root.
func (r *reader) openDir(path string) (fd int, err error) {
	how := unix.OpenHow{
		Flags:   unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV,
	}
	if path == "" {
		path = "."
	}
	err = eintr.Retry(func() error { fd, err = unix.Openat2(r.root, path, &how); return err })
	return fd, err
}

// openFile opens a regular file in a directory.
func openFile(dir int, name string) (fd int, err error) {
	err = eintr.Retry(func() error {
		fd, err = unix.Openat(dir, name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		return err
	})
	return fd, err
}

// listed is how many names of a directory are read at a time.
const listed = 1024

// list calls fn for the names in a directory, of which fd is a descriptor, until it fails.
// fn may move the name away.
func list(fd int, fn func(name string, kind fs.FileMode) error) error {
	again, err := unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	f := os.NewFile(uintptr(again), ".")
	defer f.Close()
	for {
		some, err := f.ReadDir(listed)
		for _, e := range some {
			if err := fn(e.Name(), e.Type()); err != nil {
				return err
			}
		}
		switch {
		case err == io.EOF:
			return nil
		case err != nil:
			return err
		}
	}
}

// entry is one name in upper.
type entry struct {
	dir     int // descriptor of the directory
	name    string
	path    string // for messages
	indexed bool   // it is from the index
	st      unix.Stat_t
	marks
}

func (e *entry) kind() uint32 { return e.st.Mode & unix.S_IFMT }

// isWhiteout reports whether the entry hides a name of lower and stands for nothing.
func isWhiteout(st *unix.Stat_t) bool { return st.Mode&unix.S_IFMT == unix.S_IFCHR && st.Rdev == 0 }

// statAt is lstat(2); "." is the directory itself.
func statAt(dir int, name string) (st unix.Stat_t, err error) {
	err = eintr.Retry(func() error { return unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	return st, err
}

// entry reads one name in a directory; "." is the directory itself. plain says that it is
// known to have no extended attributes.
func (r *reader) entry(dir int, name, path string, plain bool) (*entry, error) {
	st, err := statAt(dir, name)
	if err != nil {
		return nil, err
	}
	e := &entry{dir: dir, name: name, path: path, st: st}
	if !plain && !isWhiteout(&st) {
		e.marks, err = r.marks(dir, name)
	}
	return e, err
}

// readLink returns the target of a symbolic link.
func readLink(dir int, name string) (string, error) {
	buf := make([]byte, unix.PathMax)
	n := 0
	err := eintr.Retry(func() (err error) { n, err = unix.Readlinkat(dir, name, buf); return err })
	return string(buf[:n]), err
}

// marks are what the extended attributes of an entry say.
type marks struct {
	opaque   bool     // lower does not show through
	metacopy bool     // the content is that of the origin
	flags    bool     // chattr(1) was used
	redirect string   // where in lower it comes from; "" for the same name
	origin   uint64   // the number of the inode that it was copied from; 0: none
	xattrs   []string // the user's, by their names in upper
	some     bool     // it has extended attributes
}

// marks reads those of a name in a directory; "." is the directory itself.
func (r *reader) marks(dir int, name string) (m marks, err error) {
	path := xattrPath(dir, name)
	names, err := fill(r.names, func(p []byte) (int, error) { return unix.Llistxattr(path, p) })
	if errors.Is(err, unix.EOPNOTSUPP) {
		return m, nil
	}
	if err != nil || len(names) == 0 {
		return m, err
	}
	m.some = true
	for key := range strings.SplitSeq(string(names[:len(names)-1]), "\x00") {
		if own, ok := strings.CutPrefix(key, ownPrefix); !ok || strings.HasPrefix(key, escapedPrefix) {
			m.xattrs = append(m.xattrs, key)
		} else if err := r.mark(&m, path, own, key); err != nil {
			return m, err
		}
	}
	return m, nil
}

// mark reads one of the overlay's own attributes.
func (r *reader) mark(m *marks, path, own, key string) error {
	switch own {
	case "metacopy":
		m.metacopy = true
		return nil
	case "protattr":
		m.flags = true
		return nil
	case "opaque", "redirect", "origin":
	default: // impure, nlink, uuid, upper: not needed
		return nil
	}
	value, err := r.xattr(path, key)
	if err != nil {
		return err
	}
	switch own {
	case "opaque":
		m.opaque = string(value) == "y"
	case "redirect":
		m.redirect = string(value)
		if m.redirect == "" {
			return inconsistent("an empty redirect")
		}
	case "origin":
		m.origin, err = nodeOf(value)
	}
	return err
}

// xattr returns an extended attribute, valid until the next call.
func (r *reader) xattr(path, key string) ([]byte, error) {
	return fill(r.value, func(p []byte) (int, error) { return unix.Lgetxattr(path, key, p) })
}

// xattrPath returns a path to a name in a directory, given by descriptor: the calls for
// extended attributes take no descriptor.
func xattrPath(dir int, name string) string {
	return "/proc/self/fd/" + strconv.Itoa(dir) + "/" + name
}

// A handle of lower in upper is a struct ovl_fb of the kernel's fs/overlayfs/overlayfs.h:
// version, magic, length, flags, type, 16 bytes of the file system's UUID, and a file
// handle, which for FUSE is node id and generation (fuse_encode_fh in fs/fuse/inode.c).
const (
	handleHeader = 21
	handleMagic  = 0xfb
	handleFUSE   = 0x81 // FILEID_INO64_GEN
	fuseFID      = 12
)

// nodeOf returns the node id in a handle of lower, which is the number of an inode; 0 for
// an empty handle, which the overlay writes if lower has none.
func nodeOf(handle []byte) (uint64, error) {
	if len(handle) == 0 || len(handle) >= 3 && handle[1] == handleMagic && handle[2] == 0 {
		return 0, nil
	}
	if len(handle) != handleHeader+fuseFID || handle[0] != 0 || handle[1] != handleMagic ||
		int(handle[2]) != len(handle) || handle[4] != handleFUSE {
		return 0, inconsistent("an origin that is no handle of a FUSE mount: %x", handle)
	}
	fid := handle[handleHeader:]
	node := uint64(binary.NativeEndian.Uint32(fid))<<32 | uint64(binary.NativeEndian.Uint32(fid[4:]))
	if node == 0 {
		return 0, inconsistent("an origin without a node: %x", handle)
	}
	return node, nil
}

// indexNode returns the node id that a name in the index stands for; 0 for other names,
// such as the kernel's temporary files.
func indexNode(name string) (uint64, error) {
	if strings.HasPrefix(name, "#") {
		return 0, nil
	}
	handle, err := hex.DecodeString(name)
	if err != nil {
		return 0, inconsistent("a name in the index that is no handle")
	}
	return nodeOf(handle)
}
