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
// Programs that configure in code make a store from a client of the SDK ([New]) or from a
// bucket of gocloud ([FromBucket]), and register it under their own scheme with
// store.Register.
//
// # Requests
//
// A write is one PutObject, or a multipart upload from 8 MiB on, with If-Match or
// If-None-Match on the request that makes it visible. Objects have exactly the names in the
// URL, without any escaping. Revisions are ETags. Bytes are sent with CRC32C, or with MD5 if
// the option request_checksum_calculation is when_required, for servers that do not know
// CRC32C.
package s3

import (
	"cmp"
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/logging"
	"gocloud.dev/blob"
	"gocloud.dev/blob/s3blob"

	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/store/drivers/internal/cloud"
)

func init() { store.Register(s3blob.Scheme, open) }

// Options of New. Nil stands for the zero value.
type Options struct {
	Encryption types.ServerSideEncryption // of written objects; "" leaves it to the bucket
	KMSKeyID   string                     // with aws:kms and aws:kms:dsse; "" is the account's own key
	Prefix     string                     // before every key
}

// New returns a store of the archives in a bucket, by a client with the same configuration as
// client. No request is made. It panics if bucket is empty.
func New(client *awss3.Client, bucket string, opts *Options) store.Store {
	if opts == nil {
		opts = &Options{}
	}
	b := newBackend(client.Options(), bucket, *opts)
	return cloud.NewStore(b, opts.Prefix, b.transport)
}

// FromBucket returns a store of the archives in a bucket opened by gocloud.dev/blob/s3blob, or
// in a part of it shown by blob.PrefixedBucket. It adopts the client, encryption and prefix;
// the caller keeps owning the bucket. No request is made. The error is store.ErrURL if the
// bucket belongs to another driver.
func FromBucket(bucket *blob.Bucket) (store.Store, error) {
	var client *awss3.Client
	name, opts := "", &Options{}
	err := cloud.LookAtWrite(bucket, "s3blob", func(key string, as func(any) bool) bool {
		var in *transfermanager.UploadObjectInput
		if !as(&in) {
			return false
		}
		name, opts.Prefix = aws.ToString(in.Bucket), strings.TrimSuffix(aws.ToString(in.Key), key)
		opts.Encryption, opts.KMSKeyID = types.ServerSideEncryption(in.ServerSideEncryption), aws.ToString(in.SSEKMSKeyID)
		return bucket.As(&client)
	})
	if err != nil {
		return nil, err
	}
	return New(client, name, opts), nil
}

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
		// Without gocloud's text, which holds the whole URL.
		return nil, cloud.BadURL(u, cmp.Or(errors.Unwrap(err), err), "")
	}
	defer bucket.Close()
	var client *awss3.Client
	bucket.As(&client)
	o, address := client.Options(), query.Get("endpoint")
	switch {
	case o.Region != "":
	case address != "" || o.BaseEndpoint != nil:
		o.Region = "us-east-1" // what most servers other than Amazon's use
	default:
		return nil, cloud.BadURL(u, errors.New("no region"), "add region=… to the URL's options, set AWS_REGION, or give the profile a region")
	}
	// S3 uses subdomains, which an IP address does not have.
	if at, err := url.Parse(address); err == nil && (at.Hostname() == "localhost" || net.ParseIP(at.Hostname()) != nil) {
		o.UsePathStyle = true
	}
	b := newBackend(o, u.Bucket, Options{Encryption: opener.Options.EncryptionType, KMSKeyID: opener.Options.KMSEncryptionID})
	b.Place = cmp.Or(host(address), b.Place)
	return b, nil
}

// host is the host and port of an address.
func host(address string) string {
	if u, err := url.Parse(address); err == nil && u.Host != "" {
		return u.Host
	}
	return address
}

// newClient returns a client with the configuration options, and the transport of its
// requests.
func newClient(options awss3.Options) (*awss3.Client, *cloud.Transport) {
	inner := options.HTTPClient
	if buildable, ok := inner.(*awshttp.BuildableClient); ok {
		inner = buildable.WithTransportOptions(func(t *http.Transport) { cloud.Tune(t) })
	}
	transport := cloud.NewTransport(roundTripper{inner})
	client := awss3.New(options, func(o *awss3.Options) {
		o.HTTPClient = doer{transport}
		o.Logger = logging.Nop{}                           // it would write to the program's standard error
		o.DisableLogOutputChecksumValidationSkipped = true // ranges have no checksum, and every read is a range
		if o.Credentials != nil && !aws.IsCredentialsProvider(o.Credentials, (*aws.AnonymousCredentials)(nil)) {
			o.Credentials = credentials{o.Credentials}
		}
	})
	return client, transport
}

// roundTripper adapts an SDK's HTTP client to a transport. It keeps that client's handling of
// redirects, timeouts and certificates.
type roundTripper struct{ awss3.HTTPClient }

func (t roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return t.Do(r) }

// doer adapts a transport to an SDK's HTTP client.
type doer struct{ *cloud.Transport }

func (d doer) Do(r *http.Request) (*http.Response, error) { return d.RoundTrip(r) }

// credentials classifies the errors of the SDK's credentials.
type credentials struct{ aws.CredentialsProvider }

func (c credentials) Retrieve(ctx context.Context) (aws.Credentials, error) {
	got, err := c.CredentialsProvider.Retrieve(ctx)
	if err != nil {
		err = cloud.Means(cloud.Unidentified, "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, give the host a role, or add anonymous=true to the URL's options of a public bucket", err)
	}
	return got, err
}
