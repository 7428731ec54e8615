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
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

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

// words are the reasons that Google gives with a status, where they say more than it does. See
// https://cloud.google.com/storage/docs/json_api/v1/status-codes.
var words = cloud.NewWords(
	cloud.Said{Codes: "rateLimitExceeded userRateLimitExceeded", Meaning: cloud.Busy},
	cloud.Said{Codes: "quotaExceeded", Meaning: cloud.Full, Todo: "raise the quota of the project, or try later"},
	cloud.Said{Codes: "retentionPolicyNotMet objectUnderActiveHold", Meaning: cloud.Denied, Todo: "the bucket keeps its objects; remove the hold or the retention policy"},
	cloud.Said{Codes: "accountDisabled", Meaning: cloud.Denied, Todo: "enable billing for the project of the bucket"},
	cloud.Said{Codes: "UserProjectMissing", Meaning: cloud.BadOption, Todo: "whoever asks pays for this bucket; set GOOGLE_CLOUD_QUOTA_PROJECT to the project that shall"},
	cloud.Said{Codes: "insufficientPermission", Meaning: cloud.Denied, Todo: "give this machine the access scope devstorage.read_write, or log in again without limiting scopes"},
)

// grpcCodes are the statuses of HTTP for those of a client that speaks gRPC.
var grpcCodes = map[codes.Code]int{
	codes.InvalidArgument:    http.StatusBadRequest,
	codes.Unauthenticated:    http.StatusUnauthorized,
	codes.PermissionDenied:   http.StatusForbidden,
	codes.NotFound:           http.StatusNotFound,
	codes.Unimplemented:      http.StatusNotImplemented,
	codes.Aborted:            http.StatusConflict,
	codes.AlreadyExists:      http.StatusPreconditionFailed,
	codes.FailedPrecondition: http.StatusPreconditionFailed,
	codes.OutOfRange:         http.StatusRequestedRangeNotSatisfiable,
	codes.ResourceExhausted:  http.StatusTooManyRequests,
}

// Classify implements cloud.Backend. It goes from errors that say most to those that say least.
// What says nothing definite is Broken.
func (b *backend) Classify(err error) cloud.Refusal {
	var answer *googleapi.Error
	switch refusal, login := loginRefusal(err); {
	case login:
		return refusal
	case errors.Is(err, errors.ErrUnsupported):
		return cloud.Refusal{Meaning: cloud.Unsupported}
	case errors.As(err, new(badRevision)):
		return cloud.Refusal{Meaning: cloud.Changed}
	case errors.Is(err, storage.ErrBucketNotExist):
		return cloud.Refusal{Meaning: cloud.NoBucket, Todo: "create the bucket, or check its name"}
	case errors.Is(err, storage.ErrObjectNotExist):
		return cloud.Refusal{Meaning: cloud.NotFound}
	case errors.As(err, &answer):
		return b.answerRefusal(answer)
	}
	if s, ok := status.FromError(err); ok && grpcCodes[s.Code()] != 0 {
		return b.answerRefusal(&googleapi.Error{Code: grpcCodes[s.Code()], Message: s.Message()})
	}
	r := cloud.Connection(err)
	if r.Meaning == cloud.Other {
		r.Meaning = cloud.Broken
	}
	return r
}

// loginRefusal is for errors about credentials: those of this package, and those that
// a client made elsewhere gives for the tokens it is refused.
func loginRefusal(err error) (r cloud.Refusal, ok bool) {
	var (
		login   *loginError
		refused *auth.Error
		older   *oauth2.RetrieveError
	)
	code := 0
	switch {
	case errors.As(err, &refused) && refused.Response != nil:
		code = refused.Response.StatusCode
	case errors.As(err, &older) && older.Response != nil:
		code = older.Response.StatusCode
	case errors.As(err, &login):
		return cloud.Refusal{Meaning: cloud.Unidentified, Todo: todoLogin}, true
	default:
		return cloud.Refusal{}, false
	}
	if isTemporary(code) {
		return cloud.Refusal{Meaning: cloud.Broken}, true
	}
	return cloud.Refusal{Meaning: cloud.Unidentified, Todo: todoLoginAgain}, true
}

// isTemporary says whether a status means no more than "not now".
func isTemporary(code int) bool {
	return code >= 500 || code == http.StatusTooManyRequests || code == http.StatusRequestTimeout
}

func (b *backend) answerRefusal(answer *googleapi.Error) cloud.Refusal {
	for _, item := range answer.Errors {
		if r, ok := words[item.Reason]; ok {
			return r
		}
	}
	r := words.Of("", answer.Code)
	switch {
	case answer.Code == http.StatusConflict:
		r.Meaning = cloud.Busy
	case answer.Code < http.StatusBadRequest:
		r.Meaning = cloud.Broken
	case answer.Code == http.StatusGone:
		r.Todo = "try again"
	case r.Meaning == cloud.Unidentified && b.anonymous:
		r.Todo = todoNotAnonymous
	case r.Meaning == cloud.Unidentified:
		r.Todo = todoLoginAgain
	case r.Meaning == cloud.Denied:
		r.Todo = b.grant(answer)
	}
	return r
}

// permission is how Google names one in the words of a refusal; it gives it nowhere
// else. It is for messages only.
var permission = regexp.MustCompile(`\bstorage\.(objects|buckets|folders)\.[A-Za-z]+\b`)

// roles that have a permission and as little as possible besides.
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
