package azure

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/store/drivers/internal/cloud"
	"gocloud.dev/blob/azureblob"
)

// options are those that a URL may have: gocloud's.
var options = map[string]cloud.Option{
	"storage_account": cloud.Text, "domain": cloud.Text, "protocol": isProtocol, "cdn": cloud.YesOrNo, "localemu": cloud.YesOrNo,
}

const (
	noSAS = "give a SAS token in AZURE_STORAGE_SAS_TOKEN"
	noKey = "give keys in AZURE_STORAGE_KEY and connection strings in AZURE_STORAGE_CONNECTION_STRING"
)

// secrets are better kept from a URL.
var secrets = map[string]string{
	"sig": noSAS, "sv": noSAS, "se": noSAS, "sp": noSAS, "sr": noSAS, "ss": noSAS, "srt": noSAS, "sas_token": noSAS,
	"account_key": noKey, "key": noKey, "connection_string": noKey,
}

func isProtocol(s string) error {
	if s != "http" && s != "https" {
		return errors.New("it is neither http nor https")
	}
	return nil
}

// open is the driver's opener. It makes no request.
func open(_ context.Context, u store.URL) (store.Store, error) {
	return cloud.Shared(u, func() (cloud.Backend, *cloud.Transport, error) {
		transport := cloud.NewTransport(nil)
		client, o, err := connect(u, transport)
		if err != nil {
			return nil, nil, err
		}
		b := newBackend(client, true)
		b.credential = o.credential
		return b, transport, nil
	})
}

// connect makes the client that u leads to. gocloud's own opener refuses domains and
// emulators of users from v0.49.0 on.
func connect(u store.URL, transport *cloud.Transport) (*container.Client, *opener, error) {
	query, err := cloud.ParseOptions(u, options, secrets)
	if err != nil {
		return nil, nil, err
	}
	o := newOpener(u, query, transport)
	if err := o.check(); err != nil {
		return nil, nil, err
	}
	client, err := o.makeClient(serviceURL(o.merged), u.Bucket)
	if err != nil {
		return nil, nil, o.bad(cloud.OneLine(err.Error()), "look at the options, and at the variables AZURE_STORAGE_…")
	}
	return client, o, nil
}

// serviceURL is the address of an account. An emulator has the account in the path.
func serviceURL(o azureblob.ServiceURLOptions) string {
	domain := cmp.Or(o.StorageDomain, "blob.core.windows.net")
	address := cmp.Or(o.Protocol, "https") + "://"
	switch {
	case isEmulator(o):
		address += domain + "/" + o.AccountName
	case o.IsCDN:
		address += domain
	default:
		address += o.AccountName + "." + domain
	}
	if o.SASToken != "" {
		address += "?" + o.SASToken
	}
	return address
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
	o := clientOptions(transport)
	o.PerCallPolicies = []policy.Policy{wire{}}
	return &container.ClientOptions{ClientOptions: o}
}

// wire is a policy that sends names as they are, which gocloud escapes, and speaks a
// version of the protocol that emulators know too: Azurite 3.37 refuses that of azblob
// 1.8.1 and later, 2026-12-06.
type wire struct{}

const version = "2026-06-06"

// Do implements policy.Policy. It comes before the request is signed.
func (wire) Do(r *policy.Request) (*http.Response, error) {
	r.Raw().Header["x-ms-version"] = []string{version}
	u := r.Raw().URL
	raw := cloud.Escape.ReplaceAllStringFunc(u.EscapedPath(), func(escaped string) string {
		c, err := strconv.ParseInt(strings.Trim(escaped, "_")[len("0x"):], 16, 32)
		if err != nil {
			return escaped
		}
		return url.PathEscape(string(rune(c)))
	})
	if path, err := url.PathUnescape(raw); err == nil {
		u.Path, u.RawPath = path, raw
	}
	return r.Next()
}
