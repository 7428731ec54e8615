package azure

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/store/drivers/internal/cloud"
)

// answering returns the backend of a container "box" in the account "acct" at a server
// that answers so, with the credentials that a URL shows most readily.
func answering(t *testing.T, answer http.HandlerFunc) *backend {
	t.Helper()
	server := httptest.NewServer(answer)
	t.Cleanup(server.Close)
	return at(t, server.URL+"/acct/box?sig=SECRET")
}

func at(t *testing.T, address string) *backend {
	t.Helper()
	return with(t, address, containerOptions(cloud.NewTransport(nil)))
}

// with returns a backend by a client with options of its own.
func with(t *testing.T, address string, opts *container.ClientOptions) *backend {
	t.Helper()
	client, err := container.NewClientWithNoCredential(address, opts)
	if err != nil {
		t.Fatal(err)
	}
	return newBackend(client, true)
}

// someTime is when blobs of the tests were made. gocloud wants to know.
const someTime = "Mon, 23 Nov 2026 12:00:00 GMT"

// refusing answers with a status and a code, as the service does.
func refusing(status int, code string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if code != "" {
			w.Header().Set("x-ms-error-code", code)
		}
		w.Header().Set("x-ms-request-id", "id-1")
		w.Header().Set("Content-Type", "application/xml")
		w.WriteHeader(status)
		fmt.Fprintf(w, "<?xml version=\"1.0\"?><Error><Code>%s</Code><Message>What is wrong.\nRequestId:id-1\nTime:now</Message></Error>", code)
	}
}

// requests are one of each kind.
var requests = map[string]func(context.Context, *backend) error{
	"head": func(ctx context.Context, b *backend) error {
		_, err := b.Head(ctx, "k")
		return err
	},
	"get": func(ctx context.Context, b *backend) error {
		_, err := b.Get(ctx, "k", 0, 10, "r")
		return err
	},
	"put": func(ctx context.Context, b *backend) error {
		_, err := b.Put(ctx, "k", []byte("x"), cloud.Condition{})
		return err
	},
	"delete": func(ctx context.Context, b *backend) error { return b.Delete(ctx, "k", "r") },
	"list": func(ctx context.Context, b *backend) error {
		_, err := b.Page(ctx, cloud.PageRequest{})
		return err
	},
	"accessible": func(ctx context.Context, b *backend) error { return b.Accessible(ctx, "k") },
	"part": func(ctx context.Context, b *backend) error {
		u, err := b.Upload(ctx, "k", cloud.Condition{}, nil)
		if err != nil {
			return err
		}
		return u.Part(ctx, 1, []byte("x"))
	},
	"complete": func(ctx context.Context, b *backend) error {
		u, err := b.Upload(ctx, "k", cloud.Condition{}, nil)
		if err != nil {
			return err
		}
		_, err = u.Complete(ctx, cloud.Condition{Replace: "r"})
		return err
	},
}

