// Package gs is the driver of Google Cloud Storage. Importing it registers the
// scheme gs (and gcs); programs that configure in code pass a client or a bucket to [New] or
// [FromBucket] and register the result under their own scheme.
//
// It uses the JSON API with Google's client library. Package cloud decides when to send which
// request, what to retry and which answers to believe.
//
// # A revision is a generation
//
// Reads name the generation to read, writes and removals the one to replace
// (ifGenerationMatch; 0 if there must be none). Every write has a new generation, whatever its
// bytes.
//
// # One hard idea
//
// An upload of several parts is a resumable upload: its bytes are sent one after the
// other, 16 MiB at a time, and only the last of these requests, sent by Complete,
// makes the object. Google checks the condition when the upload begins and once more at the
// end, and the checksum of the whole (CRC32C) before it accepts the object. The library can
// safely repeat that last request, and does: the repetition does not conflict with the first
// try. An abandoned upload is invisible, and Google drops it after a week.
//
// # Not found
//
// To users who may not list a bucket Google answers 403 for a missing object, so a 404 is
// definite; but a missing bucket has the same answer. Accessible lists one name beside the
// object, which needs only storage.objects.list, unlike getting the bucket itself.
package gs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/auth/credentials"
	"cloud.google.com/go/auth/httptransport"
	"cloud.google.com/go/storage"
	"gocloud.dev/blob"
	"gocloud.dev/blob/gcsblob"
	"google.golang.org/api/option"

	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/store/drivers/internal/cloud"
)

func init() { store.Register("gs", open) }

// open is the opener of the scheme. It makes no request and does not look for credentials
// until the first request.
func open(_ context.Context, u store.URL) (store.Store, error) {
	c, err := parseOptions(u)
	if err != nil {
		return nil, err
	}
	return cloud.Shared(u, func() (cloud.Backend, *cloud.Transport, error) {
		t := cloud.NewTransport(singleRequests())
		return newAccess(u.Bucket, c, t).backend(), t, nil
	})
}

// Options of New. Nil stands for the zero value.
type Options struct {
	Prefix string // before the name of every object, as written: "team/"
}

// New returns the store in a bucket, by a client of the HTTP API (storage.NewClient), which
// the caller closes after the Store. Requests go through the client's own transport, which
// must detect stalled connections itself, and [store.TrafficOf] does not count them. The
// client's retry settings apply only to attributes and lists. New panics if bucket is empty.
func New(client *storage.Client, bucket string, opts *Options) store.Store {
	if opts == nil {
		opts = &Options{}
	}
	opened, err := gcsblob.OpenBucket(context.Background(), nil, bucket, &gcsblob.Options{Client: client})
	if err != nil {
		panic(err)
	}
	b := newBackend(bucket, cloud.Opened(opened))
	b.identity = client
	return cloud.NewStore(b, opts.Prefix, nil)
}

// FromBucket returns the store in a bucket opened by gocloud, with the bucket's prefix. Only
// its client is used; otherwise it is as New. The caller closes the bucket after the Store. No
// request is made. The error is store.ErrURL if the bucket belongs to another driver.
func FromBucket(bucket *blob.Bucket) (store.Store, error) {
	var client *storage.Client
	name, opts := "", &Options{}
	err := cloud.LookAtWrite(bucket, "gcsblob", func(key string, as func(any) bool) bool {
		var o **storage.ObjectHandle
		if !as(&o) {
			return false
		}
		name, opts.Prefix = (*o).BucketName(), strings.TrimSuffix((*o).ObjectName(), key)
		return bucket.As(&client)
	})
	if err != nil {
		return nil, err
	}
	return New(client, name, opts), nil
}

// config is the content of a URL's options.
type config struct {
	anonymous bool
	universe  string // domain of a cloud other than the public one; "" is that of the credentials
	endpoint  string // address of the JSON interface, "http://127.0.0.1:4443/storage/v1/"; "" is Google's, or the emulator's
}

// options are those of gocloud's gcsblob.URLOpener, and endpoint. access_id and
// private_key_path are for signed links, which are not used here, except for the access_id
// "-".
var options = map[string]cloud.Option{
	"access_id": nil, "google_access_id": nil, "private_key_path": nil, "anonymous": cloud.YesOrNo,
	"universe_domain": nil, "endpoint": cloud.Address, "grpc": isNo, "zonal": isNo,
}

// isNo is for gocloud's options of another protocol.
func isNo(value string) error {
	if err := cloud.YesOrNo(value); err != nil || !cloud.IsYes(value) {
		return err
	}
	return errors.New("only the HTTP API is supported")
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
	if address := query.Get("endpoint"); address != "" {
		at, err := url.Parse(address)
		if err != nil {
			return c, err // Address has checked it
		}
		at.Path = "/" + cmp.Or(strings.Trim(at.Path, "/"), "storage/v1") + "/"
		c.endpoint = at.String()
	}
	if !c.anonymous && strings.HasPrefix(c.endpoint, "http://") {
		return c, cloud.BadURL(u, errors.New("the option \"endpoint\": credentials are not sent without TLS"), "add anonymous=true, or write https")
	}
	return c, nil
}

