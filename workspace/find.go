package workspace

import (
	"fmt"
	"strings"

	"github.com/workdir/workdir/fs"
)

// maxFollowed is how many links are followed before they count as a loop, as in Linux.
const maxFollowed = 40

// finder follows a path in a tree as the kernel would in a chroot, including symbolic links,
// except that links out of the tree are errors.
type finder struct {
	tree     *fs.Tree
	at       []*fs.Inode // from the root down; the finder holds a reference to each
	names    []string    // of at, without the root
	followed int
}

// find returns the inode of a path, with a reference that the caller drops, and its clean path
// without links. The error is ErrPath.
func find(t *fs.Tree, path string) (*fs.Inode, string, error) {
	f := &finder{tree: t, at: []*fs.Inode{t.Root()}}
	t.Ref(t.Root())
	defer f.release()
	if err := f.walk(strings.Split(path, "/")); err != nil {
		return nil, "", fmt.Errorf("%q: %w", path, err)
	}
	n := f.at[len(f.at)-1]
	t.Ref(n)
	return n, strings.Join(f.names, "/"), nil
}

func (f *finder) release() {
	for _, n := range f.at {
		f.tree.Unref(n, 1)
	}
}

func (f *finder) walk(todo []string) error {
	for len(todo) > 0 {
		name := todo[0]
		todo = todo[1:]
		here := f.at[len(f.at)-1]
		if f.kind(here) != Directory && (name != "" || len(todo) == 0) {
			return fmt.Errorf("%w: %q is a %s", ErrPath, strings.Join(f.names, "/"), f.kind(here))
		}
		switch name {
		case "", ".":
		case "..":
			f.up()
		default:
			link, err := f.step(here, name)
			if err != nil {
				return err
			}
			if link != "" {
				todo = append(strings.Split(link, "/"), todo...)
			}
		}
	}
	return nil
}

// up goes to the parent directory; that of the root is the root.
func (f *finder) up() {
	if last := len(f.at) - 1; last > 0 {
		f.tree.Unref(f.at[last], 1)
		f.at, f.names = f.at[:last], f.names[:last-1]
	}
}

func (f *finder) kind(n *fs.Inode) Kind { return kindOf(f.tree.Attr(n).Mode) }

// step goes to name in a directory, or returns the target if it is a link.
func (f *finder) step(dir *fs.Inode, name string) (link string, err error) {
	n, errno := f.tree.Lookup(dir, name)
	if errno != 0 {
		return "", ErrPath
	}
	if f.kind(n) != Symlink {
		f.at, f.names = append(f.at, n), append(f.names, name)
		return "", nil
	}
	defer f.tree.Unref(n, 1)
	link, errno = f.tree.Readlink(n)
	if f.followed++; errno != 0 || f.followed > maxFollowed {
		return "", fmt.Errorf("%w: too many symbolic links", ErrPath)
	}
	if strings.HasPrefix(link, "/") {
		return "", fmt.Errorf("%w: %q is a symbolic link out of the workspace", ErrPath, name)
	}
	return link, nil
}
