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

// memoryBytes is the maximum amount of content kept in memory.
const memoryBytes = 64 << 20

// loaded is a tree based on an archive, or filled from one or from a directory.
type loaded struct {
	url   store.URL // zero if it does not come from a store, like info
	info  store.Info
	tree  *fs.Tree
	log   *archive.Log    // nil without one
	homes []fs.Home       // in the order of closing
	files *fsdir.Files    // nil if it does not come from a directory
	image *archive.Image  // base of the tree; nil if the tree was filled
	src   *archive.Source // of image
	from  *opened         // nil once it is no longer read

	archive *archive.Archive // of from; nil if it does not come from a store

	mu     sync.Mutex
	broken error // guarded by mu; why src could not be read
}

// close frees the tree and its content.
func (l *loaded) close() {
	if l.tree != nil {
		_ = l.tree.Close() // it was opened for reading
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

// failed returns the error behind an EIO of the tree, or nil.
func (l *loaded) failed() error {
	if l.files != nil {
		return l.files.Err()
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.broken
}

// fail records why the archive could not be read.
func (l *loaded) fail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken = err
}

// because returns err, or the error behind it if it is an EIO of the tree.
func (l *loaded) because(err error) error {
	if cause := l.failed(); cause != nil && errors.Is(err, syscall.EIO) {
		return fmt.Errorf("%w: %w", err, cause)
	}
	return err
}

// loadOptions say which parts of an archive are needed.
type loadOptions struct {
	*Options
	content bool // content is needed; else it is checked and dropped
	devices bool // accept device nodes
	needLog bool // a commit log that cannot be read is an error, and not a warning
}

// load opens the archive of a URL as a tree: by its index, so that content is read on demand,
// or else by reading all of it. The caller closes the result.
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

// loadOpened is load for an open archive, which it takes over.
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

// stand makes a tree that reads content on demand.
func (l *loaded) stand(a *archive.Archive, opts *archive.ReaderOptions) (err error) {
	l.log, l.src = a.Log(), a.Source(archive.NewCache(memoryBytes), &archive.SourceOptions{Failed: l.fail})
	if l.image, err = a.Image(l.src, opts); err == nil {
		l.tree, err = fs.NewOn(l.image, nowhere{}, nil)
	}
	if err != nil {
		_ = l.src.Close() // it was opened for reading
	}
	return err
}

// loadFrom loads the archive in r. size is its length, only for the progress; 0 if unknown.
func loadFrom(ctx context.Context, r io.Reader, size int64, opts loadOptions) (*loaded, error) {
	return fill(opts, func(t *fs.Tree) (*archive.Log, error) {
		return archive.NewReader(r, opts.reader(size)).Load(ctx, t)
	})
}

// reader returns the options for reading an archive of size bytes.
func (o loadOptions) reader(size int64) *archive.ReaderOptions {
	return &archive.ReaderOptions{
		Devices:  o.devices,
		LostLog:  !o.needLog,
		Warn:     o.Warn,
		Progress: func(done int64) { o.progress(Reading, done, size) },
	}
}

// fill makes a tree and fills it with load.
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
		return fmt.Errorf("%w: there is no space for the content in %s; make space, or set TMPDIR to another directory", err, o.tempDir())
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
	l.tree.Seal() // so that everything added counts as new, except the root
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

// loadDir fills a tree from a directory, whose files it reads until it is closed.
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
