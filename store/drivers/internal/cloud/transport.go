package cloud

import (
	"net/http"
	"time"
)

// Transport carries the requests of one store: it gives up a connection that is
// stalled, and counts. Drivers put it beneath their SDK's HTTP client.
type Transport struct {
	base  http.RoundTripper
	stall time.Duration
}

// NewTransport gives a Transport over base, which has the user's proxies and
// certificates; nil is [DefaultTransport].
func NewTransport(base http.RoundTripper) *Transport {
	if base == nil {
		base = DefaultTransport()
	}
	return &Transport{base: base, stall: stallTime}
}

// stallTime is how long a request may be under way without a byte in either
// direction.
const stallTime = time.Minute

// DefaultTransport is the standard library's transport, for parts in parallel: it
// keeps as many connections as there are parts, and decompresses nothing.
func DefaultTransport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = 4 * (UploadParts + ReadParts)
	t.MaxIdleConns = 0
	t.WriteBufferSize, t.ReadBufferSize = 64<<10, 64<<10 // bytes
	t.DisableCompression = true
	return t
}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	return t.base.RoundTrip(r)
}
