package azure

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	azcloud "github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/store/drivers/internal/cloud"
	"gocloud.dev/blob/azureblob"
)

// options are those of gocloud's azureblob.URLOpener.
var options = map[string]cloud.Option{
	"storage_account": cloud.Text, "domain": cloud.Text, "protocol": isProtocol, "cdn": cloud.YesOrNo, "localemu": cloud.YesOrNo,
}

const (
	noSAS = "give a SAS token in AZURE_STORAGE_SAS_TOKEN"
	noKey = "give keys in AZURE_STORAGE_KEY and connection strings in AZURE_STORAGE_CONNECTION_STRING"
)

// secrets do not belong into a URL.
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

// Azurite's account, which is the same everywhere and no secret. Source:
// learn.microsoft.com, "Use the Azurite emulator".
const (
	emulatorAccount = "devstoreaccount1"
	emulatorKey     = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)

// open is the driver's opener. It makes no request.
func open(_ context.Context, u store.URL) (store.Store, error) {
	return cloud.Shared(u, func() (cloud.Backend, *cloud.Transport, error) {
		transport := cloud.NewTransport(nil)
		client, credential, err := connect(u, transport)
		if err != nil {
			return nil, nil, err
		}
		b := newBackend(client, true)
		b.credential = credential
		return b, transport, nil
	})
}

// connect makes the client for u, and returns its login; nil if that is a key or a SAS token.
// gocloud's own opener refuses domains, emulators and account names that users have, and sends
// the environment's credentials to any address in the URL.
//
// The first of these credentials is used, as in gocloud: a key, a SAS token, a connection
// string, a login.
func connect(u store.URL, transport *cloud.Transport) (*container.Client, azcore.TokenCredential, error) {
	query, err := cloud.ParseOptions(u, options, secrets)
	if err != nil {
		return nil, nil, err
	}
	e := newVariables()
	o := e.with(query)
	if isEmulator(o) && e.anonymous() && (o.AccountName == "" || o.AccountName == emulatorAccount) {
		e.key, e.keyAccount, o.AccountName = emulatorKey, emulatorAccount, emulatorAccount
	}
	if (e.key == "" || o.AccountName == "") && o.SASToken == "" && e.connection != "" {
		client, err := e.byString(u, o, containerOptions(transport))
		return client, nil, err
	}
	if cause, todo := e.refuses(o); cause != "" {
		return nil, nil, cloud.BadURL(u, errors.New(cause), todo)
	}
	client, credential, err := newClient(o, e.key, u.Bucket, containerOptions(transport))
	if err != nil {
		return nil, nil, cloud.BadURL(u, errors.New(cloud.OneLine(err.Error())), "look at the options, and at the variables AZURE_STORAGE_…")
	}
	return client, credential, nil
}

// byString makes a client by the connection string, which contains an address: a different one
// in the URL is refused.
func (e variables) byString(u store.URL, o azureblob.ServiceURLOptions, opts *container.ClientOptions) (*container.Client, error) {
	client, err := container.NewClientFromConnectionString(e.connection, u.Bucket, opts)
	if err != nil {
		return nil, cloud.BadURL(u, errors.New("AZURE_STORAGE_CONNECTION_STRING: "+cloud.OneLine(err.Error())), "copy it whole from the account's access keys")
	}
	have, there := strings.TrimSuffix(place(client.URL()), "/"+u.Bucket), place(serviceURL(o))
	if u.Query != "" && have != there {
		return nil, cloud.BadURL(u, fmt.Errorf("the connection string in the environment leads to %s, the options of the URL to %s", have, there), "leave out the options, or unset AZURE_STORAGE_CONNECTION_STRING")
	}
	return client, nil
}

// refuses says why the environment's credentials must not be sent to o, and what to do.
func (e variables) refuses(o azureblob.ServiceURLOptions) (cause, todo string) {
	switch {
	case o.IsLocalEmulator && o.StorageDomain == "":
		return "an emulator without an address", "add the options domain=127.0.0.1:10000 and protocol=http, or those that it has"
	case o.AccountName == "":
		return "no storage account", "write abfs://CONTAINER@ACCOUNT.dfs.core.windows.net/key, add the option storage_account=ACCOUNT, or set AZURE_STORAGE_ACCOUNT"
	case isProtocol(cmp.Or(o.Protocol, "https")) != nil:
		return fmt.Sprintf("the protocol %q in AZURE_STORAGE_PROTOCOL", o.Protocol), "set it to https or http"
	case e.key != "" && e.keyAccount != "" && e.keyAccount != o.AccountName:
		return fmt.Sprintf("the key in the environment is of the account %q, the URL names %q", e.keyAccount, o.AccountName),
			"set AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_KEY for the account of the URL, or unset both and log in"
	case e.key == "" && o.SASToken != "" && (e.AccountName == "" || place(serviceURL(e.ServiceURLOptions)) != place(serviceURL(o))): // whose owner could use it
		return "the SAS token in the environment is not for the place that the URL names",
			fmt.Sprintf("set AZURE_STORAGE_ACCOUNT=%s, and AZURE_STORAGE_DOMAIN and AZURE_STORAGE_PROTOCOL as in the URL, to say that it is", o.AccountName)
	case e.anonymous() && o.Protocol == "http":
		return "protocol=http, by which no token is sent", "use https, or give a key in AZURE_STORAGE_KEY"
	}
	return "", ""
}

