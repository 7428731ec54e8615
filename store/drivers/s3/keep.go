package s3

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/store/drivers/internal/cloud"
)

var _ cloud.Duplicator = (*backend)(nil)

// Duplicate implements cloud.Duplicator, for up to 5 GiB, the limit of CopyObject.
func (b *backend) Duplicate(ctx context.Context, name, src string, rev store.Revision) error {
	_, err := b.client.CopyObject(ctx, &awss3.CopyObjectInput{
		Bucket: &b.bucket, Key: &name,
		CopySource: aws.String(copySource(b.bucket, src)), CopySourceIfMatch: etag(rev),
		MetadataDirective: types.MetadataDirectiveCopy, ServerSideEncryption: b.options.Encryption, SSEKMSKeyId: orNil(b.options.KMSKeyID),
	})
	switch code(err) {
	case "InvalidRequest", "EntityTooLarge", "NotImplemented":
		return errors.ErrUnsupported
	}
	return err
}
