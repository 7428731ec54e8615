// Package azure is the driver for Azure Blob Storage, of the URLs
// azblob://container/key, az://container/key and
// abfs://container@account.dfs.core.windows.net/key. Importing it registers it.
//
// It knows the options and credentials of gocloud's azureblob and adlfs, Azure's requests and
// the meaning of its refusals. Package cloud decides when to send which request.
//
// # One hard idea
//
// A blob of several blocks becomes visible only by its list of blocks, and that is the one
// request with a condition. Blocks belong to the name, not to the writer: two writers stage
// blocks under one name at once, so every block has an id that no other writer has. The one
// that commits a list first discards the blocks of the other, whose list is then refused.
//
// # Leftovers
//
// Azure has no request to discard staged blocks. Those of an abandoned upload are invisible,
// are charged like other bytes, and disappear with the next commit of the same workspace, or
// after seven days (learn.microsoft.com, "Put Block"). A workspace that has only staged blocks
// is "not found" to everybody.
package azure

import (
	"context"
	"errors"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/workdir/workdir/doctor"
	azuredoctor "github.com/workdir/workdir/doctor/azure"
	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/store/drivers/internal/cloud"
	"gocloud.dev/blob"
)

func init() { store.Register(scheme, open) }

const scheme = "azblob"

// Options of New. Nil stands for the zero value.
type Options struct {
	Prefix string // before the name of every blob, as written: "team/"
}

// New returns the store in a container, for programs that configure their client in code; they
// register it under their own scheme with store.Register. Requests go through the client's own
// transport, which must detect stalled connections itself, and [store.TrafficOf] does not
// count them. Keys with one of \ " # % ? or "../" are refused, since only this package's own
// client sends them unescaped.
func New(client *container.Client, opts *Options) store.Store {
	if opts == nil {
		opts = &Options{}
	}
	return cloud.NewStore(newBackend(client, false), opts.Prefix, nil)
}

// FromBucket returns the store in a bucket opened by gocloud, with the bucket's prefix. Only
// its client is used; otherwise it is as New. The caller closes the bucket after the Store. No
// request is made. The error is store.ErrURL if the bucket belongs to another driver.
func FromBucket(bucket *blob.Bucket) (store.Store, error) {
	var client *container.Client
	if bucket == nil || !bucket.As(&client) {
		return nil, cloud.BadBucket("azureblob")
	}
	opts, stop := &Options{}, errors.New("only looking")
	list := bucket.List(&blob.ListOptions{BeforeList: func(as func(any) bool) error {
		var o *container.ListBlobsHierarchyOptions
		if as(&o) && o.Prefix != nil {
			opts.Prefix = *o.Prefix // of a blob.PrefixedBucket
		}
		return stop
	}})
	_, _ = list.Next(context.Background()) // stopped before a request
	return New(client, opts), nil
}

var _ cloud.Diagnoser = (*backend)(nil)

// Doctor implements cloud.Diagnoser.
func (b *backend) Doctor() *doctor.Bucket {
	return azuredoctor.Container(b.client, b.credential, b.account)
}
