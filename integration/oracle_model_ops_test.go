package integration

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// naiveOps answer each operation.
var naiveOps = map[string]func(*naive, op) string{
	"open": (*naive).open,
	"close": func(m *naive, o op) string {
		m.files[o.slot] = nil
		return answerOK
	},
	"write": func(m *naive, o op) string {
		f := m.file(o.slot)
		failIf(!f.writes(), unix.EBADF)
		if f.flags&unix.O_APPEND != 0 && o.n > 0 {
			f.pos = int64(len(f.node.data))
		}
		if o.n > 0 {
			f.node.put(oracleData(o), f.pos)
		}
		f.pos += o.n
		return fmt.Sprint(o.n)
	},
	"pwrite": func(m *naive, o op) string {
		f := m.file(o.slot)
		failIf(!f.writes(), unix.EBADF)
		at := o.off
		if f.flags&unix.O_APPEND != 0 { // pwrite(2), BUGS
			at = int64(len(f.node.data))
		}
		if o.n > 0 {
			f.node.put(oracleData(o), at)
		}
		return fmt.Sprint(o.n)
	},
	"pread": func(m *naive, o op) string {
		f := m.file(o.slot)
		failIf(!f.reads(), unix.EBADF)
		size := int64(len(f.node.data))
		return sum(f.node.data[min(o.off, size):min(o.off+o.n, size)])
	},
	"mmap": func(m *naive, o op) string {
		f := m.file(o.slot)
		end := min(o.off+o.n, int64(len(f.node.data)))
		if o.off >= end {
			return answerSkip
		}
		failIf(!f.reads() || !f.writes(), unix.EACCES)
		copy(f.node.data[o.off:end], oracleData(o))
		return answerOK
	},
	"ftruncate": func(m *naive, o op) string {
		f := m.file(o.slot)
		failIf(!f.writes(), unix.EINVAL)
		f.node.resize(o.n)
		return answerOK
	},
	"fsync": func(m *naive, o op) string {
		m.file(o.slot)
		return answerOK
	},
	"fallocate": (*naive).fallocate,
	"seek": func(m *naive, o op) string {
		m.file(o.slot).pos = 0
		return answerAny
	},
	"copy": (*naive).copyRange,
	"flink": func(m *naive, o op) string {
		f := m.files[o.slot]
		if f == nil {
			return answerSkip
		}
		p := m.absent(o.path)
		failIf(f.node.isDir(), unix.EPERM)
		failIf(m.links(f.node) == 0 && !f.node.linkable, unix.ENOENT)
		p.dir.names[p.name], f.node.linkable = f.node, false
		return answerOK
	},
	"truncate": func(m *naive, o op) string {
		failIf(o.n < 0, unix.EINVAL)
		n := m.existing(o.path, true).node
		failIf(n.isDir(), unix.EISDIR)
		failIf(n.kind() != unix.S_IFREG, unix.EINVAL)
		n.resize(o.n)
		return answerOK
	},
	"mkdir": func(m *naive, o op) string { m.absent(o.path).add(unix.S_IFDIR | o.mode); return answerOK },
	"mknod": func(m *naive, o op) string { m.absent(o.path).add(o.mode); return answerOK },
	"symlink": func(m *naive, o op) string {
		m.absent(o.path).add(unix.S_IFLNK | 0o777).target = o.to
		return answerOK
	},
	"link": func(m *naive, o op) string {
		old := m.existing(o.path, false)
		p := m.absent(o.to)
		failIf(old.node.isDir(), unix.EPERM)
		p.dir.names[p.name] = old.node
		return answerOK
	},
	"unlink": func(m *naive, o op) string {
		p := m.existing(o.path, false)
		failIf(p.node.isDir(), unix.EISDIR)
		delete(p.dir.names, p.name)
		return answerOK
	},
	"rmdir": func(m *naive, o op) string {
		p := m.existing(o.path, false)
		failIf(!p.node.isDir(), unix.ENOTDIR)
		failIf(len(p.node.names) > 0, unix.ENOTEMPTY)
		delete(p.dir.names, p.name)
		return answerOK
	},
	"rename": (*naive).rename,
	"chmod": func(m *naive, o op) string {
		n := m.existing(o.path, true).node
		n.mode = n.kind() | o.mode
		return answerOK
	},
	"chown": func(m *naive, o op) string {
		n := m.existing(o.path, false).node
		n.uid, n.gid = uint32(o.n), uint32(o.off)
		if !n.isDir() { // setattr_should_drop_suidgid in the kernel's fs/attr.c
			n.mode &^= unix.S_ISUID
			if n.mode&unix.S_IXGRP != 0 {
				n.mode &^= unix.S_ISGID
			}
		}
		return answerOK
	},
	"utimens": func(m *naive, o op) string { m.existing(o.path, false); return answerOK },
	"setxattr": func(m *naive, o op) string {
		failIf(o.flags > 3, unix.EINVAL)
		n := m.existing(o.path, true).node
		n.checkXattr(o.attr, unix.EPERM)
		_, found := n.xattrs[o.attr]
		failIf(found && o.flags&unix.XATTR_CREATE != 0, unix.EEXIST)
		failIf(!found && o.flags&unix.XATTR_REPLACE != 0, unix.ENODATA)
		if n.xattrs == nil {
			n.xattrs = map[string]string{}
		}
		n.xattrs[o.attr] = string(oracleData(o))
		return answerOK
	},
	"getxattr": func(m *naive, o op) string {
		n := m.existing(o.path, true).node
		n.checkXattr(o.attr, unix.ENODATA)
		value, found := n.xattrs[o.attr]
		failIf(!found, unix.ENODATA)
		return sum([]byte(value))
	},
	"removexattr": func(m *naive, o op) string {
		n := m.existing(o.path, true).node
		n.checkXattr(o.attr, unix.EPERM)
		_, found := n.xattrs[o.attr]
		failIf(!found, unix.ENODATA)
		delete(n.xattrs, o.attr)
		return answerOK
	},
	"readlink": func(m *naive, o op) string {
		n := m.existing(o.path, false).node
		failIf(n.kind() != unix.S_IFLNK, unix.EINVAL)
		return n.target
	},
	"contents": func(*naive, op) string { return answerAny },
}

