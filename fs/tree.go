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

// Options are a tree's limits. Zero fields mean no limit of the tree's own; a
// Home has its own limit all the same.
type Options struct {
	// MaxBytes is the limit of the content in memory, in bytes: what was written and
	// what spools hold, in whole pages. Names, targets of symlinks and extended
	// attributes have the same limit for themselves, so that files can be renamed and
	// removed while the content is full, as on tmpfs.
	MaxBytes  int64
	MaxInodes int64        // the root directory counts, and each further name of an inode
	Heap      *Heap        // a limit that trees share; nil: none
	Owner     Owner        // of the root directory
	Logger    *slog.Logger // nil: no log
}

// Tree is a file tree. Its methods may be called from several goroutines, but
// for New and Close.
type Tree struct {
	home      Home  // immutable
	maxInodes int64 // 0: no limit; immutable
	log       *slog.Logger
	root      *Inode // immutable

	mu     sync.RWMutex // guards names, link counts and directories; see doc.go
	inodes table
	links  atomic.Int64 // names of inodes beyond their first
	bytes  budget       // content, against MaxBytes
	text   budget       // names and the like, against MaxBytes too
	heap   budget       // what the tree takes of Options.Heap

	timesLeft atomic.Bool // see LeaveTimes

	state   atomic.Uint32 // of stateFrozen and so on
	errMu   sync.Mutex    // guards err; a leaf
	err     error         // the first cause of Poison
	losses  losses
	removed atomic.Int64 // inodes of Seal that have no name any more
	orphans atomic.Int64 // see Orphans

	spoolMu sync.Mutex // guards spools
	spools  []*Spool
}

// New makes a tree with an empty root directory, of mode 0755, whose content
// goes to home. The home stays the caller's: it is closed after the tree, and
// may serve several. A nil opts is good.
func New(home Home, opts *Options) (*Tree, error) {
	if opts == nil {
		opts = &Options{}
	}
	if home == nil {
		return nil, errors.New("make tree: no home for its content")
	}
	if opts.MaxBytes < 0 || opts.MaxInodes < 0 {
		return nil, fmt.Errorf("make tree: limits must not be negative: %d bytes, %d inodes", opts.MaxBytes, opts.MaxInodes)
	}
	t := &Tree{home: home, maxInodes: opts.MaxInodes, log: opts.Logger}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	t.bytes.max, t.text.max = opts.MaxBytes, opts.MaxBytes
	if opts.Heap != nil {
		t.heap.shared = &opts.Heap.budget
	}
	if errno := t.takeNode(0); errno != 0 {
		return nil, fmt.Errorf("make tree: %w", errno)
	}
	t.root = newInode(syscall.S_IFDIR|0o755, opts.Owner, now())
	t.root.nlink = 2
	t.root.dir.parent = t.root
	t.inodes.add(t.root)
	return t, nil
}

// Close frees all content. Everything gives EIO from then on. No other operation may
// be under way. What an operation that panicked has left locked stays.
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
	t.links.Store(0)
	t.heap.give(t.heap.used.Load())
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

// Root is the root directory. No reference is given, none is needed: it has a
// name at all times.
func (t *Tree) Root() *Inode { return t.root }

// Get gives the inode of a number, nil if there is none. It gives no reference:
// the caller, which is the kernel, holds one. The root is number 1.
func (t *Tree) Get(ino uint64) *Inode { return t.inodes.get(ino) }

// Ref takes one more reference. The caller holds one already, or is in ReadDir.
func (t *Tree) Ref(n *Inode) { n.refs.Add(1) }

// Unref gives back count references. An inode without names is gone with its
// last one. To give back more than were taken is a fault of the caller, and
// panics.
func (t *Tree) Unref(n *Inode, count uint64) {
	if n == t.root {
		return
	}
	if left := n.refs.Add(-int64(count)); left < 0 {
		panic(fmt.Sprintf("fs: inode %d was given back %d times too often", n.ino, -left))
	}
	t.reap(n)
}

// reap frees n if it has neither name nor reference. That is for good: without a
// name, a reference is given by those alone who hold one.
func (t *Tree) reap(n *Inode) {
	n.mu.Lock()
	named, orphan := n.nlink > 0, n.removedLocked()
	n.mu.Unlock()
	// The order matters: while there is a name, references can come from nothing.
	if named || n.refs.Load() > 0 || !t.inodes.remove(n) {
		return
	}
	n.mu.Lock() // Changes and the like look at n still
	err := t.dropLocked(n)
	n.mu.Unlock()
	if err != nil {
		t.log.Error("content of a removed file was not freed", "inode", n.ino, "error", err)
	}
	if orphan {
		t.orphans.Add(-1)
	}
}

// dropLocked returns what n takes, which nobody uses any more.
// Preconditions: n.mu is held.
func (t *Tree) dropLocked(n *Inode) error {
	t.giveNode(n.text())
	if n.extra != nil {
		t.giveText(n.extra.xattrBytes())
		n.extra.xattrs, n.extra.listed = nil, 0
	}
	t.replacedLocked(n, 0, math.MaxInt64)
	c := n.content
	n.content = nil
	return t.freeContent(c)
}
