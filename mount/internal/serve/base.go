package serve

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/fs"
	"github.com/workdir/workdir/store"
)

// bases has the archives that are open because trees stand on them. All mounts of one
// revision share one: its index, its cache, and what of it was fetched ahead.
type bases struct {
	cache  *readCache         // immutable
	failed func(*base, error) // immutable; called with what keeps a base from being read

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

// base is an archive with an index that is open.
type base struct {
	bases   *bases           // immutable
	key     baseKey          // immutable
	object  *openObject      // immutable
	archive *archive.Archive // immutable
	source  *archive.Source  // immutable
	cache   ownCache         // immutable; what source keeps its segments in
	ahead   *aheadFile       // immutable; nil: the archive stays readable, though it be replaced, or there is no room
	stays   bool             // immutable; the archive stays readable, though it be replaced
	work    sync.WaitGroup   // what is fetched ahead
	life    context.Context  // immutable; ends when the base closes
	end     context.CancelFunc
	fetched atomic.Bool // all of it is kept

	users int // guarded by bases.mu

	mu  sync.Mutex
	err error // guarded by mu; why it could not be read, last
}

// openObject is an object whose reads end with stop, or, until it is kept, with the
// operation that opened it.
type openObject struct {
	store.Object
	stop   context.CancelFunc
	unbind func() bool
}

// openTail opens the archive of u for reading what is touched. ErrNotExist as Store.Open.
func openTail(ctx context.Context, s store.Store, u store.URL) (*openObject, error) {
	life, stop := context.WithCancel(context.WithoutCancel(ctx))
	unbind := context.AfterFunc(ctx, stop)
	obj, err := u.OpenArchive(life, s, archive.OpenRead)
	if err != nil {
		unbind()
		stop()
		return nil, err
	}
	return &openObject{obj, stop, unbind}, nil
}

// keep has the object outlive the operation that opened it, unless that has ended.
func (o *openObject) keep(ctx context.Context) error {
	if !o.unbind() {
		return context.Cause(ctx)
	}
	return nil
}

// Close closes the object. A nil one is closed.
func (o *openObject) Close() {
	if o == nil {
		return
	}
	o.unbind()
	o.stop()
	_ = o.Object.Close() // it was only read
}

// acquire opens the archive that obj has, and takes obj over; or it returns the base
// that others use already, or has opened meanwhile, and closes obj. The caller releases
// it. An archive without an index is no base: then it is returned itself, and obj stays
// the caller's, as it does with an error.
func (s *bases) acquire(ctx context.Context, l *loader, obj *openObject, opts *archive.ReaderOptions) (*base, *archive.Archive, error) {
	key := baseKey{l.url, string(l.req.MemDir), obj.Info().Revision, string(l.req.Cache), l.req.CacheBytes}
	if b := s.use(key, nil); b != nil {
		obj.Close()
		return b, nil, nil
	}
	a, err := archive.Open(ctx, obj.Object, obj.Info().Size, opts)
	if err != nil || !a.Indexed() {
		return nil, a, err
	}
	if err := obj.keep(ctx); err != nil {
		return nil, nil, err
	}
	b := &base{bases: s, key: key, object: obj, archive: a, stays: !l.replaceable()}
	if !b.stays {
		if b.ahead, err = l.newAheadFile(obj.Info().Size); err != nil {
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
	if !l.req.FetchAll { // which is done by who asked for it
		b.fetchAhead()
	}
	return b, nil, nil
}

// use returns the base of a key, with one more user; if there is none it is b, which
// may be nil.
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

// close ends what the base has.
func (b *base) close() {
	b.end()
	b.object.stop()
	_ = b.source.Close() // never fails
	b.work.Wait()
	b.cache.release()
	b.object.Close()
	b.ahead.close()
}

// fail notes why the base cannot be read, and tells its mounts.
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

// opened is the archive; nil for a nil base.
func (b *base) opened() *archive.Archive {
	if b == nil {
		return nil
	}
	return b.archive
}

// revision is the object of the archive; nil for a nil base.
func (b *base) revision() store.Object {
	if b == nil {
		return nil
	}
	return b.object.Object
}

// lastError is why the base could not be read last; nil for a nil base.
func (b *base) lastError() error {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// baseFailed tells all mounts on a base that it cannot be read.
func (s *server) baseFailed(b *base, err error) {
	s.mu.Lock()
	var all []*hosted
	for _, h := range s.hosted {
		all = append(all, h)
	}
	s.mu.Unlock()
	for _, h := range all {
		h.whileOpen(func(string) {
			if h.base == b {
				slog.New(noteHandler{server: s, id: h.req.ID}).Error("what was opened cannot be read, tools get EIO", "error", err)
			}
		})
	}
}

// replaceable reports whether what was opened may be gone once it is replaced. A file
// stays with its descriptor, and memory with who has it.
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
