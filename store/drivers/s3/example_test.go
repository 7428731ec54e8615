package s3_test

import (
	"context"
	"os"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"gocloud.dev/blob"
	"gocloud.dev/blob/s3blob"

	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/store/drivers/s3"
)

// A program that makes its own client registers it under a scheme of its own, as the
// first thing in main and before mount.Init: the server is the same program.
func ExampleNew() {
	store.Register("team", func(_ context.Context, u store.URL) (store.Store, error) {
		client := awss3.New(awss3.Options{
			Region: "eu-central-1",
			Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
				return aws.Credentials{AccessKeyID: os.Getenv("TEAM_KEY"), SecretAccessKey: os.Getenv("TEAM_SECRET")}, nil
			}),
		})
		return s3.New(client, u.Bucket, &s3.Options{Prefix: "workspaces/"}), nil
	})
	// mount.Init()
	// mount.Open(ctx, "team://bucket/jobs/job-1", nil)
}

// Here the bucket is one that gocloud.dev/blob has opened, and of it only what
// begins with a prefix.
func ExampleFromBucket() {
	client := awss3.New(awss3.Options{Region: "eu-central-1"})
	store.Register("archive", func(ctx context.Context, u store.URL) (store.Store, error) {
		bucket, err := s3blob.OpenBucket(ctx, client, u.Bucket, nil)
		if err != nil {
			return nil, err
		}
		return s3.FromBucket(blob.PrefixedBucket(bucket, "workspaces/"))
	})
}
