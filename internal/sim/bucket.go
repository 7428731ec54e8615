package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/workdir/workdir/archive"
	"github.com/workdir/workdir/store"
)

// bucket is the one key of a bucket, as its provider keeps it: whole objects, and a
// condition on every write. Only the scheduler touches it.
type bucket struct {
	now     object
	writes  int
	broken  bool     // it ignores the conditions of writes
	history []object // all objects of the key, a removal as an object without a revision
}

// object is the object of the key; without a revision there is none.
type object struct {
	info  store.Info
	bytes []byte
	log   *archive.Log // nil for none
	bad   error        // it cannot be read
	event int          // the scheduler's count when it was stored
}

// put replaces the archive under a condition.
func (b *bucket) put(key string, content []byte, replace store.Revision, event int) (store.Info, error) {
	if have := b.now.info.Revision; have != replace && !b.broken {
		return store.Info{}, &store.Error{Op: "put", Object: key, Cause: &store.ConflictError{Key: key, Want: replace, Have: have}}
	}
	return b.set(key, content, event), nil
}

func (b *bucket) set(key string, content []byte, event int) store.Info {
	b.writes++
	info := store.Info{Key: key, Revision: store.Revision(fmt.Sprintf("r%d", b.writes)), Size: int64(len(content)), ModTime: time.Now()}
	log, err := archive.ReadLog(bytes.NewReader(content), info.Size)
	b.keep(object{info: info, bytes: content, log: log, bad: err, event: event})
	return info
}

// remove removes the archive under a condition.
func (b *bucket) remove(key string, rev store.Revision, event int) error {
	switch have := b.now.info.Revision; have {
	case "":
		return &store.Error{Op: "delete", Object: key, Kind: store.ErrNotExist}
	case rev:
		b.keep(object{event: event})
		return nil
	default:
		return &store.Error{Op: "delete", Object: key, Cause: &store.ConflictError{Key: key, Want: rev, Have: have}}
	}
}

func (b *bucket) keep(o object) {
	b.now = o
	b.history = append(b.history, o)
}

// open returns the current archive.
func (b *bucket) open(key string) (object, error) {
	if b.now.info.Revision == "" {
		return object{}, &store.Error{Op: "open", Object: key, Kind: store.ErrNotExist}
	}
	return b.now, nil
}

// reading is an open object.
type reading struct {
	*bytes.Reader
	info store.Info
}

func (r *reading) Info() store.Info { return r.info }
func (r *reading) Close() error     { return nil }

// client is the store as seen by one client, through a network.
type client struct {
	world *world
	name  int
}

var _ interface {
	store.Store
	store.TailOpener
	store.Composer
} = (*client)(nil)

// driverTries is how often a driver sends a write whose answer is lost, if allowed.
const driverTries = 3

func (c *client) Open(ctx context.Context, key string) (store.Object, error) {
	o, err := ask(ctx, c, "open", func(b *bucket, _ int) (object, error) { return b.open(key) })
	if err != nil {
		return nil, err
	}
	return &reading{bytes.NewReader(o.bytes), o.info}, nil
}

func (c *client) OpenTail(ctx context.Context, key string, _ int64) (store.Object, error) {
	return c.Open(ctx, key)
}

func (c *client) Stat(ctx context.Context, key string) (store.Info, error) {
	o, err := ask(ctx, c, "stat", func(b *bucket, _ int) (object, error) { return b.open(key) })
	return o.info, err
}

func (c *client) Put(ctx context.Context, key string, write func(io.Writer) error, opts *store.PutOptions) (store.Info, error) {
	var content bytes.Buffer
	if err := write(&content); err != nil {
		return store.Info{}, err
	}
	return c.final(ctx, opts, func(b *bucket, event int) (store.Info, error) {
		return b.put(key, content.Bytes(), opts.Replace, event)
	})
}

// Compose copies ranges of the base within the bucket, conditional on the opened revision.
func (c *client) Compose(ctx context.Context, key string, base store.Object, plan []store.Piece, opts *store.PutOptions) (store.Info, error) {
	type part struct {
		off, n int64
		fresh  []byte
	}
	var parts []part
	for _, p := range plan {
		if p.Write == nil {
			parts = append(parts, part{off: p.Off, n: p.Len})
			continue
		}
		var fresh bytes.Buffer
		if err := p.Write(&fresh); err != nil {
			return store.Info{}, err
		}
		parts = append(parts, part{fresh: fresh.Bytes()})
	}
	return c.final(ctx, opts, func(b *bucket, event int) (store.Info, error) {
		var content []byte
		for _, p := range parts {
			if p.fresh == nil {
				if b.now.info.Revision != base.Info().Revision {
					break // put refuses it
				}
				p.fresh = b.now.bytes[p.off : p.off+p.n]
			}
			content = append(content, p.fresh...)
		}
		return b.put(key, content, opts.Replace, event)
	})
}

// final sends the request that makes an archive visible like a driver: it calls Before before
// each try, and resolves a lost answer before the next one.
func (c *client) final(ctx context.Context, opts *store.PutOptions, do func(*bucket, int) (store.Info, error)) (info store.Info, err error) {
	for range driverTries {
		if opts.Before != nil {
			if err := opts.Before(ctx); err != nil {
				return store.Info{}, err
			}
		}
		info, err = ask(ctx, c, "put", do)
		if !errors.Is(err, store.ErrUnknown) || opts.Lost == nil {
			return info, err
		}
		if err := opts.Lost(ctx, err); err != nil {
			return store.Info{}, err
		}
	}
	return info, err
}

func (c *client) Delete(ctx context.Context, key string, rev store.Revision, before func(context.Context) error) error {
	if before != nil {
		if err := before(ctx); err != nil {
			return err
		}
	}
	_, err := ask(ctx, c, "delete", func(b *bucket, event int) (object, error) { return object{}, b.remove(key, rev, event) })
	return err
}

func (c *client) List(context.Context, string) ([]store.Info, error) {
	return nil, errors.ErrUnsupported
}

func (c *client) Close() error { return nil }
