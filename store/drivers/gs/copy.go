package gs

import (
	"context"
	"errors"

	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/store/drivers/internal/cloud"
)

// CopyFrom has Google copy between two buckets that the same credentials are used
// for, in as many requests as it wants; the last one makes the object.
func (b *backend) CopyFrom(ctx context.Context, src cloud.Backend, from string, rev store.Revision, name string, cond cloud.Condition) (cloud.Attributes, error) {
	other, ok := src.(*backend)
	if !ok || other.identity != b.identity {
		return cloud.Attributes{}, errors.ErrUnsupported
	}
	source, err := other.handle(ctx)
	if err != nil {
		return cloud.Attributes{}, err
	}
	target, err := b.handle(ctx)
	if err != nil {
		return cloud.Attributes{}, err
	}
	generation, err := parseRevision(rev)
	if err != nil {
		return cloud.Attributes{}, err
	}
	c, err := conditions(cond)
	if err != nil {
		return cloud.Attributes{}, err
	}
	a, err := target.Object(name).If(c).CopierFrom(source.Object(from).Generation(generation)).Run(ctx)
	if err != nil {
		return cloud.Attributes{}, tidy(err)
	}
	return attributes(a), nil
}
