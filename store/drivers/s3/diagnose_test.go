package s3

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/workdir/workdir/store/drivers/internal/cloud"
)

// source returns credentials that say where they come from.
type source struct {
	found aws.Credentials
	err   error
}

func (s source) Retrieve(context.Context) (aws.Credentials, error) { return s.found, s.err }

var static = source{found: aws.Credentials{AccessKeyID: "ann", SecretAccessKey: "hidden", Source: "TheTest"}}

// listing returns the backend of a bucket whose server answers so to lists; "" is that
// there is no bucket.
func listing(t *testing.T, answer string) *backend {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/xml")
		if answer == "" {
			w.WriteHeader(http.StatusNotFound)
			answer = `<Error><Code>NoSuchBucket</Code></Error>`
		}
		fmt.Fprint(w, answer)
	}))
	t.Cleanup(server.Close)
	client := awss3.New(awss3.Options{Region: "eu-west-1", BaseEndpoint: &server.URL, UsePathStyle: true, Credentials: static})
	return newBackend(client.Options(), "bkt", Options{})
}

func TestPage(t *testing.T) {
	b := listing(t, `<ListBucketResult><Contents><Key>jobs/a.tar.gz</Key><LastModified>2026-11-23T12:00:00.000Z</LastModified></Contents><CommonPrefixes><Prefix>jobs/ab/</Prefix></CommonPrefixes></ListBucketResult>`)
	got, err := b.Page(t.Context(), cloud.PageRequest{Prefix: "jobs/a", Size: 7})
	if err != nil || len(got.Objects) != 2 || got.Objects[0].Name != "jobs/a.tar.gz" || got.Objects[1].Name != "jobs/ab/" {
		t.Errorf("the page is %+v, %v", got, err)
	}
	if _, err := listing(t, "").Page(t.Context(), cloud.PageRequest{}); err == nil {
		t.Error("no error of a bucket that is not there")
	}
}
