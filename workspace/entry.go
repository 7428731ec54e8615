package workspace

import (
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/workdir/workdir/fs"
	"github.com/workdir/workdir/internal/printable"
)

// Kind of an entry.
type Kind string

// Kinds, as printed.
const (
	File        Kind = "file"
	Directory   Kind = "directory"
	Symlink     Kind = "symlink"
	FIFO        Kind = "fifo"
	CharDevice  Kind = "character device"
	BlockDevice Kind = "block device"
	Socket      Kind = "socket"
)

// kindOf returns the kind that a mode stands for.
func kindOf(mode uint32) Kind { return Kind(fs.KindName(mode)) }

// Mode is the permission bits of an entry, which are printed in octal.
type Mode uint32

func (m Mode) String() string { return fmt.Sprintf("%04o", uint32(m)) }

// MarshalText returns the mode in octal.
func (m Mode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// Entry is one name in a workspace.
type Entry struct {
	Path    string    `json:"path"`              // without a leading slash
	RawPath []byte    `json:"rawPath,omitempty"` // the path if it is not UTF-8
	Kind    Kind      `json:"kind"`
	Mode    Mode      `json:"mode"`
	UID     uint32    `json:"uid"`
	GID     uint32    `json:"gid"`
	Size    int64     `json:"size"` // bytes of a file; else 0
	ModTime time.Time `json:"modTime"`
	Target  string    `json:"target,omitempty"` // of a symbolic link
	Links   uint32    `json:"links"`            // number of names of the inode
	Device  string    `json:"device,omitempty"` // "major:minor" of a device node
}

// entryOf describes one inode.
func entryOf(t *fs.Tree, path string, n *fs.Inode, a fs.Attr) (Entry, error) {
	e := Entry{
		Path: path, Kind: kindOf(a.Mode), Mode: Mode(a.Mode & fs.PermBits),
		UID: a.UID, GID: a.GID, ModTime: timeOf(a.Mtime), Links: 1,
	}
	if !utf8.ValidString(path) {
		e.RawPath = []byte(path)
	}
	switch e.Kind {
	case File:
		e.Size, e.Links = a.Size, a.Nlink
	case Symlink:
		target, errno := t.Readlink(n)
		if errno != 0 {
			return Entry{}, fmt.Errorf("%q: %w", path, errno)
		}
		e.Target = target
	case CharDevice, BlockDevice:
		e.Device = fmt.Sprintf("%d:%d", a.Rdev>>8&0xfff, a.Rdev&0xff|a.Rdev>>12&0xfff00) // as new_decode_dev in the kernel
	}
	return e, nil
}

// timeOf returns a time that can be printed: it is clamped to the years of RFC 3339.
func timeOf(t fs.Time) time.Time {
	const first, last = -62135596800, 253402300799 // the first second of year 1, the last of 9999
	switch {
	case t.Sec < first:
		return time.Unix(first, 0).UTC()
	case t.Sec > last:
		return time.Unix(last, 0).UTC()
	}
	return time.Unix(t.Sec, int64(t.Nsec)).UTC()
}

// listed is one entry with the number of its inode, for Tree.Find.
type listed struct {
	Entry
	ino uint64
}

// list returns all entries at and beneath a clean path, in archive order: each
// directory before its names, names sorted by bytes. The root is not among them.
func list(t *fs.Tree, at string) ([]listed, error) {
	var all []listed
	err := t.WalkFrom(at, func(path string, n *fs.Inode, a fs.Attr) error {
		if path == "" {
			return nil
		}
		e, err := entryOf(t, path, n, a)
		all = append(all, listed{e, a.Ino})
		return err
	})
	return all, err
}

// contentOf sums the sizes of the files in a list, each inode once.
func contentOf(all []listed) (size int64) {
	seen := map[uint64]bool{}
	for _, e := range all {
		if !seen[e.ino] {
			size += e.Size
		}
		if e.Links > 1 {
			seen[e.ino] = true
		}
	}
	return size
}

// Printable returns a name fit for a terminal: quoted as in Go if it contains invisible
// characters or ones that a terminal interprets.
func Printable(name string) string { return printable.Name(name) }
