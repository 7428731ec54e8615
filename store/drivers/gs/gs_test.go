package gs

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"cloud.google.com/go/storage"
	"gocloud.dev/blob"
	"gocloud.dev/blob/gcsblob"
	"gocloud.dev/blob/memblob"
	"google.golang.org/api/option"

	"github.com/workdir/workdir/store"
)

func TestOptions(t *testing.T) {
	tests := []struct {
		query string
		want  config
		bad   string // what the error names; "" where there is none
	}{
		{query: ""},
		{query: "anonymous=true", want: config{anonymous: true}},
		{query: "anonymous=false"},
		{query: "access_id=-", want: config{anonymous: true}},
		{query: "google_access_id=-&anonymous=false", want: config{anonymous: true}},
		{query: "access_id=ann@example.com&private_key_path=/key.pem"},
		{query: "universe_domain=example.cloud", want: config{universe: "example.cloud"}},
		{query: "grpc=false&zonal=0"},
		{query: "endpoint=https://storage.example.com", want: config{endpoint: "https://storage.example.com/storage/v1/"}},
		{query: "endpoint=https://example.com/gcs/v1/", want: config{endpoint: "https://example.com/gcs/v1/"}},
		{query: "endpoint=http://127.0.0.1:4443&anonymous=1", want: config{anonymous: true, endpoint: "http://127.0.0.1:4443/storage/v1/"}},
		{query: "endpoint=http://127.0.0.1:4443", bad: "endpoint"},
		{query: "endpoint=127.0.0.1:4443&anonymous=1", bad: "endpoint"},
		{query: "endpoint=https://ann:secret@example.com", bad: "endpoint"},
		{query: "anonymous=maybe", bad: "anonymous"},
		{query: "anonymous=true&anonymous=false", bad: "anonymous"},
		{query: "grpc=true", bad: "grpc"},
		{query: "zonal=true", bad: "zonal"},
		{query: "region=us-east-1", bad: "region"},
		{query: "anonymous=%zz", bad: "name=value"},
	}
	for _, test := range tests {
		got, err := parseOptions(store.URL{Scheme: "gs", Bucket: "bkt", Query: test.query})
		switch {
		case test.bad == "" && (err != nil || got != test.want):
			t.Errorf("%q returns %+v and %v, want %+v", test.query, got, err, test.want)
		case test.bad != "" && (err == nil || !strings.Contains(err.Error(), test.bad)):
			t.Errorf("%q gives the error %v, want one about %q", test.query, err, test.bad)
		}
	}
}

func TestOpenRefusesUnknownOptions(t *testing.T) {
	_, err := store.OpenBucket(t.Context(), store.URL{Scheme: "gs", Bucket: "bkt", Query: "colour=red"})
	if !errors.Is(err, store.ErrURL) || !strings.Contains(err.Error(), `"colour"`) || !strings.Contains(err.Error(), "universe_domain") {
		t.Fatalf("the error is %v", err)
	}
}

func TestEndpoint(t *testing.T) {
	t.Setenv(emulator, "")
	for want, c := range map[string]config{
		"":                      {},
		"127.0.0.1:4443":        {endpoint: "http://127.0.0.1:4443/storage/v1/"},
		"storage.example.cloud": {universe: "example.cloud"},
	} {
		if got := c.host(); got != want {
			t.Errorf("%+v leads to %q, want %q", c, got, want)
		}
	}
	for _, host := range []string{"127.0.0.1:4443", "http://127.0.0.1:4443"} {
		t.Setenv(emulator, host)
		if got := (&config{}).host(); got != "127.0.0.1:4443" {
			t.Errorf("the emulator %q is at %q", host, got)
		}
	}
}

// paths records the objects that are asked for.
type paths struct {
	mu   sync.Mutex
	seen []string
}

func (p *paths) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.seen = append(p.seen, r.URL.EscapedPath())
	w.Header().Set("X-Goog-Generation", "7")
	_, _ = io.WriteString(w, "archive")
}

// gocloud's layer would write "__0x2f__" for some slashes, and so name other objects:
// such keys are refused.
func TestFromBucket(t *testing.T) {
	var asked paths
	server := httptest.NewServer(&asked)
	defer server.Close()
	ctx := t.Context()
	client, err := storage.NewClient(ctx, option.WithoutAuthentication(), option.WithEndpoint(server.URL+"/storage/v1/"))
	noError(t, err)
	defer client.Close()
	open := func() *blob.Bucket {
		b, err := gcsblob.OpenBucket(ctx, nil, "bkt", &gcsblob.Options{Client: client})
		noError(t, err)
		return b
	}
	for _, test := range []struct {
		bucket *blob.Bucket
		want   string
	}{
		{open(), "/bkt/a%2F%2Fb.tar.gz"},
		{blob.PrefixedBucket(open(), "team/"), "/bkt/team%2Fa%2F%2Fb.tar.gz"},
	} {
		s, err := FromBucket(test.bucket)
		noError(t, err)
		if len(asked.seen) != 0 {
			t.Fatalf("FromBucket has asked for %q", asked.seen)
		}
		if _, err := s.Open(ctx, "a../b"); !errors.Is(err, store.ErrURL) || !strings.Contains(err.Error(), `"../"`) {
			t.Errorf("a name that gocloud would change: %v", err)
		}
		o, err := s.Open(ctx, "a//b")
		noError(t, err)
		if rev := o.Info().Revision; rev != "7" {
			t.Errorf("the revision is %q", rev)
		}
		noError(t, o.Close())
		noError(t, s.Close())
		if len(asked.seen) != 1 || asked.seen[0] != test.want {
			t.Errorf("asked for %q, want %q", asked.seen, test.want)
		}
		asked.seen = nil
		noError(t, test.bucket.Close())
	}
}

func TestFromForeignBucket(t *testing.T) {
	b := memblob.OpenBucket(nil)
	defer b.Close()
	if _, err := FromBucket(b); !errors.Is(err, store.ErrURL) {
		t.Fatalf("the error is %v", err)
	}
}

// An object that is stored with a Content-Encoding comes as it is stored: else
// neither its size nor a range of it would be that of the archive.
func TestReadsAreAsStored(t *testing.T) {
	b, _ := backendAt(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Accept-Encoding") != "gzip" || r.Header.Get("Range") != "bytes=2-5" || r.URL.Query().Get("generation") != "7" {
			t.Errorf("asked with %v for %v", r.Header, r.URL)
		}
		w.Header().Set("X-Goog-Generation", "7")
		w.Header().Set("Content-Encoding", "gzip")
		w.Header().Set("Content-Range", "bytes 2-5/100")
		w.WriteHeader(http.StatusPartialContent)
		_, _ = io.WriteString(w, "cdef")
	})
	body, err := b.Get(context.WithoutCancel(t.Context()), "key.tar.gz", 2, 4, "7")
	noError(t, err)
	defer body.Close()
	got, err := io.ReadAll(body)
	noError(t, err)
	if string(got) != "cdef" || body.Size != 100 || body.Revision != "7" {
		t.Fatalf("read %q of %+v", got, body.Attributes)
	}
}
