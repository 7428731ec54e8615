package azure

import (
	"cmp"
	"context"
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

// copied copies the blob "src" of another bucket, of a size, to "dst".
func copied(ctx context.Context, b, from *backend, size int64) (cloud.Attributes, error) {
	cond := cloud.Condition{Replace: "0x9"}
	u, err := b.Upload(ctx, "dst", cond, &cloud.Source{Backend: from, Name: "src", Attributes: cloud.Attributes{Revision: "0x1", Size: size}})
	if err != nil {
		return cloud.Attributes{}, err
	}
	n := 0
	for off := int64(0); off < size; {
		from, to := u.Kept(off, size, 0)
		if from != off {
			return cloud.Attributes{}, fmt.Errorf("of %d to %d only %d to %d is kept", off, size, from, to)
		}
		n++
		if err := u.Copy(ctx, n, off, to); err != nil {
			return cloud.Attributes{}, err
		}
		off = to
	}
	return u.Complete(ctx, cond)
}

// A large archive is copied in ranges of one revision, and committed as one.
func TestCopy(t *testing.T) {
	const size = 2*copyBlock + 1
	b, requests := listening(t, source(size))
	b.credential = token("T")
	done, err := copied(t.Context(), b, b, size)
	if err != nil || done.Revision != "0x2" {
		t.Errorf("returns %+v, %v", done, err)
	}
	all := requests()
	commit := all[len(all)-1]
	ranges := map[string]bool{}
	for _, r := range all[:len(all)-1] {
		ranges[r.Header.Get("x-ms-source-range")] = true
		if h := r.Header; h.Get("x-ms-source-if-match") != `"0x1"` || h.Get("x-ms-copy-source-authorization") != "Bearer T" || !strings.HasSuffix(r.URL.Path, "/dst") {
			t.Errorf("%s with the headers %v", r.URL.Path, h)
		}
		if id := r.URL.Query().Get("blockid"); !strings.Contains(commit.body, "<Latest>"+id+"</Latest>") {
			t.Errorf("the list has no block %s: %s", id, commit.body)
		}
	}
	want := []string{"bytes=0-134217727", "bytes=134217728-268435456"}
	if got := slices.Sorted(maps.Keys(ranges)); !slices.Equal(got, want) || commit.Header.Get("If-Match") != `"0x9"` {
		t.Errorf("copied %q, committed with %v", got, commit.Header)
	}
	if len(all) != len(want)+1 {
		t.Errorf("%d requests", len(all))
	}
}

// What the service does not copy is not committed.
func TestCopyNotSupported(t *testing.T) {
	other, _ := listening(t, stored)
	for name, answer := range map[string]http.HandlerFunc{
		"no source":       refusing(http.StatusNotFound, "BlobNotFound"),
		"another one":     refusing(http.StatusPreconditionFailed, "SourceConditionNotMet"),
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
		_, err := copied(t.Context(), b, src, 1)
		want := map[string]cloud.Meaning{"no source": cloud.NotFound, "another one": cloud.Changed}
		if m := cloud.Classify(b, err).Meaning; m != cmp.Or(want[name], cloud.Unsupported) {
			t.Errorf("%s: %v means %d", name, err, m)
		}
		for _, r := range requests() {
			if r.URL.Query().Get("comp") == "blocklist" {
				t.Errorf("%s: the copy was committed", name)
			}
		}
	}
}
