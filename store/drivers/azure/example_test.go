package azure_test

import (
	"context"

	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"gocloud.dev/blob"
	"gocloud.dev/blob/azureblob"

	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/store/drivers/azure"
)

const service = "https://account.blob.core.windows.net/"

// A program that makes its own client registers it under a scheme of its own, as the
// first thing in main and before mount.Init: the server is the same program.
func ExampleNew() {
	store.Register("team", func(_ context.Context, u store.URL) (store.Store, error) {
		credential, err := azidentity.NewManagedIdentityCredential(nil)
		if err != nil {
			return nil, err
		}
		client, err := container.NewClient(service+u.Bucket, credential, nil)
		if err != nil {
			return nil, err
		}
		return azure.New(client, &azure.Options{Prefix: "workspaces/"}), nil
	})
	// mount.Init()
	// mount.Open(ctx, "team://container/jobs/job-1", nil)
}

// Here the container is one that gocloud.dev/blob has opened, and of it only what
// begins with a prefix.
func ExampleFromBucket() {
	store.Register("archive", func(ctx context.Context, u store.URL) (store.Store, error) {
		client, err := container.NewClientWithNoCredential(service+u.Bucket, nil)
		if err != nil {
			return nil, err
		}
		bucket, err := azureblob.OpenBucket(ctx, client, nil)
		if err != nil {
			return nil, err
		}
		return azure.FromBucket(blob.PrefixedBucket(bucket, "workspaces/"))
	})
}
