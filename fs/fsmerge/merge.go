package fsmerge

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"syscall"

	"github.com/workdir/workdir/fs"
)

// ErrBase says that mine does not stand on an image, so its changes are not known: the
// archive was made by another program.
var ErrBase = errors.New("merge: what was opened has no index")

// Result is the outcome of a merge.
type Result struct {
	// Conflicts are the paths that both sides have changed, in archive order. If there are
	// any, theirs is unchanged.
	Conflicts []string
}

// Merge applies to theirs, which stands on an image and is unchanged, the changes that mine
// has made since it was opened. Nobody else may change either meanwhile. same reports
// whether two regular files, rows of the images of mine and theirs, are known to have the
// same content; files of equal attributes that are not known to are read and compared.
//
// After an error theirs may be half merged and must not be used. Errors: ErrBase; the
// limits of theirs (ENOSPC); EIO.
func Merge(mine, theirs *fs.Tree, same func(base, head uint32) bool) (Result, error) {
	if mine.Image() == nil || theirs.Image() == nil {
		return Result{}, ErrBase
	}
	m := &merger{mine: mine, theirs: theirs, head: compare(mine.Image(), theirs.Image(), same), states: mine.RowStates()}
	if m.head.err != nil {
		return Result{}, fmt.Errorf("merge: %w", m.head.err)
	}
	if err := m.survey(); err != nil {
		return Result{}, err
	}
	if found := m.conflicts(); len(found) > 0 {
		return Result{Conflicts: found}, nil
	}
	return Result{}, (&applier{merger: m}).apply()
}

// name is a name in mine that the base does not have, or that is in a directory that was
// moved.
type name struct {
	path  string
	ino   uint64
	row   uint32 // of the inode in the base; noRow for a new inode
	stays bool   // it is still in its directory, which was moved
}

// merger is one merge.
type merger struct {
	mine, theirs *fs.Tree
	head         *comparison
	states       []fs.RowState
	own          *touches        // the changes of mine
	names        []name          // in the order of Tree.WalkNew
	staying      map[uint32]bool // rows of names that have not changed
}

// survey finds the changes of mine.
func (m *merger) survey() error {
	m.own, m.staying = newTouches(), map[uint32]bool{}
	dirs := map[string]uint64{} // numbers of the directories among the names, by path
	err := m.mine.WalkNew(func(p string, n *fs.Inode, a fs.Attr) error {
		x := name{path: p, ino: a.Ino, row: noRow}
		if row, ok := m.mine.Row(n); ok {
			x.row = row
		}
		what := made
		if a.Mode&syscall.S_IFMT == syscall.S_IFDIR {
			dirs[p] = a.Ino
			what |= directory
		}
		parent, last := fs.Split(p)
		if dir, ok := dirs[parent]; ok && x.row != noRow {
			if row := m.rowIn(dir, last); row != noRow && m.mine.Image().Inode(row) == x.row {
				x.stays = true
				m.staying[row] = true
			}
		}
		m.names = append(m.names, x)
		m.own.add(p, what)
		return nil
	})
	if err != nil {
		return err
	}
	for row, state := range m.states {
		m.surveyRow(uint32(row), state)
	}
	m.own.sortPaths()
	return nil
}

// surveyRow records the changes that mine has made to a row.
func (m *merger) surveyRow(row uint32, state fs.RowState) {
	base, p := m.mine.Image(), m.head.paths[row]
	ino := base.Inode(row)
	inode := m.states[ino]
	switch {
	case state&fs.RowMoved != 0:
		m.own.add(p, removed)
	case isDir(base, row):
		if inode&fs.RowMeta != 0 && !m.sameDir(row) {
			m.own.add(p, changed|directory)
		}
	case inode&(fs.RowMeta|fs.RowData) != 0 || m.regrouped(row):
		m.own.add(p, changed)
	}
}

// sameDir reports whether a directory has the attributes of its row, apart from the times.
func (m *merger) sameDir(row uint32) bool {
	n, errno := m.mine.Find(uint64(row) + 1)
	if errno != 0 {
		return false
	}
	defer m.mine.Unref(n, 1)
	a, was := m.mine.Attr(n), m.mine.Image().Attr(row)
	return a.Mode == was.Mode && a.UID == was.UID && a.GID == was.GID && sameXattrs(m.mine, n, m.mine.Image().Xattrs(row))
}

func sameXattrs(t *fs.Tree, n *fs.Inode, was []fs.Xattr) bool {
	names, _ := t.ListXattr(n)
	return slices.EqualFunc(names, was, func(name string, x fs.Xattr) bool {
		value, _ := t.GetXattr(n, name)
		return name == x.Name && string(value) == string(x.Value)
	})
}

// regrouped reports whether the inode of a file's row has another number of names.
func (m *merger) regrouped(row uint32) bool {
	ino := m.mine.Image().Inode(row)
	n, errno := m.mine.Find(uint64(ino) + 1)
	if errno != 0 {
		return true
	}
	defer m.mine.Unref(n, 1)
	return m.mine.Attr(n).Nlink != m.mine.Image().Attr(ino).Nlink
}

// rowIn returns the row of a name in a directory of the base, or noRow.
func (m *merger) rowIn(dir uint64, name string) uint32 {
	base := m.mine.Image()
	if dir > uint64(base.Len()) {
		return noRow
	}
	first, n := base.Children(uint32(dir - 1))
	i := sort.Search(int(n), func(i int) bool { return base.Name(first+uint32(i)) >= name })
	if i == int(n) || base.Name(first+uint32(i)) != name {
		return noRow
	}
	return first + uint32(i)
}

// conflicts returns the paths at which the changes of both sides cannot coexist.
func (m *merger) conflicts() []string {
	found := map[string]bool{}
	for p, own := range m.own.at {
		if other, ok := m.head.found.at[p]; ok && !together(own, other) {
			found[p] = true
		}
		if own&removed != 0 {
			m.beneath(p, m.head.found, found)
		}
	}
	for p, other := range m.head.found.at {
		if other&removed != 0 {
			m.beneath(p, m.own, found)
		}
	}
	paths := make([]string, 0, len(found))
	for p := range found {
		paths = append(paths, p)
	}
	slices.SortFunc(paths, func(a, b string) int { return strings.Compare(fs.OrderKey(a), fs.OrderKey(b)) })
	return paths
}

// beneath adds the paths that a side has made or changed beneath a path that no longer
// leads to the same directory.
func (m *merger) beneath(dir string, t *touches, found map[string]bool) {
	for _, p := range t.beneath(dir) {
		if t.at[p]&(made|changed) != 0 {
			found[p] = true
		}
	}
}

// together reports whether the changes of two sides at one path can coexist: both have made
// a directory. Two removals cannot, since one side may have moved the inode elsewhere.
func together(own, other touch) bool { return own == made|directory && other == made|directory }

// errnoError returns an errno as an error about a path.
func errnoError(p string, errno syscall.Errno) error {
	return fmt.Errorf("merge %q: %w", p, errno)
}
