package gs

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/workdir/workdir/store/drivers/internal/cloud"
)

// backendAt returns a backend whose requests, without credentials, go to a handler.
func backendAt(t *testing.T, handler http.HandlerFunc) (*backend, *cloud.Transport) {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return testBackend(t, config{anonymous: true, endpoint: server.URL + "/storage/v1/"})
}

func testBackend(t *testing.T, c config) (*backend, *cloud.Transport) {
	t.Helper()
	transport := cloud.NewTransport(singleRequests())
	b := newAccess("bkt", c, transport).backend()
	b.pause = time.Millisecond
	t.Cleanup(func() { noError(t, b.Close()) })
	return b, transport
}

// refuse answers as the JSON interface refuses.
func refuse(w http.ResponseWriter, code int, reason, message string) {
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	w.WriteHeader(code)
	fmt.Fprintf(w, `{"error":{"code":%d,"message":%q,"errors":[{"message":%q,"domain":"global","reason":%q}]}}`, code, message, message, reason)
}

func noError(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantRefusal checks what an error means, and that its remedy has some words.
func wantRefusal(t *testing.T, b *backend, err error, meaning cloud.Meaning, todo string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	got := cloud.Classify(b, err)
	if got.Meaning != meaning || !strings.Contains(got.Todo, todo) {
		t.Fatalf("%v (%T) is %+v, want meaning %d and %q", err, err, got, meaning, todo)
	}
}
