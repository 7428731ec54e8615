package archive

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"github.com/workdir/workdir/fs"
)

// userXattr is the class of extended attributes that archives carry.
const userXattr = "user."

// entries makes headers of a tree's inodes, in archive order, and checks them against every
// limit of the reader. Check and WriteTree share it, so that WriteTree can write whatever
// Check accepts.
type entries struct {
	tree  *fs.Tree
	opts  *WriterOptions
	warn  *warner
	meter meter

	links    map[uint64]*spot // first name of files with several
	linkless bool             // the caller sets the targets of hard links: links has no spots
	dirs     []*spot          // the directories of the walk's position, without the root
	refused  []string         // paths that the ancestor's reader refuses
	resolver resolver
	buf      []byte
}

func newEntries(t *fs.Tree, opts *WriterOptions) *entries {
	return &entries{
		tree: t, opts: opts,
		warn:     &warner{fn: opts.Warn},
		meter:    meter{lim: opts.Limits.withDefaults()},
		links:    map[uint64]*spot{},
		resolver: resolver{tree: t},
	}
}

// spot is a name in a directory. Spots share those of their directories, since paths are long
// and there may be one for each file.
type spot struct {
	dir  *spot // nil: the root
	name string
}

func (p *spot) path() string {
	var names []string
	for ; p != nil; p = p.dir {
		names = append(names, p.name)
	}
	slices.Reverse(names)
	return strings.Join(names, "/")
}

// spot returns the position of the walk.
func (e *entries) spot(path string) *spot {
	dir, name := fs.Split(path)
	p := &spot{name: strings.Clone(name)} // not all of path
	if dir == "" {
		e.dirs = e.dirs[:0]
		return p
	}
	depth := strings.Count(path, "/")
	e.dirs = e.dirs[:depth]
	p.dir = e.dirs[depth-1]
	return p
}

// each calls fn for every entry with its header and the header's blocks, which fn may use
// until it returns. At the end it returns a *PortableError if that was requested and entries
// were refused. It ends with ctx.
func (e *entries) each(ctx context.Context, fn func(h *header, blocks []byte, n *fs.Inode) error) error {
	defer e.resolver.release()
	err := e.tree.Walk(func(path string, n *fs.Inode, a fs.Attr) error {
		if path == "" {
			return nil
		}
		return e.entry(ctx, path, n, a, fn)
	})
	if err == nil && len(e.refused) > 0 {
		err = &PortableError{Paths: e.refused}
	}
	return whileWriting(err)
}

// entry is each for one entry.
func (e *entries) entry(ctx context.Context, path string, n *fs.Inode, a fs.Attr, fn func(h *header, blocks []byte, n *fs.Inode) error) error {
	h, err := e.header(path, n, a)
	if err == nil && h != nil {
		err = e.portable(ctx, h)
	}
	if err == nil {
		err = ctx.Err()
	}
	if h == nil || err != nil {
		return err
	}
	var extended int64
	e.buf, extended = h.encode(e.buf[:0])
	if err := over("HeaderBytes", extended, e.meter.lim.HeaderBytes, path); err != nil {
		return err
	}
	return fn(h, e.buf, n)
}

// header makes the header of one entry; nil if archives have none for it.
func (e *entries) header(path string, n *fs.Inode, a fs.Attr) (*header, error) {
	k, ok := kindOf(a.Mode)
	if !ok {
		e.warn.warn(path, "sockets are left out")
		return nil, nil
	}
	h := &header{
		name: path, kind: k, mode: a.Mode & fs.PermBits, mtime: a.Mtime,
		owner: fs.Owner{UID: a.UID, GID: a.GID},
	}
	if k == kindDir && !e.linkless {
		p := e.spot(path)
		e.dirs = append(e.dirs, p)
	}
	if err := e.special(h, n, a); err != nil {
		return nil, err
	}
	if h.kind != kindLink {
		if err := e.xattrs(h, n); err != nil {
			return nil, err
		}
	}
	if err := e.measure(h); err != nil {
		return nil, err
	}
	return h, nil
}

