package fs

import (
	"slices"
	"strings"
	"syscall"
)

// ChangeKind is what happened to a path.
type ChangeKind string

// The kinds of changes.
const (
	Created  ChangeKind = "created"
	Modified ChangeKind = "modified" // content, attributes or extended attributes
	Removed  ChangeKind = "removed"
	Moved    ChangeKind = "moved"
)

// PathChange is one path that differs. An entry that was moved and modified has two. A name
// below a directory that was moved counts as unmoved, and appears only if it differs
// itself.
type PathChange struct {
	Path string // without a slash at the beginning; "" is the root
	From string // the former path, if Kind is Moved
	Kind ChangeKind
	Mode uint32 // the S_IFMT part; of the present entry, or of the removed one
	Size int64  // bytes of a regular file; else 0
}

// ChangeList makes PathChanges from names that were added and removed. A name that was
// added where another name of the same inode was removed counts as moved. The zero value is
// ready.
type ChangeList struct {
	gone, came []namedInode
	changed    []PathChange
}

// namedInode is a name and the number of its inode; 0 for an inode without other names.
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

// Gone adds a name that no longer leads to its inode.
func (l *ChangeList) Gone(path string, ino uint64, mode uint32, size int64) {
	l.gone = append(l.gone, namedInode{path, ino, mode, size})
}

// Came adds a name that did not lead to its inode before.
func (l *ChangeList) Came(path string, ino uint64, mode uint32, size int64) {
	l.came = append(l.came, namedInode{path, ino, mode, size})
}

// Changed adds an inode that differs, by one of its names.
func (l *ChangeList) Changed(path string, mode uint32, size int64) {
	n := namedInode{path: path, mode: mode, size: size}
	l.changed = append(l.changed, n.change(Modified))
}

// Sum returns the changes in the order of Tree.Walk. The list must not be used afterwards.
func (l *ChangeList) Sum() []PathChange {
	all := slices.Grow(l.changed, len(l.gone)+len(l.came))
	came := map[uint64][]int{} // by inode, indexes into l.came
	byPath := func(a, b namedInode) int { return strings.Compare(a.path, b.path) }
	slices.SortFunc(l.gone, byPath)
	slices.SortFunc(l.came, byPath)
	for i := range l.came {
		if ino := l.came[i].ino; ino != 0 {
			came[ino] = append(came[ino], i)
		}
	}
	from := map[int]string{} // by index into l.came, for moved entries
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
