package gs

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/store/drivers/internal/cloud"
)

func TestAnswers(t *testing.T) {
	const denied = "ann@example.com does not have storage.objects.delete access to the Google Cloud Storage object. Permission 'storage.objects.delete' denied on resource (or it may not exist)."
	tests := []struct {
		name            string
		code            int
		reason, message string
		want            cloud.Meaning
		todo            string
	}{
		{"no object", 404, "notFound", "No such object: bkt/key.tar.gz", cloud.NotFound, ""},
		{"anonymous", 401, "required", "Anonymous caller does not have storage.objects.get access", cloud.Unidentified, "anonymous=true"},
		{"permission", 403, "forbidden", denied, cloud.Denied, "storage.objects.delete on gs://bkt (roles/storage.objectUser"},
		{"permission without a role", 403, "forbidden", "no storage.folders.create access", cloud.Denied, "storage.folders.create on gs://bkt"},
		{"permission that is not named", 403, "forbidden", "Request is prohibited by organization's policy.", cloud.Denied, "roles/storage.objectUser on gs://bkt"},
		{"scope", 403, "insufficientPermission", "Insufficient Permission", cloud.Denied, "devstorage.read_write"},
		{"hold", 403, "retentionPolicyNotMet", "Object is subject to bucket's retention policy", cloud.Denied, "retention policy"},
		{"billing", 403, "accountDisabled", "The billing account is disabled", cloud.Denied, "billing"},
		{"requester pays", 400, "UserProjectMissing", "Bucket is a requester pays bucket", cloud.BadOption, "GOOGLE_CLOUD_QUOTA_PROJECT"},
		{"bad request", 400, "invalid", "Invalid argument.", cloud.Other, ""},
		{"rate of a project", 403, "rateLimitExceeded", "Rate Limit Exceeded", cloud.Busy, ""},
		{"rate of an object", 429, "rateLimitExceeded", "The object exceeded the rate limit for object mutation operations", cloud.Busy, ""},
		{"concurrent write", 409, "conflict", "conflict", cloud.Busy, ""},
		{"quota", 403, "quotaExceeded", "Quota exceeded", cloud.Full, "quota"},
		{"condition", 412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold.", cloud.Changed, ""},
		{"range", 416, "requestedRangeNotSatisfiable", "The requested range cannot be satisfied.", cloud.OutOfRange, ""},
		{"unknown request", 501, "notImplemented", "Not implemented", cloud.Unsupported, ""},
		{"slow", 408, "requestTimeout", "Request timeout", cloud.Broken, ""},
		{"out of order", 500, "backendError", "Backend Error", cloud.Broken, ""},
		{"unavailable", 503, "backendError", "Backend Error", cloud.Broken, ""},
		{"redirect without a target", 308, "", "", cloud.Broken, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			b, _ := backendAt(t, func(w http.ResponseWriter, _ *http.Request) { refuse(w, test.code, test.reason, test.message) })
			_, err := b.Head(t.Context(), "key.tar.gz")
			wantRefusal(t, b, err, test.want, test.todo)
		})
	}
}

// The XML interface, by which objects are read, has no reasons and other words.
func TestAnswersToReads(t *testing.T) {
	const denied = `<?xml version='1.0' encoding='UTF-8'?><Error><Code>AccessDenied</Code><Message>Access denied.</Message>` +
		`<Details>ann@example.com does not have storage.objects.get access to the Google Cloud Storage object.</Details></Error>`
	b, _ := backendAt(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
		_, _ = w.Write([]byte(denied))
	})
	_, err := b.Get(t.Context(), "key.tar.gz", 0, 10, "")
	wantRefusal(t, b, err, cloud.Denied, "storage.objects.get on gs://bkt (roles/storage.objectViewer")
	if text := err.Error(); strings.Contains(text, "<") || !strings.Contains(text, "ann@example.com") {
		t.Fatalf("the error is %q", text)
	}
}

// Only the bucket of a write can be missing.
func TestMissingBucket(t *testing.T) {
	b, _ := backendAt(t, func(w http.ResponseWriter, _ *http.Request) {
		refuse(w, 404, "notFound", "The specified bucket does not exist.")
	})
	ctx := t.Context()
	_, err := b.Put(ctx, "key.tar.gz", []byte("archive"), cloud.Condition{})
	wantRefusal(t, b, err, cloud.NoBucket, "")
	wantRefusal(t, b, b.Accessible(ctx, "dir/key.tar.gz"), cloud.NoBucket, "")
	_, err = b.Page(ctx, cloud.PageRequest{})
	wantRefusal(t, b, err, cloud.NoBucket, "")
	_, err = b.Head(ctx, "key.tar.gz")
	wantRefusal(t, b, err, cloud.NotFound, "")
	_, err = b.Get(ctx, "key.tar.gz", 0, 10, "")
	wantRefusal(t, b, err, cloud.NotFound, "")
}

// A revision that another store gave was never here.
func TestForeignRevision(t *testing.T) {
	b, _ := backendAt(t, func(http.ResponseWriter, *http.Request) { t.Error("a request was made") })
	ctx := t.Context()
	for _, rev := range []store.Revision{"etag", "0", "-1", "+1", "01", " 1"} {
		cond := cloud.Condition{Replace: rev}
		_, err := b.Put(ctx, "key.tar.gz", nil, cond)
		wantRefusal(t, b, err, cloud.Changed, "")
		_, err = b.Upload(ctx, "key.tar.gz", cond, nil)
		wantRefusal(t, b, err, cloud.Changed, "")
		_, err = b.Get(ctx, "key.tar.gz", 0, 10, cond.Replace)
		wantRefusal(t, b, err, cloud.Changed, "")
		wantRefusal(t, b, b.Delete(ctx, "key.tar.gz", cond.Replace), cloud.Changed, "")
	}
}

func TestConnections(t *testing.T) {
	b, _ := backendAt(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	_, err := b.Put(t.Context(), "key.tar.gz", []byte("archive"), cloud.Condition{})
	wantRefusal(t, b, err, cloud.Broken, "")
	if strings.Contains(err.Error(), "http://") {
		t.Fatalf("the error %q has the address of the request", err)
	}
}

// What says nothing definite may have been done.
func TestBrokenByDefault(t *testing.T) {
	wantRefusal(t, newBackend("bkt", nil), context.Canceled, cloud.Broken, "")
}
