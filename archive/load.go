package archive

import (
	"fmt"
	"io"
	"strings"
	"syscall"

	"github.com/workdir/workdir/fs"
)

// unpacker creates the entries of one archive in a tree, by the tree's verbs.
type unpacker struct {
	policy
	tree  *fs.Tree
	tar   *tarReader
	meter meter
	spool *fs.Spool // made for the first content

	dirs  map[*fs.Inode]*dirState
	trail trail // to the last entry
	told  int64 // last value passed to Progress
}

// dirState is what is known of a directory's time, which is set when all its names exist. The
// unpacker holds a reference to each directory.
type dirState struct {
	mtime fs.Time
	known bool // the time is known
	given bool // it comes from the directory's entry; else it is that of the newest name in it
}

// holds records the time of a name in the directory.
func (s *dirState) holds(t fs.Time) {
	if s.given || s.known && !newer(t, s.mtime) {
		return
	}
	s.mtime, s.known = t, true
}

func newer(a, b fs.Time) bool { return a.Sec > b.Sec || a.Sec == b.Sec && a.Nsec > b.Nsec }

// progressStep is how many compressed bytes lie between two calls of Progress.
const progressStep = 1 << 20

// load reads the archive to its last byte.
func (l *unpacker) load() error {
	l.dirs[l.tree.Root()] = &dirState{}
	for {
		h, err := l.tar.next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if err := l.entry(h); err != nil {
			return named(h.name, err)
		}
		l.progress(progressStep)
	}
	err := l.tar.drain()
	l.progress(1)
	return err
}

func (l *unpacker) progress(step int64) {
	if read := l.tar.src.read; l.opts.Progress != nil && read-l.told >= step {
		l.told = read
		l.opts.Progress(read)
	}
}

// finish sets what must be set last: the times of directories, and the root's attributes from
// the log.
func (l *unpacker) finish(log *Log) error {
	if log != nil && log.Record.Root.Mode != 0 { // a lost log has none
		if err := l.root(&log.Record.Root); err != nil {
			return err
		}
	}
	for dir, s := range l.dirs {
		if !s.known {
			continue // the root of an archive without entries
		}
		if err := l.setTime(dir, s.mtime); err != nil {
			return err
		}
	}
	return nil
}

func (l *unpacker) root(r *RootAttr) error {
	h := &header{
		name: ".", kind: kindDir, mode: r.Mode & fs.PermBits, mtime: r.Mtime,
		owner: fs.Owner{UID: r.UID, GID: r.GID},
	}
	for name, value := range r.Xattrs {
		h.xattrs = append(h.xattrs, xattr{name, value})
	}
	if err := l.check(h, "", true); err != nil {
		return err
	}
	return l.directory(l.tree.Root(), h)
}

// release drops the references to directories.
func (l *unpacker) release() {
	for dir := range l.dirs {
		if dir != l.tree.Root() {
			l.tree.Unref(dir, 1)
		}
	}
}

// entry creates one entry in the tree.
func (l *unpacker) entry(h *header) error {
	path, slash, err := cleanName(h.name)
	if err != nil {
		return err
	}
	if err := l.check(h, path, slash); err != nil {
		return err
	}
	if path == "" {
		return l.directory(l.tree.Root(), h)
	}
	l.warnAbsolute(h, h.name)
	parent, name := fs.Split(path)
	dir, err := l.parent(parent, h)
	if err != nil {
		return err
	}
	l.dirs[dir].holds(h.mtime)
	if h.kind == kindDir {
		return l.mkdir(dir, path, name, h)
	}
	if err := l.meter.name(path); err != nil {
		return err
	}
	switch h.kind {
	case kindLink:
		return l.link(dir, path, name, h)
	default:
		return l.create(dir, name, h)
	}
}

// warnAbsolute warns if name, the name or link target of h, is absolute.
func (l *unpacker) warnAbsolute(h *header, name string) {
	if strings.HasPrefix(name, "/") {
		l.warn.warn(h.name, "names are absolute: the slash in front is left out")
	}
}

const reasonDevice = "device nodes are not accepted unless asked for"