func (m *naive) open(o op) string {
	if o.flags&unix.O_TMPFILE == unix.O_TMPFILE {
		failIf(o.flags&unix.O_ACCMODE == unix.O_RDONLY, unix.EINVAL)
		dir := m.existing(o.path, true).node
		failIf(!dir.isDir(), unix.ENOTDIR)
		n := dir.child(unix.S_IFREG | o.mode)
		n.linkable = true
		m.files[o.slot] = &naiveFile{node: n, flags: o.flags}
		return answerOK
	}
	exclusive := o.flags&unix.O_EXCL != 0
	p := m.find(o.path, !exclusive && o.flags&unix.O_NOFOLLOW == 0)
	if p.node == nil {
		failIf(o.flags&unix.O_CREAT == 0, unix.ENOENT)
		m.files[o.slot] = &naiveFile{node: p.add(unix.S_IFREG | o.mode), flags: o.flags}
		return answerOK
	}
	failIf(exclusive, unix.EEXIST)
	f := &naiveFile{node: p.node, flags: o.flags}
	f.mayOpen()
	if o.flags&unix.O_TRUNC != 0 && p.node.kind() == unix.S_IFREG {
		p.node.data = nil
	}
	m.files[o.slot] = f
	return answerOK
}

// mayOpen has the order of do_open and may_open in the kernel's fs/namei.c.
func (f *naiveFile) mayOpen() {
	switch kind := f.node.kind(); {
	case f.flags&unix.O_CREAT != 0 && kind == unix.S_IFDIR:
		fail(unix.EISDIR)
	case f.flags&unix.O_DIRECTORY != 0 && kind != unix.S_IFDIR:
		fail(unix.ENOTDIR)
	case kind == unix.S_IFLNK:
		fail(unix.ELOOP)
	case kind == unix.S_IFDIR && (f.writes() || f.flags&unix.O_TRUNC != 0):
		fail(unix.EISDIR)
	case kind == unix.S_IFSOCK:
		fail(unix.ENXIO)
	case kind == unix.S_IFIFO:
		panic(nonsense{}) // who else has it open counts
	}
}

