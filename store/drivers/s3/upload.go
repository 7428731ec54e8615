package s3

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/workdir/workdir/store/drivers/internal/cloud"
)

const (
	minPart = 5 << 20   // bytes of all parts except the last
	maxCopy = 256 << 20 // bytes copied by one request; several run concurrently
)

// upload is a multipart upload.
type upload struct {
	b    *backend
	name string
	id   *string
	src  *cloud.Source // may be nil
	md5  bool          // checksums of parts are MD5 and not CRC32C

	mu    sync.Mutex
	parts []types.CompletedPart // the stored ones, in any order; guarded by mu
}

// Upload implements cloud.Backend. If parts are copied, neither the upload nor a part has a
// checksum kept by S3, since a part of another upload has one of a different kind, which
// Complete refuses.
func (b *backend) Upload(ctx context.Context, name string, _ cloud.Condition, src *cloud.Source) (cloud.Upload, error) {
	in := &awss3.CreateMultipartUploadInput{
		Bucket: &b.bucket, Key: &name, ContentType: aws.String(contentType),
		ServerSideEncryption: b.options.Encryption, SSEKMSKeyId: orNil(b.options.KMSKeyID),
	}
	u := &upload{b: b, name: name, src: src, md5: b.md5 || src != nil}
	if !u.md5 {
		in.ChecksumAlgorithm = types.ChecksumAlgorithmCrc32c
	}
	if src != nil {
		if other, ok := src.Backend.(*backend); !ok || other.Place != b.Place {
			return nil, errors.ErrUnsupported
		}
	}
	// A retry after a lost answer would leave the first upload behind.
	out, err := b.client.CreateMultipartUpload(ctx, in, once, u.checksums)
	if err != nil {
		return nil, err
	}
	u.id = out.UploadId
	return u, nil
}

// checksums prevents the SDK from adding its own checksum.
func (u *upload) checksums(o *awss3.Options) {
	if u.md5 {
		o.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
	}
}

// MaxParts implements cloud.Upload.
func (u *upload) MaxParts() int { return cloud.UploadParts }

// Kept implements cloud.Upload: any range of at least minPart bytes, minus the bytes that the
// part in front of it needs.
func (u *upload) Kept(off, end, before int64) (from, to int64) {
	if before > 0 && before < minPart {
		off += minPart - before
	}
	switch {
	case off == 0 && end == u.src.Size && end <= maxCopy: // is the only part
	case end-off < minPart:
		return end, end
	case end-off >= maxCopy+minPart:
		end = off + maxCopy
	}
	return off, end
}

// Part implements cloud.Upload.
func (u *upload) Part(ctx context.Context, n int, p []byte) error {
	in := &awss3.UploadPartInput{
		Bucket: &u.b.bucket, Key: &u.name, UploadId: u.id, PartNumber: aws.Int32(int32(n)), // at most 10,000
		Body: bytes.NewReader(p), ContentLength: aws.Int64(int64(len(p))),
	}
	in.ContentMD5, in.ChecksumCRC32C = checksum(p, u.md5)
	out, err := u.b.client.UploadPart(ctx, in, u.checksums)
	if err != nil {
		return err
	}
	u.there(types.CompletedPart{PartNumber: in.PartNumber, ETag: out.ETag, ChecksumCRC32C: in.ChecksumCRC32C})
	return nil
}

// Copy implements cloud.Upload.
func (u *upload) Copy(ctx context.Context, n int, off, end int64) error {
	source, _ := u.src.Backend.(*backend) // checked by Upload
	in := &awss3.UploadPartCopyInput{
		Bucket: &u.b.bucket, Key: &u.name, UploadId: u.id, PartNumber: aws.Int32(int32(n)),
		CopySource: aws.String(copySource(source.bucket, u.src.Name)), CopySourceIfMatch: etag(u.src.Revision),
		CopySourceRange: aws.String(fmt.Sprintf("bytes=%d-%d", off, end-1)),
	}
	out, err := u.b.client.UploadPartCopy(ctx, in)
	switch {
	case err != nil:
		return err
	case out.CopyPartResult == nil || out.CopyPartResult.ETag == nil:
		return fmt.Errorf("the answer to the copy of a part names no part: %w", errors.ErrUnsupported)
	}
	u.there(types.CompletedPart{PartNumber: in.PartNumber, ETag: out.CopyPartResult.ETag})
	return nil
}

// copySource is the value of the header that names the source, in URL encoding except for
// slashes. Some servers decode a "+" to a space.
func copySource(bucket, name string) string {
	segments := strings.Split(name, "/")
	for i, s := range segments {
		segments[i] = url.PathEscape(s)
	}
	return bucket + "/" + strings.ReplaceAll(strings.Join(segments, "/"), "+", "%2B")
}

// there records a stored part.
func (u *upload) there(part types.CompletedPart) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.parts = append(u.parts, part)
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

// Abort implements cloud.Upload. "It might be necessary to abort a given multipart upload multiple
// times", says the reference of AbortMultipartUpload, where parts were under way.
func (u *upload) Abort(ctx context.Context) error {
	_, err := u.b.client.AbortMultipartUpload(ctx, &awss3.AbortMultipartUploadInput{Bucket: &u.b.bucket, Key: &u.name, UploadId: u.id})
	if err != nil && code(err) != noSuchUpload { // already aborted, or complete
		return err
	}
	in := &awss3.ListPartsInput{Bucket: &u.b.bucket, Key: &u.name, UploadId: u.id, MaxParts: aws.Int32(1)}
	_, err = u.b.client.ListParts(cloud.Operation(ctx, "abort"), in)
	switch {
	case err == nil:
		return cloud.Means(cloud.Busy, "", errors.New("parts of an aborted upload arrived late"))
	case code(err) == noSuchUpload, !u.b.Classify(err).Meaning.Retryable():
		return nil // gone, or listing is not allowed
	}
	return err
}
