package azure

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/workdir/workdir/store/drivers/internal/cloud"
)

// token is a credential that is always good.
type token string

func (t token) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: string(t)}, nil
}

// source answers for a blob of so many bytes.
func source(size int64) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodHead {
			w.Header().Set("ETag", `"0x1"`)
			w.Header().Set("Last-Modified", someTime)
			w.Header().Set("x-ms-creation-time", someTime)
			w.Header().Set("Content-Length", fmt.Sprint(size))
			return
		}
		stored(w, r)
	}
}

// A large archive is copied in ranges of one revision, and committed as one.
func TestCopy(t *testing.T) {
	const size = 2*copyBlock + 1
	b, requests := listening(t, source(size))
	b.credential = token("T")
	done, err := b.CopyFrom(t.Context(), b, "src", "0x1", "dst", cloud.Condition{Replace: "0x9"})
	if err != nil || done.Revision != "0x2" || done.Size != size {
		t.Errorf("gives %+v, %v", done, err)
	}
	all := requests()
	commit := all[len(all)-1]
	ranges := map[string]bool{}
	for _, r := range all[1 : len(all)-1] {
		ranges[r.Header.Get("x-ms-source-range")] = true
		if h := r.Header; h.Get("x-ms-source-if-match") != `"0x1"` || h.Get("x-ms-copy-source-authorization") != "Bearer T" || !strings.HasSuffix(r.URL.Path, "/dst") {
			t.Errorf("%s with the headers %v", r.URL.Path, h)
		}
		if id := r.URL.Query().Get("blockid"); !strings.Contains(commit.body, "<Latest>"+id+"</Latest>") {
			t.Errorf("the list has no block %s: %s", id, commit.body)
		}
	}
	want := []string{"bytes=0-134217727", "bytes=134217728-268435455", "bytes=268435456-268435456"}
	if got := slices.Sorted(maps.Keys(ranges)); !slices.Equal(got, want) || commit.Header.Get("If-Match") != `"0x9"` {
		t.Errorf("copied %q, committed with %v", got, commit.Header)
	}
	if len(all) != len(want)+2 {
		t.Errorf("%d requests", len(all))
	}
}

// What cannot be copied by the service goes through this machine instead.
func TestCopyNotSupported(t *testing.T) {
	other, _ := listening(t, stored)
	for name, answer := range map[string]http.HandlerFunc{
		"no source":       refusing(http.StatusNotFound, "BlobNotFound"),
		"another one":     refusing(http.StatusPreconditionFailed, "ConditionNotMet"),
		"busy":            refusing(http.StatusServiceUnavailable, "ServerBusy"),
		"another account": source(1),
		"not implemented": func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodHead {
				source(1)(w, r)
				return
			}
			refusing(http.StatusNotImplemented, "")(w, r)
		},
	} {
		b, requests := listening(t, answer)
		src := b
		if name == "another account" {
			src = other
		}
		_, err := b.CopyFrom(t.Context(), src, "src", "0x1", "dst", cloud.Condition{})
		if !errors.Is(err, errors.ErrUnsupported) || b.Classify(err).Meaning != cloud.Unsupported {
			t.Errorf("%s: %v", name, err)
		}
		for _, r := range requests() {
			if r.URL.Query().Get("comp") == "blocklist" {
				t.Errorf("%s: the copy was committed", name)
			}
		}
	}
}
