package fsupper

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/fs"
)

// ErrInconsistent says that upper is not what an overlay over this tree leaves behind:
// something else has changed it.
var ErrInconsistent = errors.New("the overlay's upper directory was tampered with")

// errNotThere is the ErrInconsistent for an origin that the tree does not have.
var errNotThere = fmt.Errorf("%w: its origin is not in lower", ErrInconsistent)

// Options are the options of Apply, Count and List. Nil stands for the zero value.
type Options struct {
	// Backing is the directory that contains upper and index. Apply needs it: it adopts the
	// files with new content into it.
	Backing *fs.BackingDir

	// RootPerm are permission bits with which the root was shown instead of its own; 0:
	// none. A root that still has them keeps its own.
	RootPerm uint32

	// Warn is called once for each text, with the first path that it is about. It says
	// what the tree does not hold.
	Warn func(path, text string)
}

// Apply makes t what an overlay over it showed. upper and index are descriptors of the
// overlay's upper directory and of the index in its work directory, or -1 if there is none;
// nobody changes them any more. t is as it was served: sealed, and unchanged since. The
// root of upper was made with the attributes and user.* extended attributes of the tree's
// root.
//
// Content is adopted by renaming files out of upper, which must not be used afterwards.
// t.Changes then counts what has changed, and nothing if all is as before. A directory that
// differs only in its mtime has not changed: that includes directories in which something
// was made and removed again.
//
// Upper had room for everything in it, so nothing of it may be missing in t: t's limits of
// the Go heap and of inodes are lifted.
//
// After an error t must not be used, and nothing of it may be stored. Errors, with the path
// in their text: ErrInconsistent; *fs.TooLongError; those of the tree, of the file system,
// and ctx's.
func Apply(ctx context.Context, t *fs.Tree, upper, index int, opts *Options) error {
	if opts == nil || opts.Backing == nil {
		return errors.New("apply upper: no backing directory to adopt files into")
	}
	t.LiftLimits()
	to := &treeTarget{tree: t, backing: opts.Backing, detached: map[uint64]*fs.Inode{}}
	return newApplier(ctx, t, upper, opts, to).run(index)
}

// Copy makes t what an overlay shows, as Apply does, but leaves upper as it is: it copies
// content. t stands on the same content as the overlay's lower tree, but is another tree.
// Upper may be in use; the caller finds out whether it was changed meanwhile, and then
// neither t nor the error means anything.
func Copy(ctx context.Context, t *fs.Tree, upper, index int, opts *Options) error {
	if opts == nil {
		opts = &Options{}
	}
	t.LiftLimits()
	to := &treeTarget{tree: t, detached: map[uint64]*fs.Inode{}}
	return newApplier(ctx, t, upper, opts, to).run(index)
}

// Count returns what t.Changes would return after Apply. It changes nothing, and t may be
// served and upper be in use meanwhile: entries that disappear during the count are left
// out. It is exact if nothing changes. It reads base content only of a file that was copied
// up and still has its size and mtime.
func Count(ctx context.Context, t *fs.Tree, upper, index int, opts *Options) (fs.Changes, error) {
	to := &counter{tree: t, names: map[uint64]int64{}, modified: map[uint64]int64{}}
	if err := look(ctx, t, upper, index, opts, to); err != nil {
		return fs.Changes{}, err
	}
	return to.sum(), nil
}

// List returns the paths that differ, as fs.Tree.ListChanges would after Apply. Otherwise
// it is like Count.
func List(ctx context.Context, t *fs.Tree, upper, index int, opts *Options) ([]fs.PathChange, error) {
	to := newLister(t)
	if err := look(ctx, t, upper, index, opts, to); err != nil {
		return nil, err
	}
	return to.list.Sum(), nil
}

// look is Apply to a target that changes nothing.
func look(ctx context.Context, t *fs.Tree, upper, index int, opts *Options, to target) error {
	silent := Options{}
	if opts != nil {
		silent.RootPerm = opts.RootPerm
	}
	a := newApplier(ctx, t, upper, &silent, to)
	a.live = true
	return a.run(index)
}

// spot is a name in a directory; the directory is nil if it was created by a target that
// makes none.
type spot struct {
	dir  *fs.Inode
	in   string // the path of the directory: of a name that goes away in the tree as it was, else in the final shape
	name string
}

func (s *spot) path() string { return fs.Join(s.in, s.name) }

