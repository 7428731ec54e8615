package stores

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"
)

// said is what a cloud says in words of its own.
type said struct {
	status int
	header map[string]string
	body   string
}

// says makes a refusal in the words of a cloud: a code, or for Google a reason, and
// a message.
func says(kind Kind, status int, code, message string) said {
	switch kind {
	case S3:
		return said{status, map[string]string{"Content-Type": "application/xml"},
			fmt.Sprintf(`<?xml version="1.0"?><Error><Code>%s</Code><Message>%s</Message></Error>`, code, message)}
	case GS:
		return said{status, map[string]string{"Content-Type": "application/json"},
			fmt.Sprintf(`{"error":{"code":%d,"message":%q,"errors":[{"reason":%q,"message":%q}]}}`, status, message, code, message)}
	}
	return said{status, map[string]string{"Content-Type": "application/xml", "x-ms-error-code": code},
		fmt.Sprintf(`<?xml version="1.0"?><Error><Code>%s</Code><Message>%s</Message></Error>`, code, message)}
}

// with adds a header.
func (s said) with(name, value string) said {
	s.header[name] = value
	return s
}

func (s said) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	for name, value := range s.header {
		w.Header().Set(name, value)
	}
	w.WriteHeader(s.status)
	_, _ = io.WriteString(w, s.body) // the sender may have gone
}

// hourAgo is a time of a server whose clock is another one than ours.
func hourAgo() string { return time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat) }

// forgetful stands for an S3 that ignores conditions, as some servers do.
type forgetful struct {
	mu      sync.Mutex
	objects map[string][]byte // guarded by mu
}

func (f *forgetful) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // the sender gave up
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	w.Header().Set("ETag", fmt.Sprintf("%q", fmt.Sprint(len(f.objects[r.URL.Path]))))
	content, found := f.objects[r.URL.Path]
	switch {
	case r.Method == http.MethodPut:
		f.objects[r.URL.Path] = body
	case r.Method == http.MethodDelete:
		delete(f.objects, r.URL.Path)
		w.WriteHeader(http.StatusNoContent)
	case r.URL.Query().Has("list-type"):
		_, _ = io.WriteString(w, `<?xml version="1.0"?><ListBucketResult></ListBucketResult>`) // the sender may have gone
	case found:
		_, _ = w.Write(content) // likewise
	default:
		says(S3, http.StatusNotFound, "NoSuchKey", "none").ServeHTTP(w, r)
	}
}

// serve starts a server of our own, and returns its address.
func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

// isWrite reports whether a request would change a bucket.
func isWrite(r *http.Request) bool {
	return r.Method == http.MethodPut || r.Method == http.MethodPost || r.Method == http.MethodDelete
}
