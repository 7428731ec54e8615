package s3

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"gocloud.dev/blob"
	"gocloud.dev/blob/s3blob"

	"github.com/workdir/workdir/doctor"
	s3doctor "github.com/workdir/workdir/doctor/s3"
	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/store/drivers/internal/cloud"
)

// contentType is for browsers and other tools.
const contentType = "application/gzip"

// backend implements cloud.Backend.
type backend struct {
	cloud.Blobs
	client    *awss3.Client // of the same bucket, for writes
	transport *cloud.Transport
	bucket    string
	options   Options
	md5       bool // checksums are MD5 and not CRC32C
}

// newBackend panics if bucket is empty.
func newBackend(options awss3.Options, bucket string, opts Options) *backend {
	client, transport := newClient(options)
	opened, err := s3blob.OpenBucket(context.Background(), client, bucket, nil)
	if err != nil {
		panic(err)
	}
	return &backend{
		Blobs: cloud.Blobs{
			Open: cloud.Opened(opened), Dialect: dialect{}, Name: "s3://" + bucket, Place: host(aws.ToString(options.BaseEndpoint)),
			Tried:   []cloud.Kind{cloud.KindPut, cloud.KindComplete, cloud.KindDelete, cloud.KindCopy}, // a server may support one but not the other
			Escaped: []string{"../"}, PageSize: listPage, Tails: true,
		},
		client: client, transport: transport, bucket: bucket, options: opts,
		md5: options.RequestChecksumCalculation == aws.RequestChecksumCalculationWhenRequired,
	}
}

// Doctor implements cloud.Diagnoser.
func (b *backend) Doctor() *doctor.Bucket { return s3doctor.Bucket(b.client, b.bucket) }

// once disables the SDK's retries of a request: the answer to a second try could be due to the
// first.
func once(o *awss3.Options) { o.Retryer = aws.NopRetryer{} }

// dialect implements cloud.Dialect with S3's types.
type dialect struct{}

// Reading implements cloud.Dialect.
func (dialect) Reading(as func(any) bool, off int64, rev store.Revision) error {
	var in *awss3.GetObjectInput
	if as(&in) {
		in.IfMatch = etag(rev)
		if off < 0 {
			in.Range = aws.String(fmt.Sprintf("bytes=%d", off))
		}
	}
	return nil
}

// Opened implements cloud.Dialect.
func (dialect) Opened(r *blob.Reader, off int64) (cloud.Attributes, error) {
	var out awss3.GetObjectOutput
	r.As(&out)
	if out.ContentRange == nil && off > 0 {
		return cloud.Attributes{}, errors.New("the server ignores ranges")
	}
	return attributes(out.ETag, aws.Int64(r.Size()), out.LastModified), nil
}

// Attributes implements cloud.Dialect.
func (dialect) Attributes(a *blob.Attributes) (cloud.Attributes, error) {
	return attributes(&a.ETag, &a.Size, &a.ModTime), nil
}

// listPage is the maximum number of objects that S3 lists by one request.
const listPage = 1000

// Listing implements cloud.Dialect.
func (dialect) Listing(as func(any) bool, r cloud.PageRequest) error {
	var in *awss3.ListObjectsV2Input
	if as(&in) {
		in.Prefix = &r.Prefix
		if r.Start != "" && r.Token == nil { // the token knows where it began
			in.StartAfter = &r.Start
		}
	}
	return nil
}

// Listed implements cloud.Dialect.
func (dialect) Listed(o *blob.ListObject) cloud.Listed {
	var object types.Object
	o.As(&object)
	return cloud.Listed{Name: aws.ToString(object.Key), Attributes: attributes(object.ETag, object.Size, object.LastModified)}
}

// Tidy implements cloud.Dialect.
func (dialect) Tidy(err error) error { return err }

// etag is the value of a condition's header; nil without a condition.
func etag(rev store.Revision) *string {
	if rev == "" {
		return nil
	}
	return aws.String(`"` + string(rev) + `"`)
}

func orNil(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// attributes converts the headers of an answer.
func attributes(etag *string, size *int64, modified *time.Time) cloud.Attributes {
	return cloud.Attributes{
		Revision: store.Revision(strings.Trim(aws.ToString(etag), `"`)),
		Size:     aws.ToInt64(size),
		ModTime:  aws.ToTime(modified),
	}
}

// conditions returns the headers of a condition.
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
		ContentType: aws.String(contentType), ServerSideEncryption: b.options.Encryption, SSEKMSKeyId: orNil(b.options.KMSKeyID),
	}
	in.IfMatch, in.IfNoneMatch = conditions(cond)
	in.ContentMD5, in.ChecksumCRC32C = checksum(body, b.md5)
	out, err := b.client.PutObject(ctx, in, once)
	if err != nil {
		return cloud.Attributes{}, conditional(err, cond)
	}
	return attributes(out.ETag, nil, nil), nil
}

// checksum returns the checksum for the server to verify.
func checksum(p []byte, asMD5 bool) (md5Sum, crc32c *string) {
	if asMD5 {
		sum := md5.Sum(p)
		return aws.String(base64.StdEncoding.EncodeToString(sum[:])), nil
	}
	sum := binary.BigEndian.AppendUint32(nil, crc32.Checksum(p, castagnoli))
	return nil, aws.String(base64.StdEncoding.EncodeToString(sum))
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Delete implements cloud.Backend.
func (b *backend) Delete(ctx context.Context, name string, rev store.Revision) error {
	_, err := b.client.DeleteObject(ctx, &awss3.DeleteObjectInput{Bucket: &b.bucket, Key: &name, IfMatch: etag(rev)}, once)
	return err
}

// Accessible implements cloud.Backend. It lists instead of getting the bucket, because
// credentials may be allowed to list only a prefix.
func (b *backend) Accessible(ctx context.Context, name string) error {
	_, err := b.Page(ctx, cloud.PageRequest{Prefix: name, Size: 1})
	return err
}
