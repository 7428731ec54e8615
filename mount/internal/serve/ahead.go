package serve

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/fs"
	"github.com/workdir/workdir/internal/panics"
	"github.com/workdir/workdir/mount/internal/host"
	"github.com/workdir/workdir/mount/internal/wire"
)

// status returns what a mount on the base shows of it; nil for a nil base.
func (b *base) status() *wire.BaseStatus {
	if b == nil {
		return nil
	}
	size := b.object.Info().Size
	if b.stays || b.fetched.Load() {
		return &wire.BaseStatus{Bytes: size, Here: size}
	}
	return &wire.BaseStatus{Bytes: size, Here: b.source.Kept()}
}

// ReadPatience is how long one read of an archive may take before tools get EIO. Tests
// wait for less.
var ReadPatience = archive.DefaultPatience

func (b *base) sourceOptions() *archive.SourceOptions {
	opts := &archive.SourceOptions{Failed: b.fail, Patience: ReadPatience}
	if b.ahead != nil {
		opts.Packed, opts.PackedBytes = b.ahead.file, b.ahead.size
	}
	return opts
}

// aheadDelay is for how long a mount is open before the rest of its archive is fetched:
// most commands have done their work by then, and have read what they needed.
const aheadDelay = 2 * time.Second

// fetchAhead reads the archive in the background, as far as there is room for it: where
// the store keeps no replaced archives it may be gone later.
func (b *base) fetchAhead() {
	if b.ahead == nil {
		return
	}
	b.work.Go(func() {
		defer func() {
			if r := recover(); r != nil {
				b.fail(panics.New("fetch ahead", r))
			}
		}()
		select {
		case <-time.After(aheadDelay):
		case <-b.life.Done():
			return
		}
		if _, err := b.prefetch(b.life, nil); err != nil {
			b.fail(err)
		}
	})
}

// prefetch is Source.Prefetch.
func (b *base) prefetch(ctx context.Context, progress func(int64)) (all bool, err error) {
	all, err = b.source.Prefetch(ctx, progress)
	if all {
		b.fetched.Store(true)
	}
	return all, err
}

// fetchAll returns once all of the archive was read, its digests are right, and what may
// be replaced in the store is kept. progress is called with the count of bytes. Errors:
// ErrLimit where there is no room, that of reading, or ctx's.
func (b *base) fetchAll(ctx context.Context, progress func(int64)) error {
	if b.stays {
		return b.archive.Verify(ctx, progress)
	}
	all, err := b.prefetch(ctx, progress)
	if err != nil || all {
		return err
	}
	return fmt.Errorf("%w: FetchAll (--fetch-all) has no room for the %d bytes of the archive; name a directory with as much free for Cache (--cache), or leave it out", wire.ErrLimit, b.object.Info().Size)
}

// aheadFile is where what was fetched of an archive is kept, compressed. It has no name,
// so that it goes with the process, however that ends.
type aheadFile struct {
	budget *budget // that size is given back to; nil for a file on disk
	file   aheadContent
	size   int64 // at most; it is set aside; 0: no limit
}

type aheadContent interface {
	archive.Packed
	Close() error
}

// newAheadFile makes a file for an archive of size bytes: in the cache directory of the
// mount, if it has one, else in memory, for as much as there is room for; nil where there
// is none.
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

// newAheadFile makes a file of memory.
func (b *budget) newAheadFile(size int64) *aheadFile {
	size = b.takeAhead(size)
	if size == 0 {
		return nil
	}
	fd, err := unix.MemfdCreate("workdir-base", unix.MFD_CLOEXEC)
	if err != nil {
		b.giveAhead(size)
		return nil
	}
	return &aheadFile{b, os.NewFile(uintptr(fd), "base"), size}
}

func (a *aheadFile) close() {
	if a == nil {
		return
	}
	_ = a.file.Close() // nobody needs it any more
	if a.budget != nil {
		a.budget.giveAhead(a.size)
	}
}

// cacheFile is a file without a name on a disk, of which it leaves some free.
type cacheFile struct{ *os.File }

// newCacheFile makes a file in dir. Where the file system has no O_TMPFILE (NFS), it has
// a name for a moment.
func newCacheFile(dir string) (cacheFile, error) {
	f, err := os.OpenFile(dir, unix.O_TMPFILE|os.O_RDWR, 0o600)
	if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EISDIR) {
		return cacheFile{f}, err
	}
	if f, err = os.CreateTemp(dir, ".workdir-cache-"); err != nil {
		return cacheFile{}, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return cacheFile{}, err
	}
	return cacheFile{f}, nil
}

// WriteAt is ENOSPC, too, where as much of the disk would not stay free as a spill
// directory leaves.
func (f cacheFile) WriteAt(p []byte, off int64) (int, error) {
	spare, err := fs.Spare(f.File)
	if err != nil {
		return 0, err
	}
	if spare < int64(len(p)) {
		return 0, unix.ENOSPC
	}
	return f.File.WriteAt(p, off)
}
