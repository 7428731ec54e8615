package s3

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"gocloud.dev/blob"
	"gocloud.dev/blob/memblob"
	"gocloud.dev/blob/s3blob"

	"github.com/workdir/workdir/store"
)

var testTime = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func put(t *testing.T, s store.Store, key, content string, replace store.Revision) (store.Info, error) {
	t.Helper()
	return s.Put(t.Context(), key, func(w io.Writer) error {
		_, err := io.WriteString(w, content)
		return err
	}, &store.PutOptions{Replace: replace})
}

// Nothing is written to a server that ignores conditions, as many that call
// themselves compatible do.
func TestServerWithoutConditions(t *testing.T) {
	f := newFake(t)
	f.objects["key.tar.gz"] = []byte("old")
	f.unconditional = true
	s := f.mustOpen(t)
	info, err := s.Stat(t.Context(), "key")
	if err != nil {
		t.Fatal(err)
	}
	for _, replace := range []store.Revision{"", info.Revision} {
		_, err := put(t, s, "key", "new", replace)
		if !errors.Is(err, store.ErrNotConditional) {
			t.Errorf("the error is %v", err)
		}
	}
	if len(f.objects) != 1 || string(f.objects["key.tar.gz"]) != "old" {
		t.Errorf("the bucket holds %q", f.objects)
	}
}

// A server that does not know the headers can also say so.
func TestServerRefusesConditions(t *testing.T) {
	f := newFake(t)
	f.answer = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("If-None-Match") == "" {
			return false
		}
		refuse(w, http.StatusNotImplemented, "NotImplemented")
		return true
	}
	_, err := put(t, f.mustOpen(t), "key", "new", "")
	if !errors.Is(err, store.ErrNotConditional) {
		t.Errorf("the error is %v", err)
	}
}

// The requests that workspaces cost, as in docs/stores.md.
func TestRequests(t *testing.T) {
	f := newFake(t)
	s := f.mustOpen(t)
	if _, err := put(t, s, "probed", "first", ""); err != nil {
		t.Fatal(err)
	}
	s = f.mustOpen(t)
	wantTraffic := func(what string, want map[string]int64) {
		t.Helper()
		for kind, requests := range store.TrafficOf(s) {
			if requests.Count != want[kind] || requests.Retries != 0 {
				t.Errorf("%s: %+v of %s, want %d", what, requests, kind, want[kind])
			}
		}
	}
	info, err := put(t, s, "key", "first", "")
	if err != nil {
		t.Fatal(err)
	}
	wantTraffic("commit", map[string]int64{"put": 1})
	o, err := s.Open(t.Context(), "key")
	if err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	if content, err := io.ReadAll(o); err != nil || string(content) != "first" || o.Info().Revision != info.Revision {
		t.Fatalf("%q, %v", content, err)
	}
	wantTraffic("open", map[string]int64{"put": 1, "get": 1})
	if _, err := s.Open(t.Context(), "none"); !errors.Is(err, store.ErrNotExist) {
		t.Fatal(err)
	}
	wantTraffic("open of nothing", map[string]int64{"put": 1, "get": 2, "bucket": 1})
}

func TestBadOptions(t *testing.T) {
	f := newFake(t)
	for options, want := range map[string]string{
		"&nonsense=1":                         `unknown option "nonsense"`,
		"&secret_key=hidden":                  `unknown option "secret_key"`,
		"&anonymous=perhaps":                  `option "anonymous": write true or false`,
		"&region=":                            `option "region": it has no value`,
		"&region=a&region=b":                  `option "region" occurs 2 times`,
		"&rate_limiter_capacity=many":         `option "rate_limiter_capacity": write a number`,
		"&request_checksum_calculation=never": "request_checksum_calculation",
		"&ssetype=none":                       "ssetype",
		"&region=%zz":                         "cannot be split",
		"&role=somebody":                      "role",
		"&profile=hidden-profile":             "hidden-profile",
		"&endpoint=http://127.0.0.1:1":        `option "endpoint" occurs 2 times`,
	} {
		_, err := f.open(t, options)
		if !errors.Is(err, store.ErrURL) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "=hidden") {
			t.Errorf("%s: the error is %v, want %q in it", options, err, want)
		}
	}
	u := store.URL{Scheme: "s3", Bucket: "bkt", Query: "endpoint=localhost:9000"}
	if _, err := store.OpenBucket(t.Context(), u); !errors.Is(err, store.ErrURL) || !strings.Contains(err.Error(), "http://host:port") {
		t.Errorf("an endpoint without a scheme: %v", err)
	}
	if len(f.requests) != 0 {
		t.Errorf("requests were made: %q", f.requests)
	}
}

