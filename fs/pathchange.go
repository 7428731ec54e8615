package fs

import (
	"slices"
	"strings"
	"syscall"
)

// ChangeKind says what became of a path.
type ChangeKind string

// The kinds of changes.
const (
	Created  ChangeKind = "created"
	Modified ChangeKind = "modified" // content, attributes or extended attributes
	Removed  ChangeKind = "removed"
	Moved    ChangeKind = "moved"
)

// PathChange is one path that is different. What was moved and modified has two. A name
// below a directory that was moved stands where it stood, unless it is different itself.
type PathChange struct {
	Path string // without a slash at the beginning; "" is the root
	From string // where it was before, if Kind is Moved
	Kind ChangeKind
	Mode uint32 // the S_IFMT part; of what is there, or was
	Size int64  // bytes of a regular file; else 0
}

// ChangeList makes PathChanges of names that came and went. A name that came where another
// of the same inode went was moved. The zero value is ready.
type ChangeList struct {
	gone, came []namedInode
	changed    []PathChange
}

// namedInode is a name and the number of the inode that it leads to; 0 for one that has
// no other names.
type namedInode struct {
	path string
	ino  uint64
	mode uint32
	size int64
}

func (n *namedInode) change(kind ChangeKind) PathChange {
	c := PathChange{Path: n.path, Kind: kind, Mode: n.mode & syscall.S_IFMT}
	if c.Mode == syscall.S_IFREG {
		c.Size = n.size
	}
	return c
}

// Gone adds a name that does not lead to its inode any more.
func (l *ChangeList) Gone(path string, ino uint64, mode uint32, size int64) {
	l.gone = append(l.gone, namedInode{path, ino, mode, size})
}

// Came adds a name that did not lead to its inode before.
func (l *ChangeList) Came(path string, ino uint64, mode uint32, size int64) {
	l.came = append(l.came, namedInode{path, ino, mode, size})
}

// Changed adds an inode that is different, by one of its names.
func (l *ChangeList) Changed(path string, mode uint32, size int64) {
	n := namedInode{path: path, mode: mode, size: size}
	l.changed = append(l.changed, n.change(Modified))
}

// Sum returns the changes in the order of Tree.Walk. The list is not to be used afterwards.
func (l *ChangeList) Sum() []PathChange {
	all := slices.Grow(l.changed, len(l.gone)+len(l.came))
	came := map[uint64][]int{} // by inode, which of l.came
	byPath := func(a, b namedInode) int { return strings.Compare(a.path, b.path) }
	slices.SortFunc(l.gone, byPath)
	slices.SortFunc(l.came, byPath)
	for i := range l.came {
		if ino := l.came[i].ino; ino != 0 {
			came[ino] = append(came[ino], i)
		}
	}
	from := map[int]string{} // of l.came, what was moved
	for i := range l.gone {
		g := &l.gone[i]
		if to := came[g.ino]; g.ino != 0 && len(to) > 0 {
			from[to[0]], came[g.ino] = g.path, to[1:]
			continue
		}
		all = append(all, g.change(Removed))
	}
	for i := range l.came {
		c := l.came[i].change(Created)
		if path, moved := from[i]; moved {
			c.Kind, c.From = Moved, path
		}
		all = append(all, c)
	}
	slices.SortStableFunc(all, func(a, b PathChange) int { return ComparePaths(a.Path, b.Path) })
	return all
}

// ComparePaths orders paths as Walk visits them.
func ComparePaths(a, b string) int {
	for i := range min(len(a), len(b)) {
		switch x, y := a[i], b[i]; {
		case x == y:
		case x == '/':
			return -1
		case y == '/':
			return 1
		default:
			return int(x) - int(y)
		}
	}
	return len(a) - len(b)
}
