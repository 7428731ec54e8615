package s3

import (
	"context"
	"errors"
	"net/url"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/store/drivers/internal/cloud"
)

// maxCopy is the largest object that one CopyObject copies, in bytes.
const maxCopy = 5 << 30

// CopyFrom implements cloud.Copier. The credentials of b must be allowed to read
// the other bucket; where they are not, it is not supported.
func (b *backend) CopyFrom(ctx context.Context, src cloud.Backend, from string, rev store.Revision, name string, cond cloud.Condition) (cloud.Attributes, error) {
	other, ok := src.(*backend)
	if !ok || other.endpoint != b.endpoint {
		return cloud.Attributes{}, errors.ErrUnsupported
	}
	source, err := other.Head(cloud.Operation(ctx, "head"), from)
	if err != nil {
		return cloud.Attributes{}, err
	}
	if source.Size > maxCopy {
		return cloud.Attributes{}, errors.ErrUnsupported
	}
	in := &awss3.CopyObjectInput{
		Bucket: &b.bucket, Key: &name, CopySource: aws.String(copySource(other.bucket, from)), CopySourceIfMatch: etag(rev),
		ServerSideEncryption: b.options.Encryption, SSEKMSKeyId: b.kmsKey(),
	}
	in.IfMatch, in.IfNoneMatch = conditions(cond)
	if other.bucket == b.bucket && from == name {
		// S3 refuses a copy onto itself that changes nothing, before it looks at
		// conditions, which the core tries out in that way.
		in.MetadataDirective = types.MetadataDirectiveReplace
	}
	out, err := b.client.CopyObject(ctx, in, once)
	switch {
	case err == nil:
		return attributes(out.CopyObjectResult.ETag, &source.Size, out.CopyObjectResult.LastModified), nil
	case other.bucket != b.bucket && b.Classify(err).Meaning == cloud.Denied:
		return cloud.Attributes{}, errors.ErrUnsupported
	}
	return cloud.Attributes{}, conditional(err, cond)
}

// copySource is the value of the header that names the source, in URL encoding but
// for the slashes.
func copySource(bucket, name string) string {
	segments := strings.Split(name, "/")
	for i, s := range segments {
		segments[i] = url.PathEscape(s)
	}
	return bucket + "/" + strings.ReplaceAll(strings.Join(segments, "/"), "+", "%2B")
}
