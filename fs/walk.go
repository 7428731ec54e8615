package fs

import (
	"fmt"
	"iter"
	"strings"
	"syscall"
)

// Walk visits the tree in archive order: depth first, each directory before its content,
// names sorted by bytes. path has no leading slash; the root is "". Nobody may change the
// tree meanwhile. Hard links are visited once for each name. n is valid until fn returns,
// or longer with Ref. An error of fn ends the walk and is returned.
func (t *Tree) Walk(fn func(path string, n *Inode, a Attr) error) error {
	if errno := t.refuse(); errno != 0 {
		return fmt.Errorf("walk tree: %w", errno)
	}
	return t.walk("", rootIno, fn)
}

// WalkFrom is Walk for what is at a path and below it, which is nothing if there is no such
// path.
func (t *Tree) WalkFrom(path string, fn func(path string, n *Inode, a Attr) error) error {
	n, errno := t.LookupPath(t.root, path)
	switch errno {
	case 0:
		defer t.Unref(n, 1)
		return t.walk(path, n.ino, fn)
	case syscall.ENOENT, syscall.ENOTDIR, syscall.EINVAL, syscall.ENAMETOOLONG:
		return nil
	}
	return fmt.Errorf("walk tree: %w", errno)
}

func (t *Tree) walk(path string, ino uint64, fn func(path string, n *Inode, a Attr) error) error {
	n := t.hold(ino)
	defer t.Unref(n, 1)
	if err := fn(path, n, t.Attr(n)); err != nil || !n.isDir() {
		return err
	}
	for name, ino := range t.sorted(n) {
		if err := t.walk(Join(path, name), ino, fn); err != nil {
			return err
		}
	}
	return nil
}

// sorted iterates over the names of a directory and the numbers of their inodes.
func (t *Tree) sorted(dir *Inode) iter.Seq2[string, uint64] {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return dir.dir().sorted()
}

// OrderKey returns a key that sorts paths as Walk visits them: a directory right before its
// content.
func OrderKey(path string) string { return strings.ReplaceAll(path, "/", "\x00") }
