package gs

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"cloud.google.com/go/storage"
	"gocloud.dev/blob"
	"gocloud.dev/blob/gcsblob"

	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/store/drivers/internal/cloud"
)

func init() { store.Register("gs", open) }

// open is the opener of the scheme. It makes no request and looks for no
// credentials: the first request does.
func open(_ context.Context, u store.URL) (store.Store, error) {
	c, err := parseOptions(u)
	if err != nil {
		return nil, err
	}
	return cloud.Shared(u, func() (cloud.Backend, *cloud.Transport, error) {
		t := cloud.NewTransport(singleRequests())
		a := &access{bucket: u.Bucket, config: c, transport: t}
		b := newBackend(a.open)
		b.bucket, b.close, b.endpoint, b.anonymous, b.identity = u.Bucket, a.close, c.host(), c.anonymous, c
		b.google = c.endpoint == "" && os.Getenv(emulator) == ""
		return b, t, nil
	})
}

// Options of New. Nil is good.
type Options struct {
	// Prefix comes before the name of every object, as written: "team/".
	Prefix string
}

// New gives the store that is in a bucket, by a client that the caller has made and
// closes, once the Store is closed. Requests go through the client's own transport:
// a stalled connection is that one's to find, and [store.TrafficOf] knows nothing.
//
// The client's settings for retries hold for attributes and lists alone: else the store
// has its own. New panics where bucket is empty.
func New(client *storage.Client, bucket string, opts *Options) store.Store {
	if opts == nil {
		opts = &Options{}
	}
	opened, err := gcsblob.OpenBucket(context.Background(), nil, bucket, &gcsblob.Options{Client: client})
	if err != nil {
		panic(err)
	}
	b := newBackend(cloud.Opened(opened))
	b.bucket, b.identity = bucket, client
	b.close = func() error { return nil }
	return cloud.NewStore(b, &cloud.Options{Prefix: opts.Prefix})
}

// FromBucket gives the store that is in a bucket that gocloud has opened, with the
// prefix that it has. Only its client is used, and otherwise it is as New. The caller closes the bucket once the Store is closed.
// No request is made. The error is store.ErrURL, where the bucket is not one of
// Google Cloud Storage.
func FromBucket(b *blob.Bucket) (store.Store, error) {
	var client *storage.Client
	if !b.As(&client) {
		return nil, &store.Error{Op: "open", Object: "bucket", Kind: store.ErrURL, Cause: errors.New("it is not one of Google Cloud Storage"), Todo: "give FromBucket what gcsblob opened"}
	}
	bucket, prefix, err := locate(b)
	if err != nil {
		return nil, &store.Error{Op: "open", Object: "bucket", Kind: store.ErrURL, Cause: err}
	}
	return New(client, bucket, &Options{Prefix: prefix}), nil
}

// locate asks a bucket for its name and prefix, by a read that is stopped before it
// is sent.
func locate(b *blob.Bucket) (name, prefix string, err error) {
	const probe = "x"
	stop := errors.New("stopped before the request")
	var object *storage.ObjectHandle
	_, err = b.NewReader(context.Background(), probe, &blob.ReaderOptions{BeforeRead: func(as func(any) bool) error {
		var handle **storage.ObjectHandle
		if as(&handle) {
			object = *handle
		}
		return stop
	}})
	if object == nil {
		return "", "", fmt.Errorf("its name is not known: %w", err)
	}
	return object.BucketName(), strings.TrimSuffix(object.ObjectName(), probe), nil
}

// config is what the options of a URL say.
type config struct {
	anonymous bool
	universe  string // domain of another cloud than the public one; "" is what the credentials say
	endpoint  string // address of the JSON interface, "http://127.0.0.1:4443/storage/v1/"; "" is Google's, or the emulator's
}

// options are those of gocloud's opener for gs URLs, and endpoint. access_id and
// private_key_path are for links that are signed, which nothing here makes, but for
// the access_id "-".
var options = map[string]cloud.Option{
	"access_id": nil, "google_access_id": nil, "private_key_path": nil, "anonymous": cloud.YesOrNo,
	"universe_domain": nil, "endpoint": cloud.Address, "grpc": isNo, "zonal": isNo,
}

// isNo is for gocloud's options of another protocol.
func isNo(value string) error {
	if err := cloud.YesOrNo(value); err != nil || !cloud.IsYes(value) {
		return err
	}
	return errors.New("only the HTTP interface is spoken")
}

// parseOptions reads the options of a URL.
func parseOptions(u store.URL) (config, error) {
	query, err := cloud.ParseOptions(u, options, nil)
	if err != nil {
		return config{}, err
	}
	c := config{
		anonymous: cloud.IsYes(query.Get("anonymous")) || query.Get("access_id") == "-" || query.Get("google_access_id") == "-",
		universe:  query.Get("universe_domain"),
	}
	if endpoint := query.Get("endpoint"); endpoint != "" {
		at, err := url.Parse(endpoint)
		if err != nil {
			return c, err // Address has seen it
		}
		if strings.Trim(at.Path, "/") == "" {
			at.Path = "/storage/v1"
		}
		at.Path = strings.TrimSuffix(at.Path, "/") + "/"
		c.endpoint = at.String()
	}
	if !c.anonymous && strings.HasPrefix(c.endpoint, "http://") {
		return c, cloud.BadURL(u, errors.New("the option \"endpoint\": credentials are not sent without TLS"), "add anonymous=true, or write https")
	}
	return c, nil
}

// host is where requests go, "" for Google's own.
func (c *config) host() string {
	if u, err := url.Parse(c.endpoint); err == nil && u.Host != "" {
		return u.Host
	}
	host := os.Getenv(emulator)
	if _, after, found := strings.Cut(host, "://"); found {
		host = after
	}
	if host == "" && c.universe != "" {
		return "storage." + c.universe
	}
	return host
}
