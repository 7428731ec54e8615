package cloud

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/workdir/workdir/store"
)

// A bucket whose server ignores conditions silently lets two commits overwrite each other. So
// before the first request of each kind that changes a bucket, its conditions are tested on a
// scratch object; a positive result is valid for the life of the process, and for a day for
// others, see known.go.

// probed is the state of the buckets that this process has written to.
var probed struct {
	sync.Mutex
	buckets map[string]*bucketProbe // by endpoint and bucket; guarded by the mutex
}

// bucketProbe is the state of one bucket.
type bucketProbe struct {
	turn  chan struct{} // holds an element while free; guards holds
	holds map[Kind]bool // conditions that were tested and hold
	lacks sync.Map      // kinds of requests that the bucket refuses
}

// place identifies the bucket of s.
func (s *cloudStore) place() string { return s.backend.Endpoint() + " " + s.backend.Bucket() }

// probeOf returns the state of the bucket of s.
func (s *cloudStore) probeOf() *bucketProbe {
	probed.Lock()
	defer probed.Unlock()
	id := s.place()
	p := probed.buckets[id]
	if p == nil {
		p = &bucketProbe{turn: make(chan struct{}, 1), holds: map[Kind]bool{}}
		p.turn <- struct{}{}
		if probed.buckets == nil {
			probed.buckets = map[string]*bucketProbe{}
		}
		probed.buckets[id] = p
	}
	return p
}

// lacks records that the bucket refuses a kind of request.
func (s *cloudStore) lacks(kind Kind) { s.probeOf().lacks.Store(kind, true) }

// scratchTries is how often a probe is made if its requests get no answer.
const scratchTries = 3

// probe verifies that the bucket honours the conditions of a kind of request, beside the
// object of a name. ErrNotConditional if it does not, or, for a copy, errors.ErrUnsupported.
func (s *cloudStore) probe(ctx context.Context, kind Kind, name string) error {
	p := s.probeOf()
	if _, lacks := p.lacks.Load(kind); lacks {
		return errors.ErrUnsupported
	}
	if !slices.Contains(s.backend.Tries(), kind) {
		return nil
	}
	select {
	case <-p.turn:
		defer func() { p.turn <- struct{}{} }()
	case <-ctx.Done():
		return store.ContextError(ctx)
	}
	what := s.place() + " honours the conditions of " + string(kind)
	p.holds[kind] = p.holds[kind] || known(what)
	if p.holds[kind] {
		return nil
	}
	b := s.backoff()
	for n := 1; ; n++ {
		err := s.tryConditions(ctx, kind, name)
		definite := err == nil || errors.Is(err, store.ErrNotConditional) || !s.refusal(err).Meaning.Retryable()
		switch {
		case err == nil:
			p.holds[kind] = true
			learnt(what)
			return nil
		case !definite && n < scratchTries && b.wait(ctx):
			continue
		case kind != KindCopy || ctx.Err() != nil:
			return err
		case definite:
			s.lacks(kind)
		}
		return uncopied(err)
	}
}

// uncopied is the error of a copy that the cloud refuses: the bytes can be sent instead.
func uncopied(err error) error {
	return fmt.Errorf("%w: %v", errors.ErrUnsupported, err) //nolint:errorlint // shown, not matched
}

// tryConditions tests conditions on a new scratch object, which has been replaced once, and
// removes it: a request that may only create must be refused, and so must one that may only
// replace the first revision. One that may replace the second must succeed.
func (s *cloudStore) tryConditions(ctx context.Context, kind Kind, name string) (err error) {
	t := &scratch{s: s, ctx: ctx, name: scratchName(name)}
	defer func() { err = errors.Join(err, t.remove()) }()
	first, err := t.put(Condition{})
	if err != nil {
		return t.refused(err)
	}
	now, err := t.put(Condition{first.Revision})
	if err != nil {
		return t.refused(err)
	}
	send := map[Kind]func(Condition) (Attributes, error){
		KindPut:      t.put,
		KindComplete: func(c Condition) (Attributes, error) { return t.upload(c, nil) },
		KindCopy:     func(c Condition) (Attributes, error) { return t.upload(c, &Source{s.backend, t.name, now}) },
		KindDelete: func(c Condition) (Attributes, error) {
			return Attributes{}, s.backend.Delete(Operation(ctx, "delete"), t.name, c.Replace)
		},
	}[kind]
	if kind != KindDelete {
		_, err := send(Condition{})
		if err = t.wantRefusal(err, kind, "create"); err != nil {
			return err
		}
	}
	_, err = send(Condition{first.Revision})
	if err = t.wantRefusal(err, kind, "replace one revision"); err != nil {
		return err
	}
	switch kind {
	case KindComplete:
		_, err = send(Condition{now.Revision})
		return t.refused(err)
	case KindCopy:
		_, err := t.upload(Condition{now.Revision}, &Source{s.backend, t.name, first})
		return t.wantRefusal(err, kind, "copy one revision")
	}
	return nil
}

