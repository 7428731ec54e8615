package serve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/internal/panics"
	"github.com/workdir/workdir/mount/internal/wire"
	"github.com/workdir/workdir/store"
)

// bases holds the open archives on which trees stand. All mounts of one revision share one:
// its index, its cache, and the parts that were fetched ahead.
type bases struct {
	cache  *readCache         // immutable
	failed func(*base, error) // immutable; called with the error that makes a base unreadable

	mu   sync.Mutex
	open map[baseKey]*base // guarded by mu
}

// baseKey says which mounts can share an archive.
type baseKey struct {
	url        store.URL
	memDir     string
	revision   store.Revision
	cacheDir   string
	cacheBytes int64
}

// baseRequest is what a mount asks of its base.
type baseRequest struct {
	baseKey
	stays        bool // the archive stays readable even if it is replaced
	fetchAll     bool // the mount fetches the whole archive itself
	newAheadFile func(size int64) (*aheadFile, error)
}

// base is an open archive with an index.
type base struct {
	bases   *bases           // immutable
	key     baseKey          // immutable
	object  *openObject      // immutable
	archive *archive.Archive // immutable
	source  *archive.Source  // immutable
	cache   ownCache         // immutable; holds the segments of source
	ahead   *aheadFile       // immutable; nil if the archive stays readable even if it is replaced, or if there is no room
	stays   bool             // immutable; the archive stays readable even if it is replaced
	work    sync.WaitGroup   // fetching ahead
	life    context.Context  // immutable; ends when the base closes
	end     context.CancelFunc
	fetched atomic.Bool // the whole archive is kept

	users int // guarded by bases.mu

	mu  sync.Mutex
	err error // guarded by mu; why the last read failed
}

// openObject is an object whose reads are cancelled by stop or, until it is kept, by the
// end of the operation that opened it.
type openObject struct {
	store.Object
	stop   context.CancelFunc
	unbind func() bool
	end    atomic.Pointer[[]byte] // the result of holdEnd; nil otherwise
}

// openTail opens the archive of u for reading on demand. ErrNotExist as Store.Open.
func openTail(ctx context.Context, s store.Store, u store.URL) (*openObject, error) {
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	unbind := context.AfterFunc(ctx, stop)
	obj, err := u.OpenArchive(life, s, archive.OpenRead)
	if err != nil {
		unbind()
		stop()
		return nil, err
	}
	return &openObject{Object: obj, stop: stop, unbind: unbind}, nil
}

// holdEnd reads the end of the archive, as archive.Open does, and keeps it for all later
// reads until dropEnd.
func (o *openObject) holdEnd() error {
	end := make([]byte, min(o.Info().Size, archive.OpenRead))
	if _, err := o.Object.ReadAt(end, o.Info().Size-int64(len(end))); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	o.end.Store(&end)
	return nil
}

// dropEnd drops what holdEnd has read. A nil object has nothing.
func (o *openObject) dropEnd() {
	if o != nil {
		o.end.Store(nil)
	}
}

// ReadAt implements io.ReaderAt.
func (o *openObject) ReadAt(p []byte, off int64) (int, error) {
	if end := o.end.Load(); end != nil {
		size := o.Info().Size
		if from := size - int64(len(*end)); off >= from && off+int64(len(p)) <= size {
			return copy(p, (*end)[off-from:]), nil
		}
	}
	return o.Object.ReadAt(p, off)
}

// keep lets the object outlive the operation that opened it, unless that has ended.
func (o *openObject) keep(ctx context.Context) error {
	if !o.unbind() {
		return context.Cause(ctx)
	}
	return nil
}

// Close closes the object, which may be nil.
func (o *openObject) Close() {
	if o == nil {
		return
	}
	o.unbind()
	o.stop()
	_ = o.Object.Close() // it was only read
}

