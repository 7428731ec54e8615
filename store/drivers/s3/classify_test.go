package s3

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	awss3 "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"

	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/store/drivers/internal/cloud"
)

// What a server answers is told with its cause and with what to do.
func TestRefusals(t *testing.T) {
	for _, tc := range []struct {
		status int
		code   string // "" gives an answer without a body
		region string // that the answer names
		want   error
		todo   string
	}{
		{status: 403, code: "AccessDenied", want: store.ErrNotAllowed, todo: "s3:GetObject"},
		{status: 403, want: store.ErrNotAllowed, todo: "s3:GetObject"},
		{status: 403, code: "InvalidAccessKeyId", want: store.ErrNotAllowed, todo: "AWS_ACCESS_KEY_ID"},
		{status: 403, code: "SignatureDoesNotMatch", want: store.ErrNotAllowed, todo: "AWS_SECRET_ACCESS_KEY"},
		{status: 400, code: "ExpiredToken", want: store.ErrNotAllowed, todo: "expired"},
		{status: 403, code: "RequestTimeTooSkewed", want: store.ErrUnreachable, todo: "clock"},
		{status: 404, code: "NoSuchBucket", want: store.ErrURL, todo: "make the bucket bkt"},
		{status: 301, code: "PermanentRedirect", region: "eu-west-3", want: store.ErrUnreachable, todo: "region=eu-west-3"},
		{status: 301, region: "eu-west-3", want: store.ErrUnreachable, todo: "region=eu-west-3"},
		{status: 400, region: "eu-west-3", want: store.ErrUnreachable, todo: "region=eu-west-3"},
		{status: 400, code: "AuthorizationHeaderMalformed", want: store.ErrUnreachable, todo: "region=…"},
		{status: 500, code: "InternalError", want: store.ErrUnreachable},
		{status: 503, code: "SlowDown", want: store.ErrUnreachable, todo: "slow down"},
		{status: 502, want: store.ErrUnreachable},
		{status: 507, want: store.ErrFull},
		{status: 404, code: "NoSuchKey", want: store.ErrNotExist},
	} {
		t.Run(tc.code+http.StatusText(tc.status), func(t *testing.T) {
			f := newFake(t)
			f.answer = func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasSuffix(r.URL.Path, "/key.tar.gz") {
					return false
				}
				if tc.region != "" {
					w.Header().Set("X-Amz-Bucket-Region", tc.region)
				}
				if tc.code == "" {
					w.WriteHeader(tc.status)
					return true
				}
				refuse(w, tc.status, tc.code)
				return true
			}
			_, err := hasty(f).Open(t.Context(), "key")
			if !errors.Is(err, tc.want) || !strings.Contains(err.Error(), tc.todo) {
				t.Errorf("the error is %v, want %v and %q", err, tc.want, tc.todo)
			}
		})
	}
}

// hasty returns a store whose SDK tries nothing again.
func hasty(f *fake) store.Store {
	return New(awss3.New(awss3.Options{
		Region: "us-east-1", BaseEndpoint: &f.URL, UsePathStyle: true, Retryer: aws.NopRetryer{},
		Credentials: static,
	}), "bkt", nil)
}

// Without credentials nothing is asked, and the error says where they are looked
// for.
func TestNoCredentials(t *testing.T) {
	f := newFake(t)
	f.objects["key.tar.gz"] = []byte("content")
	missing := source{err: errors.New("no role found")}
	client := awss3.New(awss3.Options{Region: "us-east-1", BaseEndpoint: &f.URL, UsePathStyle: true, Credentials: missing})
	_, err := New(client, "bkt", nil).Open(t.Context(), "key")
	if !errors.Is(err, store.ErrNotAllowed) || !strings.Contains(err.Error(), "AWS_PROFILE") || !strings.Contains(err.Error(), "no role found") {
		t.Errorf("the error is %v", err)
	}
	if len(f.requests) != 0 {
		t.Errorf("requests were made: %q", f.requests)
	}
}

// Codes that only a write meets.
func TestRefusalsOfWrites(t *testing.T) {
	if gone := conditional(&smithy.GenericAPIError{Code: "NoSuchKey"}, cloud.Condition{Replace: "rev"}); classified(gone) != cloud.Changed {
		t.Errorf("a condition on what is gone returns %v", gone)
	}
	for want, err := range map[cloud.Meaning]error{
		cloud.NotFound:    conditional(&smithy.GenericAPIError{Code: "NoSuchKey"}, cloud.Condition{}),
		cloud.Busy:        &smithy.GenericAPIError{Code: "ConditionalRequestConflict"},
		cloud.Broken:      &smithy.GenericAPIError{Code: "NoSuchUpload"},
		cloud.Unsupported: &smithy.GenericAPIError{Code: "NotImplemented"},
		cloud.Other:       &smithy.GenericAPIError{Code: "Nonsense"},
	} {
		if got := classified(err); got != want {
			t.Errorf("%v means %d, want %d", err, got, want)
		}
	}
	if got := classified(context.Canceled); got != cloud.Other {
		t.Errorf("a cancelled context means %d", got)
	}
}

func classified(err error) cloud.Meaning {
	return cloud.Classify(newBackend(awss3.Options{}, "bkt", Options{}), err).Meaning
}
