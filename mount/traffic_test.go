package mount

import (
	"context"
	"io"
	"sync/atomic"
	"testing"

	"github.com/workdir/workdir/store"
)

// counted is a file store that counts its requests, as those of the clouds do.
// init registers it in the client and in the server.
type counted struct {
	store.Store
	gets, heads, puts, sent, received atomic.Int64
}

func init() {
	store.Register("counted", func(ctx context.Context, _ store.URL) (store.Store, error) {
		s, err := store.OpenBucket(ctx, store.URL{Scheme: "file"})
		return &counted{Store: s}, err
	})
}

func (c *counted) Open(ctx context.Context, key string) (store.Object, error) {
	c.gets.Add(1)
	obj, err := c.Store.Open(ctx, key)
	return &countedObject{obj, &c.received}, err
}

func (c *counted) Stat(ctx context.Context, key string) (store.Info, error) {
	c.heads.Add(1)
	return c.Store.Stat(ctx, key)
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

func (c *counted) Put(ctx context.Context, key string, write func(io.Writer) error, opts *store.PutOptions) (store.Info, error) {
	info, err := c.Store.Put(ctx, key, write, opts)
	c.puts.Add(1)
	c.sent.Add(info.Size)
	return info, err
}

func (c *counted) Traffic() store.Traffic {
	return store.Traffic{
		"get":  {Count: c.gets.Load(), Received: c.received.Load()},
		"head": {Count: c.heads.Load()},
		"put":  {Count: c.puts.Load(), Sent: c.sent.Load()},
	}
}

func TestTraffic(t *testing.T) {
	f := newFixture(t)
	m, err := Open(t.Context(), "counted://bucket"+f.dir+"/key", &Options{RunDir: f.runDir})
	if err != nil {
		t.Fatal(err)
	}
	status, err := m.Status(t.Context())
	if err != nil || status.Traffic["get"].Count != 1 || status.Traffic["put"].Count != 0 {
		t.Errorf("the status has %v, %v", status.Traffic, err)
	}
	f.write(m, "file", "content")
	res := f.close(m, true)
	if put := res.Traffic["put"]; put.Count != 1 || put.Sent != res.Size || res.Size == 0 {
		t.Errorf("the result has %v, of an archive of %d bytes", res.Traffic, res.Size)
	}
	m = f.open("key", nil)
	status, err = m.Status(t.Context())
	if err != nil || status.Traffic != nil {
		t.Errorf("the status of a store without a network has %v, %v", status.Traffic, err)
	}
	if res := f.close(m, false); res.Traffic != nil {
		t.Errorf("its result has %v", res.Traffic)
	}
}
