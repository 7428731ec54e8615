package gs

import (
	"crypto/tls"
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
	todoHold         = "the bucket keeps its objects; remove the hold or the retention policy"
	todoBilling      = "enable billing for the project of the bucket"
	todoScope        = "give this machine the access scope devstorage.read_write, or log in again without limiting scopes"
	todoPays         = "whoever asks pays for this bucket; set GOOGLE_CLOUD_QUOTA_PROJECT to the project that shall"
	todoQuota        = "raise the quota of the project, or try later"
	todoTLS          = "check the endpoint and this machine's certificates (SSL_CERT_FILE)"
)

// Classify goes from errors that say most to those that say least. What says nothing
// definite is Broken: a connection that was lost, an answer that makes no sense.
func (b *backend) Classify(err error) cloud.Refusal {
	var (
		revision badRevision
		answer   *googleapi.Error
	)
	switch refusal, login := loginRefusal(err); {
	case login:
		return refusal
	case errors.As(err, &revision):
		return cloud.Refusal{Meaning: cloud.Changed}
	case errors.Is(err, storage.ErrBucketNotExist):
		return cloud.Refusal{Meaning: cloud.NoBucket, Todo: "create the bucket, or check its name"}
	case errors.Is(err, storage.ErrObjectNotExist):
		return cloud.Refusal{Meaning: cloud.NotFound}
	case errors.As(err, &answer):
		return b.answerRefusal(answer)
	case isTLS(err):
		return cloud.Refusal{Meaning: cloud.BadOption, Todo: todoTLS}
	}
	if s, ok := status.FromError(err); ok && grpcCodes[s.Code()] != 0 {
		return b.answerRefusal(&googleapi.Error{Code: grpcCodes[s.Code()], Message: s.Message()})
	}
	return cloud.Refusal{Meaning: cloud.Broken}
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

// isTLS says whether a connection was refused for its certificates, so that nothing
// was sent.
func isTLS(err error) bool {
	var (
		certificate *tls.CertificateVerificationError
		record      tls.RecordHeaderError
		alert       tls.AlertError
	)
	return errors.As(err, &certificate) || errors.As(err, &record) || errors.As(err, &alert)
}

// meanings of statuses, as https://cloud.google.com/storage/docs/json_api/v1/status-codes
// has them. All others are Broken from 500 on, and Other below.
var meanings = map[int]cloud.Meaning{
	http.StatusUnauthorized:                 cloud.Unidentified,
	http.StatusForbidden:                    cloud.Denied,
	http.StatusNotFound:                     cloud.NotFound,
	http.StatusMethodNotAllowed:             cloud.Unsupported,
	http.StatusRequestTimeout:               cloud.Broken,
	http.StatusConflict:                     cloud.Busy,
	http.StatusGone:                         cloud.Broken, // an upload that Google gave up
	http.StatusPreconditionFailed:           cloud.Changed,
	http.StatusRequestedRangeNotSatisfiable: cloud.OutOfRange,
	http.StatusTooManyRequests:              cloud.Busy,
	http.StatusNotImplemented:               cloud.Unsupported,
}

// reasons that Google gives with a status, where they say more than it does.
var reasons = map[string]cloud.Refusal{
	"rateLimitExceeded":      {Meaning: cloud.Busy},
	"userRateLimitExceeded":  {Meaning: cloud.Busy},
	"quotaExceeded":          {Meaning: cloud.Full, Todo: todoQuota},
	"retentionPolicyNotMet":  {Meaning: cloud.Denied, Todo: todoHold},
	"objectUnderActiveHold":  {Meaning: cloud.Denied, Todo: todoHold},
	"accountDisabled":        {Meaning: cloud.Denied, Todo: todoBilling},
	"UserProjectMissing":     {Meaning: cloud.BadOption, Todo: todoPays},
	"insufficientPermission": {Meaning: cloud.Denied, Todo: todoScope},
}

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

func (b *backend) answerRefusal(answer *googleapi.Error) cloud.Refusal {
	for _, item := range answer.Errors {
		if r, ok := reasons[item.Reason]; ok {
			return r
		}
	}
	meaning, known := meanings[answer.Code]
	if !known && (answer.Code >= 500 || answer.Code < 400) {
		meaning = cloud.Broken
	}
	return cloud.Refusal{Meaning: meaning, Todo: b.todo(meaning, answer)}
}

func (b *backend) todo(meaning cloud.Meaning, answer *googleapi.Error) string {
	switch {
	case meaning == cloud.Unidentified && b.anonymous:
		return todoNotAnonymous
	case meaning == cloud.Unidentified:
		return todoLoginAgain
	case meaning == cloud.Denied:
		return b.grant(answer)
	case answer.Code == http.StatusGone:
		return "try again"
	}
	return ""
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
