package integration

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// naive is a file tree as a textbook has it: nothing is cached, shared or clever,
// and root may do everything. It knows no times and no holes.
type naive struct {
	root  *naiveNode
	files [slots]*naiveFile
}

type naiveNode struct {
	mode     uint32 // with the kind
	uid, gid uint32
	data     []byte
	target   string
	xattrs   map[string]string
	names    map[string]*naiveNode // of a directory
	linkable bool                  // made without a name, and has had none yet
}

type naiveFile struct {
	node  *naiveNode
	flags uint32
	pos   int64
}

// Answers of a side that are no outcome.
const (
	answerSkip = "skip" // the operation makes no sense now: no side does it
	answerAny  = "any"  // the model does not know
	answerOK   = "ok"
)

// fault is an errno that ends an operation of the model, nonsense ends one that
// nobody is to do.
type (
	fault    unix.Errno
	nonsense struct{}
)

func (n *naiveNode) kind() uint32 { return n.mode & unix.S_IFMT }
func (n *naiveNode) isDir() bool  { return n.kind() == unix.S_IFDIR }

func newNaive() *naive {
	return &naive{root: &naiveNode{mode: unix.S_IFDIR | 0o755, names: map[string]*naiveNode{}}}
}

func fail(errno unix.Errno) { panic(fault(errno)) }

func failIf(bad bool, errno unix.Errno) {
	if bad {
		fail(errno)
	}
}

// do returns what the operation is to answer.
func (m *naive) do(o op) string {
	do, ok := naiveOps[o.do]
	if !ok {
		panic("no such operation: " + o.do)
	}
	return answerOf(func() string { return do(m, o) })
}

// answerOf returns the answer of an operation, however it ends.
func answerOf(do func() string) (answer string) {
	defer func() {
		switch r := recover().(type) {
		case nil:
		case fault:
			answer = outcome(unix.Errno(r))
		case nonsense:
			answer = answerSkip
		default:
			panic(r)
		}
	}()
	return do()
}

// truncatesToSame reports whether an operation is truncate(2) to the size that the file
// has.
func (m *naive) truncatesToSame(o op) bool {
	return o.do == "truncate" && answerOf(func() string {
		n := m.existing(o.path, true).node
		failIf(n.kind() != unix.S_IFREG || int64(len(n.data)) != o.n, unix.EINVAL)
		return answerOK
	}) == answerOK
}

// place is where a path leads: a name in a directory, and what has it.
type place struct {
	dir  *naiveNode
	name string
	node *naiveNode // nil: nothing
}

// maxLinks is how many symbolic links one path may lead through (MAXSYMLINKS in the
// kernel's include/linux/namei.h).
const maxLinks = 40

// find resolves a path from the root; follow says whether through a last symbolic
// link as well.
func (m *naive) find(path string, follow bool) place {
	return m.place(path, follow).checked()
}

// place is find that leaves the length of the last name to checked, as the kernel
// does.
func (m *naive) place(path string, follow bool) place {
	links := 0
	return m.findFrom(m.root, path, follow, &links)
}

func (p place) checked() place {
	failIf(len(p.name) > 255, unix.ENAMETOOLONG)
	return p
}

func (m *naive) findFrom(dir *naiveNode, path string, follow bool, links *int) place {
	first, rest, more := strings.Cut(path, "/")
	p := place{dir, first, dir}
	if first != "." {
		p.node = dir.names[first]
	}
	if more {
		p.checked()
	}
	if p.node != nil && p.node.kind() == unix.S_IFLNK && (more || follow) {
		*links++
		failIf(*links > maxLinks, unix.ELOOP)
		p = m.findFrom(dir, p.node.target, true, links)
	}
	if !more {
		return p
	}
	failIf(p.node == nil, unix.ENOENT)
	failIf(!p.node.isDir(), unix.ENOTDIR)
	return m.findFrom(p.node, rest, follow, links)
}

