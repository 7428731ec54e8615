package fsmerge

import (
	"path"
	"syscall"

	"github.com/workdir/workdir/fs"
)

// applier applies the changes of mine to theirs. Moved inodes are detached first, so that
// names can be swapped.
type applier struct {
	*merger
	inodes   map[uint64]uint64    // numbers in theirs by number in mine, for the names of mine
	detached map[uint32]*fs.Inode // inodes of theirs by their row; each with a reference
	left     map[uint32]bool      // rows of names from which an inode was moved away
	dirs     map[uint64]*dirTime  // by number in theirs
}

// dirTime is a directory of theirs whose names change.
type dirTime struct {
	mine uint64 // the same directory in mine
	was  fs.Time
}

func (a *applier) apply() error {
	a.inodes, a.detached, a.left, a.dirs = map[uint64]uint64{}, map[uint32]*fs.Inode{}, map[uint32]bool{}, map[uint64]*dirTime{}
	for _, step := range []func() error{a.moveAway, a.remove, a.place, a.change, a.setTimes} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// theirsOf returns the inode of theirs that a name's row leads to, with a reference.
func (a *applier) theirsOf(row uint32) (*fs.Inode, syscall.Errno) {
	head := a.head.rows[row]
	if head == noRow {
		return nil, syscall.ENOENT
	}
	return a.theirs.Find(uint64(a.theirs.Image().Inode(head)) + 1)
}

// noteDir records a directory, by its row, whose names are about to change.
func (a *applier) noteDir(row uint32) {
	n, errno := a.theirsOf(row)
	if errno != 0 {
		return
	}
	defer a.theirs.Unref(n, 1)
	if _, ok := a.dirs[n.Ino()]; !ok {
		a.dirs[n.Ino()] = &dirTime{mine: uint64(row) + 1, was: a.theirs.Attr(n).Mtime}
	}
}

// parentOf returns the directory of theirs that contains a row's name, with a reference.
func (a *applier) parentOf(row uint32) (*fs.Inode, syscall.Errno) {
	parent := a.head.parents[row]
	a.noteDir(parent)
	return a.theirsOf(parent)
}

// moveAway detaches the inodes that have other names in mine.
func (a *applier) moveAway() error {
	wanted := map[uint32]bool{}
	for _, x := range a.names {
		if x.row != noRow && !x.stays {
			wanted[x.row] = true
		}
	}
	for row, state := range a.states {
		row := uint32(row)
		inode := a.mine.Image().Inode(row)
		if state&fs.RowMoved == 0 || a.staying[row] || !wanted[inode] || a.detached[inode] != nil || a.head.rows[row] == noRow {
			continue
		}
		dir, errno := a.parentOf(row)
		if errno == 0 {
			a.detached[inode], errno = a.theirs.Detach(dir, a.mine.Image().Name(row))
			a.theirs.Unref(dir, 1)
		}
		if errno != 0 {
			return errnoError(a.head.paths[row], errno)
		}
		a.left[row] = true
	}
	return nil
}

// remove removes the names that mine has removed, the content of a directory before it.
func (a *applier) remove() error {
	for i := len(a.states) - 1; i > 0; i-- {
		row := uint32(i)
		if a.states[row]&fs.RowMoved == 0 || a.staying[row] || a.left[row] || a.head.rows[row] == noRow {
			continue
		}
		dir, errno := a.parentOf(row)
		if errno == 0 {
			remove := a.theirs.Unlink
			if isDir(a.mine.Image(), row) {
				remove = a.theirs.Rmdir
			}
			errno = remove(dir, a.mine.Image().Name(row))
			a.theirs.Unref(dir, 1)
		}
		if errno != 0 {
			return errnoError(a.head.paths[row], errno)
		}
	}
	return nil
}

// place makes the names that mine has made.
func (a *applier) place() error {
	made := map[string]uint64{} // numbers of directories of theirs by path
	for _, x := range a.names {
		if errno := a.placeOne(&x, made); errno != 0 {
			return errnoError(x.path, errno)
		}
	}
	return nil
}

func (a *applier) placeOne(x *name, made map[string]uint64) syscall.Errno {
	n, errno := a.mine.Find(x.ino)
	if errno != 0 {
		return errno
	}
	defer a.mine.Unref(n, 1)
	attr := a.mine.Attr(n)
	into, errno := a.placed(x, n, &attr, made)
	if errno != 0 {
		return errno
	}
	defer a.theirs.Unref(into, 1)
	a.inodes[x.ino] = into.Ino()
	if attr.Mode&syscall.S_IFMT == syscall.S_IFDIR {
		made[x.path] = into.Ino()
	}
	return 0
}

// placed makes the name in theirs, and returns its inode with a reference.
func (a *applier) placed(x *name, n *fs.Inode, attr *fs.Attr, made map[string]uint64) (*fs.Inode, syscall.Errno) {
	if x.stays {
		return a.theirsOf(x.row)
	}
	dir, errno := a.dirOf(x.path, made)
	if errno != 0 {
		return nil, errno
	}
	defer a.theirs.Unref(dir, 1)
	base := path.Base(x.path)
	if into := a.detached[x.row]; into != nil {
		delete(a.detached, x.row) // it has a name from here on
		return into, a.theirs.Attach(dir, base, into)
	}
	into, errno := a.known(x)
	if errno != 0 {
		return a.make(dir, base, n, attr)
	}
	return into, a.theirs.Link(dir, base, into)
}

// known returns the inode that a name leads to, with a reference, if theirs already has it.
func (a *applier) known(x *name) (*fs.Inode, syscall.Errno) {
	if ino, ok := a.inodes[x.ino]; ok {
		return a.theirs.Find(ino)
	}
	if x.row != noRow {
		return a.theirsOf(x.row)
	}
	return nil, syscall.ENOENT
}

// dirOf returns the directory of theirs that contains a path of mine, with a reference.
func (a *applier) dirOf(p string, made map[string]uint64) (*fs.Inode, syscall.Errno) {
	parent, _ := fs.Split(p)
	if ino, ok := made[parent]; ok {
		return a.theirs.Find(ino)
	}
	row, ok := a.rowAt(parent)
	if !ok {
		return nil, syscall.ENOENT
	}
	a.noteDir(row)
	return a.theirsOf(row)
}

// rowAt returns the row of a directory by its path in the base.
func (a *applier) rowAt(p string) (row uint32, ok bool) {
	for part := range fs.Names(p) {
		if row = a.rowIn(uint64(row)+1, part); row == noRow {
			return 0, false
		}
	}
	return row, true
}

// make makes an inode that is new in mine. A directory that theirs has made too stays as it
// is.
func (a *applier) make(dir *fs.Inode, name string, n *fs.Inode, attr *fs.Attr) (into *fs.Inode, errno syscall.Errno) {
	owner := fs.Owner{UID: attr.UID, GID: attr.GID}
	switch attr.Mode & syscall.S_IFMT {
	case syscall.S_IFDIR:
		into, errno = a.theirs.Mkdir(dir, name, attr.Mode&fs.PermBits, owner)
		if errno == syscall.EEXIST {
			return a.theirs.Lookup(dir, name)
		}
	case syscall.S_IFLNK:
		var target string
		if target, errno = a.mine.Readlink(n); errno == 0 {
			into, errno = a.theirs.Symlink(dir, name, target, owner)
		}
	default:
		into, errno = a.theirs.Mknod(dir, name, attr.Mode, attr.Rdev, owner)
	}
	if errno != 0 {
		return nil, errno
	}
	if errno = a.fill(into, n, attr); errno != 0 {
		a.theirs.Unref(into, 1)
		return nil, errno
	}
	return into, 0
}

// fill copies content and attributes to a new inode.
func (a *applier) fill(into, n *fs.Inode, attr *fs.Attr) syscall.Errno {
	if attr.Mode&syscall.S_IFMT == syscall.S_IFREG && attr.Size > 0 {
		a.mine.Ref(n) // until mine is closed
		if errno := a.theirs.SetBase(into, &treeBase{a.mine, n, *attr}); errno != 0 {
			return errno
		}
	}
	return a.setMeta(into, n, attr)
}

// change applies the changes that mine has made to inodes of the base.
func (a *applier) change() error {
	for row, state := range a.states {
		row := uint32(row)
		if state&(fs.RowMeta|fs.RowData) == 0 || a.mine.Image().Inode(row) != row {
			continue
		}
		n, errno := a.mine.Find(uint64(row) + 1)
		if errno != 0 {
			continue // it was removed
		}
		errno = a.changeRow(row, n, state)
		a.mine.Unref(n, 1)
		if errno != 0 {
			return errnoError(a.head.paths[row], errno)
		}
	}
	return nil
}

func (a *applier) changeRow(row uint32, n *fs.Inode, state fs.RowState) syscall.Errno {
	into, errno := a.theirsOf(row)
	if errno != 0 {
		return errno
	}
	defer a.theirs.Unref(into, 1)
	attr := a.mine.Attr(n)
	if attr.Mode&syscall.S_IFMT == syscall.S_IFDIR {
		a.noteDir(row)
		if a.sameDir(row) {
			return 0
		}
	}
	// A file that only grew still has all of its base, and no RowData.
	if state&fs.RowData != 0 || attr.Mode&syscall.S_IFMT == syscall.S_IFREG && attr.Size != a.mine.Image().Attr(row).Size {
		if errno := a.setContent(into, n, attr.Size); errno != 0 {
			return errno
		}
	}
	return a.setMeta(into, n, &attr)
}

// setMeta copies the attributes of an inode of mine to one of theirs.
func (a *applier) setMeta(into, n *fs.Inode, attr *fs.Attr) syscall.Errno {
	names, errno := a.theirs.ListXattr(into)
	for _, name := range names {
		if errno == 0 {
			if _, gone := a.mine.GetXattr(n, name); gone != 0 {
				errno = a.theirs.RemoveXattr(into, name)
			}
		}
	}
	names, listed := a.mine.ListXattr(n)
	if errno == 0 {
		errno = listed
	}
	for _, name := range names {
		var value []byte
		if errno == 0 {
			value, errno = a.mine.GetXattr(n, name)
		}
		if errno == 0 {
			errno = a.theirs.SetXattr(into, name, value, 0)
		}
	}
	if errno == 0 {
		_, errno = a.theirs.SetAttr(into, &fs.SetAttr{
			Valid: fs.SetMode | fs.SetUID | fs.SetGID | fs.SetMtime | fs.SetAtime,
			Mode:  attr.Mode & fs.PermBits, UID: attr.UID, GID: attr.GID, Mtime: attr.Mtime, Atime: attr.Atime,
		})
	}
	return errno
}

// setTimes sets the mtime of each directory whose names have changed to the later of the two.
func (a *applier) setTimes() error {
	for ino, d := range a.dirs {
		n, errno := a.theirs.Find(ino)
		if errno != 0 {
			continue // it was removed
		}
		mtime := d.was
		if own, errno := a.mine.Find(d.mine); errno == 0 {
			if t := a.mine.Attr(own).Mtime; later(t, mtime) {
				mtime = t
			}
			a.mine.Unref(own, 1)
		}
		_, errno = a.theirs.SetAttr(n, &fs.SetAttr{Valid: fs.SetMtime, Mtime: mtime})
		a.theirs.Unref(n, 1)
		if errno != 0 {
			return errnoError(a.head.paths[d.mine-1], errno)
		}
	}
	return nil
}

func later(a, b fs.Time) bool { return a.Sec > b.Sec || a.Sec == b.Sec && a.Nsec > b.Nsec }