// target is what an applier applies the changes to.
type target interface {
	// detach removes the name of n, which has a place in the final shape.
	detach(at spot, n *fs.Inode) error
	// unlink removes a name of a file, and rmdir a directory that is empty by then.
	unlink(at spot, n *fs.Inode) error
	rmdir(at spot) error
	// attach names n, which is e in upper, in the final shape. n is nil if create returned that.
	attach(at spot, n *fs.Inode, e *entry) error
	// create makes a new inode, and returns it with a reference, or nil.
	create(at spot, e *entry) (*fs.Inode, error)
	// change applies the differences to n.
	change(n *fs.Inode, e *entry, c *change) error
	// setDirTime sets the mtime of a directory.
	setDirTime(dir *fs.Inode, mtime fs.Time) error
	// finish is called at the end.
	finish() error
}

// applier is one Apply, Count or List.
type applier struct {
	ctx   context.Context
	tree  *fs.Tree
	upper reader
	opts  *Options
	to    target
	live  bool // upper is in use: inconsistent entries are left out

	root  *dir
	dirs  map[uint64]*dir      // directories of the tree that have a place in the final shape
	moved map[uint64]bool      // files of the tree that get a new name there
	taken bits                 // files of the tree that an entry of upper stands for
	links map[uint64]*fs.Inode // by number in upper, of files with several names; each with a reference, or nil

	warned map[string]bool
	chunks [2][]byte // to compare content
}

func newApplier(ctx context.Context, t *fs.Tree, upper int, opts *Options, to target) *applier {
	return &applier{
		ctx: ctx, tree: t, upper: newReader(upper), opts: opts, to: to,
		dirs: map[uint64]*dir{}, moved: map[uint64]bool{}, taken: bits{}, links: map[uint64]*fs.Inode{},
		warned: map[string]bool{},
	}
}

func (a *applier) run(index int) error {
	defer a.release()
	err := a.steps(index)
	if err != nil && a.ctx.Err() != nil {
		err = context.Cause(a.ctx)
	}
	if err != nil {
		return fmt.Errorf("take over what was done in the overlay: %w", err)
	}
	return nil
}

func (a *applier) steps(index int) error {
	if err := a.plan(); err != nil {
		return err
	}
	if err := a.dropAll(a.root); err != nil {
		return err
	}
	if err := a.place(a.root); err != nil {
		return err
	}
	if index >= 0 {
		if err := a.indexed(index); err != nil {
			return err
		}
	}
	return a.to.finish()
}

// release returns the references of the plan.
func (a *applier) release() {
	for _, n := range a.links {
		if n != nil {
			a.tree.Unref(n, 1)
		}
	}
	for _, d := range a.dirs {
		a.tree.Unref(d.base, 1)
	}
}

// passable returns nil if upper is in use and the error only says that it was changed
// meanwhile, or that a path is too long; otherwise err with the path.
func (a *applier) passable(path string, err error) error {
	if a.live && slices.ContainsFunc(changing, func(of error) bool { return errors.Is(err, of) }) {
		return nil
	}
	return named(path, err)
}

// changing are the errors that occur while others change upper.
var changing = []error{ErrInconsistent, unix.ENOENT, unix.ENOTDIR, unix.ELOOP, unix.ENODATA, unix.ESTALE, unix.EINVAL, unix.ENAMETOOLONG, io.ErrUnexpectedEOF}

// named adds the path to an error that has none yet.
func named(path string, err error) error {
	var has *pathError
	var long *fs.TooLongError
	if err == nil || errors.As(err, &has) || errors.As(err, &long) {
		return err
	}
	return &pathError{path, err}
}

// pathError is an error about one path.
type pathError struct {
	path string
	err  error
}

func (e *pathError) Error() string { return fmt.Sprintf("%q: %v", e.path, e.err) }
func (e *pathError) Unwrap() error { return e.err }

func inconsistent(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInconsistent, fmt.Sprintf(format, args...))
}

func orNil(errno syscall.Errno) error {
	if errno == 0 {
		return nil
	}
	return errno
}

// warn reports a text once.
func (a *applier) warn(path, text string) {
	if a.opts.Warn != nil && !a.warned[text] {
		a.warned[text] = true
		a.opts.Warn(path, text)
	}
}

// bits is a set of numbers that are close together.
type bits map[uint64]uint64

// add reports whether n was not in the set.
func (b bits) add(n uint64) bool {
	word, bit := n/64, uint64(1)<<(n%64)
	if b[word]&bit != 0 {
		return false
	}
	b[word] |= bit
	return true
}
