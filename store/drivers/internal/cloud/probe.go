package cloud

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/workdir/workdir/store"
)

// A bucket whose server ignores conditions lets two commits overwrite each other
// and tells nobody. So before the first request of each kind that changes a bucket,
// its conditions are tried on an object of our own; what was found to hold is known for
// the life of the process, and for a day to others, see known.go.

// probeKind is a kind of request whose conditions are tried.
type probeKind int

const (
	probePut probeKind = iota
	probeComplete
	probeDelete
	probeCopy
)

// probed is what is known of the buckets that this process has written to.
var probed struct {
	sync.Mutex
	buckets map[string]*bucketProbe // by endpoint and bucket; guarded by the mutex
}

// bucketProbe is what is known of one bucket.
type bucketProbe struct {
	turn  chan struct{}      // holds one while it is free; guards holds
	holds map[probeKind]bool // conditions that were seen to hold
}

// place identifies the bucket of s.
func (s *cloudStore) place() string { return s.backend.Endpoint() + " " + s.backend.Bucket() }

// probeOf gives what is known of the bucket of s.
func (s *cloudStore) probeOf() *bucketProbe {
	probed.Lock()
	defer probed.Unlock()
	id := s.place()
	p := probed.buckets[id]
	if p == nil {
		p = &bucketProbe{turn: make(chan struct{}, 1), holds: map[probeKind]bool{}}
		p.turn <- struct{}{}
		if probed.buckets == nil {
			probed.buckets = map[string]*bucketProbe{}
		}
		probed.buckets[id] = p
	}
	return p
}

// scratchTries is how often a probe is made whose requests had no answer.
const scratchTries = 3

// probe sees that the bucket honours the conditions of a kind of request, beside
// the object of a name. ErrNotConditional if it does not, or, for a copy,
// errors.ErrUnsupported.
func (s *cloudStore) probe(ctx context.Context, kind probeKind, name string) error {
	if c, ok := s.backend.(Conditional); ok && c.HonoursConditions() {
		return nil
	}
	p := s.probeOf()
	select {
	case <-p.turn:
		defer func() { p.turn <- struct{}{} }()
	case <-ctx.Done():
		return store.ContextError(ctx)
	}
	what := fmt.Sprintf("%s honours the conditions of %d", s.place(), kind)
	p.holds[kind] = p.holds[kind] || known(what)
	if p.holds[kind] {
		return nil
	}
	b := s.backoff()
	for n := 1; ; n++ {
		err := s.tryConditions(ctx, kind, name)
		if err == nil {
			p.holds[kind] = true
			learnt(what)
			return nil
		}
		if n == scratchTries || !s.refusal(err).Meaning.Again() || !b.wait(ctx) {
			return err
		}
	}
}

// tryConditions tries them on a new scratch object, and removes it.
func (s *cloudStore) tryConditions(ctx context.Context, kind probeKind, name string) (err error) {
	t := &scratch{s: s, name: scratchName(name)}
	defer func() { err = errors.Join(err, t.remove(ctx)) }()
	t.first, err = t.put(ctx, Condition{})
	if err != nil {
		return t.refused(err)
	}
	switch kind {
	case probePut:
		return t.tryPut(ctx)
	case probeComplete:
		return t.tryComplete(ctx)
	case probeDelete:
		return t.tryDelete(ctx)
	case probeCopy:
		return t.tryCopy(ctx)
	}
	panic(fmt.Sprintf("cloud: no probe %d", kind))
}

// scratchName gives a name in the directory of another, or in one above it where
// that would be too long.
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

// scratch is an object on which conditions are tried.
type scratch struct {
	s     *cloudStore
	name  string
	first Attributes // as it was made
	n     int        // writes so far, so that no two are equal
}

func (t *scratch) content() []byte {
	t.n++
	return fmt.Appendf(nil, "workdir tries whether this store honours conditions (%d, %s)\n", t.n, t.name)
}

func (t *scratch) put(ctx context.Context, cond Condition) (Attributes, error) {
	return t.s.backend.Put(Operation(ctx, "put"), t.name, t.content(), cond)
}

// tryPut expects two refusals and, between them, no refusal.
func (t *scratch) tryPut(ctx context.Context) error {
	_, err := t.put(ctx, Condition{})
	if err := t.wantRefusal(err, "a write that should only create"); err != nil {
		return err
	}
	if _, err := t.put(ctx, Condition{Replace: t.first.Revision}); err != nil {
		return t.refused(err)
	}
	_, err = t.put(ctx, Condition{Replace: t.first.Revision})
	return t.wantRefusal(err, "a write that should only replace one revision")
}

