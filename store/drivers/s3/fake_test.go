package s3

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/workdir/workdir/store"
)

// fake is a server that speaks as much of S3 as an archive of one part needs. What
// real ones do is tested with real ones; this one misbehaves on demand.
type fake struct {
	*httptest.Server
	unconditional bool                                          // ignores conditions
	answer        func(http.ResponseWriter, *http.Request) bool // first asked; true if it has answered

	mu       sync.Mutex
	objects  map[string][]byte // guarded by mu
	requests []string          // guarded by mu
}

func newFake(t *testing.T) *fake {
	t.Helper()
	f := &fake{objects: map[string][]byte{}}
	f.Server = httptest.NewServer(f)
	t.Cleanup(f.Close)
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_PROFILE": "", "AWS_REGION": "", "AWS_DEFAULT_REGION": "",
		"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_EC2_METADATA_DISABLED": "true",
	} {
		t.Setenv(name, value)
	}
	return f
}

// open opens the bucket by a URL, with more options.
func (f *fake) open(t *testing.T, options string) (store.Store, error) {
	t.Helper()
	u, err := store.ParsePrefix("s3://bkt?use_path_style=true&endpoint=" + f.URL + options)
	if err != nil {
		t.Fatal(err)
	}
	return store.OpenBucket(t.Context(), u)
}

func (f *fake) mustOpen(t *testing.T) store.Store {
	t.Helper()
	s, err := f.open(t, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// refuse answers with an error as S3 words it.
func refuse(w http.ResponseWriter, status int, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(status)
	fmt.Fprintf(w, "<Error><Code>%s</Code><Message>as the test wants</Message></Error>", code)
}

func etagOf(content []byte) string {
	sum := md5.Sum(content)
	return `"` + hex.EncodeToString(sum[:]) + `"`
}

func (f *fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.requests = append(f.requests, r.Method+" "+r.URL.Path)
	if f.answer != nil && f.answer(w, r) {
		return
	}
	name, ok := strings.CutPrefix(r.URL.Path, "/bkt/")
	switch {
	case !ok && r.URL.Query().Has("list-type"):
		fmt.Fprint(w, "<ListBucketResult></ListBucketResult>")
	case r.Method == http.MethodPut:
		f.putLocked(w, r, name)
	case r.Method == http.MethodDelete:
		delete(f.objects, name)
		w.WriteHeader(http.StatusNoContent)
	default:
		f.getLocked(w, r, name)
	}
}

// holdsLocked reports whether the conditions of a request hold. Preconditions: f is
// locked.
func (f *fake) holdsLocked(r *http.Request, name string) bool {
	content, there := f.objects[name]
	if match := r.Header.Get("If-Match"); match != "" && (!there || match != etagOf(content)) {
		return f.unconditional
	}
	return !there || r.Header.Get("If-None-Match") == "" || f.unconditional
}

func (f *fake) putLocked(w http.ResponseWriter, r *http.Request, name string) {
	content, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if !f.holdsLocked(r, name) {
		refuse(w, http.StatusPreconditionFailed, "PreconditionFailed")
		return
	}
	f.objects[name] = content
	w.Header().Set("ETag", etagOf(content))
}

func (f *fake) getLocked(w http.ResponseWriter, r *http.Request, name string) {
	content, there := f.objects[name]
	if !there {
		refuse(w, http.StatusNotFound, "NoSuchKey")
		return
	}
	w.Header().Set("ETag", etagOf(content))
	w.Header().Set("Last-Modified", "Mon, 23 Nov 2026 12:00:00 GMT")
	http.ServeContent(w, r, "", testTime, strings.NewReader(string(content)))
}