func TestRegion(t *testing.T) {
	f := newFake(t)
	_, err := store.OpenBucket(t.Context(), store.URL{Scheme: "s3", Bucket: "bkt"})
	if !errors.Is(err, store.ErrURL) || !strings.Contains(err.Error(), "AWS_REGION") {
		t.Errorf("without a region the error is %v", err)
	}
	var signed string
	f.answer = func(_ http.ResponseWriter, r *http.Request) bool {
		signed = r.Header.Get("Authorization")
		return false
	}
	for options, want := range map[string]string{"": "/us-east-1/s3/", "&region=eu-west-1": "/eu-west-1/s3/"} {
		s, err := f.open(t, options)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.List(t.Context(), ""); err != nil || !strings.Contains(signed, want) {
			t.Errorf("%q: signed by %q, %v", options, signed, err)
		}
	}
	s, err := f.open(t, "&anonymous=true")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.List(t.Context(), ""); err != nil || signed != "" {
		t.Errorf("anonymous: signed by %q, %v", signed, err)
	}
}

// A bucket can be no subdomain of an address in numbers; where it could be and is
// not, the error says which option is missing.
func TestAddressOfBucket(t *testing.T) {
	f := newFake(t)
	s, err := store.OpenBucket(t.Context(), store.URL{Scheme: "s3", Bucket: "bkt", Query: "endpoint=" + f.URL})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := put(t, s, "key", "content", ""); err != nil || string(f.objects["key.tar.gz"]) != "content" {
		t.Errorf("the bucket holds %q, %v", f.objects, err)
	}
	client := awss3.New(awss3.Options{
		Region: "us-east-1", BaseEndpoint: aws.String("http://host.invalid:9000"), Credentials: static, Retryer: aws.NopRetryer{},
	})
	_, err = New(client, "bkt", nil).Stat(t.Context(), "key")
	if !errors.Is(err, store.ErrUnreachable) || !strings.Contains(err.Error(), "use_path_style=true") {
		t.Errorf("the error is %v", err)
	}
}

// What is sent carries a checksum, and what the bucket should be encrypted with.
func TestHeadersOfPut(t *testing.T) {
	f := newFake(t)
	var header http.Header
	f.answer = func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/key.tar.gz") {
			header = r.Header.Clone()
		}
		return false
	}
	for options, want := range map[string]map[string]string{
		"": {"X-Amz-Checksum-Crc32c": "Ya91Mw==", "Content-Md5": "", "Content-Type": "application/gzip"},
		"&request_checksum_calculation=when_required": {"X-Amz-Checksum-Crc32c": "", "Content-Md5": "mgNkuembtIDdJeHwKEyFVQ=="},
		"&ssetype=aws:kms&kmskeyid=alias/workspaces":  {"X-Amz-Server-Side-Encryption": "aws:kms", "X-Amz-Server-Side-Encryption-Aws-Kms-Key-Id": "alias/workspaces"},
	} {
		s, err := f.open(t, options)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := put(t, s, "key", "content", ""); err != nil {
			t.Fatal(err)
		}
		delete(f.objects, "key.tar.gz")
		for name, value := range want {
			if got := header.Get(name); got != value {
				t.Errorf("%q: %s is %q, want %q", options, name, got, value)
			}
		}
	}
}

// A bucket that a program has opened by itself is taken over as it is.
func TestFromBucket(t *testing.T) {
	f := newFake(t)
	client := awss3.New(awss3.Options{
		Region: "us-east-1", BaseEndpoint: &f.URL, UsePathStyle: true,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "own", SecretAccessKey: "secret"}, nil
		}),
	})
	bucket, err := s3blob.OpenBucket(t.Context(), client, "bkt", &s3blob.Options{EncryptionType: "AES256"})
	if err != nil {
		t.Fatal(err)
	}
	defer bucket.Close()
	part := blob.PrefixedBucket(bucket, "part/of it/")
	s, err := FromBucket(part)
	if err != nil {
		t.Fatal(err)
	}
	if len(f.requests) != 0 {
		t.Errorf("requests were made: %q", f.requests)
	}
	var encryption, signed string
	f.answer = func(_ http.ResponseWriter, r *http.Request) bool {
		encryption, signed = r.Header.Get("X-Amz-Server-Side-Encryption"), r.Header.Get("Authorization")
		return false
	}
	if _, err := put(t, s, "key", "content", ""); err != nil {
		t.Fatal(err)
	}
	if string(f.objects["part/of it/key.tar.gz"]) != "content" || encryption != "AES256" || !strings.Contains(signed, "Credential=own/") {
		t.Errorf("the bucket holds %q; encryption %q, signed %q", f.objects, encryption, signed)
	}
	if _, err := FromBucket(memblob.OpenBucket(nil)); err == nil {
		t.Error("a bucket in memory is taken for one of S3")
	}
}