func (t *scratch) tryComplete(ctx context.Context) error {
	other, err := t.put(ctx, Condition{Replace: t.first.Revision})
	if err != nil {
		return t.refused(err)
	}
	err = t.uploadOf(ctx, Condition{})
	if err := t.wantRefusal(err, "an upload in parts that should only create"); err != nil {
		return err
	}
	err = t.uploadOf(ctx, Condition{Replace: t.first.Revision})
	if err := t.wantRefusal(err, "an upload in parts that should only replace one revision"); err != nil {
		return err
	}
	if err := t.uploadOf(ctx, Condition{Replace: other.Revision}); err != nil {
		return t.refused(err)
	}
	return nil
}

// uploadOf uploads one part.
func (t *scratch) uploadOf(ctx context.Context, cond Condition) error {
	u, err := t.s.backend.Upload(Operation(ctx, "upload"), t.name, cond)
	if err != nil {
		return err
	}
	sender := newSender(ctx, t.s, u)
	err = u.Part(Operation(ctx, "part"), 1, t.content())
	if err == nil {
		_, err = u.Complete(Operation(ctx, "complete"), cond)
	}
	if err != nil {
		sender.abort()
	}
	return err
}

func (t *scratch) tryDelete(ctx context.Context) error {
	if _, err := t.put(ctx, Condition{Replace: t.first.Revision}); err != nil {
		return t.refused(err)
	}
	err := t.s.backend.Delete(Operation(ctx, "delete"), t.name, t.first.Revision)
	return t.wantRefusal(err, "a removal of one revision")
}

// tryCopy copies the scratch object onto itself.
func (t *scratch) tryCopy(ctx context.Context) error {
	copier, ok := t.s.backend.(Copier)
	if !ok {
		return errors.ErrUnsupported
	}
	other, err := t.put(ctx, Condition{Replace: t.first.Revision})
	if err != nil {
		return t.refused(err)
	}
	for _, cond := range []Condition{{}, {Replace: t.first.Revision}} {
		_, err := copier.CopyFrom(Operation(ctx, "copy"), t.s.backend, t.name, other.Revision, t.name, cond)
		if err = t.wantRefusal(err, "a copy"); errors.Is(err, store.ErrNotConditional) {
			return errors.ErrUnsupported
		} else if err != nil {
			return err
		}
	}
	return nil
}

// wantRefusal is nil where err says that a condition does not hold.
func (t *scratch) wantRefusal(err error, what string) error {
	if err == nil {
		return notConditional(what+" overwrote another revision", nil)
	}
	if t.s.refusal(err).Meaning == Changed {
		return nil
	}
	return t.refused(err)
}

// refused gives the error of a request that should have been done.
func (t *scratch) refused(err error) error {
	switch t.s.refusal(err).Meaning {
	case Unsupported:
		return notConditional("the server does not know requests with conditions", err)
	case Changed:
		return &doubledError{t.name, err}
	}
	return err
}

// doubledError is the refusal of a change to a scratch object because of its revision,
// which says nothing of conditions and nothing of the archive: nobody else knows the
// object, so what changed it was most likely a copy of a request of ours, which a load
// balancer or proxy had sent before.
type doubledError struct {
	name string
	err  error
}

func (e *doubledError) Error() string {
	return fmt.Sprintf("the scratch object %s, which nobody else knows, had changed: %v", e.name, e.err)
}
func (e *doubledError) Unwrap() error { return e.err }

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

// remove removes the scratch object, whatever revision it has.
func (t *scratch) remove(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTime)
	defer cancel()
	err := t.s.again(bounded, "delete", func(ctx context.Context) error {
		a, err := t.s.backend.Head(Operation(ctx, "head"), t.name)
		if err != nil {
			return err
		}
		if err = t.s.backend.Delete(ctx, t.name, a.Revision); err != nil && t.s.refusal(err).Meaning == Changed {
			return &doubledError{t.name, err}
		}
		return err
	})
	if err == nil || t.s.refusal(err).Meaning == NotFound {
		return nil
	}
	return fmt.Errorf("remove the scratch object %s: %w", t.name, err)
}
