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

	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/store/drivers/internal/cloud"
)

func init() { store.Register("gs", open) }

// open is the opener of the scheme. It makes no request and looks for no
// credentials: the first request does.
func open(_ context.Context, u store.URL) (store.Store, error) {
	c, err := parseOptions(u.Query)
	if err != nil {
		return nil, &store.Error{Op: "open", Object: "gs://" + u.Bucket, Kind: store.ErrURL, Cause: err, Todo: "the options are " + optionNames()}
	}
	return cloud.Shared(u, func() (cloud.Backend, *cloud.Transport, error) {
		t := cloud.NewTransport(singleRequests())
		a := &access{config: c, transport: t}
		return &backend{
			bucket: u.Bucket, client: a.client, close: a.close, endpoint: c.host(), pause: firstPause,
			anonymous: c.anonymous, google: c.endpoint == "" && os.Getenv(emulator) == "", identity: c,
		}, t, nil
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
// Of the client's settings for retries none are used: the store has its own.
func New(client *storage.Client, bucket string, opts *Options) store.Store {
	if opts == nil {
		opts = &Options{}
	}
	b := &backend{
		bucket:   bucket,
		client:   func(context.Context) (*storage.Client, error) { return client, nil },
		close:    func() error { return nil },
		pause:    firstPause,
		identity: client,
	}
	return cloud.NewStore(b, &cloud.Options{Prefix: opts.Prefix})
}

// FromBucket gives the store that is in a bucket that gocloud has opened, with the
// prefix that it has. Only its client is used, and otherwise it is as New: names are
// not escaped as gocloud does. The caller closes the bucket once the Store is closed.
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
var options = map[string]func(c *config, value string) error{
	"access_id":        (*config).setAccess,
	"google_access_id": (*config).setAccess,
	"private_key_path": func(*config, string) error { return nil },
	"anonymous": func(c *config, value string) error {
		anonymous, err := parseBool(value)
		c.anonymous = c.anonymous || anonymous
		return err
	},
	"universe_domain": func(c *config, value string) error {
		c.universe = value
		return nil
	},
	"endpoint": (*config).setEndpoint,
	"grpc":     refuseTrue,
	"zonal":    refuseTrue,
}

func optionNames() string {
	return "access_id, anonymous, endpoint, google_access_id, private_key_path, universe_domain"
}

// parseOptions reads the query of a URL.
func parseOptions(query string) (config, error) {
	var c config
	values, err := url.ParseQuery(query)
	if err != nil {
		return c, errors.New("options that are not name=value&name=value")
	}
	for name, all := range values {
		set := options[name]
		switch {
		case set == nil:
			return c, fmt.Errorf("unknown option %q", name)
		case len(all) > 1:
			return c, fmt.Errorf("option %q is given twice", name)
		}
		if err := set(&c, all[0]); err != nil {
			return c, fmt.Errorf("option %q: %w", name, err)
		}
	}
	if !c.anonymous && strings.HasPrefix(c.endpoint, "http://") {
		return c, errors.New("option \"endpoint\": credentials are not sent without TLS; add anonymous=true, or write https")
	}
	return c, nil
}

func (c *config) setAccess(value string) error {
	c.anonymous = c.anonymous || value == "-"
	return nil
}

// setEndpoint takes an address with or without the path of the JSON interface.
func (c *config) setEndpoint(value string) error {
	u, err := url.Parse(value)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" {
		return errors.New("not an address such as https://storage.example.com")
	}
	if strings.Trim(u.Path, "/") == "" {
		u.Path = "/storage/v1"
	}
	u.Path = strings.TrimSuffix(u.Path, "/") + "/"
	c.endpoint = u.String()
	return nil
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

func parseBool(value string) (bool, error) {
	switch value {
	case "true", "1":
		return true, nil
	case "false", "0":
		return false, nil
	}
	return false, fmt.Errorf("%q is neither true nor false", value)
}

// refuseTrue is for gocloud's options of another protocol.
func refuseTrue(_ *config, value string) error {
	on, err := parseBool(value)
	if on {
		return errors.New("only the HTTP interface is spoken")
	}
	return err
}
