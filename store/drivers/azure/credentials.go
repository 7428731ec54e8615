package azure

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	azcloud "github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/store/drivers/internal/cloud"
	"gocloud.dev/blob/azureblob"
)

// Azurite's account, which is the same everywhere and no secret. Source:
// learn.microsoft.com, "Use the Azurite emulator", well-known storage account and
// key.
const (
	emulatorAccount = "devstoreaccount1"
	emulatorKey     = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
)

// How an opener's client identifies itself, in gocloud's order.
type identity int

const (
	byKey identity = iota
	bySAS
	byConnection // string
	byLogin
)

// opener finds the account and the credentials for one URL: in its options, and in the
// environment under the names of gocloud and, where those are not set, of adlfs.
type opener struct {
	url       store.URL
	transport *cloud.Transport
	defaults  azureblob.ServiceURLOptions // from the environment
	merged    azureblob.ServiceURLOptions // with the options of the URL over them
	given     bool                        // the URL has options of its own

	keyAccount string // the account that the key is of; "" for any
	key        string
	connection string
	by         identity

	credential azcore.TokenCredential // set by makeClient where it logs in
}

func newOpener(u store.URL, query url.Values, transport *cloud.Transport) *opener {
	o := &opener{
		url: u, transport: transport, given: len(query) > 0,
		defaults:   *azureblob.NewDefaultServiceURLOptions(),
		keyAccount: env("AZURE_STORAGE_ACCOUNT", "AZURE_STORAGE_ACCOUNT_NAME"),
		key:        env("AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCOUNT_KEY"),
		connection: env("AZURE_STORAGE_CONNECTION_STRING", "AZURE_STORAGEBLOB_CONNECTIONSTRING"),
	}
	o.defaults.AccountName = cmp.Or(o.defaults.AccountName, o.keyAccount)
	o.defaults.SASToken = strings.TrimPrefix(o.defaults.SASToken, "?")
	m := o.defaults
	m.AccountName = cmp.Or(query.Get("storage_account"), m.AccountName)
	m.StorageDomain = cmp.Or(query.Get("domain"), m.StorageDomain)
	m.Protocol = cmp.Or(query.Get("protocol"), m.Protocol)
	m.IsLocalEmulator = m.IsLocalEmulator && !query.Has("localemu") || cloud.IsYes(query.Get("localemu"))
	m.IsCDN = m.IsCDN && !query.Has("cdn") || cloud.IsYes(query.Get("cdn"))
	o.merged = m
	anonymous := o.key == "" && m.SASToken == "" && o.connection == ""
	if isEmulator(m) && anonymous && (m.AccountName == "" || m.AccountName == emulatorAccount) {
		o.key, o.keyAccount = emulatorKey, emulatorAccount
		o.defaults.AccountName, o.merged.AccountName = emulatorAccount, emulatorAccount
	}
	switch {
	case o.key != "" && o.merged.AccountName != "":
		o.by = byKey
	case m.SASToken != "":
		o.by = bySAS
	case o.connection != "":
		o.by = byConnection
		if m.AccountName == "" && !o.given { // the string has an endpoint instead
			o.defaults.AccountName, o.merged.AccountName = emulatorAccount, emulatorAccount
		}
	default:
		o.by = byLogin
	}
	return o
}

// env is the first of these variables that is set.
func env(names ...string) string {
	for _, name := range names {
		if v := os.Getenv(name); v != "" {
			return v
		}
	}
	return ""
}

// isEmulator says whether o leads to an emulator.
func isEmulator(o azureblob.ServiceURLOptions) bool {
	return o.IsLocalEmulator || strings.HasPrefix(o.StorageDomain, "127.0.0.1") || strings.HasPrefix(o.StorageDomain, "localhost")
}

func (o *opener) bad(cause, todo string) error { return cloud.BadURL(o.url, errors.New(cause), todo) }

// check refuses what gocloud would send to another account than the URL names.
func (o *opener) check() error {
	switch m := o.merged; {
	case m.IsLocalEmulator && m.StorageDomain == "" && o.by != byConnection:
		return o.bad("an emulator without an address", "add the options domain=127.0.0.1:10000 and protocol=http, or those that it has")
	case m.AccountName == "":
		return o.bad("no storage account", "write abfs://CONTAINER@ACCOUNT.dfs.core.windows.net/key, add the option storage_account=ACCOUNT, or set AZURE_STORAGE_ACCOUNT")
	case isProtocol(cmp.Or(m.Protocol, "https")) != nil:
		return o.bad(fmt.Sprintf("the protocol %q in AZURE_STORAGE_PROTOCOL", m.Protocol), "set it to https or http")
	case o.by == byKey && o.keyAccount != "" && o.keyAccount != m.AccountName:
		return o.bad(fmt.Sprintf("the key in the environment is of the account %q, the URL names %q", o.keyAccount, m.AccountName), "set AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_KEY for the account of the URL, or unset both and log in")
	case o.by == bySAS:
		return o.checkSAS()
	case o.by == byConnection && o.given:
		return o.checkConnection()
	case o.by == byLogin && m.Protocol == "http":
		return o.bad("protocol=http, by which no token is sent", "use https, or give a key in AZURE_STORAGE_KEY")
	}
	return nil
}

