package cloud

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/workdir/workdir/store"
)

// CopyFrom copies the archive of a key of another store, at one revision, without
// its bytes coming here. errors.ErrUnsupported where this pair of stores, or this
// archive, cannot be copied so; then nothing was done. Other errors as Put.
func (s *cloudStore) CopyFrom(ctx context.Context, src store.Store, srcKey string, srcRev store.Revision, key string, opts *store.PutOptions) (store.Info, error) {
	if opts == nil {
		opts = &store.PutOptions{}
	}
	from, ours := src.(*cloudStore)
	copier, able := s.backend.(Copier)
	if !ours || !able {
		return store.Info{}, errors.ErrUnsupported
	}
	ctx = s.counted(ctx)
	a, err := s.copyFrom(ctx, copier, from, srcKey, srcRev, key, opts)
	if errors.Is(err, errors.ErrUnsupported) {
		return store.Info{}, err
	}
	if err != nil {
		return store.Info{}, s.fail(ctx, "copy", key, err)
	}
	return info(key, a), nil
}

func (s *cloudStore) copyFrom(ctx context.Context, copier Copier, from *cloudStore, srcKey string, srcRev store.Revision, key string, opts *store.PutOptions) (Attributes, error) {
	srcName, err := from.name(srcKey)
	if err != nil {
		return Attributes{}, err
	}
	name, err := s.name(key)
	if err != nil {
		return Attributes{}, err
	}
	if err := s.probe(ctx, probeCopy, name); err != nil {
		return Attributes{}, err
	}
	f := &final{s: s, kind: "copy", key: key, cond: Condition{Replace: opts.Replace}, before: opts.Before, look: opts.Lost}
	f.send = func(ctx context.Context) (Attributes, error) {
		a, err := copier.CopyFrom(ctx, from.backend, srcName, srcRev, name, f.cond)
		if err == nil && a.ModTime.IsZero() {
			a.ModTime = time.Now()
		}
		return a, err
	}
	a, err := f.do(ctx)
	if err != nil {
		return a, from.sourceGone(ctx, srcKey, srcRev, err)
	}
	return a, nil
}

// sourceGone tells a conflict at the source of a copy from one at its destination.
func (s *cloudStore) sourceGone(ctx context.Context, key string, rev store.Revision, err error) error {
	if !errors.As(err, new(*store.ConflictError)) && s.refusal(err).Meaning != NotFound {
		return err
	}
	have, herr := s.head(ctx, key)
	if herr == nil && have.Revision == rev {
		return err
	}
	return &store.Error{
		Kind: store.ErrConflict, Cause: fmt.Errorf("%s was replaced or removed while it was copied (revision %s is gone)", s.object(key), rev),
		Todo: "copy it again",
	}
}
