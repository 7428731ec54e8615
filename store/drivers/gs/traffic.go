package gs

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"

	"github.com/workdir/workdir/store/drivers/internal/cloud"
)

// singleRequests is a transport with one request at a time on a connection. Over
// HTTP/2 all would share one, which is slower for large objects and stalls them all
// at once; Google's gcsfuse chooses the same.
func singleRequests() *http.Transport {
	t := cloud.DefaultTransport()
	t.ForceAttemptHTTP2 = false
	t.Protocols = new(http.Protocols)
	t.Protocols.SetHTTP1(true)
	return t
}

// tokenRequests carries what is asked for the sake of credentials, which is no part
// of the operation that needs them.
type tokenRequests struct{ base http.RoundTripper }

func (t tokenRequests) RoundTrip(r *http.Request) (*http.Response, error) {
	return t.base.RoundTrip(r.WithContext(cloud.Operation(r.Context(), "other")))
}

// requests carries the library's requests, where what it does of itself differs from
// what is wanted: see download and chunks.
type requests struct{ base http.RoundTripper }

func (t requests) RoundTrip(r *http.Request) (*http.Response, error) {
	if d, ok := r.Context().Value(downloadKey{}).(*download); ok {
		return d.roundTrip(t.base, r)
	}
	if c, ok := r.Context().Value(chunksKey{}).(*chunks); ok {
		r = r.WithContext(c.operation(r))
	}
	return t.base.RoundTrip(r)
}

// download is one read. The library asks again by itself for the rest of a body that
// broke, as often as that takes and however long each body stalls; here such a
// request is refused with what broke the body, and the core asks again.
type download struct {
	mu     sync.Mutex
	broken error // guarded by mu; of the body
}

type downloadKey struct{}

func withDownload(ctx context.Context) context.Context {
	return context.WithValue(ctx, downloadKey{}, &download{})
}

func (d *download) roundTrip(base http.RoundTripper, r *http.Request) (*http.Response, error) {
	d.mu.Lock()
	err := d.broken
	d.mu.Unlock()
	if err != nil {
		return nil, err
	}
	resp, err := base.RoundTrip(r)
	if err == nil {
		resp.Body = &downloadBody{resp.Body, d}
	}
	return resp, err
}

// downloadBody remembers what broke it.
type downloadBody struct {
	io.ReadCloser
	download *download
}

func (b *downloadBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		b.download.mu.Lock()
		b.download.broken = err
		b.download.mu.Unlock()
	}
	return n, err
}

// chunks tells the requests of one upload from each other, which the library sends
// with one context.
type chunks struct {
	ctx context.Context // of the upload

	mu   sync.Mutex
	last string          // guarded by mu; what the last request sends
	op   context.Context // guarded by mu; its operation
}

type chunksKey struct{}

func withChunks(ctx context.Context) context.Context {
	return context.WithValue(ctx, chunksKey{}, &chunks{ctx: ctx})
}

// operation gives a request the context of its operation. One that sends the same
// bytes as the request before is a retry.
func (c *chunks) operation(r *http.Request) context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	sends := r.Header.Get("Content-Range") // "bytes 0-16777215/*", or "" for the first request
	if c.op == nil || sends != c.last {
		c.op = cloud.Operation(c.ctx, chunkKind(r))
		c.last = sends
	}
	return c.op
}

// chunkKind is the kind of a request: the last one knows the size of the whole, or
// brings it.
func chunkKind(r *http.Request) string {
	sends := r.Header.Get("Content-Range")
	switch {
	case sends == "" && r.URL.Query().Get("uploadType") == "resumable":
		return "upload"
	case strings.HasSuffix(sends, "/*"):
		return "part"
	}
	return "complete"
}
