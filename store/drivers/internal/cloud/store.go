package cloud

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/workdir/workdir/store"
)

// Options of NewStore. Nil is good.
type Options struct {
	// Prefix comes before every key: that of a bucket that shows a part of another.
	Prefix string
	// Transport is what the backend's requests go through; nil counts nothing.
	Transport *Transport
}

// NewStore gives a store over a backend, which the store then owns. No request is
// made.
func NewStore(b Backend, opts *Options) store.Store {
	if opts == nil {
		opts = &Options{}
	}
	return newStore(b, opts)
}

func newStore(b Backend, opts *Options) *cloudStore {
	return &cloudStore{
		backend: b, prefix: opts.Prefix, transport: opts.Transport,
		pause: firstPause, settle: settleTime, linger: lingerTime,
	}
}

// cloudStore is a store.Store over a Backend.
type cloudStore struct {
	backend   Backend
	prefix    string
	transport *Transport    // nil if nothing is counted
	traffic   traffic       // of this store
	id        string        // of a backend that is shared; "" if it is this store's own
	pause     time.Duration // before the first repetition
	settle    time.Duration // for the answer to a final request
	linger    time.Duration // for parts of an upload that is given up
}

const (
	suffix  = ".tar.gz"
	maxName = 1024 // bytes of an object's name, on all clouds
)

// name gives the name of a key's object.
func (s *cloudStore) name(key string) (string, error) {
	name := s.prefix + key + suffix
	err := checkKey(key, name)
	if c, ok := s.backend.(NameChecker); ok && err == nil {
		err = c.CheckName(name)
	}
	if err != nil {
		return "", &store.Error{Kind: store.ErrURL, Cause: err, Todo: "choose another key"}
	}
	return name, nil
}

// checkKey refuses the keys that store.ParseURL refuses, and names that are too
// long.
func checkKey(key, name string) error {
	switch {
	case key == "" || strings.HasSuffix(key, "/"):
		return fmt.Errorf("the key %q is the name of no workspace", key)
	case !utf8.ValidString(key):
		return fmt.Errorf("the key %q is not UTF-8", key)
	case len(name) > maxName:
		return fmt.Errorf("the object's name has %d bytes, and %d are allowed", len(name), maxName)
	}
	return checkSegments(key)
}

func checkSegments(key string) error {
	for segment := range strings.SplitSeq(key, "/") {
		if segment == "." || segment == ".." {
			return fmt.Errorf("the segment %q in the key %q", segment, key)
		}
	}
	return nil
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

// head asks for the attributes of a key's object.
func (s *cloudStore) head(ctx context.Context, key string) (a Attributes, err error) {
	name, err := s.name(key)
	if err != nil {
		return a, err
	}
	if err := store.ContextError(ctx); err != nil {
		return a, err
	}
	err = s.again(ctx, "head", func(ctx context.Context) error {
		a, err = s.backend.Head(ctx, name)
		return err
	})
	return a, s.believe(ctx, name, err)
}

// believe gives err, or, where that is "not found" and the bucket does not say
// that the object would be seen, why not.
func (s *cloudStore) believe(ctx context.Context, name string, err error) error {
	if err == nil || s.refusal(err).Meaning != NotFound {
		return err
	}
	unseen := s.again(ctx, "bucket", func(ctx context.Context) error { return s.backend.Accessible(ctx, name) })
	if unseen != nil {
		return &bucketError{unseen}
	}
	return err
}

func info(key string, a Attributes) store.Info {
	return store.Info{Key: key, Revision: a.Revision, Size: a.Size, ModTime: a.ModTime}
}

// List implements store.Store.
func (s *cloudStore) List(ctx context.Context, prefix string) ([]store.Info, error) {
	return s.listSorted(ctx, prefix, false)
}

// ListAll implements store.Lister.
func (s *cloudStore) ListAll(ctx context.Context, prefix string) ([]store.Info, error) {
	return s.listSorted(ctx, prefix, true)
}

func (s *cloudStore) listSorted(ctx context.Context, prefix string, deep bool) ([]store.Info, error) {
	ctx = s.counted(ctx)
	infos, err := s.list(ctx, prefix, deep)
	if err != nil {
		return nil, s.fail(ctx, "list", prefix, err)
	}
	slices.SortFunc(infos, func(a, b store.Info) int { return cmp.Compare(a.Key, b.Key) })
	return infos, nil
}

func (s *cloudStore) list(ctx context.Context, prefix string, deep bool) (infos []store.Info, err error) {
	if err := checkSegments(prefix); err != nil {
		return nil, &store.Error{Kind: store.ErrURL, Cause: err, Todo: "choose another prefix"}
	}
	if err := store.ContextError(ctx); err != nil {
		return nil, err
	}
	next := s.backend.List(s.prefix+prefix, deep)
	for ended := false; ; {
		var name string
		var a Attributes
		err = s.again(ctx, "list", func(ctx context.Context) (err error) {
			if name, a, err = next(ctx); err == io.EOF {
				ended, err = true, nil
			}
			return err
		})
		if ended || err != nil {
			break
		}
		key, isArchive := strings.CutSuffix(strings.TrimPrefix(name, s.prefix), suffix)
		if isArchive && key != prefix && !strings.HasSuffix(key, "/") { // no key of ours is empty after a slash
			infos = append(infos, info(key, a))
		}
	}
	if err = s.believe(ctx, s.prefix+prefix, err); err != nil && s.refusal(err).Meaning == NotFound {
		return nil, nil
	}
	return infos, err
}

// Traffic tells what went over the network; see store.TrafficOf.
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
