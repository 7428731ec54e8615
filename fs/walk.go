package fs

import "fmt"

// Walk visits the tree in archive order: depth first, each directory before its
// names, names sorted by bytes. path has no leading slash; the root is "". The
// caller sees to it that nobody changes the tree meanwhile. Hard links are
// visited once for each name. No references are given. fn's error ends the walk
// and is returned.
func (t *Tree) Walk(fn func(path string, n *Inode, a Attr) error) error {
	if errno := t.refuse(); errno != 0 {
		return fmt.Errorf("walk tree: %w", errno)
	}
	return t.walk("", t.root, fn)
}

func (t *Tree) walk(path string, n *Inode, fn func(path string, n *Inode, a Attr) error) error {
	if err := fn(path, n, t.Attr(n)); err != nil || !n.isDir() {
		return err
	}
	t.mu.RLock()
	names := n.dir.sorted()
	t.mu.RUnlock()
	if path != "" {
		path += "/"
	}
	for _, d := range names {
		if err := t.walk(path+d.Name, d.Inode, fn); err != nil {
			return err
		}
	}
	return nil
}
