package main

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"

	"cloud.google.com/go/storage"
	"google.golang.org/api/option"

	"github.com/workdir/workdir/store"
	_ "github.com/workdir/workdir/store/drivers/gs" // what is measured
)

// gsServer is fake-gcs-server. It keeps objects in memory, in several copies while they are
// created.
type gsServer struct{ *localServer }

func startGS(string) (transferCloud, error) {
	args := func(address string) []string {
		host, port, _ := strings.Cut(address, ":")
		return []string{"-scheme", "http", "-host", host, "-port", port, "-public-host", address, "-backend", "memory", "-log-level", "error"}
	}
	s, err := startLocal("fake-gcs-server", args)
	return gsServer{s}, err
}

// gsMost is the largest archive for fake-gcs-server, in bytes.
const gsMost = 64 << 20

func (s gsServer) title() string       { return "Google Cloud Storage's protocol, to fake-gcs-server" }
func (s gsServer) size(c config) int64 { return min(c.transfer, gsMost) }

func (s gsServer) makeBucket(ctx context.Context) error {
	return s.use(ctx, func(b *storage.BucketHandle) error { return b.Create(ctx, "project", nil) })
}

func (s gsServer) removeObject(ctx context.Context) error {
	return s.use(ctx, func(b *storage.BucketHandle) error {
		err := b.Object(transferObject).Delete(ctx)
		if errors.Is(err, storage.ErrObjectNotExist) {
			return nil
		}
		return err
	})
}

// use calls fn with the bucket.
func (s gsServer) use(ctx context.Context, fn func(*storage.BucketHandle) error) error {
	return withGS(ctx, "http://"+s.address, fn)
}

func withGS(ctx context.Context, endpoint string, fn func(*storage.BucketHandle) error) error {
	c, err := storage.NewClient(ctx, option.WithEndpoint(endpoint+"/storage/v1/"), option.WithoutAuthentication())
	if err != nil {
		return err
	}
	return errors.Join(fn(c.Bucket(transferBucket)), c.Close())
}

// env is without the user's own configuration of Google's clients.
func (s gsServer) env() []string {
	own := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "GOOGLE_") || strings.HasPrefix(v, "STORAGE_EMULATOR_HOST")
	})
	return append(own, "GCSFS_EXPERIMENTAL_ZB_HNS_SUPPORT=false")
}

func (s gsServer) composer(source string) *exec.Cmd {
	return ourselves("gs-compose", s.address, s.env())(source, true)
}

func (s gsServer) transferrers(c config) []transferrer {
	rcloneEnv := append(s.env(), "RCLONE_GCS_ANONYMOUS=true", "RCLONE_GCS_NO_CHECK_BUCKET=true", "RCLONE_GCS_BUCKET_POLICY_ONLY=true", "RCLONE_GCS_ENDPOINT=http://"+s.address+"/storage/v1/")
	return append(workdirs(c, "gs-workdir", s.address, s.env()), []transferrer{
		{"Google's client for Go", ourselves("gs-sdk", s.address, s.env())},
		{"rclone copyto", rclone("gcs", rcloneEnv)},
		{"gcsfs (the ancestor's client)", fsspec(c.python, `import gcsfs; fs = gcsfs.GCSFileSystem(endpoint_url=endpoint, token="anon", project="project")`, s.address, s.env())},
	}...)
}

func gsURL(endpoint string) store.URL {
	return store.URL{Scheme: "gs", Bucket: transferBucket, Query: "anonymous=true&endpoint=" + endpoint}
}

// putByGS uses Google's own writer with its defaults.
func putByGS(ctx context.Context, endpoint string, f *os.File) error {
	return withGS(ctx, endpoint, func(b *storage.BucketHandle) error {
		w := b.Object(transferObject).NewWriter(ctx)
		_, err := io.Copy(w, f)
		return errors.Join(err, w.Close())
	})
}

func getByGS(ctx context.Context, endpoint string, f *os.File) error {
	return withGS(ctx, endpoint, func(b *storage.BucketHandle) error {
		r, err := b.Object(transferObject).NewReader(ctx)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, r)
		return errors.Join(err, r.Close())
	})
}
