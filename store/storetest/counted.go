package storetest

import (
	"context"
	"io"
	"sync/atomic"

	"github.com/workdir/workdir/store"
)

// Counted is a store that counts its requests, as those of the clouds do.
type Counted struct {
	store.Store
	gets, heads, puts, sent, received atomic.Int64
}

// RegisterCounted registers a scheme for archives in files whose stores count. A URL of it
// has any bucket, and the path as its key.
func RegisterCounted(scheme string) {
	store.Register(scheme, func(ctx context.Context, _ store.URL) (store.Store, error) {
		s, err := store.OpenBucket(ctx, store.URL{Scheme: "file"})
		return &Counted{Store: s}, err
	})
}

// Open counts as "get", with the bytes that are read.
func (c *Counted) Open(ctx context.Context, key string) (store.Object, error) {
	return c.open(c.Store.Open(ctx, key))
}

// OpenTail counts as "get", with the bytes that are read.
func (c *Counted) OpenTail(ctx context.Context, key string, n int64) (store.Object, error) {
	return c.open(store.OpenTail(ctx, c.Store, key, n))
}

func (c *Counted) open(obj store.Object, err error) (store.Object, error) {
	c.gets.Add(1)
	if err != nil {
		return nil, err
	}
	return &countedObject{obj, &c.received}, nil
}

// Sync implements store.Syncer.
func (c *Counted) Sync(ctx context.Context, key string) error { return store.Sync(ctx, c.Store, key) }

// Stat counts as "head".
func (c *Counted) Stat(ctx context.Context, key string) (store.Info, error) {
	c.heads.Add(1)
	return c.Store.Stat(ctx, key)
}

// Put counts as "put", with the size of the archive.
func (c *Counted) Put(ctx context.Context, key string, write func(io.Writer) error, opts *store.PutOptions) (store.Info, error) {
	info, err := c.Store.Put(ctx, key, write, opts)
	c.puts.Add(1)
	c.sent.Add(info.Size)
	return info, err
}

// Traffic returns the counts.
func (c *Counted) Traffic() store.Traffic {
	return store.Traffic{
		"get":  {Count: c.gets.Load(), Received: c.received.Load()},
		"head": {Count: c.heads.Load()},
		"put":  {Count: c.puts.Load(), Sent: c.sent.Load()},
	}
}

// countedObject counts the bytes that are read.
type countedObject struct {
	store.Object
	received *atomic.Int64
}

func (o *countedObject) Read(p []byte) (int, error) {
	n, err := o.Object.Read(p)
	o.received.Add(int64(n))
	return n, err
}

func (o *countedObject) ReadAt(p []byte, off int64) (int, error) {
	n, err := o.Object.ReadAt(p, off)
	o.received.Add(int64(n))
	return n, err
}
