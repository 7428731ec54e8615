package stores

import (
	"bytes"
	"context"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// clouds are the servers of all clouds.
var clouds = map[Kind]cloud{S3: versitygw{}, GS: fakeGCS{}, Azure: azurite{}}

// versitygw stands for S3. It keeps objects as files of a directory.
type versitygw struct{}

const (
	s3Key    = "workdir-test"
	s3Secret = "workdir-test-secret"
	s3Region = "us-east-1"
)

func (versitygw) command(at place) (args, env []string) {
	return []string{at.tools + "/bin/versitygw", "--port", at.address, "--quiet", "--iam-dir", at.own, "posix", at.data},
		[]string{"ROOT_ACCESS_KEY=" + s3Key, "ROOT_SECRET_KEY=" + s3Secret}
}

func (versitygw) query(address string) string {
	return "endpoint=http://" + address + "&use_path_style=true&region=" + s3Region
}

func (versitygw) env(string) []string {
	return []string{
		"AWS_ACCESS_KEY_ID=" + s3Key, "AWS_SECRET_ACCESS_KEY=" + s3Secret,
		"AWS_EC2_METADATA_DISABLED=true", "AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null",
	}
}

func (versitygw) client(_ context.Context, address string) (client, error) {
	return &s3Client{s3.New(s3.Options{
		BaseEndpoint: aws.String("http://" + address),
		Region:       s3Region,
		Credentials:  credentials.NewStaticCredentialsProvider(s3Key, s3Secret, ""),
		UsePathStyle: true,
	})}, nil
}

type s3Client struct{ *s3.Client }

func (c *s3Client) ready(ctx context.Context) error {
	_, err := c.ListBuckets(ctx, nil)
	return err
}

func (c *s3Client) makeBucket(ctx context.Context, bucket string) error {
	_, err := c.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: &bucket})
	return err
}

func (c *s3Client) names(ctx context.Context, bucket string) ([]string, error) {
	var names []string
	pages := s3.NewListObjectsV2Paginator(c, &s3.ListObjectsV2Input{Bucket: &bucket})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, err
		}
		for _, o := range page.Contents {
			names = append(names, aws.ToString(o.Key))
		}
	}
	return names, nil
}

func (c *s3Client) hidden(ctx context.Context, bucket string) ([]string, error) {
	uploads, err := c.ListMultipartUploads(ctx, &s3.ListMultipartUploadsInput{Bucket: &bucket})
	if err != nil {
		return nil, err
	}
	var names []string
	for _, u := range uploads.Uploads {
		names = append(names, "upload of "+aws.ToString(u.Key))
	}
	return names, nil
}

func (c *s3Client) put(ctx context.Context, bucket, name string, content []byte) error {
	_, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: &bucket, Key: &name, Body: bytes.NewReader(content)})
	return err
}

func (c *s3Client) get(ctx context.Context, bucket, name string) ([]byte, error) {
	o, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: &bucket, Key: &name})
	if err != nil {
		return nil, err
	}
	defer o.Body.Close()
	return io.ReadAll(o.Body)
}

func (c *s3Client) remove(ctx context.Context, bucket, name string) error {
	_, err := c.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &bucket, Key: &name})
	return err
}

func (c *s3Client) close() error { return nil }
