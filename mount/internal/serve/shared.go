package serve

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/fs"
	"github.com/workdir/workdir/mount/internal/wire"
	"github.com/workdir/workdir/store"
)

// sharing holds the trees of read-only mounts. Mounts that show the same revision of the
// same workspace in the same way share one tree, which is fetched once, takes memory once,
// and is freed with the last of them. Each has a mountpoint and a FUSE connection of its
// own.
//
// A shared tree is frozen, so the only state in it that belongs to one connection is the
// kernel's lookup counts. They are added up, and a connection that ends without its
// FORGETs, as an unmount does, leaves some behind. That does no harm: every inode is kept
// by its name anyway.
//
// A panic in an operation poisons the tree, since it may have left a lock of the tree
// locked, and so all mounts that share it; later mounts load another tree.
type sharing struct {
	mu     sync.Mutex
	groups map[shareKey]*shareGroup // guarded by mu; no empty ones
}

// shareKey says which mounts can share a tree: everything that affects the tree but the
// revision.
type shareKey struct {
	url                 store.URL
	memDir, spill       string
	owner               fs.Owner
	keepOwner, dev      bool
	maxBytes, maxInodes int64
	spillReserve        int64
	cache               string
	cacheBytes          int64
	fetchAll            bool
}

// shareGroup holds the trees of mounts with one key. Its fields are guarded by sharing.mu.
type shareGroup struct {
	trees   map[store.Revision]*sharedTree
	opening chan struct{} // closed when the mount that opens the archive has opened it; nil if none does
}

// sharedTree is one of the trees. It is loaded in a goroutine of its own, so that a mount
// that is given up does not take it away from the others.
type sharedTree struct {
	sharing *sharing           // immutable
	key     shareKey           // immutable
	stop    context.CancelFunc // immutable; cancels the loading
	users   []*hosted          // guarded by sharing.mu

	done   chan struct{} // closed when the next three are set, immutable after it
	loaded loaded
	warned []archive.Warning
	err    error
}

// shareKey returns the key of the mount.
func (h *hosted) shareKey() shareKey {
	return shareKey{
		url: h.url, memDir: string(h.req.MemDir), owner: fs.Owner{UID: h.req.UID, GID: h.req.GID}, keepOwner: h.req.KeepOwner, dev: h.req.Dev,
		maxBytes: h.req.MaxBytes, maxInodes: h.req.MaxInodes, spill: string(h.req.Spill), spillReserve: h.req.SpillReserve,
		cache: string(h.req.Cache), cacheBytes: h.req.CacheBytes, fetchAll: h.req.FetchAll,
	}
}

// loadShared gives the mount the shared tree.
func (h *hosted) loadShared(ctx context.Context) (err error) {
	if h.shared, err = h.server.sharing.acquire(ctx, h); err != nil {
		return err
	}
	select {
	case <-h.shared.done:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if h.shared.err != nil {
		return h.shared.err
	}
	h.loaded = h.shared.loaded
	for _, w := range h.shared.warned {
		h.warn(w)
	}
	return nil
}

// acquire returns the tree that shows what the store has now, for h, which calls release.
// It may still be loading.
//
// If no other mount has a tree or is opening one, h opens the archive. All others ask the
// store for the revision, even while another mount opens the archive: that mount may have
// got a revision that was replaced before the others came.
func (s *sharing) acquire(ctx context.Context, h *hosted) (*sharedTree, error) {
	key := h.shareKey()
	var rev *store.Revision // nil until the store was asked
	for {
		t, wait := s.look(key, rev, h)
		switch {
		case t != nil:
			return t, nil
		case wait == nil:
			return s.open(ctx, key, h)
		case rev == nil:
			now, err := h.revisionNow(ctx)
			if err != nil {
				return nil, err
			}
			rev = &now
		default:
			select {
			case <-wait:
			case <-ctx.Done():
				return nil, context.Cause(ctx)
			}
		}
	}
}

// revisionNow asks the store for the present revision; "" if there is no archive.
func (h *hosted) revisionNow(ctx context.Context) (store.Revision, error) {
	info, err := h.url.StatArchive(ctx, h.store)
	if err != nil && !errors.Is(err, store.ErrNotExist) {
		return "", err
	}
	return info.Revision, nil
}

// ready is what look returns to mounts that need not wait, but must ask for the revision
// first.
var ready = closedChannel()

func closedChannel() chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// look returns the tree of a revision, which h uses from now on. Otherwise it returns a
// channel to wait for before the next look, or nil if h must open the archive. rev is nil
// if it is not known.
func (s *sharing) look(key shareKey, rev *store.Revision, h *hosted) (t *sharedTree, wait <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.groups[key]
	if g == nil {
		g = &shareGroup{trees: map[store.Revision]*sharedTree{}}
		if s.groups == nil {
			s.groups = map[shareKey]*shareGroup{}
		}
		s.groups[key] = g
	}
	if rev != nil {
		if t := g.use(*rev, h); t != nil {
			return t, nil
		}
	}
	switch {
	case g.opening != nil:
		return nil, g.opening
	case rev == nil && len(g.trees) > 0:
		return nil, ready
	}
	g.opening = make(chan struct{})
	return nil, nil
}

// use returns the tree of a revision to h; nil if there is no usable one.
// Preconditions: sharing.mu is held.
func (g *shareGroup) use(rev store.Revision, h *hosted) *sharedTree {
	t := g.trees[rev]
	if t == nil || t.isPoisoned() {
		return nil
	}
	t.users = append(t.users, h)
	return t
}

// isPoisoned reports whether the tree is loaded and poisoned.
func (t *sharedTree) isPoisoned() bool {
	select {
	case <-t.done:
		return t.err == nil && t.loaded.tree.Poisoned()
	default:
		return false
	}
}

// open opens the archive, and begins to load it unless the revision already has a tree.
// look has told the caller to open it.
func (s *sharing) open(ctx context.Context, key shareKey, h *hosted) (*sharedTree, error) {
	life, stop := context.WithCancel(context.WithoutCancel(ctx)) // of the tree
	unbind := context.AfterFunc(ctx, stop)
	t := &sharedTree{sharing: s, key: key, stop: stop, done: make(chan struct{})}
	l := h.loader()
	l.warn, l.progress = t.warn, t.progress
	obj, err := l.open(life)
	if !unbind() && err == nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		stop()
		obj.Close()
		s.opened(key, "", nil, nil)
		return nil, err
	}
	var rev store.Revision
	if obj != nil {
		rev = obj.Info().Revision
	}
	if other := s.opened(key, rev, t, h); other != t {
		stop()
		obj.Close()
		return other, nil
	}
	go t.load(life, l, obj)
	return t, nil
}

