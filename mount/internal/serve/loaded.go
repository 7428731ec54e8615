package serve

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/fs"
	"github.com/workdir/workdir/internal/panics"
	"github.com/workdir/workdir/mount/internal/host"
	"github.com/workdir/workdir/mount/internal/wire"
	"github.com/workdir/workdir/store"
)

// loaded is an archive in memory: the content of a mount.
type loaded struct {
	info  store.Info   // of the archive; zero if there is none
	log   *archive.Log // nil if it has none
	base  *base        // the base below the tree; nil if the tree was filled
	tree  *fs.Tree     // nil if it could not be made
	home  fs.Home      // home of the tree's content; nil if none could be made
	owned []io.Closer  // closed after the tree, the last one first

	// rewound is the commit whose archive the tree is, or archive.NoArchive, if the tree is
	// not that of the newest archive, to which info and log always belong; else "".
	rewound archive.CommitID
}

// loader reads the archive of a mount into a tree.
type loader struct {
	budget   *budget
	bases    *bases
	url      store.URL
	store    store.Store
	req      *wire.OpenRequest
	warn     func(archive.Warning)
	progress func(wire.Progress)
}

// open opens the archive; nil if there is none.
func (l *loader) open(ctx context.Context) (_ *openObject, err error) {
	defer panics.Catch("open", &err)
	obj, err := openTail(ctx, l.store, l.url)
	if errors.Is(err, store.ErrNotExist) {
		return nil, nil
	}
	return obj, err
}

// load makes a tree of obj, which it takes over; nil stands for no archive. The caller
// frees the result, also beside an error.
func (l *loader) load(ctx context.Context, obj *openObject) (c loaded, err error) {
	defer panics.Catch("load", &err)
	if obj == nil {
		err = l.newTree(&c)
	} else {
		c.info = obj.Info()
		err = l.read(ctx, obj, &c)
	}
	if err != nil {
		return c, err
	}
	c.tree.Seal()
	if l.req.ReadOnly {
		c.tree.Freeze()
	}
	return c, nil
}

// read makes the tree stand on the archive or, if that has no index, fills it from the
// archive.
func (l *loader) read(ctx context.Context, obj *openObject, c *loaded) (err error) {
	p := &progress{tell: l.progress, now: wire.Progress{Phase: wire.PhaseOpening, Total: c.info.Size}}
	opts := l.readerOptions(p.report)
	var whole *archive.Archive
	if c.base, whole, err = l.bases.acquire(ctx, l.baseRequest(obj.Info().Revision), obj, opts); c.base == nil {
		defer obj.Close()
	}
	switch {
	case err != nil:
		return l.readError(err)
	case c.base != nil:
		c.log = c.base.archive.Log()
		if l.req.FetchAll {
			err = l.fetchAll(ctx, c.base, p.report)
		}
		if err == nil {
			err = l.treeOn(c, opts)
		}
	default:
		err = l.fill(ctx, whole, c)
	}
	if err != nil {
		return err
	}
	c.log = c.log.StoredAt(c.info.ModTime)
	p.done()
	return nil
}

// readerOptions returns the options for reading the archive.
func (l *loader) readerOptions(progress func(int64)) *archive.ReaderOptions {
	opts := &archive.ReaderOptions{Limits: l.budget.archiveLimits(), Devices: l.req.Dev, Warn: l.warn, Progress: progress}
	if !l.req.KeepOwner {
		opts.Owner = &fs.Owner{UID: l.req.UID, GID: l.req.GID}
	}
	_, step := l.req.Step()
	opts.LostLog = !step // a step must not be done again
	return opts
}

func (l *loader) fetchAll(ctx context.Context, b *base, progress func(int64)) error {
	if err := b.fetchAll(ctx, progress); err != nil {
		return fmt.Errorf("open %s: %w", l.url.Redacted(), err)
	}
	return nil
}

// fill reads the whole archive into a new tree.
func (l *loader) fill(ctx context.Context, a *archive.Archive, c *loaded) (err error) {
	if err := l.newTree(c); err != nil {
		return err
	}
	if c.log, err = a.Load(ctx, c.tree); err != nil {
		return l.readError(err)
	}
	return nil
}

func (l *loader) readError(err error) error {
	err = fmt.Errorf("open %s: %w", l.url.Redacted(), err)
	if errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("%w: %w; raise MaxBytes (--max-bytes) or MaxInodes (--max-inodes)", wire.ErrLimit, err)
	}
	return err
}

// newTree makes the tree over its home.
func (l *loader) newTree(c *loaded) error {
	home, err := l.newHome(c)
	if err != nil {
		return fmt.Errorf("open %s: %w", l.url.Redacted(), err)
	}
	opts := l.treeOptions(l.maxBytes())
	if l.req.Merge && c.info.Revision == "" {
		c.tree, err = fs.NewOn(noArchive{opts.Owner}, home, opts)
	} else {
		c.tree, err = fs.New(home, opts)
	}
	if err != nil {
		return l.readError(err)
	}
	return nil
}