// variables are the environment variables, by the names of gocloud or, if those are not set,
// of adlfs.
type variables struct {
	azureblob.ServiceURLOptions
	keyAccount string // the account of the key; "" for any
	key        string
	connection string
}

func newVariables() variables {
	e := variables{
		ServiceURLOptions: *azureblob.NewDefaultServiceURLOptions(),
		keyAccount:        cmp.Or(os.Getenv("AZURE_STORAGE_ACCOUNT"), os.Getenv("AZURE_STORAGE_ACCOUNT_NAME")),
		key:               cmp.Or(os.Getenv("AZURE_STORAGE_KEY"), os.Getenv("AZURE_STORAGE_ACCOUNT_KEY")),
		connection:        cmp.Or(os.Getenv("AZURE_STORAGE_CONNECTION_STRING"), os.Getenv("AZURE_STORAGEBLOB_CONNECTIONSTRING")),
	}
	e.AccountName = cmp.Or(e.AccountName, e.keyAccount)
	e.SASToken = strings.TrimPrefix(e.SASToken, "?")
	return e
}

func (e variables) anonymous() bool { return e.key == "" && e.SASToken == "" && e.connection == "" }

// with returns the address named by the options of a URL.
func (e variables) with(query url.Values) azureblob.ServiceURLOptions {
	o := e.ServiceURLOptions
	o.AccountName = cmp.Or(query.Get("storage_account"), o.AccountName)
	o.StorageDomain = cmp.Or(query.Get("domain"), o.StorageDomain)
	o.Protocol = cmp.Or(query.Get("protocol"), o.Protocol)
	o.IsLocalEmulator = o.IsLocalEmulator && !query.Has("localemu") || cloud.IsYes(query.Get("localemu"))
	o.IsCDN = o.IsCDN && !query.Has("cdn") || cloud.IsYes(query.Get("cdn"))
	return o
}

// isEmulator reports whether o leads to an emulator.
func isEmulator(o azureblob.ServiceURLOptions) bool {
	return o.IsLocalEmulator || strings.HasPrefix(o.StorageDomain, "127.0.0.1") || strings.HasPrefix(o.StorageDomain, "localhost")
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

// place is a service's address without possible secrets.
func place(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Scheme+"://"+u.Host) + strings.TrimRight(u.Path, "/")
}

// newClient makes the client of a container, by a key, a SAS token, or else a login.
func newClient(o azureblob.ServiceURLOptions, key, name string, opts *container.ClientOptions) (*container.Client, azcore.TokenCredential, error) {
	if key != "" {
		o.SASToken = ""
	}
	address, err := url.JoinPath(serviceURL(o), name)
	if err != nil {
		return nil, nil, err
	}
	if key != "" {
		shared, err := container.NewSharedKeyCredential(o.AccountName, key)
		if err != nil {
			return nil, nil, fmt.Errorf("the account's key: %w", err)
		}
		client, err := container.NewClientWithSharedKeyCredential(address, shared, opts)
		return client, nil, err
	}
	if o.SASToken != "" {
		client, err := container.NewClientWithNoCredential(address, opts)
		return client, nil, err
	}
	at := policy.ClientOptions{Transport: opts.Transport}
	switch {
	case strings.HasSuffix(o.StorageDomain, ".chinacloudapi.cn"):
		at.Cloud = azcloud.AzureChina
	case strings.HasSuffix(o.StorageDomain, ".usgovcloudapi.net"):
		at.Cloud = azcloud.AzureGovernment
	}
	found, err := azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{ClientOptions: at})
	if err != nil {
		return nil, nil, err
	}
	client, err := container.NewClient(address, login{found}, opts)
	return client, login{found}, err
}

// login is a credential whose errors are distinguished from those of the store, and whose
// requests are separate from the operation that needs the token: not counted with it, nor
// limited to one try.
type login struct{ azcore.TokenCredential }

// GetToken implements azcore.TokenCredential.
func (l login) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	t, err := l.TokenCredential.GetToken(bare{ctx}, o)
	if err != nil && ctx.Err() == nil {
		err = cloud.Means(cloud.Unidentified, todoLogin, errors.New(cloud.OneLine(err.Error())))
	}
	return t, err
}

// bare is a context without values.
type bare struct{ context.Context }

func (bare) Value(any) any { return nil }

// containerOptions are the options of every client that this driver makes. The store retries
// by itself, and knows which requests must not be repeated.
func containerOptions(transport *cloud.Transport) *container.ClientOptions {
	return &container.ClientOptions{ClientOptions: policy.ClientOptions{
		PerCallPolicies: []policy.Policy{wire{}},
		Retry:           policy.RetryOptions{MaxRetries: -1},
		Transport: &http.Client{
			Transport: transport,
			// Azure does not redirect; another server must not receive the requests.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}}
}

// wire is a policy that sends names unescaped, unlike gocloud, and uses a version of the
// protocol that emulators know too: Azurite 3.37 refuses that of azblob 1.8.1 and later,
// 2026-12-06.
type wire struct{}

const version = "2026-06-06"

// Do implements policy.Policy. It runs before the request is signed.
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