// opened ends the opening of an archive. It returns the tree of that revision for h to use:
// t, or another one that already exists. A nil t says that opening has failed.
func (s *sharing) opened(key shareKey, rev store.Revision, t *sharedTree, h *hosted) *sharedTree {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := s.groups[key]
	close(g.opening)
	g.opening = nil
	if t == nil {
		s.tidyLocked(key)
		return nil
	}
	if other := g.use(rev, h); other != nil {
		return other
	}
	g.trees[rev] = t
	return g.use(rev, h)
}

// load fills the tree. A tree that failed stays only with the mounts that wait for it.
func (t *sharedTree) load(ctx context.Context, l *loader, obj *openObject) {
	t.loaded, t.err = l.load(ctx, obj)
	t.sharing.mu.Lock()
	defer t.sharing.mu.Unlock()
	if t.err != nil {
		t.leaveLocked()
	}
	close(t.done)
}

// warn keeps a warning for all mounts.
func (t *sharedTree) warn(w archive.Warning) {
	if len(t.warned) < maxWarnings && !slices.Contains(t.warned, w) {
		t.warned = append(t.warned, w)
	}
}

// progress reports the loading to all mounts that wait for it.
func (t *sharedTree) progress(p wire.Progress) {
	t.sharing.mu.Lock()
	users := slices.Clone(t.users)
	t.sharing.mu.Unlock()
	for _, h := range users {
		h.tellProgress(p)
	}
}

// release ends the use of the tree by h. After the last use no mount comes to use it any
// more, and it is freed as soon as its loading has ended.
func (t *sharedTree) release(h *hosted) {
	t.sharing.mu.Lock()
	i := slices.Index(t.users, h)
	t.users = slices.Delete(t.users, i, i+1)
	last := len(t.users) == 0
	if last {
		t.leaveLocked()
	}
	t.sharing.mu.Unlock()
	if last {
		t.stop()
		h.server.freeing.Go(func() {
			<-t.done
			t.loaded.free()
		})
	}
}

// leaveLocked keeps further mounts from using the tree.
// Preconditions: sharing.mu is held.
func (t *sharedTree) leaveLocked() {
	g := t.sharing.groups[t.key]
	if g == nil {
		return
	}
	for rev, other := range g.trees {
		if other == t {
			delete(g.trees, rev)
		}
	}
	t.sharing.tidyLocked(t.key)
}

// tidyLocked removes a group without users.
// Preconditions: sharing.mu is held.
func (s *sharing) tidyLocked(key shareKey) {
	if g := s.groups[key]; g != nil && len(g.trees) == 0 && g.opening == nil {
		delete(s.groups, key)
	}
}
