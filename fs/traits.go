package fs

import (
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// Traits sum up a whole tree for callers that must know, before they show it, what a name
// or a file in it may need.
type Traits struct {
	Names    int64  // all names, including the root
	Path     int    // bytes of the longest path, relative to the root
	DirPath  int    // bytes of the longest path of a directory
	File     int64  // bytes of the largest file
	Sparse   bool   // a file has a hole
	Link     string // path of a file with several names; "" for none
	Whiteout string // path of a character device 0:0, which overlays take for a whiteout; "" for none
}

// Traits reads every name of the tree. Nobody may change the tree meanwhile. EIO if the
// tree is poisoned or closed.
func (t *Tree) Traits() (Traits, error) {
	if t.image != nil && t.Changes().Total() == 0 {
		return imageTraits(t.image), nil
	}
	var s Traits
	err := t.Walk(func(path string, n *Inode, a Attr) error {
		s.add(len(path), a, func() string { return path })
		if a.Mode&syscall.S_IFMT == syscall.S_IFREG && a.Size > 0 && !s.Sparse {
			hole, errno := t.Seek(n, 0, unix.SEEK_HOLE)
			s.Sparse = errno == 0 && hole < a.Size
		}
		return nil
	})
	return s, err
}

// add counts one name.
func (s *Traits) add(path int, a Attr, name func() string) {
	s.Names++
	s.Path = max(s.Path, path)
	if a.Mode&syscall.S_IFMT != syscall.S_IFDIR && a.Nlink > 1 && s.Link == "" {
		s.Link = name()
	}
	switch a.Mode & syscall.S_IFMT {
	case syscall.S_IFDIR:
		s.DirPath = max(s.DirPath, path)
	case syscall.S_IFREG:
		s.File = max(s.File, a.Size)
	case syscall.S_IFCHR:
		if a.Rdev == 0 && s.Whiteout == "" {
			s.Whiteout = name()
		}
	}
}

// imageTraits returns the Traits of an image, without making its inodes.
func imageTraits(img Image) Traits {
	var s Traits
	rows := uint32(img.Len())
	lengths := make([]uint32, rows) // of the paths, in bytes
	parents := make([]uint32, rows)
	for row := range rows {
		inode := img.Inode(row)
		a := img.Attr(inode)
		s.add(int(lengths[row]), a, func() string { return imagePath(img, parents, row) })
		if inode != row {
			continue
		}
		if a.Mode&syscall.S_IFMT == syscall.S_IFREG && a.Size > 0 && !s.Sparse {
			hole, err := img.Content(row).SeekHole(0)
			s.Sparse = err == nil && hole < a.Size
		}
		first, n := img.Children(row)
		for child := first; child < first+n; child++ {
			parents[child], lengths[child] = row, uint32(len(img.Name(child)))
			if row != 0 {
				lengths[child] += lengths[row] + 1
			}
		}
	}
	return s
}

// imagePath returns the path of a row other than the root's.
func imagePath(img Image, parents []uint32, row uint32) string {
	var names []string
	for ; row != 0; row = parents[row] {
		names = append([]string{img.Name(row)}, names...)
	}
	return strings.Join(names, "/")
}
