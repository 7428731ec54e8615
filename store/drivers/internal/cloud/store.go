package cloud

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/workdir/workdir/store"
)

// NewStore returns a store over a backend, which the store then owns. prefix precedes every
// key, for a bucket that is a part of another. The backend's requests go through t; if that is
// nil they are not counted. No request is made.
func NewStore(b Backend, prefix string, t *Transport) store.Store { return newStore(b, prefix, t) }

func newStore(b Backend, prefix string, t *Transport) *cloudStore {
	return &cloudStore{backend: b, prefix: prefix, transport: t, pause: firstPause, answerTime: answerTime, linger: lingerTime, waiting: waiting{silence: silenceTime}}
}

// cloudStore is a store.Store over a Backend.
type cloudStore struct {
	backend    Backend
	prefix     string
	transport  *Transport    // nil if nothing is counted
	traffic    traffic       // of this store
	id         string        // of a shared backend; "" if it is this store's own
	pause      time.Duration // before the first retry
	answerTime time.Duration // for the answer to a final request
	linger     time.Duration // for parts of an abandoned upload
	waiting    waiting
}

var (
	_ store.Composer   = (*cloudStore)(nil)
	_ store.Copier     = (*cloudStore)(nil)
	_ store.Lister     = (*cloudStore)(nil)
	_ store.Pager      = (*cloudStore)(nil)
	_ store.TailOpener = (*cloudStore)(nil)
)

const (
	suffix  = ".tar.gz"
	maxName = 1024 // bytes of an object's name, on all clouds
)

// name returns the name of a key's object. It refuses keys that store.ParseURL refuses, and
// names that are invalid in the cloud.
func (s *cloudStore) name(key string) (string, error) {
	name := s.prefix + key + suffix
	if err := store.CheckKey(key); err != nil {
		return "", badKey(err)
	}
	if len(name) > maxName {
		return "", badKey(fmt.Errorf("%w: the object's name has %d bytes, and %d are allowed; choose another key", store.ErrURL, len(name), maxName))
	}
	if err := s.backend.CheckName(name); err != nil {
		return "", badKey(fmt.Errorf("%w: %w; choose another key", store.ErrURL, err))
	}
	return name, nil
}

func badKey(err error) error {
	if err == nil {
		return nil
	}
	return &store.Error{Cause: err}
}

// Stat implements store.Store.
func (s *cloudStore) Stat(ctx context.Context, key string) (store.Info, error) {
	ctx = s.counted(ctx)
	a, err := s.head(ctx, key)
	if err != nil {
		return store.Info{}, s.fail(ctx, "stat", key, err)
	}
	return info(key, a), nil
}

// head gets the attributes of a key's object.
func (s *cloudStore) head(ctx context.Context, key string) (a Attributes, err error) {
	name, err := s.name(key)
	if err == nil {
		err = store.ContextError(ctx)
	}
	if err != nil {
		return a, err
	}
	a, err = repeatFor(s, ctx, "head", func(ctx context.Context) (Attributes, error) { return s.backend.Head(ctx, name) })
	return a, s.believe(ctx, name, err)
}

// believe returns err, or, if that is "not found" but the object may just not be visible in
// the bucket, the reason.
func (s *cloudStore) believe(ctx context.Context, name string, err error) error {
	if err == nil || s.refusal(err).Meaning != NotFound {
		return err
	}
	unseen := s.repeat(ctx, "bucket", tries, func(ctx context.Context) error { return s.backend.Accessible(ctx, name) })
	if unseen == nil {
		return err
	}
	if r := s.refusal(unseen); r.Meaning == NotFound {
		return Means(NoBucket, r.Todo, unseen)
	}
	return unseen
}

func info(key string, a Attributes) store.Info {
	return store.Info{Key: key, Revision: a.Revision, Size: a.Size, ModTime: a.ModTime}
}

// List implements store.Store.
func (s *cloudStore) List(ctx context.Context, prefix string) ([]store.Info, error) {
	infos, _, err := s.list(ctx, prefix, PageRequest{}, "", 0)
	return sorted(infos), err
}

// ListAll implements store.Lister.
func (s *cloudStore) ListAll(ctx context.Context, prefix string) ([]store.Info, error) {
	infos, _, err := s.list(ctx, prefix, PageRequest{Deep: true}, "", 0)
	return sorted(infos), err
}

func sorted(infos []store.Info) []store.Info {
	slices.SortFunc(infos, func(a, b store.Info) int { return cmp.Compare(a.Key, b.Key) })
	return infos
}

// ListPage implements store.Pager.
func (s *cloudStore) ListPage(ctx context.Context, prefix, after string, n int) ([]store.Info, bool, error) {
	r := PageRequest{Size: n + 1} // one more shows whether there are more
	if after != "" {
		after = s.prefix + after + suffix
		r.Start = max(after, s.prefix+prefix)
		if !strings.HasPrefix(r.Start, s.prefix+prefix) {
			return nil, false, badKey(store.CheckPrefix(prefix)) // it sorts after all of them
		}
	}
	infos, more, err := s.list(ctx, prefix, r, after, n)
	return infos, more, err
}

// list lists the archives after a name, n of them or, if n is 0, all. more reports that there
// are others.
func (s *cloudStore) list(ctx context.Context, prefix string, r PageRequest, after string, n int) (infos []store.Info, more bool, err error) {
	ctx = s.counted(ctx)
	r.Prefix = s.prefix + prefix
	if err = badKey(store.CheckPrefix(prefix)); err == nil {
		err = store.ContextError(ctx)
	}
	for more = true; err == nil && more; {
		var page Page
		page, err = repeatFor(s, ctx, "list", func(ctx context.Context) (Page, error) { return s.backend.Page(ctx, r) })
		for _, o := range page.Objects {
			key, isArchive := strings.CutSuffix(strings.TrimPrefix(o.Name, s.prefix), suffix)
			switch {
			case !isArchive, key == prefix, strings.HasSuffix(key, "/"), o.Name <= after: // our keys never end with a slash
			case n > 0 && len(infos) == n:
				return infos, true, nil
			default:
				infos = append(infos, info(key, o.Attributes))
			}
		}
		r.Token, r.Size, more = page.Next, 0, page.Next != nil
	}
	err = s.believe(ctx, r.Prefix, err)
	switch {
	case err == nil:
		return infos, false, nil
	case s.refusal(err).Meaning == NotFound:
		return nil, false, nil
	}
	return nil, false, s.fail(ctx, "list", prefix, err)
}

// Traffic returns the network traffic; see store.TrafficOf.
func (s *cloudStore) Traffic() store.Traffic {
	if s.transport == nil {
		return nil
	}
	return s.traffic.sum()
}

// Close implements store.Store.
func (s *cloudStore) Close() error {
	if s.id != "" {
		return nil
	}
	err := s.backend.Close()
	if s.transport != nil {
		s.transport.CloseIdleConnections()
	}
	return err
}
