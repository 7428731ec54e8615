package cloud

import (
	"context"
	"errors"

	"github.com/workdir/workdir/store"
)

// Duplicator is an optional interface of a Backend that can copy a whole object by one
// request.
type Duplicator interface {
	// Duplicate copies src, of exactly revision rev, to another name in this bucket. An
	// existing object is replaced by the same, or kept. errors.ErrUnsupported if one request
	// cannot do it. Otherwise it is as Backend.Put.
	Duplicate(ctx context.Context, name, src string, rev store.Revision) error
}

// Keep implements store.Keeper. The name of the copy identifies its content, so a second
// request is harmless, and the only condition needed is that on the source.
func (s *cloudStore) Keep(ctx context.Context, key string, rev store.Revision, as string) error {
	d, ok := s.backend.(Duplicator)
	if !ok {
		return errors.ErrUnsupported
	}
	ctx = s.counted(ctx)
	from, err := s.name(key)
	to, terr := s.name(as)
	if err = errors.Join(err, terr, store.ContextError(ctx)); err == nil {
		err = s.repeat(ctx, "copy", tries, func(ctx context.Context) error { return d.Duplicate(ctx, to, from, rev) })
	}
	switch {
	case err == nil:
		return nil
	case errors.Is(err, errors.ErrUnsupported):
		return err
	case s.refusal(err).Meaning == NotFound, s.refusal(err).Meaning == Changed:
		err = replaced("kept", rev, err)
	}
	return s.fail(ctx, "keep", key, err)
}

// Drop implements store.Keeper by one request.
func (s *cloudStore) Drop(ctx context.Context, as string, rev store.Revision) error {
	ctx = s.counted(ctx)
	name, err := s.name(as)
	if err == nil {
		err = s.repeat(ctx, "delete", tries, func(ctx context.Context) error { return s.backend.Delete(ctx, name, rev) })
	}
	if err != nil {
		return s.fail(ctx, "delete", as, err)
	}
	return nil
}
