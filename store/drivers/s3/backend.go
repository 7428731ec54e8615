package s3

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/store/drivers/internal/cloud"
)

// contentType is what browsers and other tools are told.
const contentType = "application/gzip"

// backend is a bucket as package cloud wants it.
type backend struct {
	client    *awss3.Client
	transport *cloud.Transport
	bucket    string
	endpoint  string
	options   Options
	md5       bool // checksums are MD5 and not CRC32C
}

func newBackend(options awss3.Options, bucket string, opts Options) *backend {
	client, transport := newClient(options)
	return &backend{
		client: client, transport: transport, bucket: bucket, endpoint: endpointOf(options), options: opts,
		md5: options.RequestChecksumCalculation == aws.RequestChecksumCalculationWhenRequired,
	}
}

// Bucket implements cloud.Backend.
func (b *backend) Bucket() string { return "s3://" + b.bucket }

// Endpoint implements cloud.Backend.
func (b *backend) Endpoint() string { return b.endpoint }

// Close implements cloud.Backend.
func (b *backend) Close() error { return nil }

// ProbesDelete implements cloud.DeleteProber: servers that know conditional writes
// do not all know conditional deletes.
func (b *backend) ProbesDelete() bool { return true }

// once makes a request that is not to be repeated by the SDK: an answer to the
// second could be due to the first.
func once(o *awss3.Options) { o.Retryer = aws.NopRetryer{} }

// Get implements cloud.Backend.
func (b *backend) Get(ctx context.Context, name string, off, length int64, rev store.Revision) (cloud.Body, error) {
	in := &awss3.GetObjectInput{Bucket: &b.bucket, Key: &name, Range: byteRange(off, length), IfMatch: etag(rev)}
	out, err := b.client.GetObject(ctx, in)
	if err != nil {
		return cloud.Body{}, err
	}
	a := attributes(out.ETag, out.ContentLength, out.LastModified)
	if out.ContentRange != nil {
		a.Size, err = sizeOf(*out.ContentRange)
	} else if off > 0 {
		err = fmt.Errorf("the server ignores ranges")
	}
	if err != nil {
		_ = out.Body.Close() // of an answer that is not used
		return cloud.Body{}, err
	}
	return cloud.Body{ReadCloser: out.Body, Attributes: a}, nil
}

// byteRange is the value of a Range header.
func byteRange(off, length int64) *string {
	if length < 0 {
		return aws.String(fmt.Sprintf("bytes=%d-", off))
	}
	return aws.String(fmt.Sprintf("bytes=%d-%d", off, off+length-1))
}

// sizeOf is the size of the whole object by a Content-Range header.
func sizeOf(contentRange string) (int64, error) {
	_, size, _ := strings.Cut(contentRange, "/")
	n, err := strconv.ParseInt(size, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("the server's range %q does not tell the object's size", contentRange)
	}
	return n, nil
}

// etag is the value of a condition's header; nil where there is no condition.
func etag(rev store.Revision) *string {
	if rev == "" {
		return nil
	}
	return aws.String(`"` + string(rev) + `"`)
}

// attributes of an object, from the headers of an answer.
func attributes(etag *string, size *int64, modified *time.Time) cloud.Attributes {
	return cloud.Attributes{
		Revision: store.Revision(strings.Trim(aws.ToString(etag), `"`)),
		Size:     aws.ToInt64(size),
		ModTime:  aws.ToTime(modified),
	}
}

// Head implements cloud.Backend.
func (b *backend) Head(ctx context.Context, name string) (cloud.Attributes, error) {
	out, err := b.client.HeadObject(ctx, &awss3.HeadObjectInput{Bucket: &b.bucket, Key: &name})
	if err != nil {
		return cloud.Attributes{}, err
	}
	return attributes(out.ETag, out.ContentLength, out.LastModified), nil
}

// conditions are the headers of a condition.
func conditions(cond cloud.Condition) (ifMatch, ifNoneMatch *string) {
	if cond.Replace == "" {
		return nil, aws.String("*")
	}
	return etag(cond.Replace), nil
}

// Put implements cloud.Backend.
func (b *backend) Put(ctx context.Context, name string, body []byte, cond cloud.Condition) (cloud.Attributes, error) {
	in := &awss3.PutObjectInput{
		Bucket: &b.bucket, Key: &name, Body: bytes.NewReader(body), ContentLength: aws.Int64(int64(len(body))),
		ContentType: aws.String(contentType), ServerSideEncryption: b.options.Encryption, SSEKMSKeyId: b.kmsKey(),
	}
	in.IfMatch, in.IfNoneMatch = conditions(cond)
	in.ContentMD5, in.ChecksumCRC32C = b.checksum(body)
	out, err := b.client.PutObject(ctx, in, once)
	if err != nil {
		return cloud.Attributes{}, conditional(err, cond)
	}
	return attributes(out.ETag, in.ContentLength, nil), nil
}

// checksum gives the one that the server is to verify.
func (b *backend) checksum(p []byte) (md5Sum, crc32c *string) {
	if b.md5 {
		sum := md5.Sum(p)
		return aws.String(base64.StdEncoding.EncodeToString(sum[:])), nil
	}
	sum := binary.BigEndian.AppendUint32(nil, crc32.Checksum(p, castagnoli))
	return nil, aws.String(base64.StdEncoding.EncodeToString(sum))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (b *backend) kmsKey() *string {
	if b.options.KMSKeyID == "" {
		return nil
	}
	return &b.options.KMSKeyID
}

// Delete implements cloud.Backend.
func (b *backend) Delete(ctx context.Context, name string, rev store.Revision) error {
	_, err := b.client.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: &b.bucket, Key: &name, IfMatch: etag(rev)}, once)
	return err
}

// List implements cloud.Backend.
func (b *backend) List(ctx context.Context, prefix string, found func(string, cloud.Attributes) error) error {
	return b.list(ctx, &awss3.ListObjectsV2Input{Bucket: &b.bucket, Prefix: &prefix, Delimiter: aws.String("/")}, found)
}

// ListAll implements cloud.Backend.
func (b *backend) ListAll(ctx context.Context, prefix string, found func(string, cloud.Attributes) error) error {
	return b.list(ctx, &awss3.ListObjectsV2Input{Bucket: &b.bucket, Prefix: &prefix}, found)
}

func (b *backend) list(ctx context.Context, in *awss3.ListObjectsV2Input, found func(string, cloud.Attributes) error) error {
	pages := awss3.NewListObjectsV2Paginator(b.client, in)
	for pageCtx := ctx; pages.HasMorePages(); pageCtx = cloud.Operation(ctx, "list") {
		page, err := pages.NextPage(pageCtx)
		if err != nil {
			return err
		}
		for i := range page.Contents {
			o := &page.Contents[i]
			if err := found(aws.ToString(o.Key), attributes(o.ETag, o.Size, o.LastModified)); err != nil {
				return err
			}
		}
	}
	return nil
}

// Accessible implements cloud.Backend. It lists and does not ask for the bucket,
// because credentials may be allowed to list a prefix only.
func (b *backend) Accessible(ctx context.Context, name string) error {
	_, err := b.client.ListObjectsV2(ctx, &awss3.ListObjectsV2Input{Bucket: &b.bucket, Prefix: &name, MaxKeys: aws.Int32(1)})
	return err
}

// checksumAlgorithm is what an upload of several parts is begun with.
func (b *backend) checksumAlgorithm() types.ChecksumAlgorithm {
	if b.md5 {
		return ""
	}
	return types.ChecksumAlgorithmCrc32c
}
