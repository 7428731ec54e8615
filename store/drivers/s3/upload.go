package s3

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/workdir/workdir/store/drivers/internal/cloud"
)

// upload is a multipart upload.
type upload struct {
	b    *backend
	name string
	id   *string

	mu    sync.Mutex
	parts []types.CompletedPart // that were sent, in any order; guarded by mu
}

// Upload implements cloud.Backend.
func (b *backend) Upload(ctx context.Context, name string, _ cloud.Condition) (cloud.Upload, error) {
	in := &awss3.CreateMultipartUploadInput{
		Bucket: &b.bucket, Key: &name, ContentType: aws.String(contentType),
		ServerSideEncryption: b.options.Encryption, SSEKMSKeyId: b.kmsKey(), ChecksumAlgorithm: b.checksumAlgorithm(),
	}
	// A second one, after a lost answer, would leave the first behind.
	out, err := b.client.CreateMultipartUpload(ctx, in, once)
	if err != nil {
		return nil, err
	}
	return &upload{b: b, name: name, id: out.UploadId}, nil
}

// MaxParts implements cloud.Upload.
func (u *upload) MaxParts() int { return cloud.UploadParts }

// Part implements cloud.Upload.
func (u *upload) Part(ctx context.Context, n int, p []byte) error {
	number := aws.Int32(int32(n)) // at most 10,000
	in := &awss3.UploadPartInput{
		Bucket: &u.b.bucket, Key: &u.name, UploadId: u.id, PartNumber: number,
		Body: bytes.NewReader(p), ContentLength: aws.Int64(int64(len(p))),
	}
	in.ContentMD5, in.ChecksumCRC32C = u.b.checksum(p)
	out, err := u.b.client.UploadPart(ctx, in)
	if err != nil {
		return err
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	u.parts = append(u.parts, types.CompletedPart{PartNumber: number, ETag: out.ETag, ChecksumCRC32C: in.ChecksumCRC32C})
	return nil
}

// Complete implements cloud.Upload.
func (u *upload) Complete(ctx context.Context, cond cloud.Condition) (cloud.Attributes, error) {
	slices.SortFunc(u.parts, func(a, b types.CompletedPart) int { return cmp.Compare(*a.PartNumber, *b.PartNumber) })
	in := &awss3.CompleteMultipartUploadInput{
		Bucket: &u.b.bucket, Key: &u.name, UploadId: u.id,
		MultipartUpload: &types.CompletedMultipartUpload{Parts: u.parts},
	}
	in.IfMatch, in.IfNoneMatch = conditions(cond)
	out, err := u.b.client.CompleteMultipartUpload(ctx, in, once)
	if err != nil {
		return cloud.Attributes{}, conditional(err, cond)
	}
	return attributes(out.ETag, nil, nil), nil
}

// errStillThere is an upload that was aborted and is there again: "it might be
// necessary to abort a given multipart upload multiple times", says the reference
// of AbortMultipartUpload, where parts were under way.
var errStillThere = errors.New("parts of an aborted upload arrived late")

// Abort implements cloud.Upload.
func (u *upload) Abort(ctx context.Context) error {
	_, err := u.b.client.AbortMultipartUpload(ctx, &awss3.AbortMultipartUploadInput{Bucket: &u.b.bucket, Key: &u.name, UploadId: u.id})
	if err != nil && code(err) != noSuchUpload { // an earlier one did it, or it is complete
		return err
	}
	in := &awss3.ListPartsInput{Bucket: &u.b.bucket, Key: &u.name, UploadId: u.id, MaxParts: aws.Int32(1)}
	_, err = u.b.client.ListParts(cloud.Operation(ctx, "abort"), in)
	switch {
	case err == nil:
		return errStillThere
	case code(err) == noSuchUpload, !meaning(err).Again():
		return nil // gone, or nobody may look
	}
	return err
}