func TestClassify(t *testing.T) {
	for _, tc := range []struct {
		request string
		status  int
		code    string
		want    cloud.Meaning
		todo    string
	}{
		{"get", 404, "BlobNotFound", cloud.NotFound, ""},
		{"get", 404, "ContainerNotFound", cloud.NoBucket, `container "box" in the account "acct"`},
		{"get", 404, "ResourceNotFound", cloud.NoBucket, "give credentials"},
		{"get", 404, "", cloud.NoBucket, "not Azure Blob Storage"},
		{"put", 409, "ContainerBeingDeleted", cloud.NoBucket, "another one"},
		{"get", 403, "AuthorizationPermissionMismatch", cloud.Denied, "Storage Blob Data Reader"},
		{"put", 403, "AuthorizationPermissionMismatch", cloud.Denied, "blobs/write), or a SAS token with the permission cw"},
		{"delete", 403, "AuthorizationPermissionMismatch", cloud.Denied, "blobs/delete), or a SAS token with the permission d"},
		{"list", 403, "AuthorizationPermissionMismatch", cloud.Denied, "permission l"},
		{"get", 403, "AuthorizationFailure", cloud.Denied, "Networking"},
		{"get", 403, "AuthorizationServiceMismatch", cloud.Denied, "ss=b"},
		{"put", 403, "UnauthorizedBlobOverwrite", cloud.Denied, "(w)"},
		{"get", 403, "KeyBasedAuthenticationNotPermitted", cloud.Denied, "az login"},
		{"get", 403, "AccountIsDisabled", cloud.Denied, "disabled"},
		{"get", 403, "", cloud.Denied, "Reader"},
		{"put", 412, "LeaseIdMissing", cloud.Denied, "lease"},
		{"put", 409, "BlobImmutableDueToPolicy", cloud.Denied, "policy"},
		{"get", 409, "BlobUsesCustomerSpecifiedEncryption", cloud.Denied, "encrypted"},
		{"get", 403, "AuthenticationFailed", cloud.Unidentified, "expired"},
		{"get", 401, "NoAuthenticationInformation", cloud.Unidentified, "az login"},
		{"get", 409, "PublicAccessNotPermitted", cloud.Unidentified, "AZURE_STORAGE_KEY"},
		{"get", 401, "", cloud.Unidentified, "az login"},
		{"put", 412, "ConditionNotMet", cloud.Changed, ""},
		{"put", 409, "BlobAlreadyExists", cloud.Changed, ""},
		{"complete", 400, "InvalidBlockList", cloud.Changed, ""},
		{"put", 412, "", cloud.Changed, ""},
		{"get", 416, "InvalidRange", cloud.OutOfRange, ""},
		{"part", 400, "Md5Mismatch", cloud.Busy, "proxies"},
		{"put", 503, "ServerBusy", cloud.Busy, ""},
		{"put", 429, "", cloud.Busy, ""},
		{"put", 500, "InternalError", cloud.Broken, ""},
		{"put", 500, "OperationTimedOut", cloud.Broken, ""},
		{"put", 502, "", cloud.Broken, ""},
		{"put", 503, "", cloud.Broken, ""},
		{"put", 408, "", cloud.Broken, ""},
		{"put", 400, "AccountRequiresHttps", cloud.BadOption, "protocol=http"},
		{"put", 400, "InvalidResourceName", cloud.BadOption, "lower-case"},
		{"put", 400, "InvalidHeaderValue", cloud.BadOption, "Azurite"},
		{"get", 302, "", cloud.BadOption, "domain"},
		{"put", 501, "", cloud.Unsupported, ""},
		{"put", 405, "UnsupportedHttpVerb", cloud.Unsupported, ""},
		{"get", 409, "BlobArchived", cloud.Other, "set-tier"},
		{"put", 409, "InvalidBlobType", cloud.Other, "page blob"},
		{"delete", 409, "SnapshotsPresent", cloud.Other, "snapshots"},
		{"part", 409, "BlockCountExceedsLimit", cloud.Other, "seven days"},
		{"put", 400, "SomethingNew", cloud.Other, ""},
	} {
		t.Run(fmt.Sprintf("%s/%d%s", tc.request, tc.status, tc.code), func(t *testing.T) {
			b := answering(t, refusing(tc.status, tc.code))
			err := requests[tc.request](t.Context(), b)
			got := cloud.Classify(b, err)
			if got.Meaning != tc.want || !strings.Contains(got.Todo, tc.todo) || tc.todo == "" && got.Todo != "" {
				t.Errorf("%v means %d, %q; want %d, %q", err, got.Meaning, got.Todo, tc.want, tc.todo)
			}
			for _, says := range []string{fmt.Sprint(tc.status), tc.code, "id-1"} {
				if !strings.Contains(err.Error(), says) {
					t.Errorf("the message %q does not say %s", err, says)
				}
			}
			if strings.ContainsAny(err.Error(), "\n") {
				t.Errorf("the message %q has several lines", err)
			}
		})
	}
}

// A machine whose clock is off is told so, and not that its key is wrong.
func TestClockOff(t *testing.T) {
	b := answering(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat))
		refusing(http.StatusForbidden, "AuthenticationFailed")(w, r)
	})
	got := cloud.Classify(b, requests["head"](t.Context(), b))
	if got.Meaning != cloud.BadOption || !strings.Contains(got.Todo, "off by 1h0m0s") {
		t.Errorf("means %+v", got)
	}
}

// A token that is over is called so.
func TestExpired(t *testing.T) {
	server := httptest.NewServer(refusing(http.StatusForbidden, "AuthenticationFailed"))
	t.Cleanup(server.Close)
	for end, says := range map[string]string{
		"2020-01-02T03:04:05Z": "expired at 2020-01-02T03:04:05Z", "2020-01-02T03:04Z": "expired", "2020-01-02": "expired",
		"9999-01-02": todoWrong, "": todoWrong,
	} {
		b := at(t, server.URL+"/acct/box?se="+end)
		got := cloud.Classify(b, requests["head"](t.Context(), b))
		if got.Meaning != cloud.Unidentified || !strings.Contains(got.Todo, says) {
			t.Errorf("%q means %+v; want %q", end, got, says)
		}
	}
}

// No request is sent twice by the SDK: the store decides on that.
func TestOneTry(t *testing.T) {
	for name, send := range requests {
		tries := 0
		b := answering(t, func(w http.ResponseWriter, r *http.Request) {
			tries++
			refusing(http.StatusServiceUnavailable, "ServerBusy")(w, r)
		})
		if err := send(t.Context(), b); err == nil || tries != 1 {
			t.Errorf("%s: %d tries, %v", name, tries, err)
		}
	}
}

