package azure

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/store/drivers/internal/cloud"
	"gocloud.dev/blob/azureblob"
)

// options are those that a URL may have: gocloud's.
var options = map[string]func(value string) error{
	"storage_account": notEmpty,
	"domain":          notEmpty,
	"protocol":        isProtocol,
	"cdn":             isBool,
	"localemu":        isBool,
}

func notEmpty(s string) error {
	if s == "" {
		return fmt.Errorf("it is empty")
	}
	return nil
}

func isProtocol(s string) error {
	if s != "http" && s != "https" {
		return fmt.Errorf("it is neither http nor https")
	}
	return nil
}

func isBool(s string) error {
	if _, err := strconv.ParseBool(s); err != nil {
		return fmt.Errorf("it is neither true nor false")
	}
	return nil
}

// open is the driver's opener. It makes no request.
func open(ctx context.Context, u store.URL) (store.Store, error) {
	return cloud.Shared(u, func() (cloud.Backend, *cloud.Transport, error) {
		transport := cloud.NewTransport(nil)
		client, o, err := connect(ctx, u, transport)
		if err != nil {
			return nil, nil, err
		}
		b := newBackend(client)
		b.credential = o.credential
		return b, transport, nil
	})
}

// connect has gocloud make the client that u leads to.
func connect(ctx context.Context, u store.URL, transport *cloud.Transport) (*container.Client, *opener, error) {
	query, err := parseOptions(u)
	if err != nil {
		return nil, nil, err
	}
	o := newOpener(u, query, transport)
	if err := o.check(); err != nil {
		return nil, nil, err
	}
	urlOpener := &azureblob.URLOpener{MakeClient: o.makeClient, ServiceURLOptions: o.defaults}
	bucket, err := urlOpener.OpenBucketURL(ctx, &url.URL{Scheme: scheme, Host: u.Bucket, RawQuery: query.Encode()})
	if err != nil {
		return nil, nil, o.bad(oneLine(err.Error()), "look at the options, and at the variables AZURE_STORAGE_…")
	}
	client, err := clientOf(bucket)
	return client, o, err
}

// badURL is the error for a URL's options or what belongs to them.
func badURL(u store.URL, cause, todo string) error {
	bucket := store.URL{Scheme: u.Scheme, Bucket: u.Bucket}
	return &store.Error{Op: "open", Object: bucket.String(), Kind: store.ErrURL, Cause: fmt.Errorf("%s", cause), Todo: todo}
}

// parseOptions splits the options of a URL. What is refused is named, but not shown.
func parseOptions(u store.URL) (url.Values, error) {
	query, err := url.ParseQuery(u.Query)
	if err != nil {
		return nil, badURL(u, "the options cannot be read", "write name=value&name=value, and %25 for a percent sign")
	}
	for name, values := range query {
		check, known := options[name]
		if !known {
			return nil, badURL(u, fmt.Sprintf("the option %q, which is not known", name), unknownTodo(name))
		}
		if len(values) > 1 {
			return nil, badURL(u, fmt.Sprintf("the option %q is there %d times", name, len(values)), "leave one")
		}
		if err := check(values[0]); err != nil {
			return nil, badURL(u, fmt.Sprintf("the value of the option %q: %v", name, err), "correct it")
		}
	}
	return query, nil
}

// unknownTodo says what to do with an option that there is not.
func unknownTodo(name string) string {
	if slices.Contains([]string{"sig", "sv", "se", "sp", "sr", "ss", "srt", "sas_token"}, name) {
		return "give a SAS token in AZURE_STORAGE_SAS_TOKEN"
	}
	if strings.Contains(name, "key") || strings.Contains(name, "connection") {
		return "give keys in AZURE_STORAGE_KEY and connection strings in AZURE_STORAGE_CONNECTION_STRING"
	}
	return "the known ones are storage_account, domain, protocol, cdn and localemu"
}

// clientOptions are those of every client that this driver makes. The store tries
// again by itself, and knows what must not be sent twice.
func clientOptions(transport *cloud.Transport) policy.ClientOptions {
	return policy.ClientOptions{
		Retry: policy.RetryOptions{MaxRetries: -1},
		Transport: &http.Client{
			Transport: transport,
			// Azure redirects nobody; whoever does must not get what is sent.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
}

// containerOptions is clientOptions for a container.
func containerOptions(transport *cloud.Transport) *container.ClientOptions {
	return &container.ClientOptions{ClientOptions: clientOptions(transport)}
}
