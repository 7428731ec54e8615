package azure

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/workdir/workdir/store"
	"gocloud.dev/blob"
	"gocloud.dev/blob/azureblob"
	"gocloud.dev/blob/memblob"
)

const (
	someKey    = "c29tZSBrZXk="
	connection = "DefaultEndpointsProtocol=https;AccountName=acct;AccountKey=" + someKey + ";EndpointSuffix=core.windows.net"
	emulator   = "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=" + someKey + ";BlobEndpoint=http://127.0.0.1:10000/devstoreaccount1;"
	signed     = "BlobEndpoint=https://acct.blob.core.windows.net;SharedAccessSignature=sv=1&sig=SECRET"
)

// environment makes these the only variables of Azure's.
func environment(t *testing.T, variables map[string]string) {
	t.Helper()
	for _, v := range os.Environ() {
		if name, value, _ := strings.Cut(v, "="); strings.HasPrefix(name, "AZURE_") {
			t.Setenv(name, value) // puts it back afterwards
			os.Unsetenv(name)
		}
	}
	// Of the many places where somebody may be logged in, only the environment.
	t.Setenv("AZURE_TOKEN_CREDENTIALS", "EnvironmentCredential")
	for name, value := range variables {
		t.Setenv(name, value)
	}
}

// clientFor returns the client that a URL leads to.
func clientFor(t *testing.T, address string) (*container.Client, azcore.TokenCredential, error) {
	t.Helper()
	u, err := store.ParsePrefix(address)
	if err != nil {
		t.Fatal(err)
	}
	return connect(u, nil)
}

