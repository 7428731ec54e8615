package workspace

import (
	"context"
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/fs"
	"github.com/workdir/workdir/fs/fsdir"
	"github.com/workdir/workdir/store"
)

// memoryBytes is how much content is kept in memory.
const memoryBytes = 64 << 20

// loaded is a tree that was filled from an archive, or from a directory.
type loaded struct {
	url   store.URL // zero where it comes from no store, like info
	info  store.Info
	tree  *fs.Tree
	log   *archive.Log // nil: it has none
	homes []fs.Home    // in the order of closing
	files *fsdir.Files // nil: it comes from no directory
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
}

// failed gives the error behind an EIO of a tree that comes from a directory.
func (l *loaded) failed() error {
	if l.files == nil {
		return nil
	}
	return l.files.Err()
}

// loadOptions say what of an archive is wanted.
type loadOptions struct {
	*Options
	content bool // to be read; else it is checked and dropped
	devices bool // are accepted
	needLog bool // a commit log that cannot be read is an error, and not a warning
}

// load opens the archive of a URL and loads it. The caller closes what it gets.
func load(ctx context.Context, url string, opts loadOptions) (*loaded, error) {
	var l *loaded
	err := withObject(ctx, url, func(u store.URL, o store.Object) (err error) {
		l, err = loadObject(ctx, u, o, opts)
		return err
	})
	return l, err
}

func loadObject(ctx context.Context, u store.URL, o store.Object, opts loadOptions) (*loaded, error) {
	l, err := loadFrom(ctx, o, o.Info().Size, opts)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", u.Redacted(), err)
	}
	l.url, l.info = u, o.Info()
	return l, nil
}

// loadFrom loads the archive that r gives. size is its length, for the progress
// only; 0 where it is not known.
func loadFrom(ctx context.Context, r io.Reader, size int64, opts loadOptions) (*loaded, error) {
	l, err := newTree(opts)
	if err != nil {
		return nil, err
	}
	reader := archive.NewReader(r, &archive.ReaderOptions{
		Devices: opts.devices,
		LostLog: !opts.needLog,
		Warn:    opts.Warn,
		Progress: func(done int64) {
			opts.progress(Reading, done, size)
		},
	})
	l.log, err = reader.Load(ctx, l.tree)
	if err != nil {
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
	if err := files.Load(ctx, l.tree, &fsdir.LoadOptions{Warn: opts.Warn}); err != nil {
		l.close()
		return nil, fmt.Errorf("import %s: %w", dir, err)
	}
	return l, nil
}
