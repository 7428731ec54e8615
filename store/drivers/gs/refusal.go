package gs

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"

	"cloud.google.com/go/auth"
	"cloud.google.com/go/storage"
	"golang.org/x/oauth2"
	"google.golang.org/api/googleapi"

	"github.com/workdir/workdir/store/drivers/internal/cloud"
)

// What a user can do about a refusal.
const (
	todoLogin = "run \"gcloud auth application-default login\", set GOOGLE_APPLICATION_CREDENTIALS to a key file, " +
		"or give this machine a service account; for a public bucket add ?anonymous=true"
	todoLoginAgain = "log in again (gcloud auth application-default login) or renew the key file that " +
		"GOOGLE_APPLICATION_CREDENTIALS names, and check this machine's clock"
	todoNotAnonymous = "remove anonymous=true and log in (gcloud auth application-default login), or let allUsers read the bucket"
)

// words are the reasons beside a status that say more than the status. See
// https://cloud.google.com/storage/docs/json_api/v1/status-codes.
var words = cloud.NewWords(
	cloud.Said{Codes: "409", Meaning: cloud.Busy},
	cloud.Said{Codes: "301 302 303 307 308", Meaning: cloud.Broken},
	cloud.Said{Codes: "410", Meaning: cloud.Broken, Todo: "try again"}, // an upload that Google gave up
	cloud.Said{Codes: "rateLimitExceeded userRateLimitExceeded", Meaning: cloud.Busy},
	cloud.Said{Codes: "quotaExceeded", Meaning: cloud.Full, Todo: "raise the quota of the project, or try later"},
	cloud.Said{Codes: "retentionPolicyNotMet objectUnderActiveHold", Meaning: cloud.Denied, Todo: "the bucket keeps its objects; remove the hold or the retention policy"},
	cloud.Said{Codes: "accountDisabled", Meaning: cloud.Denied, Todo: "enable billing for the project of the bucket"},
	cloud.Said{Codes: "UserProjectMissing", Meaning: cloud.BadOption, Todo: "whoever asks pays for this bucket; set GOOGLE_CLOUD_QUOTA_PROJECT to the project that shall"},
	cloud.Said{Codes: "insufficientPermission", Meaning: cloud.Denied, Todo: "give this machine the access scope devstorage.read_write, or log in again without limiting scopes"},
)

// Classify implements cloud.Backend. It goes from the most to the least specific errors.
// Anything without a definite meaning is Broken.
func (b *backend) Classify(err error) cloud.Refusal {
	if r, ok := loginRefusal(err); ok {
		return r
	}
	switch {
	case errors.Is(err, storage.ErrBucketNotExist):
		return cloud.Refusal{Meaning: cloud.NoBucket, Todo: "create the bucket, or check its name"}
	case errors.Is(err, storage.ErrObjectNotExist):
		return cloud.Refusal{Meaning: cloud.NotFound}
	}
	if answer, ok := errors.AsType[*googleapi.Error](err); ok {
		return b.answerRefusal(answer)
	}
	r := cloud.Connection(err)
	if r.Meaning == cloud.Other {
		r.Meaning = cloud.Broken
	}
	return r
}

// loginRefusal classifies the answer to a token request, of the library that Google's clients
// use now or of its predecessor, which gocloud uses.
func loginRefusal(err error) (r cloud.Refusal, ok bool) {
	code := 0
	if refused, ok := errors.AsType[*auth.Error](err); ok && refused.Response != nil {
		code = refused.Response.StatusCode
	} else if older, ok := errors.AsType[*oauth2.RetrieveError](err); ok && older.Response != nil {
		code = older.Response.StatusCode
	}
	switch {
	case code == 0:
		return r, false
	case code >= 500, code == http.StatusTooManyRequests, code == http.StatusRequestTimeout:
		return cloud.Refusal{Meaning: cloud.Broken}, true
	}
	return cloud.Refusal{Meaning: cloud.Unidentified, Todo: todoLoginAgain}, true
}

func (b *backend) answerRefusal(answer *googleapi.Error) cloud.Refusal {
	for _, item := range answer.Errors {
		if r, ok := words[item.Reason]; ok {
			return r
		}
	}
	r := words.Of("", answer.Code, answer)
	switch {
	case r.Meaning == cloud.Unidentified && b.anonymous:
		r.Todo = todoNotAnonymous
	case r.Meaning == cloud.Unidentified:
		r.Todo = todoLoginAgain
	case r.Meaning == cloud.Denied:
		r.Todo = b.grant(answer)
	}
	return r
}

// permission matches the missing permission in the text of a refusal, the only place where
// Google names it. It is for messages only.
var permission = regexp.MustCompile(`\bstorage\.(objects|buckets|folders)\.[A-Za-z]+\b`)

// roles that have a permission and as few others as possible.
var roles = map[string]string{
	"storage.objects.get":    "roles/storage.objectViewer",
	"storage.objects.list":   "roles/storage.objectViewer",
	"storage.objects.create": "roles/storage.objectUser",
	"storage.objects.delete": "roles/storage.objectUser", // also to replace an object
	"storage.objects.update": "roles/storage.objectUser",
	"storage.buckets.get":    "roles/storage.legacyBucketReader",
}

// grant says which permission is missing, and which role has it.
func (b *backend) grant(answer *googleapi.Error) string {
	missing := permission.FindString(answer.Message + " " + answer.Body)
	role := roles[missing]
	switch {
	case missing == "":
		return fmt.Sprintf("grant these credentials roles/storage.objectUser on %s (roles/storage.objectViewer to read only)", b.Bucket())
	case role == "":
		return fmt.Sprintf("grant these credentials %s on %s", missing, b.Bucket())
	}
	return fmt.Sprintf("grant these credentials %s on %s (%s has it)", missing, b.Bucket(), role)
}