// checkXattr: user.* belongs to files and directories (xattr_permission in the
// kernel's fs/xattr.c).
func (n *naiveNode) checkXattr(name string, special unix.Errno) {
	user := strings.HasPrefix(name, "user.")
	failIf(user && !n.isDir() && n.kind() != unix.S_IFREG, special)
	failIf(strings.HasPrefix(name, "other."), unix.EOPNOTSUPP)
}

func (m *naive) fallocate(o op) string {
	f := m.file(o.slot)
	failIf(o.n <= 0, unix.EINVAL)
	failIf(!f.writes(), unix.EBADF)
	failIf(o.flags == unix.FALLOC_FL_COLLAPSE_RANGE, unix.EOPNOTSUPP)
	size := int64(len(f.node.data))
	switch {
	case o.flags&unix.FALLOC_FL_PUNCH_HOLE != 0:
		clear(f.node.data[min(o.off, size):min(o.off+o.n, size)])
	case o.flags&unix.FALLOC_FL_KEEP_SIZE == 0:
		f.node.resize(max(size, o.off+o.n))
	}
	return answerOK
}

func (m *naive) copyRange(o op) string {
	in, out := m.file(o.in), m.file(o.slot)
	failIf(!in.reads() || !out.writes() || out.flags&unix.O_APPEND != 0, unix.EBADF)
	size := int64(len(in.node.data))
	n := min(o.n, max(0, size-o.from))
	failIf(in.node == out.node && o.from < o.off+n && o.off < o.from+n, unix.EINVAL)
	if n > 0 {
		out.node.put(slices.Clone(in.node.data[o.from:o.from+n]), o.off)
	}
	return fmt.Sprint(n)
}

// rename has the order of do_renameat2 and vfs_rename in the kernel's fs/namei.c.
func (m *naive) rename(o op) string {
	exchange := o.flags&unix.RENAME_EXCHANGE != 0
	failIf(o.flags > 2, unix.EINVAL)
	from, to := m.place(o.path, false), m.place(o.to, false)
	old := from.checked().node
	failIf(old == nil, unix.ENOENT)
	to.checked()
	failIf(o.flags == unix.RENAME_NOREPLACE && to.node != nil, unix.EEXIST)
	failIf(exchange && to.node == nil, unix.ENOENT)
	failIf(old.holds(to.dir), unix.EINVAL)
	if to.node.holds(from.dir) {
		failIf(exchange, unix.EINVAL)
		fail(unix.ENOTEMPTY)
	}
	if old == to.node {
		return answerOK
	}
	if !exchange && to.node != nil {
		failIf(old.isDir() && !to.node.isDir(), unix.ENOTDIR)
		failIf(!old.isDir() && to.node.isDir(), unix.EISDIR)
		failIf(to.node.isDir() && len(to.node.names) > 0, unix.ENOTEMPTY)
	}
	if delete(from.dir.names, from.name); exchange {
		from.dir.names[from.name] = to.node
	}
	to.dir.names[to.name] = old
	return answerOK
}

// holds reports whether a directory is n or beneath it.
func (n *naiveNode) holds(dir *naiveNode) bool {
	if n == nil {
		return false
	}
	found := n == dir
	for _, child := range n.names {
		found = found || child.holds(dir)
	}
	return found
}