// check refuses entries that no tree of ours can hold.
func (l *unpacker) check(h *header, path string, slash bool) error {
	if err := l.meter.path(path); err != nil {
		return err
	}
	kept, err := l.keep(h)
	if err != nil {
		return err
	}
	h.xattrs = kept
	if err := l.meter.attributes(h); err != nil {
		return err
	}
	switch {
	case h.kind != kindDir && path == "":
		return formatErr(h.name, "the root of the archive is not a directory")
	case h.kind != kindDir && slash:
		return formatErr(h.name, "the name is a directory's, the entry is none")
	case h.kind.device() && !l.opts.Devices:
		return formatErr(h.name, reasonDevice)
	case h.kind == kindSymlink && h.link == "":
		return formatErr(h.name, "the symbolic link is empty")
	case strings.IndexByte(h.link, 0) >= 0:
		return formatErr(h.name, "the link's target holds a NUL byte")
	}
	return nil
}

// parent returns the directory of a clean path, and creates missing directories. The unpacker,
// not the caller, holds the reference.
func (l *unpacker) parent(path string, h *header) (*fs.Inode, error) {
	return l.trail.follow(l.tree.Root(), path, func(dir *fs.Inode, name string) (*fs.Inode, error) {
		return l.enter(dir, name, h)
	})
}

// enter returns the directory name in dir, and creates it if need be.
func (l *unpacker) enter(dir *fs.Inode, name string, h *header) (*fs.Inode, error) {
	n, errno := l.tree.Lookup(dir, name)
	switch {
	case errno == syscall.ENOENT:
		return l.imply(dir, name, h)
	case errno != 0:
		return nil, treeErr(h.name, errno)
	}
	l.tree.Unref(n, 1) // the unpacker already has one, if it is a directory
	if l.dirs[n] == nil {
		return nil, formatErr(h.name, "it lies beneath %q, which is not a directory", name)
	}
	return n, nil
}

// impliedMode is the mode of directories without an entry.
const impliedMode = 0o755

// imply creates a directory that h needs but the archive has not listed.
func (l *unpacker) imply(dir *fs.Inode, name string, h *header) (*fs.Inode, error) {
	if err := l.meter.name(name); err != nil {
		return nil, err
	}
	a := l.tree.Attr(dir)
	d := &header{
		name: h.name, kind: kindDir, mode: impliedMode, mtime: h.mtime,
		owner: fs.Owner{UID: a.UID, GID: a.GID},
	}
	n, errno := l.tree.Mkdir(dir, name, impliedMode, l.owner(d))
	if errno != 0 {
		return nil, treeErr(h.name, errno)
	}
	l.dirs[n] = &dirState{mtime: h.mtime, known: true}
	l.dirs[dir].holds(h.mtime)
	return n, l.setAttr(n, d)
}

func (l *unpacker) setAttr(n *fs.Inode, h *header) error {
	o := l.owner(h)
	set := &fs.SetAttr{
		Valid: fs.SetMode | fs.SetUID | fs.SetGID | fs.SetAtime | fs.SetMtime,
		Mode:  l.mode(h), UID: o.UID, GID: o.GID, Atime: h.mtime, Mtime: h.mtime,
	}
	if h.kind == kindSymlink {
		set.Valid &^= fs.SetMode
	}
	_, errno := l.tree.SetAttr(n, set)
	return treeErr(h.name, errno)
}

func (l *unpacker) setTime(n *fs.Inode, t fs.Time) error {
	_, errno := l.tree.SetAttr(n, &fs.SetAttr{Valid: fs.SetAtime | fs.SetMtime, Atime: t, Mtime: t})
	return treeErr("", errno)
}

func (l *unpacker) setXattrs(n *fs.Inode, h *header) error {
	for _, x := range h.xattrs {
		errno := l.tree.SetXattr(n, x.name, x.value, 0)
		switch errno {
		case syscall.EOPNOTSUPP, syscall.EPERM:
			l.warn.warn(h.name, fmt.Sprintf("the extended attribute %s is left out: the tree does not take it", quote(x.name)))
		case 0:
		default:
			return treeErr(h.name, errno)
		}
	}
	return nil
}

// treeErr returns nil for 0, else the tree's errno with the name of the entry.
func treeErr(name string, errno syscall.Errno) error {
	if errno == 0 {
		return nil
	}
	return fmt.Errorf("unpack %s: %w", quote(name), errno)
}
