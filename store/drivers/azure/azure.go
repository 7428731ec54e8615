// Package azure is the driver for Azure Blob Storage, of the URLs
// azblob://container/key, az://container/key and
// abfs://container@account.dfs.core.windows.net/key. Importing it registers it.
//
// It knows options and credentials as gocloud's azureblob and adlfs take them, the
// requests of Azure and what its refusals mean. It does not know when to send which:
// that is package cloud's.
//
// # One hard idea
//
// A blob of several blocks becomes visible by its list of blocks alone, and that is
// the one request with a condition. Blocks belong to the name, not to the writer:
// two writers stage blocks under one name at once, so every block has an id that no
// other writer has. Whoever commits a list first discards the blocks of the other,
// whose list is then refused.
//
// # What stays behind
//
// Azure has no request that gives up staged blocks. Those of an upload that was
// abandoned are invisible, cost what other bytes cost, and are gone with the next
// commit of the same workspace, or after seven days (learn.microsoft.com, "Put
// Block"). Nothing reads them: a workspace that has only staged blocks is "not
// found" to everybody.
package azure

import (
	"context"
	"errors"
	"fmt"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/store/drivers/internal/cloud"
	"gocloud.dev/blob"
)

func init() { store.Register(scheme, open) }

const scheme = "azblob"

// Options of New. Nil is good.
type Options struct {
	// Prefix comes before the name of every blob, as written: "team/".
	Prefix string
}

// New gives the store that is in a container, for programs that configure their
// client in code; they register it under a scheme of their own with store.Register.
// Requests go through the client's own transport: a stalled connection is that one's
// to find, and [store.TrafficOf] knows nothing. Keys with one of \ " # % ? or "../" are
// refused, which only a client of this package's own sends as they are.
func New(client *container.Client, opts *Options) store.Store {
	if opts == nil {
		opts = &Options{}
	}
	return cloud.NewStore(newBackend(client, false), &cloud.Options{Prefix: opts.Prefix})
}

// FromBucket gives the store that is in a bucket that gocloud has opened, with the
// prefix that it has. Only its client is used, and otherwise it is as New. The caller closes the bucket once the Store is closed.
// No request is made. The error is store.ErrURL, where the bucket is not one of Azure
// Blob Storage.
func FromBucket(bucket *blob.Bucket) (store.Store, error) {
	client, err := clientOf(bucket)
	if err != nil {
		return nil, badBucket(err)
	}
	prefix, err := prefixOf(bucket)
	if err != nil {
		return nil, badBucket(err)
	}
	return New(client, &Options{Prefix: prefix}), nil
}

func badBucket(err error) error {
	return &store.Error{Op: "open", Object: "bucket", Kind: store.ErrURL, Cause: err, Todo: "give FromBucket what azureblob opened"}
}

func clientOf(bucket *blob.Bucket) (*container.Client, error) {
	var client *container.Client
	if bucket == nil || !bucket.As(&client) {
		return nil, errors.New("it is not one of Azure Blob Storage")
	}
	return client, nil
}

// errAsked ends a request that was only made up to see what it asks for.
var errAsked = errors.New("asked")

// prefixOf learns what a blob.PrefixedBucket puts before its keys; no request is
// sent.
func prefixOf(bucket *blob.Bucket) (string, error) {
	prefix := ""
	list := bucket.List(&blob.ListOptions{BeforeList: func(as func(any) bool) error {
		var o *container.ListBlobsHierarchyOptions
		if as(&o) && o.Prefix != nil {
			prefix = *o.Prefix
		}
		return errAsked
	}})
	if _, err := list.Next(context.Background()); !errors.Is(err, errAsked) {
		return "", fmt.Errorf("its prefix cannot be learnt: %w", err)
	}
	return prefix, nil
}