// acquire opens the archive in obj and takes obj over; or it returns the base that others
// already use, or have opened meanwhile, and closes obj. The caller releases the base. An
// archive without an index is not a base: then the archive itself is returned, and obj
// stays the caller's, as with an error.
func (s *bases) acquire(ctx context.Context, want baseRequest, obj *openObject, opts *archive.ReaderOptions) (*base, *archive.Archive, error) {
	key := want.baseKey
	if b := s.use(key, nil); b != nil {
		obj.Close()
		return b, nil, nil
	}
	a, err := archive.Open(ctx, obj, obj.Info().Size, opts)
	if err != nil || !a.Indexed() {
		return nil, a, err
	}
	if err := obj.keep(ctx); err != nil {
		return nil, nil, err
	}
	b := &base{bases: s, key: key, object: obj, archive: a, stays: want.stays}
	if !b.stays {
		if b.ahead, err = want.newAheadFile(obj.Info().Size); err != nil {
			return nil, nil, err
		}
	}
	b.life, b.end = context.WithCancel(context.Background())
	b.cache = s.cache.get(key.cacheBytes)
	b.source = a.Source(b.cache.Cache, b.sourceOptions())
	if other := s.use(key, b); other != b {
		b.close()
		return other, nil, nil
	}
	if !want.fetchAll { // the mount that asked for it does that itself
		b.fetchAhead()
	}
	return b, nil, nil
}

// use returns the base of a key, with one more user; if there is none, it is b, which may
// be nil.
func (s *bases) use(key baseKey, b *base) *base {
	s.mu.Lock()
	defer s.mu.Unlock()
	if there := s.open[key]; there != nil {
		b = there
	} else if b != nil {
		if s.open == nil {
			s.open = map[baseKey]*base{}
		}
		s.open[key] = b
	}
	if b != nil {
		b.users++
	}
	return b
}

// hold counts another user of the base, who releases it. The caller is a user already.
func (b *base) hold() {
	b.bases.mu.Lock()
	defer b.bases.mu.Unlock()
	b.users++
}

// release ends the use of the base. Nothing reads from it for its user any more.
func (b *base) release() {
	b.bases.mu.Lock()
	b.users--
	last := b.users == 0
	if last {
		delete(b.bases.open, b.key)
	}
	b.bases.mu.Unlock()
	if last {
		b.close()
	}
}

// close closes everything that the base has.
func (b *base) close() {
	b.end()
	b.object.stop()
	_ = b.source.Close() // never fails
	b.work.Wait()
	b.cache.release()
	b.object.Close()
	b.ahead.close()
}

// fail records why the base cannot be read, and tells its mounts.
func (b *base) fail(err error) {
	if b.life.Err() != nil { // which ends all reads
		return
	}
	b.mu.Lock()
	again := b.err != nil && b.err.Error() == err.Error()
	b.err = err
	b.mu.Unlock()
	if !again {
		b.bases.failed(b, err)
	}
}

// opened returns the archive; nil for a nil base.
func (b *base) opened() *archive.Archive {
	if b == nil {
		return nil
	}
	return b.archive
}

// revision returns the object of the archive; nil for a nil base.
func (b *base) revision() store.Object {
	if b == nil {
		return nil
	}
	return b.object.Object
}

// lastError returns why the last read of the base failed; nil for a nil base.
func (b *base) lastError() error {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// status returns the base's part of the status of a mount on it; nil for a nil base.
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

// ReadPatience limits how long one read of an archive may take before tools get EIO. Tests
// use less.
var ReadPatience = archive.DefaultPatience

func (b *base) sourceOptions() *archive.SourceOptions {
	opts := &archive.SourceOptions{Failed: b.fail, Patience: ReadPatience}
	if b.ahead != nil {
		opts.Packed, opts.PackedBytes = b.ahead.file, b.ahead.size
	}
	return opts
}

// aheadDelay is how long a mount is open before the rest of its archive is fetched: most
// commands have finished by then, and have read what they needed.
const aheadDelay = 2 * time.Second

// fetchAhead reads the archive in the background, as far as there is room for it: if the
// store keeps no replaced archives, the archive may be gone later.
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

// fetchAll returns once the whole archive was read and verified against its digests and, if
// it may be replaced in the store, is kept. It calls progress with the count of bytes.
// Errors: ErrLimit if there is no room, that of reading, or ctx's.
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