func TestOpen(t *testing.T) {
	for _, tc := range []struct {
		name, url string
		env       map[string]string
		want      string // address of the container
		login     bool
	}{
		{"account in the URL", "abfs://box@acct.dfs.core.windows.net", nil, "https://acct.blob.core.windows.net/box", true},
		{"account as option", "az://box?storage_account=acct", nil, "https://acct.blob.core.windows.net/box", true},
		{"account in the environment", "az://box", map[string]string{"AZURE_STORAGE_ACCOUNT": "acct"}, "https://acct.blob.core.windows.net/box", true},
		{"account as adlfs has it", "az://box", map[string]string{"AZURE_STORAGE_ACCOUNT_NAME": "acct"}, "https://acct.blob.core.windows.net/box", true},
		{"another cloud", "abfs://box@acct.dfs.core.chinacloudapi.cn", nil, "https://acct.blob.core.chinacloudapi.cn/box", true},
		{"domain in the environment", "az://box?storage_account=acct", map[string]string{"AZURE_STORAGE_DOMAIN": "blob.example.com"}, "https://acct.blob.example.com/box", true},
		{"cdn", "az://box?storage_account=acct&cdn=true&domain=x.azureedge.net", nil, "https://x.azureedge.net/box", true},
		{"key", "az://box", map[string]string{"AZURE_STORAGE_ACCOUNT": "acct", "AZURE_STORAGE_KEY": someKey}, "https://acct.blob.core.windows.net/box", false},
		{"key for the account of the URL", "abfs://box@acct.dfs.core.windows.net", map[string]string{"AZURE_STORAGE_KEY": someKey}, "https://acct.blob.core.windows.net/box", false},
		{"key as adlfs has it", "az://box", map[string]string{"AZURE_STORAGE_ACCOUNT_NAME": "acct", "AZURE_STORAGE_ACCOUNT_KEY": someKey}, "https://acct.blob.core.windows.net/box", false},
		{"SAS token", "az://box", map[string]string{"AZURE_STORAGE_ACCOUNT": "acct", "AZURE_STORAGE_SAS_TOKEN": "?sv=1&sig=x"}, "https://acct.blob.core.windows.net/box?sv=1&sig=x", false},
		{"SAS token and the same account", "abfs://box@acct.dfs.core.windows.net", map[string]string{"AZURE_STORAGE_ACCOUNT": "acct", "AZURE_STORAGE_SAS_TOKEN": "sv=1"}, "https://acct.blob.core.windows.net/box?sv=1", false},
		{"connection string", "az://box", map[string]string{"AZURE_STORAGE_CONNECTION_STRING": connection}, "https://acct.blob.core.windows.net/box", false},
		{"connection string and the same account", "abfs://box@acct.dfs.core.windows.net", map[string]string{"AZURE_STORAGE_CONNECTION_STRING": connection}, "https://acct.blob.core.windows.net/box", false},
		{"signed connection string", "az://box", map[string]string{"AZURE_STORAGE_CONNECTION_STRING": signed}, "https://acct.blob.core.windows.net/box?sv=1&sig=SECRET", false},
		{"emulator", "az://box?protocol=http&domain=127.0.0.1:10000&localemu=true", nil, "http://127.0.0.1:10000/devstoreaccount1/box", false},
		{"emulator by its address", "az://box?protocol=http&domain=localhost:10000", nil, "http://localhost:10000/devstoreaccount1/box", false},
		{"emulator by connection string", "az://box", map[string]string{"AZURE_STORAGE_CONNECTION_STRING": emulator}, "http://127.0.0.1:10000/devstoreaccount1/box", false},
		{"emulator both ways", "az://box?protocol=http&domain=127.0.0.1:10000&localemu=true", map[string]string{"AZURE_STORAGE_CONNECTION_STRING": emulator}, "http://127.0.0.1:10000/devstoreaccount1/box", false},
		{"emulator with an account", "az://box?protocol=http&domain=127.0.0.1:10000", map[string]string{"AZURE_STORAGE_ACCOUNT": "acct", "AZURE_STORAGE_KEY": someKey}, "http://127.0.0.1:10000/acct/box", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			environment(t, tc.env)
			client, credential, err := clientFor(t, tc.url)
			if err != nil {
				t.Fatal(err)
			}
			if client.URL() != tc.want || (credential != nil) != tc.login {
				t.Errorf("leads to %s, logs in: %v; want %s, %v", client.URL(), credential != nil, tc.want, tc.login)
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, tc := range []struct {
		name, url string
		env       map[string]string
		says      string
	}{
		{"no account", "az://box", nil, "abfs://CONTAINER@ACCOUNT"},
		{"unknown option", "az://box?storage_account=acct&Endpoint=SECRET", nil, `"Endpoint"`},
		{"SAS token as options", "az://box?storage_account=acct&sig=SECRET", nil, "AZURE_STORAGE_SAS_TOKEN"},
		{"key as option", "az://box?storage_account=acct&account_key=SECRET", nil, "AZURE_STORAGE_KEY"},
		{"option twice", "az://box?storage_account=a&storage_account=b", nil, "2 times"},
		{"empty account", "az://box?storage_account=", nil, `"storage_account": it has no value`},
		{"bad protocol", "az://box?storage_account=acct&protocol=ftp", nil, "neither http nor https"},
		{"bad bool", "az://box?storage_account=acct&localemu=maybe", nil, "write true or false"},
		{"bad escape", "az://box?storage_account=%zz", nil, "%25"},
		{"emulator without an address", "az://box?storage_account=acct&localemu=true", nil, "domain=127.0.0.1:10000"},
		{"token in clear text", "az://box?storage_account=acct&protocol=http", nil, "https"},
		{"key of another account", "abfs://box@acct2.dfs.core.windows.net", map[string]string{"AZURE_STORAGE_ACCOUNT": "acct", "AZURE_STORAGE_KEY": someKey}, `of the account "acct", the URL names "acct2"`},
		{"SAS token for another account", "abfs://box@acct2.dfs.core.windows.net", map[string]string{"AZURE_STORAGE_ACCOUNT": "acct", "AZURE_STORAGE_SAS_TOKEN": "sig=SECRET"}, "AZURE_STORAGE_ACCOUNT=acct2"},
		{"SAS token for another place", "az://box?domain=evil.example.com", map[string]string{"AZURE_STORAGE_ACCOUNT": "acct", "AZURE_STORAGE_SAS_TOKEN": "sig=SECRET"}, "SAS token"},
		{"SAS token in clear text", "az://box?protocol=http", map[string]string{"AZURE_STORAGE_ACCOUNT": "acct", "AZURE_STORAGE_SAS_TOKEN": "sig=SECRET"}, "SAS token"},
		{"connection string for another account", "abfs://box@acct2.dfs.core.windows.net", map[string]string{"AZURE_STORAGE_CONNECTION_STRING": connection}, "leads to https://acct.blob.core.windows.net"},
		{"bad connection string", "az://box?storage_account=acct", map[string]string{"AZURE_STORAGE_CONNECTION_STRING": "SECRET"}, "connection string"},
		{"bad key", "az://box", map[string]string{"AZURE_STORAGE_ACCOUNT": "acct", "AZURE_STORAGE_KEY": "SECRET!"}, "account's key"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			environment(t, tc.env)
			_, _, err := clientFor(t, tc.url)
			if !errors.Is(err, store.ErrURL) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("returns %v; want ErrURL that says %q", err, tc.says)
			}
			if err != nil && (strings.Contains(err.Error(), "SECRET") || strings.Contains(err.Error(), someKey)) {
				t.Errorf("shows a secret: %v", err)
			}
		})
	}
}

// Without any login the error says how to log in.
func TestNotLoggedIn(t *testing.T) {
	environment(t, nil)
	s, err := store.OpenBucket(t.Context(), store.URL{Scheme: "azblob", Bucket: "box", Query: "storage_account=acct"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	_, err = s.Stat(t.Context(), "k")
	if !errors.Is(err, store.ErrNotAllowed) || !strings.Contains(err.Error(), "az login") || strings.Contains(err.Error(), "\n") {
		t.Errorf("returns %v", err)
	}
}

// A bucket that was opened in code keeps its client and its prefix.
func TestFromBucket(t *testing.T) {
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.Method+" "+r.URL.EscapedPath())
		w.Header().Set("ETag", `"0x1"`)
		w.Header().Set("Last-Modified", someTime)
		w.Header().Set("x-ms-creation-time", someTime)
	}))
	t.Cleanup(server.Close)
	client, err := container.NewClientWithNoCredential(server.URL+"/acct/box", nil)
	if err != nil {
		t.Fatal(err)
	}
	bucket, err := azureblob.OpenBucket(t.Context(), client, nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := FromBucket(blob.PrefixedBucket(bucket, "team/"))
	if err != nil {
		t.Fatal(err)
	}
	info, err := s.Stat(t.Context(), "a//b")
	if err != nil || info.Key != "a//b" || info.Revision != "0x1" {
		t.Errorf("Stat returns %+v, %v", info, err)
	}
	if len(asked) != 1 || asked[0] != "HEAD /acct/box/team%2Fa%2F%2Fb.tar.gz" {
		t.Errorf("asked for %q", asked)
	}
}

func TestFromBucketRefuses(t *testing.T) {
	bucket := memblob.OpenBucket(nil)
	defer bucket.Close()
	for _, b := range []*blob.Bucket{nil, bucket} {
		if _, err := FromBucket(b); !errors.Is(err, store.ErrURL) {
			t.Errorf("returns %v; want ErrURL", err)
		}
	}
}
