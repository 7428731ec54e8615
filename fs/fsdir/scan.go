package fsdir

import (
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

// LoadOptions are the options of Load. Nil stands for the zero value.
type LoadOptions struct {
	// Warn is called for everything in the directory that the tree does not take, from the
	// goroutine that called Load.
	Warn func(path, text string)
}

// Load fills an empty tree with the files of the directory: names, permission bits, owners,
// mtimes, user.* extended attributes, and content, which stays in the directory. Hard links
// are kept if all their names lie within the directory.
//
// Errors: a *fs.TooLongError; ENOSPC where the tree is full; ErrChanged; those of the file
// system. The text names the path.
func (d *Files) Load(ctx context.Context, tree *fs.Tree, opts *LoadOptions) error {
	if opts == nil {
		opts = &LoadOptions{}
	}
	s := &scanner{ctx: ctx, tree: tree, opts: opts, files: d}
	return s.scan()
}

// scanner fills a tree with the files of a directory, by the tree's verbs.
type scanner struct {
	ctx   context.Context
	tree  *fs.Tree
	opts  *LoadOptions
	files *Files
	walk  *descent
	links map[diskID]*fs.Inode // files with several names; each holds a reference

	warned map[string]bool // classes of extended attributes
	buf    []byte
}

type diskID struct{ dev, ino uint64 }

// scan fills the tree, which is empty, from the open directory of s.files.
func (s *scanner) scan() error {
	s.links, s.warned = map[diskID]*fs.Inode{}, map[string]bool{}
	s.buf = make([]byte, unix.PathMax)
	defer func() {
		for _, n := range s.links {
			s.tree.Unref(n, 1)
		}
	}()
	var st unix.Stat_t
	if err := unix.Fstat(s.files.root, &st); err != nil {
		return err
	}
	s.walk = newDescent(s.files.root)
	defer s.walk.close()
	return s.directory("", s.tree.Root(), &st)
}

// directory gives n the names and attributes of the directory where the walk is.
func (s *scanner) directory(path string, n *fs.Inode, st *unix.Stat_t) error {
	names, err := namesOf(s.walk.at)
	if err != nil {
		return named(path, err)
	}
	slices.Sort(names)
	for _, name := range names {
		if s.ctx.Err() != nil {
			return context.Cause(s.ctx)
		}
		if err := s.entry(name, fs.Join(path, name), n); err != nil {
			return err
		}
	}
	if err := s.xattrs(s.walk.at, path, n); err != nil {
		return named(path, err)
	}
	return named(path, s.attributes(n, st))
}

// entry adds one name to the directory n, where the walk is.
func (s *scanner) entry(name, path string, n *fs.Inode) error {
	if err := fs.CheckPath(path); err != nil {
		return err
	}
	st, err := statAt(s.walk.at, name)
	if err != nil {
		return named(path, err)
	}
	if st.Mode&unix.S_IFMT == unix.S_IFDIR {
		return s.subdirectory(name, path, n)
	}
	return named(path, s.file(s.walk.at, name, path, n, &st))
}

func (s *scanner) subdirectory(name, path string, n *fs.Inode) error {
	if err := s.walk.enter(name, unix.O_RDONLY); err != nil {
		return named(path, err)
	}
	var st unix.Stat_t
	if err := unix.Fstat(s.walk.at, &st); err != nil {
		return named(path, err)
	}
	made, errno := s.tree.Mkdir(n, name, st.Mode&fs.PermBits, ownerOf(&st))
	if errno != 0 {
		return named(path, errno)
	}
	defer s.tree.Unref(made, 1)
	if err := s.directory(path, made, &st); err != nil {
		return err
	}
	return named(path, s.walk.leave(unix.O_RDONLY))
}

func ownerOf(st *unix.Stat_t) fs.Owner { return fs.Owner{UID: st.Uid, GID: st.Gid} }

// file adds anything but a directory.
func (s *scanner) file(dir int, name, path string, n *fs.Inode, st *unix.Stat_t) error {
	id := diskID{uint64(st.Dev), st.Ino}
	if first := s.links[id]; first != nil {
		if errno := s.tree.Link(n, name, first); errno != 0 {
			return errno
		}
		return nil
	}
	made, err := s.create(dir, name, path, n, st)
	if err != nil {
		return err
	}
	if st.Nlink > 1 {
		s.links[id] = made
	} else {
		defer s.tree.Unref(made, 1)
	}
	return s.attributes(made, st)
}

// create makes an inode with its content and extended attributes and returns it with a
// reference.
func (s *scanner) create(dir int, name, path string, n *fs.Inode, st *unix.Stat_t) (*fs.Inode, error) {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		return s.regular(dir, name, path, n, st)
	case unix.S_IFLNK:
		var length int
		err := eintr.Retry(func() (err error) { length, err = unix.Readlinkat(dir, name, s.buf); return err })
		if err != nil {
			return nil, err
		}
		made, errno := s.tree.Symlink(n, name, string(s.buf[:length]), ownerOf(st))
		return made, orNil(errno)
	default:
		made, errno := s.tree.Mknod(n, name, st.Mode, uint32(st.Rdev), ownerOf(st))
		return made, orNil(errno)
	}
}