// special sets the fields that only some kinds have.
func (e *entries) special(h *header, n *fs.Inode, a fs.Attr) error {
	switch {
	case h.kind == kindSymlink:
		target, errno := e.tree.Readlink(n)
		if errno != 0 {
			return packErr(h.name, errno)
		}
		h.link, h.mode = target, 0o777
	case h.kind.device():
		if !e.opts.Devices {
			return formatErr(h.name, "device nodes are not stored unless asked for: remove it")
		}
		h.rdev = a.Rdev
	case h.kind == kindFile:
		h.size = a.Size
	}
	if a.Nlink > 1 && h.kind != kindDir {
		e.further(h, a.Ino)
	}
	return nil
}

// further makes h a hard link if its file has occurred under another name.
func (e *entries) further(h *header, ino uint64) {
	earlier, ok := e.links[ino]
	switch {
	case !ok && e.linkless:
		e.links[ino] = nil
	case !ok:
		e.links[ino] = e.spot(h.name)
	case h.kind == kindFile:
		h.kind, h.link, h.size = kindLink, earlier.path(), 0
	default:
		e.warn.warn(h.name, "hard links between symbolic links, FIFOs or devices are stored as separate entries")
	}
}

func (e *entries) xattrs(h *header, n *fs.Inode) error {
	names, errno := e.tree.ListXattr(n)
	if errno != 0 {
		return packErr(h.name, errno)
	}
	for _, name := range names {
		if !strings.HasPrefix(name, userXattr) {
			class, _, _ := strings.Cut(name, ".")
			e.warn.warn(h.name, fmt.Sprintf("extended attributes %s.* are left out", quote(class)))
			continue
		}
		value, errno := e.tree.GetXattr(n, name)
		if errno != 0 {
			return packErr(h.name, errno)
		}
		h.xattrs = append(h.xattrs, xattr{name, value})
	}
	return nil
}

// root returns the attributes of the root directory.
func (e *entries) root() (RootAttr, error) {
	n := e.tree.Root()
	a := e.tree.Attr(n)
	h := &header{name: ".", kind: kindDir}
	if err := e.xattrs(h, n); err != nil {
		return RootAttr{}, err
	}
	r := RootAttr{Mode: a.Mode, UID: a.UID, GID: a.GID, Mtime: a.Mtime}
	for _, x := range h.xattrs {
		if r.Xattrs == nil {
			r.Xattrs = map[string][]byte{}
		}
		r.Xattrs[x.name] = x.value
	}
	return r, e.meter.attributes(h)
}

// measure checks h against the limits, as the reader will.
func (e *entries) measure(h *header) error {
	if err := e.meter.path(h.name); err != nil {
		return err
	}
	if err := e.meter.name(h.name); err != nil {
		return err
	}
	return e.meter.attributes(h)
}

const (
	reasonLink = "Python's temporal-workdir refuses archives with absolute or escaping symbolic links"
	reasonNode = "Python's temporal-workdir refuses archives with FIFOs or device nodes"
)

// portable warns of or collects entries that the ancestor's reader refuses.
func (e *entries) portable(ctx context.Context, h *header) error {
	reason := ""
	switch h.kind {
	case kindFIFO, kindChar, kindBlock:
		reason = reasonNode
	case kindSymlink:
		if !e.opts.Portable && !e.warn.wants(reasonLink) {
			return nil
		}
		out, err := e.resolver.escapes(ctx, h.name, h.link)
		if err != nil {
			return err
		}
		if out {
			reason = reasonLink
		}
	}
	switch {
	case reason == "":
	case e.opts.Portable:
		e.refused = append(e.refused, h.name)
	default:
		e.warn.warn(h.name, reason)
	}
	return nil
}

// packErr is nil for 0, else the tree's errno with the name of the entry.
func packErr(name string, errno syscall.Errno) error {
	if errno == 0 {
		return nil
	}
	return fmt.Errorf("pack %s: %w", quote(name), errno)
}
