package cloud

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/workdir/workdir/store"
)

const (
	answerTime = 15 * time.Second // for the answer to a final request after the caller's context has ended
	finalTries = 3                // how often the request is sent
)

// final is the one request of a write that makes it visible, or that removes an object. It is
// retried, under the same condition, if it was not done or its answer was lost; after a lost
// answer only success is definite, since a refusal can be due to our own earlier try.
type final struct {
	s    *cloudStore
	kind Kind
	key  string
	opts *store.PutOptions
	send func(context.Context) (Attributes, error)

	lost error // of the last try whose answer was lost, or nil
}

// do sends the request. Errors: that of Before or Lost; a *store.ConflictError; ErrUnknown; the
// refusal; the context's, if it had ended before anything was sent.
func (f *final) do(ctx context.Context) (Attributes, error) {
	op := Operation(ctx, string(f.kind))
	b := f.s.backoff()
	for n := 1; ; n++ {
		if err := f.ask(ctx); err != nil {
			return Attributes{}, f.outcome(err)
		}
		a, err := f.sendToAnswer(op)
		if err == nil {
			return a, nil
		}
		m := f.s.refusal(err).Meaning
		if m == Broken {
			f.lost = err
		}
		if !m.Retryable() || n == finalTries || !b.wait(ctx) {
			return Attributes{}, f.refused(ctx, m, err)
		}
		if f.lost != nil && f.opts.Lost != nil {
			if err := f.opts.Lost(ctx, f.lost); err != nil {
				return Attributes{}, f.outcome(&callerError{err})
			}
		}
	}
}

// ask calls Before, and checks the context before and after.
func (f *final) ask(ctx context.Context) error {
	if err := store.ContextError(ctx); err != nil {
		return err
	}
	if f.opts.Before != nil {
		if err := f.opts.Before(ctx); err != nil {
			return &callerError{err}
		}
	}
	return store.ContextError(ctx)
}

// sendToAnswer sends the request with a context that lives somewhat longer than ctx, because
// the outcome of an interrupted request is unknown.
func (f *final) sendToAnswer(ctx context.Context) (Attributes, error) {
	longer, cancel := outlive(ctx, f.s.answerTime)
	defer cancel()
	defer f.s.watch(longer)()
	a, err := f.send(longer)
	if err != nil && longer.Err() != nil {
		err = fmt.Errorf("no answer within %v of: %w: %w", f.s.answerTime, store.ContextError(ctx), err)
		f.lost = err
	}
	return a, err
}

// outlive returns a context with the values of ctx that ends some time after it.
func outlive(ctx context.Context, by time.Duration) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		timer := time.AfterFunc(by, cancel)
		context.AfterFunc(longer, func() { timer.Stop() })
	})
	return longer, func() {
		stop()
		cancel()
	}
}

// refused returns the error of a refusal with a meaning.
func (f *final) refused(ctx context.Context, m Meaning, err error) error {
	switch {
	case f.lost != nil:
	case m == Changed, m == NotFound && f.opts.Replace != "":
		return f.conflict(ctx)
	case m == Busy: // by now others may have done something that prevents it
		have, herr := f.have(ctx)
		if herr == nil && have != f.opts.Replace {
			return &store.ConflictError{Want: f.opts.Replace, Have: have}
		}
		f.lost = err
		err = errors.Join(err, herr)
	}
	return f.outcome(err)
}

// early returns the error of an earlier step: some clouds check the condition when the upload
// begins.
func (f *final) early(ctx context.Context, err error) error {
	if errors.As(err, new(*callerError)) || errors.Is(err, errors.ErrUnsupported) || store.ContextError(ctx) != nil || f.s.refusal(err).Meaning != Changed {
		return err
	}
	return f.conflict(ctx)
}

// conflict returns a conflict with the actual revision, if the store shows it.
func (f *final) conflict(ctx context.Context) error {
	have, _ := f.have(ctx) // a conflict in any case
	return &store.ConflictError{Want: f.opts.Replace, Have: have}
}

// have returns the current revision, or "".
func (f *final) have(ctx context.Context) (store.Revision, error) {
	bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), f.s.answerTime)
	defer cancel()
	a, err := f.s.head(bounded, f.key)
	if err != nil && f.s.refusal(err).Meaning == NotFound {
		return "", nil
	}
	return a.Revision, err
}

// outcome returns err, or ErrUnknown if an earlier try may have been done.
func (f *final) outcome(err error) error {
	if f.lost == nil {
		return err
	}
	if !errors.Is(err, f.lost) {
		err = fmt.Errorf("%w (the answer to an earlier try was lost: %w)", err, f.lost)
	}
	return &store.Error{Kind: store.ErrUnknown, Cause: err, Todo: "check the workspace before trying again"}
}

// Delete implements store.Store.
func (s *cloudStore) Delete(ctx context.Context, key string, rev store.Revision, before func(context.Context) error) error {
	ctx = s.counted(ctx)
	if err := s.remove(ctx, key, &store.PutOptions{Replace: rev, Before: before}); err != nil {
		return s.fail(ctx, "delete", key, err)
	}
	return nil
}

func (s *cloudStore) remove(ctx context.Context, key string, opts *store.PutOptions) error {
	have, err := s.head(ctx, key)
	if err != nil {
		return err
	}
	if have.Revision != opts.Replace {
		return &store.ConflictError{Want: opts.Replace, Have: have.Revision}
	}
	name := s.prefix + key + suffix
	if err := s.probe(ctx, KindDelete, name); err != nil {
		return err
	}
	f := &final{s: s, kind: KindDelete, key: key, opts: opts, send: func(ctx context.Context) (Attributes, error) {
		return Attributes{}, s.backend.Delete(ctx, name, opts.Replace)
	}}
	_, err = f.do(ctx)
	return err
}
