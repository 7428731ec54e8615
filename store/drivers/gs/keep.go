package gs

import (
	"context"
	"errors"
	"net/http"

	"cloud.google.com/go/storage"
	"google.golang.org/api/googleapi"

	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/store/drivers/internal/cloud"
)

var _ cloud.Duplicator = (*backend)(nil)

// Duplicate implements cloud.Duplicator. Google copies within a bucket by one request if the
// new object has the same class and location, as here.
func (b *backend) Duplicate(ctx context.Context, name, src string, rev store.Revision) error {
	h, err := b.handle(ctx)
	generation, gerr := parseRevision(rev)
	if err := errors.Join(err, gerr); err != nil {
		return err
	}
	target := h.Object(name).If(storage.Conditions{DoesNotExist: true})
	_, err = target.CopierFrom(h.Object(src).Generation(generation)).Run(ctx)
	var answer *googleapi.Error
	if errors.As(err, &answer) && answer.Code == http.StatusPreconditionFailed {
		return nil // it exists already: the generation of the source is not a condition
	}
	return tidy(err)
}
