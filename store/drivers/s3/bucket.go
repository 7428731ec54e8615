package s3

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"gocloud.dev/blob"

	"github.com/workdir/workdir/store"
)

// FromBucket gives a store of the archives in a bucket that gocloud.dev/blob/s3blob
// has opened, or in a part of it that blob.PrefixedBucket shows. Its client,
// encryption and prefix are taken over; the bucket stays the caller's. No request
// is made. It fails for a bucket of another driver.
func FromBucket(bucket *blob.Bucket) (store.Store, error) {
	var client *awss3.Client
	if !bucket.As(&client) {
		return nil, errors.New("this bucket is not one of gocloud.dev/blob/s3blob")
	}
	name, opts, err := look(bucket)
	if err != nil {
		return nil, err
	}
	return New(client, name, opts), nil
}

// errLooked ends a request of gocloud before it is sent.
var errLooked = errors.New("only looking")

// probeKey is the key of the requests by which we look.
const probeKey = "x"

// look learns what s3blob does not tell, from a write that is stopped before it
// begins.
func look(bucket *blob.Bucket) (name string, opts *Options, err error) {
	var in *transfermanager.UploadObjectInput
	_, err = bucket.NewWriter(context.Background(), probeKey, &blob.WriterOptions{
		ContentType: contentType,
		BeforeWrite: func(as func(any) bool) error {
			if !as(&in) {
				return errors.New("gocloud.dev gives no request to look at")
			}
			return errLooked
		},
	})
	if !errors.Is(err, errLooked) || in == nil {
		return "", nil, fmt.Errorf("look at the bucket: %w", err)
	}
	return aws.ToString(in.Bucket), &Options{
		Encryption: types.ServerSideEncryption(in.ServerSideEncryption),
		KMSKeyID:   aws.ToString(in.SSEKMSKeyID),
		Prefix:     strings.TrimSuffix(aws.ToString(in.Key), probeKey),
	}, nil
}