// Not even by a client that a program has made, where an answer that was lost would
// turn into a refusal.
func TestOneTryOfFinalRequests(t *testing.T) {
	var tries atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		tries.Add(1)
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(server.Close)
	opts := &container.ClientOptions{}
	opts.Retry.RetryDelay = time.Nanosecond
	opts.Transport = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}} // net/http itself repeats on a connection that it kept
	b := with(t, server.URL+"/acct/box", opts)
	for _, name := range []string{"put", "complete", "delete"} {
		tries.Store(0)
		if err := requests[name](t.Context(), b); err == nil || tries.Load() != 1 {
			t.Errorf("%s: %d tries, %v", name, tries.Load(), err)
		}
	}
}

func TestConnections(t *testing.T) {
	plain := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(plain.Close)
	encrypted := httptest.NewUnstartedServer(http.NotFoundHandler())
	encrypted.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes fail here
	encrypted.StartTLS()
	t.Cleanup(encrypted.Close)
	cut := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	t.Cleanup(cut.Close)
	for _, tc := range []struct {
		address string
		want    cloud.Meaning
		todo    string
	}{
		{strings.Replace(plain.URL, "http:", "https:", 1) + "/acct/box", cloud.BadOption, "protocol=http"},
		{encrypted.URL + "/acct/box", cloud.BadOption, "certificate"},
		{cut.URL + "/acct/box", cloud.Broken, ""},
	} {
		b := at(t, tc.address+"?sig=SECRET")
		for name, send := range requests {
			err := send(t.Context(), b)
			got := cloud.Classify(b, err)
			if err == nil || got.Meaning != tc.want || !strings.Contains(got.Todo, tc.todo) {
				t.Errorf("%s of %s: %v means %+v; want %d, %q", name, tc.address, err, got, tc.want, tc.todo)
			}
			if err != nil && strings.Contains(err.Error(), "SECRET") {
				t.Errorf("%s of %s shows a secret: %v", name, tc.address, err)
			}
		}
	}
}

// An account that there is not has no address.
func TestNoAccount(t *testing.T) {
	b := at(t, "https://acct.blob.core.windows.net/box")
	err := refused(&url.Error{Op: "Get", URL: "https://acct.blob.core.windows.net/box?sig=SECRET", Err: &net.DNSError{Err: "no such host", IsNotFound: true}})
	if got := cloud.Classify(b, err); got.Meaning != cloud.NoBucket || !strings.Contains(got.Todo, `no storage account "acct"`) {
		t.Errorf("means %+v", got)
	}
}

// "BlobNotFound" is the one answer that says that the container is there.
func TestAccessible(t *testing.T) {
	for code, want := range map[string]cloud.Meaning{
		"ContainerNotFound": cloud.NoBucket, "ResourceNotFound": cloud.NoBucket, "": cloud.NoBucket,
	} {
		b := answering(t, refusing(http.StatusNotFound, code))
		if err := b.Accessible(t.Context(), "k"); err == nil || cloud.Classify(b, err).Meaning != want {
			t.Errorf("%q: %v", code, err)
		}
	}
	b := answering(t, refusing(http.StatusNotFound, "BlobNotFound"))
	if err := b.Accessible(t.Context(), "k"); err != nil {
		t.Error(err)
	}
}

// Accounts with a hierarchical namespace show directories as blobs.
func TestFolders(t *testing.T) {
	b := answering(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Get("comp") != "list" {
			w.Header().Set("x-ms-meta-hdi_isfolder", "true")
			w.Header().Set("Last-Modified", someTime)
			w.Header().Set("x-ms-creation-time", someTime)
			return
		}
		fmt.Fprint(w, strings.ReplaceAll(`<EnumerationResults><Blobs>
			<Blob><Name>d.tar.gz</Name><Properties><Content-Length>0</Content-Length></Properties><Metadata><Hdi_isfolder>True</Hdi_isfolder></Metadata></Blob>
			<Blob><Name>e.tar.gz</Name><Properties><Content-Length>0</Content-Length><ResourceType>directory</ResourceType></Properties></Blob>
			<BlobPrefix><Name>f/</Name></BlobPrefix>
			<Blob><Name>k.tar.gz</Name><Properties><Content-Length>7</Content-Length><Etag>0x1</Etag></Properties></Blob>
			</Blobs></EnumerationResults>`, "<Properties>", "<Properties><Last-Modified>"+someTime+"</Last-Modified>"))
	})
	for _, name := range []string{"head", "get"} {
		if err := requests[name](t.Context(), b); !errors.Is(err, store.ErrNotArchive) || cloud.Classify(b, err).Meaning != cloud.Other {
			t.Errorf("%s returns %v", name, err)
		}
	}
	var found []string
	page, err := b.Page(t.Context(), cloud.PageRequest{})
	for _, o := range page.Objects {
		found = append(found, fmt.Sprintf("%s %d %s", o.Name, o.Size, o.Revision))
	}
	if err != nil || fmt.Sprint(found) != "[f/ 0  k.tar.gz 7 0x1]" {
		t.Errorf("list returns %v, %v", found, err)
	}
}