// scratchName returns a name in the directory of another, or in a parent if that would be too
// long.
func scratchName(name string) string {
	own := ".workdir-probe-" + rand.Text()[:16]
	for {
		i := strings.LastIndexByte(name, '/')
		if name = name[:i+1]; len(name)+len(own) <= maxName {
			return name + own
		}
		name = strings.TrimSuffix(name, "/")
	}
}

// scratch is an object on which conditions are tested.
type scratch struct {
	s    *cloudStore
	ctx  context.Context // of the probe
	name string
	n    int // writes so far, to make them distinct
}

func (t *scratch) content() []byte {
	t.n++
	return fmt.Appendf(nil, "workdir tries whether this store honours conditions (%d, %s)\n", t.n, t.name)
}

func (t *scratch) put(cond Condition) (Attributes, error) {
	content := t.content()
	a, err := t.s.backend.Put(Operation(t.ctx, "put"), t.name, content, cond)
	a.Size = int64(len(content))
	return a, err
}

// upload makes the object of one part, which is copied from src unless that is nil.
func (t *scratch) upload(cond Condition, src *Source) (a Attributes, err error) {
	defer Guard(&err)
	u, err := t.s.backend.Upload(Operation(t.ctx, "upload"), t.name, cond, src)
	if err != nil {
		return a, err
	}
	if src == nil {
		err = u.Part(Operation(t.ctx, "part"), 1, t.content())
	} else {
		err = u.Copy(Operation(t.ctx, "copy"), 1, 0, src.Size)
	}
	if err == nil {
		a, err = u.Complete(Operation(t.ctx, "complete"), cond)
	}
	if err != nil {
		newSender(t.ctx, t.s, u, src).abort()
	}
	return a, err
}

// wantRefusal returns nil if err says that a condition does not hold.
func (t *scratch) wantRefusal(err error, kind Kind, what string) error {
	switch {
	case err == nil:
		return notConditional(fmt.Sprintf("a %s that should only %s had the effect of any", kind, what), nil)
	case t.s.refusal(err).Meaning == Changed, kind == KindCopy && t.s.refusal(err).Meaning == NotFound:
		return nil
	}
	return t.refused(err)
}

// refused returns the error of a request that should have been done.
func (t *scratch) refused(err error) error {
	switch {
	case err == nil:
		return nil
	case t.s.refusal(err).Meaning == Unsupported, errors.Is(err, errors.ErrUnsupported):
		return notConditional("the server does not know requests with conditions", err)
	case t.s.refusal(err).Meaning == Changed:
		return t.doubled(err)
	}
	return err
}

// doubled is the refusal of a change to a scratch object because of its revision. It proves
// nothing about conditions or the archive: the object is private, so most likely a duplicate
// of our own request, sent by a load balancer or proxy, has changed it.
func (t *scratch) doubled(err error) error {
	return Means(Broken, "something on the way to the store sends requests twice, or its conditions never hold; try again, and look with \"workdir-mount doctor\"",
		fmt.Errorf("the scratch object %s, which only this program uses, had changed: %w", t.name, err))
}

func notConditional(what string, err error) error {
	cause := errors.New(what)
	if err != nil {
		cause = fmt.Errorf("%s: %w", what, err)
	}
	return &store.Error{
		Kind: store.ErrNotConditional, Cause: cause,
		Todo: "two commits would overwrite each other without notice; use a store with conditional writes (If-Match, If-None-Match)",
	}
}

// remove removes the scratch object, whatever its revision.
func (t *scratch) remove() error {
	bounded, cancel := context.WithTimeout(context.WithoutCancel(t.ctx), abortTime)
	defer cancel()
	err := t.s.repeat(bounded, "delete", tries, func(ctx context.Context) error {
		a, err := t.s.backend.Head(Operation(ctx, "head"), t.name)
		if err != nil {
			return err
		}
		if err = t.s.backend.Delete(ctx, t.name, a.Revision); err != nil && t.s.refusal(err).Meaning == Changed {
			return t.doubled(err)
		}
		return err
	})
	if err == nil || t.s.refusal(err).Meaning == NotFound {
		return nil
	}
	return fmt.Errorf("remove the scratch object %s: %w", t.name, err)
}