// checkSAS refuses a URL that would send the SAS token of the environment to another
// place than the environment names: whoever has it can use it. gocloud does so too.
func (o *opener) checkSAS() error {
	if o.defaults.AccountName != "" && place(serviceURL(o.defaults)) == place(serviceURL(o.merged)) {
		return nil
	}
	return o.bad("the SAS token in the environment is not for the place that the URL names", fmt.Sprintf("set AZURE_STORAGE_ACCOUNT=%s, and AZURE_STORAGE_DOMAIN and AZURE_STORAGE_PROTOCOL as in the URL, to say that it is", o.merged.AccountName))
}

// checkConnection refuses options that a connection string would win over unseen.
func (o *opener) checkConnection() error {
	client, err := container.NewClientFromConnectionString(o.connection, o.url.Bucket, nil)
	if err != nil {
		return o.badConnection(err)
	}
	have, there := strings.TrimSuffix(place(client.URL()), "/"+o.url.Bucket), place(serviceURL(o.merged))
	if have != there {
		return o.bad(fmt.Sprintf("the connection string in the environment leads to %s, the options of the URL to %s", have, there), "leave out the options, or unset AZURE_STORAGE_CONNECTION_STRING")
	}
	return nil
}

func (o *opener) badConnection(err error) error {
	return o.bad("AZURE_STORAGE_CONNECTION_STRING: "+cloud.OneLine(err.Error()), "copy it whole from the account's access keys")
}

// place is a service's address without what may be secret in it.
func place(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return strings.ToLower(u.Scheme+"://"+u.Host) + strings.TrimRight(u.Path, "/")
}

// makeClient makes the client of a container of the account at an address. Tokens are
// of the account's cloud.
func (o *opener) makeClient(service, name string) (*container.Client, error) {
	address, err := url.JoinPath(service, name)
	if err != nil {
		return nil, err
	}
	opts := containerOptions(o.transport)
	switch o.by {
	case byKey:
		key, err := azblob.NewSharedKeyCredential(o.merged.AccountName, o.key)
		if err != nil {
			return nil, fmt.Errorf("the account's key: %w", err)
		}
		return container.NewClientWithSharedKeyCredential(address, key, opts)
	case bySAS:
		return container.NewClientWithNoCredential(address, opts)
	case byConnection:
		return container.NewClientFromConnectionString(o.connection, name, opts)
	}
	if o.credential, err = o.login(); err != nil {
		return nil, err
	}
	return container.NewClient(address, o.credential, opts)
}

// login returns the credential of whoever is logged in, at the cloud of the account.
func (o *opener) login() (azcore.TokenCredential, error) {
	client := clientOptions(o.transport)
	client.Retry = policy.RetryOptions{}
	switch domain := o.merged.StorageDomain; {
	case strings.HasSuffix(domain, ".chinacloudapi.cn"):
		client.Cloud = azcloud.AzureChina
	case strings.HasSuffix(domain, ".usgovcloudapi.net"):
		client.Cloud = azcloud.AzureGovernment
	}
	c, err := azidentity.NewDefaultAzureCredential(&azidentity.DefaultAzureCredentialOptions{ClientOptions: client})
	if err != nil {
		return nil, err
	}
	return &login{c}, nil
}

// login is a credential whose errors can be told from those of the store.
type login struct{ inner azcore.TokenCredential }

// GetToken implements azcore.TokenCredential. Its requests are not those of the
// operation that wants the token, so they are neither counted with it nor limited to
// one try as it may be.
func (l *login) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	t, err := l.inner.GetToken(bare{ctx}, o)
	if err != nil && ctx.Err() == nil {
		err = &loginError{err}
	}
	return t, err
}

// bare is a context without values.
type bare struct{ context.Context }

func (bare) Value(any) any { return nil }

// loginError says that there are no credentials, or none that are good.
type loginError struct{ err error }

func (e *loginError) Error() string { return cloud.OneLine(e.err.Error()) }
func (e *loginError) Unwrap() error { return e.err }

// NonRetriable keeps the SDK from asking again.
func (*loginError) NonRetriable() {}