// existing is find of what must be there.
func (m *naive) existing(path string, follow bool) place {
	p := m.find(path, follow)
	failIf(p.node == nil, unix.ENOENT)
	return p
}

// file returns an open regular file; without one the operation is skipped.
func (m *naive) file(slot int) *naiveFile {
	f := m.files[slot]
	if f == nil || f.node.kind() != unix.S_IFREG {
		panic(nonsense{})
	}
	return f
}

func (f *naiveFile) writes() bool { return f.flags&unix.O_ACCMODE != unix.O_RDONLY }
func (f *naiveFile) reads() bool  { return f.flags&unix.O_ACCMODE != unix.O_WRONLY }

// add makes an inode under a name, which inherits the group of a setgid directory.
func (p place) add(mode uint32) *naiveNode {
	n := p.dir.child(mode)
	p.dir.names[p.name] = n
	return n
}

func (n *naiveNode) child(mode uint32) *naiveNode {
	c := &naiveNode{mode: mode}
	if c.isDir() {
		c.names = map[string]*naiveNode{}
	}
	if n.mode&unix.S_ISGID != 0 {
		c.gid = n.gid
		if c.isDir() {
			c.mode |= unix.S_ISGID
		}
	}
	return c
}

// absent is the place of a new name.
func (m *naive) absent(path string) place {
	p := m.find(path, false)
	failIf(p.node != nil, unix.EEXIST)
	return p
}

func (n *naiveNode) put(p []byte, off int64) {
	n.resize(max(int64(len(n.data)), off+int64(len(p))))
	copy(n.data[off:], p)
}

func (n *naiveNode) resize(size int64) {
	if old := int64(len(n.data)); size > old {
		n.data = append(n.data, make([]byte, size-old)...)
	}
	n.data = n.data[:size:size]
}

// links counts the names of an inode, as st_nlink does.
func (m *naive) links(n *naiveNode) (count int) {
	if n == m.root {
		count++
	}
	m.walk(func(_ string, other *naiveNode) {
		for _, child := range other.names {
			switch {
			case child == n:
				count++
			case other == n && child.isDir():
				count++ // its ".."
			}
		}
	})
	if n.isDir() && count > 0 {
		count++ // its "."
	}
	return count
}

// walk visits the tree sorted by name, the root as ".".
func (m *naive) walk(visit func(path string, n *naiveNode)) {
	var down func(string, *naiveNode)
	down = func(path string, n *naiveNode) {
		visit(path, n)
		for _, name := range slices.Sorted(maps.Keys(n.names)) {
			down(strings.TrimPrefix(path+"/"+name, "./"), n.names[name])
		}
	}
	down(".", m.root)
}

// snapshot describes everything as oracleSide.snapshot does, but the times.
func (m *naive) snapshot() []string {
	var lines []string
	first := map[*naiveNode]string{}
	add := func(path string, n *naiveNode) {
		same, seen := first[n]
		if !seen {
			first[n], same = path, path
		}
		size := len(n.data)
		switch n.kind() {
		case unix.S_IFLNK:
			size = len(n.target)
		case unix.S_IFDIR:
			size = 20 * (2 + len(n.names)) // BOGO_DIRENT_SIZE in the kernel's mm/shmem.c
		}
		lines = append(lines, statLine(path, same, n.mode, m.links(n), n.uid, n.gid, size))
	}
	m.walk(func(path string, n *naiveNode) {
		add(path, n)
		for _, name := range slices.Sorted(maps.Keys(n.xattrs)) {
			lines = append(lines, xattrLine(path, name, []byte(n.xattrs[name])))
		}
	})
	for slot, f := range m.files {
		if f != nil {
			add(fmt.Sprint("slot ", slot), f.node)
		}
	}
	return lines
}

// contents returns the content of every file that has a name.
func (m *naive) contents() []string {
	var lines []string
	m.walk(func(path string, n *naiveNode) {
		if n.kind() == unix.S_IFREG {
			lines = append(lines, fmt.Sprintf("%q %s", path, sum(n.data)))
		}
	})
	return lines
}
