package azure

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"
	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/store/drivers/internal/cloud"
)

const (
	// copyBlock is how much the service copies by one request, in bytes; it takes
	// up to 4,000 MiB, and answers when it is done.
	copyBlock = 128 << 20
	// sourceLife is how long a signature on the source is good for.
	sourceLife = 15 * time.Minute
	// storageScope is what tokens for Blob Storage are asked for.
	storageScope = "https://storage.azure.com/.default"
)

var _ cloud.Copier = (*backend)(nil)

// CopyFrom implements cloud.Copier, within one account: the service stages ranges of
// the source as blocks (Put Block From URL), and the list of them is committed as
// that of any other upload. Whatever goes wrong before that is ErrUnsupported, since
// the archive can still go through this machine.
func (b *backend) CopyFrom(ctx context.Context, src cloud.Backend, from string, rev store.Revision, name string, cond cloud.Condition) (cloud.Attributes, error) {
	s, ok := src.(*backend)
	if !ok || s.Endpoint() != b.Endpoint() {
		return cloud.Attributes{}, errors.ErrUnsupported
	}
	u := b.newUpload(name)
	if err := s.copyTo(ctx, u, from, rev); err != nil {
		// Not wrapped: as a refusal of the copy it would leave in doubt whether it
		// was done.
		return cloud.Attributes{}, fmt.Errorf("%w: %v", errors.ErrUnsupported, err)
	}
	return u.Complete(cloud.Operation(ctx, "complete"), cond)
}

// copyTo has the blob from, of revision rev, staged as the blocks of u.
func (b *backend) copyTo(ctx context.Context, u *upload, from string, rev store.Revision) error {
	a, err := b.Head(cloud.Operation(ctx, "head"), from)
	if err != nil {
		return err
	}
	if a.Revision != rev {
		return fmt.Errorf("revision %s is gone", rev)
	}
	address, token, err := b.readable(ctx, from)
	if err != nil {
		return err
	}
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var group sync.WaitGroup
	free := make(chan struct{}, cloud.UploadParts)
	for off, n := int64(0), 1; off < a.Size && ctx.Err() == nil; off, n = off+copyBlock, n+1 {
		part := blob.HTTPRange{Offset: off, Count: min(copyBlock, a.Size-off)}
		free <- struct{}{}
		group.Go(func() {
			defer func() { <-free }()
			if err := u.stageFrom(ctx, n, address, token, part, a.Revision); err != nil {
				fail(err)
			}
		})
	}
	group.Wait()
	return context.Cause(ctx)
}

// stageFrom has the service stage a range of a blob as block n.
func (u *upload) stageFrom(ctx context.Context, n int, address string, token *string, part blob.HTTPRange, rev store.Revision) (err error) {
	defer cloud.Guard(&err) // the caller is a goroutine
	id, tag := u.newID(n), azcore.ETag(`"`+string(rev)+`"`)
	_, err = u.blocks.StageBlockFromURL(cloud.Operation(ctx, "copy"), id, address, &blockblob.StageBlockFromURLOptions{
		Range:                          part,
		CopySourceAuthorization:        token,
		SourceModifiedAccessConditions: &blob.SourceModifiedAccessConditions{SourceIfMatch: &tag},
	})
	if err != nil {
		return refused(err)
	}
	u.staged(n, id, part.Count)
	return nil
}

// readable gives an address by which the service itself may read a blob, and, where
// the address alone will not do, what authorises it.
func (b *backend) readable(ctx context.Context, name string) (address string, authorization *string, err error) {
	client := b.client.NewBlobClient(name)
	if b.credential != nil {
		t, err := b.credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{storageScope}})
		if err != nil {
			return "", nil, err
		}
		bearer := "Bearer " + t.Token
		return client.URL(), &bearer, nil
	}
	address, err = client.GetSASURL(sas.BlobPermissions{Read: true}, time.Now().Add(sourceLife), nil)
	if err != nil {
		// No key to sign with: the container's own address has a signature, or none
		// is needed.
		return client.URL(), nil, nil //nolint:nilerr // the service says so if it is not enough
	}
	return address, nil, nil
}