func orNil(errno syscall.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}

func (s *scanner) regular(dir int, name, path string, n *fs.Inode, st *unix.Stat_t) (*fs.Inode, error) {
	fd, err := openAt(dir, name, unix.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	made, errno := s.tree.Mknod(n, name, st.Mode, 0, ownerOf(st))
	if errno != 0 {
		return nil, errno
	}
	if err := s.fill(fd, path, made, st); err != nil {
		s.tree.Unref(made, 1)
		return nil, err
	}
	return made, nil
}

// fill gives a new file the content and attributes of the open one.
func (s *scanner) fill(fd int, path string, n *fs.Inode, st *unix.Stat_t) error {
	base, err := s.files.base(fd, path, st)
	if err != nil {
		return err
	}
	if errno := s.tree.SetBase(n, base); errno != 0 {
		return errno
	}
	return s.xattrs(fd, path, n)
}

func (s *scanner) attributes(n *fs.Inode, st *unix.Stat_t) error {
	t := fsTime(st.Mtim)
	set := &fs.SetAttr{
		Valid: fs.SetMode | fs.SetUID | fs.SetGID | fs.SetAtime | fs.SetMtime,
		Mode:  st.Mode & fs.PermBits, UID: st.Uid, GID: st.Gid, Atime: t, Mtime: t,
	}
	if st.Mode&unix.S_IFMT == unix.S_IFLNK {
		set.Valid &^= fs.SetMode
	}
	_, errno := s.tree.SetAttr(n, set)
	return orNil(errno)
}

// leftOut warns about a class of extended attributes, once.
func (s *scanner) leftOut(path, class string) {
	if class != "" && !s.warned[class] {
		s.warned[class] = true
		if s.opts.Warn != nil {
			s.opts.Warn(path, fmt.Sprintf("extended attributes %q.* are left out", class))
		}
	}
}

// xattrs copies the user.* extended attributes; archives carry no others.
func (s *scanner) xattrs(fd int, path string, n *fs.Inode) error {
	list, err := readXattr(func(p []byte) (int, error) { return unix.Flistxattr(fd, p) })
	if errors.Is(err, unix.EOPNOTSUPP) {
		return nil
	}
	if err != nil {
		return err
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		if class, _, _ := strings.Cut(name, "."); class != "user" {
			s.leftOut(path, class)
			continue
		}
		value, err := readXattr(func(p []byte) (int, error) { return unix.Fgetxattr(fd, name, p) })
		if err != nil {
			return fmt.Errorf("extended attribute %q: %w", name, err)
		}
		if errno := s.tree.SetXattr(n, name, value, 0); errno != 0 {
			return fmt.Errorf("extended attribute %q: %w", name, errno)
		}
	}
	return nil
}

// readXattr calls read with a buffer that is large enough.
func readXattr(read func([]byte) (int, error)) ([]byte, error) {
	for size := 256; ; size *= 4 {
		p := make([]byte, size)
		n, err := read(p)
		if errors.Is(err, unix.ERANGE) && size < 1<<20 {
			continue
		}
		if err != nil {
			return nil, err
		}
		return p[:n], nil
	}
}
