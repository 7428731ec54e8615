// Package s3 is the driver for Amazon S3 and for servers that speak its protocol.
// Importing it makes URLs of the schemes s3 and s3a work:
//
//	s3://bucket/key?region=eu-west-1
//	s3://bucket/key?endpoint=https://minio.example:9000&use_path_style=true
//
// The options of the URL are those of [gocloud.dev/blob/s3blob.URLOpener], which
// also finds the credentials, where the AWS command line finds them: environment,
// shared configuration, container and instance roles. Without a region anywhere a
// URL with an endpoint gets us-east-1, and one without is refused.
//
// Programs that configure in code make a store from a client of the SDK ([New]) or
// from a bucket of gocloud ([FromBucket]), and register it under a scheme of their
// own with store.Register.
//
// # Requests
//
// A write is one PutObject, or a multipart upload from 8 MiB on, with If-Match or
// If-None-Match on the request that makes it visible. Objects have the names that
// the URL says, without any escaping. Revisions are ETags. Bytes are sent with
// CRC32C, or with MD5 where the option request_checksum_calculation is
// when_required, which is for servers that do not know CRC32C.
package s3

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"gocloud.dev/blob"
	"gocloud.dev/blob/s3blob"

	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/store/drivers/internal/cloud"
)

func init() { store.Register(s3blob.Scheme, open) }

// Options of New. Nil stands for the zero value.
type Options struct {
	Encryption types.ServerSideEncryption // of what is written; "" leaves it to the bucket
	KMSKeyID   string                     // with aws:kms and aws:kms:dsse; "" is the account's own key
	Prefix     string                     // what comes before every key
}

// New gives a store of the archives in a bucket. The client is used as it is
// configured; it stays the caller's. No request is made. It panics where bucket is
// empty.
func New(client *awss3.Client, bucket string, opts *Options) store.Store {
	if opts == nil {
		opts = &Options{}
	}
	b := newBackend(client.Options(), bucket, *opts)
	return cloud.NewStore(b, &cloud.Options{Prefix: opts.Prefix, Transport: b.transport})
}

// fallbackRegion is what servers that are not Amazon's mostly go by.
const fallbackRegion = "us-east-1"

// options are those of gocloud's s3blob.URLOpener and aws.V2ConfigFromURLParams, which
// carry them out.
var options = map[string]cloud.Option{
	"accelerate": cloud.YesOrNo, "anonymous": cloud.YesOrNo, "disable_https": cloud.YesOrNo, "dualstack": cloud.YesOrNo,
	"endpoint": cloud.Address, "fips": cloud.YesOrNo, "hostname_immutable": cloud.YesOrNo, "kmskeyid": cloud.Text,
	"profile": cloud.Text, "rate_limiter_capacity": number, "region": cloud.Text,
	"request_checksum_calculation": cloud.Text, "response_checksum_validation": cloud.Text, "role": cloud.Text,
	"s3ForcePathStyle": cloud.YesOrNo, "ssetype": cloud.Text, "use_path_style": cloud.YesOrNo,
}

func number(value string) error {
	if _, err := strconv.ParseInt(value, 10, 32); err != nil {
		return errors.New("write a number")
	}
	return nil
}

// open opens the bucket of a URL.
func open(ctx context.Context, u store.URL) (store.Store, error) {
	return cloud.Shared(u, func() (cloud.Backend, *cloud.Transport, error) {
		b, err := openURL(ctx, u)
		if err != nil {
			return nil, nil, err
		}
		return b, b.transport, nil
	})
}

func openURL(ctx context.Context, u store.URL) (*backend, error) {
	query, err := cloud.ParseOptions(u, options, nil)
	if err != nil {
		return nil, err
	}
	var opener s3blob.URLOpener
	bucket, err := opener.OpenBucketURL(ctx, &url.URL{Scheme: s3blob.Scheme, Host: u.Bucket, RawQuery: query.Encode()})
	if err != nil {
		if cause := errors.Unwrap(err); cause != nil {
			err = cause // without gocloud's text, which holds the whole URL
		}
		return nil, cloud.BadURL(u, err, "")
	}
	defer bucket.Close()
	var client *awss3.Client
	bucket.As(&client)
	endpoint := query.Get("endpoint")
	options := client.Options()
	switch {
	case options.Region != "":
	case endpoint != "" || options.BaseEndpoint != nil:
		options.Region = fallbackRegion
	default:
		return nil, cloud.BadURL(u, errors.New("no region"), "add region=… to the URL's options, set AWS_REGION, or give the profile a region")
	}
	options.UsePathStyle = options.UsePathStyle || !hasSubdomains(endpoint)
	b := newBackend(options, u.Bucket, Options{Encryption: opener.Options.EncryptionType, KMSKeyID: opener.Options.KMSEncryptionID})
	if endpoint != "" {
		b.endpoint = host(endpoint)
	}
	return b, nil
}

// hasSubdomains says whether buckets can be subdomains of an endpoint's host, which
// is how S3 is asked unless the option use_path_style says otherwise.
func hasSubdomains(endpoint string) bool {
	u, err := url.Parse(endpoint)
	return err != nil || u.Hostname() != "localhost" && net.ParseIP(u.Hostname()) == nil
}

// host is the host and port of a URL, or the text itself where it has none.
func host(endpoint string) string {
	if u, err := url.Parse(endpoint); err == nil && u.Host != "" {
		return u.Host
	}
	return endpoint
}

// endpointOf is the host and port of a client that has an address of its own.
func endpointOf(o awss3.Options) string {
	if o.BaseEndpoint == nil {
		return ""
	}
	return host(aws.ToString(o.BaseEndpoint))
}

// errLooked ends a request of gocloud before it is sent.
var errLooked = errors.New("only looking")

// FromBucket returns a store of the archives in a bucket that gocloud.dev/blob/s3blob has
// opened, or in a part of it that blob.PrefixedBucket shows. Its client, encryption and prefix
// are taken over; the bucket stays the caller's. No request is made. It fails for a bucket of
// another driver.
func FromBucket(bucket *blob.Bucket) (store.Store, error) {
	const key = "x"
	var client *awss3.Client
	if !bucket.As(&client) {
		return nil, errors.New("this bucket is not one of gocloud.dev/blob/s3blob")
	}
	// What s3blob does not tell, a write does that is stopped before it begins.
	var in *transfermanager.UploadObjectInput
	_, err := bucket.NewWriter(context.Background(), key, &blob.WriterOptions{
		ContentType: contentType,
		BeforeWrite: func(as func(any) bool) error {
			as(&in)
			return errLooked
		},
	})
	if !errors.Is(err, errLooked) || in == nil {
		return nil, fmt.Errorf("look at the bucket: %w", err)
	}
	return New(client, aws.ToString(in.Bucket), &Options{
		Encryption: types.ServerSideEncryption(in.ServerSideEncryption),
		KMSKeyID:   aws.ToString(in.SSEKMSKeyID),
		Prefix:     strings.TrimSuffix(aws.ToString(in.Key), key),
	}), nil
}