// emulator is the variable by which Google's libraries find an emulator, to which no
// credentials are sent.
const emulator = "STORAGE_EMULATOR_HOST"

// host is the server for requests, "" for Google's own.
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

// access makes the client of one bucket on first use. gocloud's opener would look for
// credentials at once, and request tokens by its own transport.
type access struct {
	bucket    string
	config    config
	transport *cloud.Transport

	mu     sync.Mutex
	client *storage.Client // guarded by mu; nil before the first success, like made
	made   *blob.Bucket    // guarded by mu
}

func newAccess(bucket string, c config, t *cloud.Transport) *access {
	return &access{bucket: bucket, config: c, transport: t}
}

func (a *access) backend() *backend {
	b := newBackend(a.bucket, a.open)
	b.Place, b.close, b.anonymous, b.identity = a.config.host(), a.close, a.config.anonymous, a.config
	if a.config.endpoint == "" && os.Getenv(emulator) == "" {
		b.Tried = nil // Google's own servers honour conditions
	}
	return b
}

// open returns the bucket. Without credentials the error says so, and the next call looks for
// them anew.
func (a *access) open(ctx context.Context) (*blob.Bucket, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.made != nil {
		return a.made, nil
	}
	client, err := a.dial(context.WithoutCancel(ctx))
	if err != nil {
		return nil, err
	}
	client.SetRetry(retryNever)
	a.client = client
	a.made, err = gcsblob.OpenBucket(ctx, nil, a.bucket, &gcsblob.Options{Client: client})
	return a.made, err
}

func (a *access) close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.client == nil {
		return nil
	}
	return a.client.Close()
}

func (a *access) dial(ctx context.Context) (*storage.Client, error) {
	var base http.RoundTripper = requests{a.transport}
	if !a.config.anonymous && (os.Getenv(emulator) == "" || a.config.endpoint != "") {
		identified, universe, err := a.identify(ctx, base)
		if err != nil {
			return nil, err
		}
		base, a.config.universe = identified, universe
	}
	// The transport already has the credentials: the library need not look for them.
	opts := []option.ClientOption{option.WithoutAuthentication(), option.WithHTTPClient(&http.Client{Transport: base})}
	if a.config.endpoint != "" {
		opts = append(opts, option.WithEndpoint(a.config.endpoint))
	}
	if a.config.universe != "" {
		opts = append(opts, option.WithUniverseDomain(a.config.universe))
	}
	return storage.NewClient(ctx, opts...)
}

// identify returns a transport over base that adds the credentials which Google's
// tools and libraries use on this machine: those of the file that
// GOOGLE_APPLICATION_CREDENTIALS names, of gcloud's file, or of the metadata server.
// On a machine without one, looking for that server takes at most two seconds.
func (a *access) identify(ctx context.Context, base http.RoundTripper) (http.RoundTripper, string, error) {
	found, err := credentials.DetectDefault(&credentials.DetectOptions{
		Scopes:         []string{storage.ScopeFullControl, "https://www.googleapis.com/auth/cloud-platform"},
		Client:         &http.Client{Transport: tokenRequests{a.transport}},
		UniverseDomain: a.config.universe,
	})
	if err != nil {
		return nil, "", noLogin(err)
	}
	universe := a.config.universe
	if universe == "" {
		if universe, err = found.UniverseDomain(ctx); err != nil {
			return nil, "", asLogin(fmt.Errorf("ask the metadata server about the credentials: %w", err))
		}
	}
	found.TokenProvider = tokens{found.TokenProvider}
	client, err := httptransport.NewClient(&httptransport.Options{
		Credentials: found, BaseRoundTripper: base, UniverseDomain: universe, DisableTelemetry: true,
	})
	if err != nil {
		return nil, "", noLogin(err)
	}
	return client.Transport, universe, nil
}

// noLogin: there are no credentials, or no usable ones.
func noLogin(err error) error {
	return cloud.Means(cloud.Unidentified, todoLogin, err)
}

// asLogin is noLogin, except for errors that loginRefusal or the state of the network
// explains.
func asLogin(err error) error {
	_, answered := loginRefusal(err)
	if answered || errors.As(err, new(net.Error)) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return noLogin(err)
}

// tokens is a token provider with classified errors.
type tokens struct{ auth.TokenProvider }

func (t tokens) Token(ctx context.Context) (*auth.Token, error) {
	token, err := t.TokenProvider.Token(ctx)
	if err != nil {
		return nil, asLogin(err)
	}
	return token, nil
}