// treeOptions returns the options of a tree with at most that many bytes; 0 is no limit.
func (l *loader) treeOptions(maxBytes int64) *fs.Options {
	return &fs.Options{MaxBytes: maxBytes, MaxInodes: l.req.MaxInodes, Heap: l.budget.heap, Owner: fs.Owner{UID: l.req.UID, GID: l.req.GID}}
}

// maxInodes returns how many files and directories there may be.
func (l *loader) maxInodes() int64 { return cmp.Or(l.req.MaxInodes, l.budget.heap.Inodes()) }

// plainMemory is how much content on its way to a plain directory is kept in memory, in
// bytes; a spill directory takes the rest.
const plainMemory = 64 << 20

// newHome returns the home of the tree's content. A mount with a limit of its own gets a
// home of that size.
func (l *loader) newHome(c *loaded) (home fs.Home, err error) {
	switch {
	case l.req.View == wire.ViewPlain:
		home, err = newHome(plainMemory)
		c.ownHome(home)
	case l.req.MaxBytes > 0:
		home, err = l.budget.ownHome(l.req.MaxBytes)
		c.ownHome(home)
	default:
		home, err = l.budget.sharedHome()
	}
	c.home = home
	if err != nil || l.req.Spill == "" {
		return home, err
	}
	home, err = fs.NewSpillHome(home, string(l.req.Spill), l.req.SpillReserve)
	if err != nil {
		return nil, &host.Error{Path: string(l.req.Spill), What: err.Error(), Hint: "choose another spill directory, one that can be written to"}
	}
	c.ownHome(home)
	c.home = home
	return home, nil
}

// maxBytes returns the limit that the tree enforces. With a spill directory, the disk takes
// what is beyond it.
func (l *loader) maxBytes() int64 {
	switch {
	case l.req.Spill != "":
		return 0
	case l.req.MaxBytes > 0:
		return l.req.MaxBytes
	}
	return l.budget.total
}

// ownHome is own for a home, which may be nil.
func (c *loaded) ownHome(home fs.Home) {
	if home != nil {
		c.own(home)
	}
}

// own registers c to be closed after the tree, and before everything that was registered
// earlier.
func (c *loaded) own(o io.Closer) { c.owned = append([]io.Closer{o}, c.owned...) }

// opened returns Record.Opened of a commit on top of what was opened.
func (c *loaded) opened() archive.CommitID {
	switch {
	case c.rewound != "":
		return c.rewound
	case c.info.Revision == "":
		return archive.NoArchive
	case c.log == nil:
		return store.ForeignID(c.info.Revision)
	}
	return ""
}

// free frees the memory. Nobody uses the tree any more.
func (c *loaded) free() {
	if c.tree != nil {
		_ = c.tree.Close() // memory only
	}
	for _, o := range c.owned {
		_ = o.Close() // likewise
	}
	if c.base != nil {
		c.base.release()
	}
}

// baseRequest returns what the mount asks of the base of a revision.
func (l *loader) baseRequest(rev store.Revision) baseRequest {
	return baseRequest{
		baseKey: baseKey{l.url, string(l.req.MemDir), rev, string(l.req.Cache), l.req.CacheBytes},
		stays:   !l.replaceable(), fetchAll: l.req.FetchAll, newAheadFile: l.newAheadFile,
	}
}

// replaceable reports whether what was opened may become unreadable once it is replaced. An
// open file stays readable by its descriptor, and memory by its reference.
func (l *loader) replaceable() bool { return l.url.Scheme != "file" && l.url.Scheme != "mem" }

// treeOn makes the tree that stands on the base.
func (l *loader) treeOn(c *loaded, opts *archive.ReaderOptions) error {
	image, err := c.base.archive.Image(c.base.source, opts)
	if err != nil {
		return l.readError(err)
	}
	home, err := l.newHome(c)
	if err != nil {
		return fmt.Errorf("open %s: %w", l.url.Redacted(), err)
	}
	if c.tree, err = fs.NewOn(image, home, l.treeOptions(l.maxBytes())); err != nil {
		return l.readError(err)
	}
	return nil
}

// newAheadFile makes a file for an archive of size bytes: in the cache directory of the
// mount, if it has one, else in memory, as far as there is room; nil if there is none.
func (l *loader) newAheadFile(size int64) (*aheadFile, error) {
	if l.req.Cache == "" {
		return l.budget.newAheadFile(size), nil
	}
	f, err := newCacheFile(string(l.req.Cache))
	if err != nil {
		return nil, &host.Error{Path: string(l.req.Cache), What: "the cache directory: " + err.Error(), Hint: "choose another one, which can be written to"}
	}
	return &aheadFile{file: f}, nil
}
