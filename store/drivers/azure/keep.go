package azure

import (
	"context"
	"errors"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"

	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/store/drivers/internal/cloud"
)

var _ cloud.Duplicator = (*backend)(nil)

// Duplicate implements cloud.Duplicator, by Copy Blob From URL, which copies up to 256 MiB.
func (b *backend) Duplicate(ctx context.Context, name, src string, rev store.Revision) error {
	from, err := b.readable(ctx, src)
	if err != nil {
		return err
	}
	tag := azcore.ETag(`"` + string(rev) + `"`)
	_, err = b.client.NewBlobClient(name).CopyFromURL(ctx, from.url, &blob.CopyFromURLOptions{
		CopySourceAuthorization:        from.token,
		SourceModifiedAccessConditions: &blob.SourceModifiedAccessConditions{SourceIfMatch: &tag},
	})
	switch {
	case err == nil:
		return nil
	case bloberror.HasCode(err, bloberror.CannotVerifyCopySource, bloberror.InvalidHeaderValue, bloberror.RequestBodyTooLarge):
		return errors.ErrUnsupported
	}
	return refused(err)
}
