package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/workdir/workdir/store"
	_ "github.com/workdir/workdir/store/drivers/s3" // what is measured
)

const (
	transferKey    = "workdir-bench"
	transferSecret = "workdir-bench-secret"
)

// s3Server is versitygw.
type s3Server struct {
	*localServer
	data string // the directory that holds its buckets
}

func startS3(dir string) (transferCloud, error) {
	s := &s3Server{data: filepath.Join(dir, "data")}
	err := os.MkdirAll(s.data, 0o755)
	if err != nil {
		return nil, err
	}
	args := func(address string) []string { return []string{"--port", address, "--quiet", "posix", s.data} }
	s.localServer, err = startLocal("versitygw", args, "ROOT_ACCESS_KEY="+transferKey, "ROOT_SECRET_KEY="+transferSecret)
	return s, err
}

func (s *s3Server) title() string       { return "S3's protocol, to versitygw" }
func (s *s3Server) size(c config) int64 { return c.transfer }

func (s *s3Server) removeObject(context.Context) error {
	return os.RemoveAll(filepath.Join(s.data, transferBucket, transferObject))
}

// env is what the clients of a server find their credentials by. Nothing of the
// user's own configuration of S3 is in it.
func (s *s3Server) env() []string {
	own := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AWS_") })
	return append(own, "AWS_ACCESS_KEY_ID="+transferKey, "AWS_SECRET_ACCESS_KEY="+transferSecret, "AWS_REGION=us-east-1",
		"AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null", "AWS_EC2_METADATA_DISABLED=true")
}

func (s *s3Server) composer(source string) *exec.Cmd {
	return ourselves("s3-compose", s.address, s.env())(source, true)
}

func (s *s3Server) transferrers(c config) []transferrer {
	rcloneEnv := append(s.env(), "RCLONE_S3_PROVIDER=Other", "RCLONE_S3_ENV_AUTH=true", "RCLONE_S3_NO_CHECK_BUCKET=true", "RCLONE_S3_REGION=us-east-1", "RCLONE_S3_ENDPOINT=http://"+s.address)
	return append(workdirs(c, "s3-workdir", s.address, s.env()), []transferrer{
		{"AWS SDK for Go, transfer manager", ourselves("s3-sdk", s.address, s.env())},
		{"rclone copyto", rclone("s3", rcloneEnv)},
		{"s3fs (the ancestor's client)", fsspec(c.python, "import s3fs; fs = s3fs.S3FileSystem(endpoint_url=endpoint)", s.address, s.env())},
	}...)
}

func (s *s3Server) makeBucket(ctx context.Context) error {
	endpoint := "http://" + s.address
	client := awss3.New(awss3.Options{
		BaseEndpoint: &endpoint, Region: "us-east-1", UsePathStyle: true,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: transferKey, SecretAccessKey: transferSecret}, nil
		}),
	})
	_, err := client.CreateBucket(ctx, &awss3.CreateBucketInput{Bucket: aws.String(transferBucket)})
	return err
}

func s3URL(endpoint string) store.URL {
	return store.URL{Scheme: "s3", Bucket: transferBucket, Query: "use_path_style=true&endpoint=" + endpoint}
}

// transferManager is the SDK's own, as it comes.
func transferManager(ctx context.Context, endpoint string) (*transfermanager.Client, error) {
	cfg, err := awsconfig.LoadDefaultConfig(ctx, awsconfig.WithBaseEndpoint(endpoint))
	if err != nil {
		return nil, err
	}
	return transfermanager.New(awss3.NewFromConfig(cfg, func(o *awss3.Options) { o.UsePathStyle = true })), nil
}

func putByS3(ctx context.Context, endpoint string, f *os.File) error {
	m, err := transferManager(ctx, endpoint)
	if err != nil {
		return err
	}
	_, err = m.UploadObject(ctx, &transfermanager.UploadObjectInput{Bucket: aws.String(transferBucket), Key: aws.String(transferObject), Body: f})
	return err
}

func getByS3(ctx context.Context, endpoint string, f *os.File) error {
	m, err := transferManager(ctx, endpoint)
	if err != nil {
		return err
	}
	_, err = m.DownloadObject(ctx, &transfermanager.DownloadObjectInput{Bucket: aws.String(transferBucket), Key: aws.String(transferObject), WriterAt: f})
	return err
}
