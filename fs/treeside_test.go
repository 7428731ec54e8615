package fs

import (
	"fmt"
	"slices"
	"strings"
	"syscall"
)

// treeSide is a tree of ours.
type treeSide struct {
	tree *Tree
	held [2]*Inode // nil for none; each with a reference
}

// get returns an inode with a reference.
func (s *treeSide) get(path string) (*Inode, syscall.Errno) {
	n := s.tree.Root()
	if held, ok := strings.CutPrefix(path, "@"); ok {
		held, path, _ = strings.Cut(held, "/")
		if n = s.held[held[0]-'0']; n == nil {
			return nil, syscall.EBADF
		}
	}
	return s.tree.LookupPath(n, path)
}

// at calls fn with the directory and the last part of a path.
func (s *treeSide) at(path string, fn func(dir *Inode, name string) syscall.Errno) syscall.Errno {
	dir, name := Split(path)
	return s.inode(dir, func(n *Inode) syscall.Errno { return fn(n, name) })
}

func (s *treeSide) inode(path string, fn func(n *Inode) syscall.Errno) syscall.Errno {
	n, errno := s.get(path)
	if errno != 0 {
		return errno
	}
	defer s.tree.Unref(n, 1)
	return fn(n)
}

// made returns the reference to a new inode.
func (s *treeSide) made(n *Inode, errno syscall.Errno) syscall.Errno {
	if errno == 0 {
		s.tree.Unref(n, 1)
	}
	return errno
}

func (s *treeSide) mknod(path string, mode uint32) syscall.Errno {
	return s.at(path, func(dir *Inode, name string) syscall.Errno {
		return s.made(s.tree.Mknod(dir, name, mode, 0, Owner{}))
	})
}

func (s *treeSide) mkdir(path string, mode uint32) syscall.Errno {
	return s.at(path, func(dir *Inode, name string) syscall.Errno {
		return s.made(s.tree.Mkdir(dir, name, mode, Owner{}))
	})
}

func (s *treeSide) symlink(path, target string) syscall.Errno {
	return s.at(path, func(dir *Inode, name string) syscall.Errno {
		return s.made(s.tree.Symlink(dir, name, target, Owner{}))
	})
}

func (s *treeSide) link(old, path string) syscall.Errno {
	return s.inode(old, func(n *Inode) syscall.Errno {
		return s.at(path, func(dir *Inode, name string) syscall.Errno { return s.tree.Link(dir, name, n) })
	})
}

func (s *treeSide) tmpfile(dir string, slot int) syscall.Errno {
	return s.inode(dir, func(d *Inode) syscall.Errno {
		n, errno := s.tree.Tmpfile(d, 0o600, Owner{})
		if errno == 0 {
			s.drop(slot)
			s.held[slot] = n
		}
		return errno
	})
}

func (s *treeSide) unlink(path string) syscall.Errno { return s.at(path, s.tree.Unlink) }
func (s *treeSide) rmdir(path string) syscall.Errno  { return s.at(path, s.tree.Rmdir) }

func (s *treeSide) rename(from, to string, flags uint32) syscall.Errno {
	return s.at(from, func(odir *Inode, oname string) syscall.Errno {
		return s.at(to, func(ndir *Inode, nname string) syscall.Errno {
			return s.tree.Rename(odir, oname, ndir, nname, flags)
		})
	})
}

func (s *treeSide) hold(path string, slot int) syscall.Errno {
	n, errno := s.get(path)
	if errno == 0 {
		s.drop(slot)
		s.held[slot] = n
	}
	return errno
}

func (s *treeSide) drop(slot int) {
	if s.held[slot] != nil {
		s.tree.Unref(s.held[slot], 1)
	}
	s.held[slot] = nil
}

func (s *treeSide) write(path string, p []byte, off int64) syscall.Errno {
	return s.inode(path, func(n *Inode) syscall.Errno { return second(s.tree.WriteAt(n, p, off, false)) })
}

func (s *treeSide) set(path string, attr SetAttr) syscall.Errno {
	return s.inode(path, func(n *Inode) syscall.Errno { return second(s.tree.SetAttr(n, &attr)) })
}

func (s *treeSide) truncate(path string, size int64) syscall.Errno {
	return s.set(path, SetAttr{Valid: SetSize, Size: size})
}

func (s *treeSide) allocate(path string, off, length int64, mode uint32) syscall.Errno {
	return s.inode(path, func(n *Inode) syscall.Errno { return s.tree.Allocate(n, off, length, mode) })
}

func (s *treeSide) copyRange(src string, soff int64, dst string, doff, length int64) (got int64, errno syscall.Errno) {
	errno = s.inode(src, func(in *Inode) syscall.Errno {
		return s.inode(dst, func(out *Inode) (errno syscall.Errno) {
			got, errno = s.tree.CopyRange(in, soff, out, doff, length)
			return errno
		})
	})
	return got, errno
}

func (s *treeSide) chmod(path string, mode uint32) syscall.Errno {
	return s.set(path, SetAttr{Valid: SetMode, Mode: mode})
}

func (s *treeSide) chown(path string, uid, gid uint32) syscall.Errno {
	return s.set(path, SetAttr{Valid: SetUID | SetGID, UID: uid, GID: gid})
}

func (s *treeSide) setMtime(path string, t Time) syscall.Errno {
	return s.set(path, SetAttr{Valid: SetMtime, Mtime: t})
}

func (s *treeSide) setXattr(path, name, value string, flags int) syscall.Errno {
	return s.inode(path, func(n *Inode) syscall.Errno { return s.tree.SetXattr(n, name, []byte(value), flags) })
}

func (s *treeSide) removeXattr(path, name string) syscall.Errno {
	return s.inode(path, func(n *Inode) syscall.Errno { return s.tree.RemoveXattr(n, name) })
}

func (s *treeSide) stat(path string) (a Attr, errno syscall.Errno) {
	errno = s.inode(path, func(n *Inode) syscall.Errno {
		a = s.tree.Attr(n)
		return 0
	})
	return a, errno
}

func (s *treeSide) list(path string) (names []string, errno syscall.Errno) {
	errno = s.inode(path, func(n *Inode) syscall.Errno {
		return s.tree.ReadDir(n, 0, func(d Dirent) bool {
			names = append(names, d.Name)
			return true
		})
	})
	slices.Sort(names)
	return names, errno
}

func (s *treeSide) detail(path string, a Attr) (text string) {
	s.inode(path, func(n *Inode) syscall.Errno {
		switch a.Mode & syscall.S_IFMT {
		case syscall.S_IFLNK:
			target, errno := s.tree.Readlink(n)
			text = fmt.Sprintf("target %s %v", target, orNil(errno))
			return 0
		case syscall.S_IFREG:
			text = contentOfFile(a.Size,
				func(p []byte, off int64) (int, error) {
					got, errno := s.tree.ReadAt(n, p, off)
					return got, orNil(errno)
				},
				func(off int64, whence int) (int64, error) {
					pos, errno := s.tree.Seek(n, off, whence)
					return pos, orNil(errno)
				})
		case syscall.S_IFDIR:
		default:
			return 0
		}
		names, errno := s.tree.ListXattr(n)
		if errno != 0 {
			text += errno.Error()
			return 0
		}
		for _, name := range names {
			value, errno := s.tree.GetXattr(n, name)
			text += fmt.Sprintf(" %s=%s %v", name, value, orNil(errno))
		}
		return 0
	})
	return text
}

// orNil is an errno as an error.
func orNil(errno syscall.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}
