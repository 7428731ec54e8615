package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsconfig "github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/workdir/workdir/store"
	_ "github.com/workdir/workdir/store/drivers/s3" // what is measured
)

// transferEnv tells a process of this program to move one archive and end.
const transferEnv = "WORKDIR_BENCH_TRANSFER"

// transferChild does what transferEnv says: who, whether to upload, the endpoint,
// and the file.
func transferChild(ctx context.Context, what string) error {
	fields := strings.Fields(what)
	if len(fields) != 4 {
		return fmt.Errorf("%s has %d fields", transferEnv, len(fields))
	}
	move := map[string]func(context.Context, string, *os.File) error{
		"workdir true": putByStore, "workdir false": getByStore, "sdk true": putBySDK, "sdk false": getBySDK,
	}[fields[0]+" "+fields[1]]
	if move == nil {
		return fmt.Errorf("%s: nobody moves %q", transferEnv, what)
	}
	f, err := os.OpenFile(fields[3], os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	defer f.Close()
	return move(ctx, fields[2], f)
}

func openStore(ctx context.Context, endpoint string) (store.Store, error) {
	return store.OpenBucket(ctx, store.URL{Scheme: "s3", Bucket: transferBucket, Query: "use_path_style=true&endpoint=" + endpoint})
}

var transferName = strings.TrimSuffix(transferObject, ".tar.gz")

func putByStore(ctx context.Context, endpoint string, f *os.File) error {
	s, err := openStore(ctx, endpoint)
	if err != nil {
		return err
	}
	defer s.Close()
	_, err = s.Put(ctx, transferName, func(w io.Writer) error {
		_, err := io.CopyBuffer(struct{ io.Writer }{w}, struct{ io.Reader }{f}, make([]byte, 256<<10))
		return err
	}, nil)
	return err
}

func getByStore(ctx context.Context, endpoint string, f *os.File) error {
	s, err := openStore(ctx, endpoint)
	if err != nil {
		return err
	}
	defer s.Close()
	o, err := s.Open(ctx, transferName)
	if err != nil {
		return err
	}
	defer o.Close()
	_, err = io.CopyBuffer(struct{ io.Writer }{f}, struct{ io.Reader }{o}, make([]byte, 256<<10))
	return err
}

// transferManager is the SDK's own, as it comes.
func transferManager(ctx context.Context, endpoint string) (*transfermanager.Client, error) {
	cfg, err := awsconfig.LoadDefaultConfig(ctx, awsconfig.WithBaseEndpoint(endpoint))
	if err != nil {
		return nil, err
	}
	return transfermanager.New(awss3.NewFromConfig(cfg, func(o *awss3.Options) { o.UsePathStyle = true })), nil
}

// makeBucket makes the bucket of all transfers.
func makeBucket(ctx context.Context, s *s3Server) error {
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

func putBySDK(ctx context.Context, endpoint string, f *os.File) error {
	m, err := transferManager(ctx, endpoint)
	if err != nil {
		return err
	}
	_, err = m.UploadObject(ctx, &transfermanager.UploadObjectInput{Bucket: aws.String(transferBucket), Key: aws.String(transferObject), Body: f})
	return err
}

func getBySDK(ctx context.Context, endpoint string, f *os.File) error {
	m, err := transferManager(ctx, endpoint)
	if err != nil {
		return err
	}
	_, err = m.DownloadObject(ctx, &transfermanager.DownloadObjectInput{Bucket: aws.String(transferBucket), Key: aws.String(transferObject), WriterAt: f})
	return err
}
