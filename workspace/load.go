package workspace

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/fs"
	"github.com/workdir/workdir/fs/fsdir"
	"github.com/workdir/workdir/store"
)

// memoryBytes is how much content is kept in memory.
const memoryBytes = 64 << 20

// loaded is a tree that stands on an archive, or was filled from one or from a directory.
type loaded struct {
	url   store.URL // zero where it comes from no store, like info
	info  store.Info
	tree  *fs.Tree
	log   *archive.Log    // nil: it has none
	homes []fs.Home       // in the order of closing
	files *fsdir.Files    // nil: it comes from no directory
	image *archive.Image  // that the tree stands on; nil: it was filled
	src   *archive.Source // of image
	from  *opened         // nil: nothing of it is read any more

	archive *archive.Archive // that from has; nil: it comes from no store

	mu     sync.Mutex
	broken error // guarded by mu; why src could not be read
}

// close frees the tree and its content.
func (l *loaded) close() {
	if l.tree != nil {
		_ = l.tree.Close() // it was only read
	}
	for _, home := range l.homes {
		_ = home.Close() // likewise
	}
	if l.files != nil {
		l.files.Close()
	}
	if l.src != nil {
		_ = l.src.Close() // likewise
	}
	l.from.close()
}

// failed returns the error behind an EIO of the tree; nil if there is none.
func (l *loaded) failed() error {
	if l.files != nil {
		return l.files.Err()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.broken
}

// fail notes why the archive could not be read.
func (l *loaded) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken = err
}

// because returns err, with the error behind it where it is an EIO of the tree.
func (l *loaded) because(err error) error {
	if cause := l.failed(); cause != nil && errors.Is(err, syscall.EIO) {
		return fmt.Errorf("%w: %w", err, cause)
	}
	return err
}

// loadOptions say what of an archive is wanted.
type loadOptions struct {
	*Options
	content bool // to be read; else it is checked and dropped
	devices bool // are accepted
	needLog bool // a commit log that cannot be read is an error, and not a warning
}

// load opens the archive of a URL as a tree: by its index, so that what is read of it is
// what somebody asks for, or else by reading all of it. The caller closes what it gets.
func load(ctx context.Context, url string, opts loadOptions) (*loaded, error) {
	o, err := open(ctx, url, archive.OpenRead)
	if err != nil {
		return nil, err
	}
	l, err := loadOpened(ctx, o, opts)
	if err != nil {
		o.close()
		return nil, fmt.Errorf("read %s: %w", o.url.Redacted(), err)
	}
	return l, nil
}

// loadOpened is load for an archive that is open already, which it takes over.
func loadOpened(ctx context.Context, o *opened, opts loadOptions) (*loaded, error) {
	info := o.object.Info()
	ropts := opts.reader(info.Size)
	a, err := archive.Open(ctx, o.object, info.Size, ropts)
	if err != nil {
		return nil, err
	}
	l := &loaded{}
	if a.Indexed() {
		err = l.stand(a, ropts)
	} else {
		l, err = fill(opts, func(t *fs.Tree) (*archive.Log, error) { return a.Load(ctx, t) })
	}
	if err != nil {
		return nil, err
	}
	l.url, l.info, l.from, l.archive = o.url, info, o, a
	return l, nil
}

// stand makes a tree that reads what it is asked for.
func (l *loaded) stand(a *archive.Archive, opts *archive.ReaderOptions) (err error) {
	l.log, l.src = a.Log(), a.Source(archive.NewCache(memoryBytes), &archive.SourceOptions{Failed: l.fail})
	if l.image, err = a.Image(l.src, opts); err == nil {
		l.tree, err = fs.NewOn(l.image, nowhere{}, nil)
	}
	if err != nil {
		_ = l.src.Close() // it was only read
	}
	return err
}

// loadFrom loads the archive that r gives. size is its length, for the progress
// only; 0 where it is not known.
func loadFrom(ctx context.Context, r io.Reader, size int64, opts loadOptions) (*loaded, error) {
	return fill(opts, func(t *fs.Tree) (*archive.Log, error) {
		return archive.NewReader(r, opts.reader(size)).Load(ctx, t)
	})
}

// reader is how an archive of size bytes is read.
func (o loadOptions) reader(size int64) *archive.ReaderOptions {
	return &archive.ReaderOptions{
		Devices:  o.devices,
		LostLog:  !o.needLog,
		Warn:     o.Warn,
		Progress: func(done int64) { o.progress(Reading, done, size) },
	}
}

// fill makes a tree and has it filled.
func fill(opts loadOptions, load func(*fs.Tree) (*archive.Log, error)) (*loaded, error) {
	l, err := newTree(opts)
	if err != nil {
		return nil, err
	}
	if l.log, err = load(l.tree); err != nil {
		l.close()
		return nil, opts.explain(err)
	}
	return l, nil
}

// explain says what to do about a full disk.
func (o loadOptions) explain(err error) error {
	if errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("%w: there is no room for the content in %s; make room, or let TMPDIR name another directory", err, o.tempDir())
	}
	return err
}

// newTree makes an empty tree.
func newTree(opts loadOptions) (*loaded, error) {
	l := &loaded{}
	home, err := l.newHome(opts)
	if err != nil {
		l.close()
		return nil, err
	}
	if l.tree, err = fs.New(home, nil); err != nil {
		l.close()
		return nil, err
	}
	l.tree.Seal() // so that all that comes counts as new, and the root does not
	return l, nil
}

func (l *loaded) newHome(opts loadOptions) (fs.Home, error) {
	if !opts.content {
		return nowhere{}, nil
	}
	memory, err := fs.NewTmpfsHome(memoryBytes, 0)
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSYS) {
		memory, err = fs.NewArenaHome(memoryBytes)
	}
	if err != nil {
		return nil, err
	}
	l.homes = []fs.Home{memory}
	home, err := fs.NewSpillHome(memory, opts.tempDir(), 0)
	if err != nil {
		return nil, fmt.Errorf("%w; TMPDIR names another directory for temporary files", err)
	}
	l.homes = []fs.Home{home, memory}
	return home, nil
}

// loadDir fills a tree from a directory, whose files it needs until it is closed.
func loadDir(ctx context.Context, dir string, opts *Options) (*loaded, error) {
	open, err := fsdir.OpenDir(dir)
	if err != nil {
		return nil, err
	}
	defer open.Close()
	files, err := open.Files()
	if err != nil {
		return nil, err
	}
	l, err := newTree(loadOptions{Options: opts})
	if err != nil {
		files.Close()
		return nil, err
	}
	l.files = files
	if err := files.Load(ctx, l.tree, &fsdir.LoadOptions{Warn: opts.warn}); err != nil {
		l.close()
		return nil, fmt.Errorf("import %s: %w", dir, archive.PathTooLong(err))
	}
	return l, nil
}
