package gs_test

import (
	"context"
	"net/http"

	"cloud.google.com/go/storage"
	"gocloud.dev/blob"
	"gocloud.dev/blob/gcsblob"
	"gocloud.dev/gcp"
	"google.golang.org/api/option"

	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/store/drivers/gs"
)

// A program that makes its own client registers it under a scheme of its own, as the
// first thing in main and before mount.Init: the server is the same program.
func ExampleNew() {
	store.Register("team", func(ctx context.Context, u store.URL) (store.Store, error) {
		client, err := storage.NewClient(ctx, option.WithUserAgent("team"))
		if err != nil {
			return nil, err
		}
		return gs.New(client, u.Bucket, &gs.Options{Prefix: "workspaces/"}), nil
	})
	// mount.Init()
	// mount.Open(ctx, "team://bucket/jobs/job-1", nil)
}

// Here the bucket is one that gocloud.dev/blob has opened, and of it only what
// begins with a prefix.
func ExampleFromBucket() {
	client := &gcp.HTTPClient{Client: http.Client{}} // with credentials: gcp.NewHTTPClient
	store.Register("archive", func(ctx context.Context, u store.URL) (store.Store, error) {
		bucket, err := gcsblob.OpenBucket(ctx, client, u.Bucket, nil)
		if err != nil {
			return nil, err
		}
		return gs.FromBucket(blob.PrefixedBucket(bucket, "workspaces/"))
	})
}
