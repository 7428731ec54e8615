package fs

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"sync"
	"sync/atomic"
	"syscall"
)

// Options are a tree's limits. A zero field means no limit of the tree's own; a Home still
// has its limit.
type Options struct {
	// MaxBytes limits the content in memory, in bytes: what was written and what spools
	// hold, in whole pages. Names, symlink targets and extended attributes have a separate
	// limit of the same size, so that files can be renamed and removed while the content is
	// full, as on tmpfs.
	MaxBytes  int64
	MaxInodes int64        // including the root directory and each further name of an inode
	Heap      *Heap        // a limit shared by several trees; nil: none
	Owner     Owner        // of the root directory
	Logger    *slog.Logger // nil: no log
}

// Tree is a file tree. Its methods may be called from several goroutines, except New and
// Close.
type Tree struct {
	home  Home // immutable
	log   *slog.Logger
	root  *Inode   // immutable
	image Image    // nil: none; immutable
	rows  uint64   // of the image; immutable
	dirs  []uint32 // rows of directories that have names, in order; immutable

	atimes    atimes
	timesLeft atomic.Bool // see LeaveTimes

	mu     sync.RWMutex                     // guards names, link counts and directories; see doc.go
	sealed map[uint64]map[string]sealedName // of a tree without an image, see note; nil before Seal; guarded by mu
	sizes  sealedSizes                      // of a tree without an image
	gone   []uint64                         // a bit for each row whose inode has lost its last name; guarded by mu
	inodes table
	nodes  budget // inodes, and the names of each beyond its first, as on tmpfs (shmem_link in the kernel's mm/shmem.c)
	bytes  budget // content, against MaxBytes
	text   budget // names and the like, against MaxBytes too
	heap   budget // what the tree takes of Options.Heap

	unlimited atomic.Bool // see LiftLimits

	state   atomic.Uint32 // stateFrozen and the like
	errMu   sync.Mutex    // guards err; a leaf
	err     error         // the first cause of Poison
	losses  losses
	removed atomic.Int64 // inodes of Seal without a name
	orphans atomic.Int64 // see Orphans

	spoolMu sync.Mutex // guards spools
	spools  []*Spool
}

// New makes a tree with an empty root directory, of mode 0755, whose content goes to home.
// The home stays the caller's: it is closed after the tree, and may serve several trees.
// opts may be nil.
func New(home Home, opts *Options) (*Tree, error) {
	t, err := makeTree(home, opts)
	if err != nil {
		return nil, err
	}
	if errno := t.takeNodes(1, 0); errno != 0 {
		return nil, fmt.Errorf("make tree: %w", errno)
	}
	var owner Owner
	if opts != nil {
		owner = opts.Owner
	}
	t.root = newInode(syscall.S_IFDIR|0o755, owner, Now())
	t.root.nlink = 2
	t.root.dir().parent = rootIno
	t.inodes.add(t.root)
	return t, nil
}

// makeTree makes a tree without a root.
func makeTree(home Home, opts *Options) (*Tree, error) {
	if opts == nil {
		opts = &Options{}
	}
	if home == nil {
		return nil, errors.New("make tree: no home for its content")
	}
	if opts.MaxBytes < 0 || opts.MaxInodes < 0 {
		return nil, fmt.Errorf("make tree: limits must not be negative: %d bytes, %d inodes", opts.MaxBytes, opts.MaxInodes)
	}
	t := &Tree{home: home, log: opts.Logger}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	t.bytes.max, t.text.max, t.nodes.max = opts.MaxBytes, opts.MaxBytes, opts.MaxInodes
	if opts.Heap != nil {
		t.heap.shared = &opts.Heap.budget
	}
	return t, nil
}

// Close frees all content. Everything returns EIO from then on. No other operation may be
// under way. What a panicking operation has left locked stays.
func (t *Tree) Close() error {
	if t.setState(stateClosed)&stateClosed != 0 {
		return nil
	}
	errs := []error{t.closeSpools()} // first, so that no base is freed by itself
	for n := range t.inodes.all() {
		if n.mu.TryLock() {
			errs = append(errs, t.dropLocked(n))
			n.mu.Unlock()
		}
	}
	for _, b := range []*budget{&t.nodes, &t.text, &t.heap} {
		b.give(b.used.Load()) // including rows without an inode
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("close tree: %w", err)
	}
	return nil
}

func (t *Tree) closeSpools() error {
	if !t.spoolMu.TryLock() {
		return nil
	}
	defer t.spoolMu.Unlock()
	var errs []error
	for _, s := range t.spools {
		errs = append(errs, s.close())
	}
	t.spools = nil
	return errors.Join(errs...)
}

// rootIno is the number of the root directory.
const rootIno = 1

// Root returns the root directory. It returns no reference, and needs none: the root always
// has a name.
func (t *Tree) Root() *Inode { return t.root }

// Get returns the inode of a number, nil for none. It returns no reference: the caller,
// which is the kernel, holds one. The root is number 1.
func (t *Tree) Get(ino uint64) *Inode { return t.inodes.get(ino) }

// Ref takes another reference. The caller already holds one, or is in ReadDir.
func (t *Tree) Ref(n *Inode) { n.refs.Add(1) }

// Unref returns count references. An inode without names is gone with its last reference;
// an unchanged inode of an image is dropped, and made again on demand. Returning more
// references than were taken is a fault of the caller, and panics.
func (t *Tree) Unref(n *Inode, count uint64) {
	if n == t.root {
		return
	}
	left := n.refs.Add(-int64(count))
	switch {
	case left < 0:
		panic(fmt.Sprintf("fs: inode %d was given back %d times too often", n.ino, -left))
	case left == 0:
		t.reap(n)
	}
}

// reap removes n from the table if it has no reference and either has no name or equals its
// row. It frees an inode without a name.
func (t *Tree) reap(n *Inode) {
	n.mu.Lock()
	named, orphan := n.nlink > 0, n.removedLocked()
	// Changes are made under n.mu, by holders of a reference.
	gone := (!named || t.idleLocked(n)) && n.refs.CompareAndSwap(0, goneRefs)
	n.mu.Unlock()
	if !gone {
		return
	}
	t.inodes.remove(n)
	if named {
		return
	}
	n.mu.Lock() // Changes and the like still look at n
	err := t.dropLocked(n)
	n.mu.Unlock()
	if err != nil {
		t.log.Error("content of a removed file was not freed", "inode", n.ino, "error", err)
	}
	if orphan {
		t.orphans.Add(-1)
	}
}

// dropLocked returns everything that n takes; nobody uses it any more.
// Preconditions: n.mu is held.
func (t *Tree) dropLocked(n *Inode) error {
	t.giveNodes(1, n.text())
	if n.extra != nil {
		t.giveText(n.extra.xattrBytes())
		n.extra.xattrs, n.extra.listed = nil, 0
	}
	t.replacedLocked(n, 0, math.MaxInt64)
	c := n.content
	n.content = nil
	return t.freeContent(c)
}
