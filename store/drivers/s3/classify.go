package s3

import (
	"errors"
	"fmt"
	"net"
	"net/http"

	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"

	"github.com/workdir/workdir/store/drivers/internal/cloud"
)

const noSuchUpload = "NoSuchUpload"

// refusals are S3's error codes, which other servers have taken over. See "Error
// responses" in the Amazon S3 API reference.
var refusals = map[string]cloud.Meaning{
	"NoSuchKey": cloud.NotFound, "NotFound": cloud.NotFound, "NoSuchVersion": cloud.NotFound,
	"NoSuchBucket": cloud.NoBucket, "InvalidBucketName": cloud.NoBucket,

	"AccessDenied": cloud.Denied, "Forbidden": cloud.Denied, "AllAccessDisabled": cloud.Denied, "AccountProblem": cloud.Denied,
	"MethodNotAllowed": cloud.Denied, "KMS.DisabledException": cloud.Denied, "InvalidObjectState": cloud.Denied,

	"InvalidAccessKeyId": cloud.Unidentified, "SignatureDoesNotMatch": cloud.Unidentified, "ExpiredToken": cloud.Unidentified,
	"InvalidToken": cloud.Unidentified, "TokenRefreshRequired": cloud.Unidentified, "InvalidSecurity": cloud.Unidentified,
	"NotSignedUp": cloud.Unidentified, "Unauthorized": cloud.Unidentified,

	"PreconditionFailed":         cloud.Changed,
	"ConditionalRequestConflict": cloud.Busy, "OperationAborted": cloud.Busy, "SlowDown": cloud.Busy, "SlowDownWrite": cloud.Busy, "SlowDownRead": cloud.Busy,
	"TooManyRequests": cloud.Busy, "RequestLimitExceeded": cloud.Busy, "Throttling": cloud.Busy, "ThrottlingException": cloud.Busy,
	"RequestTimeout": cloud.Busy, "BadDigest": cloud.Busy, "XAmzContentChecksumMismatch": cloud.Busy, "IncompleteBody": cloud.Busy,

	// What servers say that keep objects as files: a directory is in the archive's place.
	"ExistingObjectIsDirectory": cloud.Other, "ObjectParentIsFile": cloud.Other,

	"InvalidRange": cloud.OutOfRange, "RequestedRangeNotSatisfiable": cloud.OutOfRange,

	"PermanentRedirect": cloud.BadOption, "TemporaryRedirect": cloud.BadOption, "AuthorizationHeaderMalformed": cloud.BadOption,
	"IllegalLocationConstraintException": cloud.BadOption, "RequestTimeTooSkewed": cloud.BadOption, "KeyTooLongError": cloud.BadOption,

	"NotImplemented": cloud.Unsupported,

	"InsufficientStorage": cloud.Full, "XMinioStorageFull": cloud.Full, "QuotaExceeded": cloud.Full, "EntityTooLarge": cloud.Full,

	// An upload that is gone was completed, aborted, or never there. Nobody knows.
	noSuchUpload: cloud.Broken, "InternalError": cloud.Broken, "ServiceUnavailable": cloud.Broken,
}

// statuses are for answers without a code: those to HEAD, and those of proxies.
var statuses = map[int]cloud.Meaning{
	http.StatusMovedPermanently: cloud.BadOption, http.StatusTemporaryRedirect: cloud.BadOption,
	http.StatusUnauthorized: cloud.Unidentified, http.StatusForbidden: cloud.Denied,
	http.StatusNotFound: cloud.NotFound, http.StatusConflict: cloud.Busy,
	http.StatusPreconditionFailed: cloud.Changed, http.StatusRequestedRangeNotSatisfiable: cloud.OutOfRange,
	http.StatusTooManyRequests: cloud.Busy, http.StatusNotImplemented: cloud.Unsupported,
	http.StatusInsufficientStorage: cloud.Full,
}

// conditional gives err, or, where a conditional write found no object to replace,
// an error that says so: S3 answers NoSuchKey and not PreconditionFailed to that.
func conditional(err error, cond cloud.Condition) error {
	if c := code(err); cond.Replace != "" && (c == "NoSuchKey" || c == "NotFound") {
		return &goneError{err}
	}
	return err
}

// goneError is a condition that does not hold because the object is gone.
type goneError struct{ err error }

func (e *goneError) Error() string { return e.err.Error() }
func (e *goneError) Unwrap() error { return e.err }

// code is S3's error code, "" for an error that is not the server's.
func code(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

// Classify implements cloud.Backend.
func (b *backend) Classify(err error) cloud.Refusal {
	m := meaning(err)
	return cloud.Refusal{Meaning: m, Todo: b.todo(m, err)}
}

func meaning(err error) cloud.Meaning {
	switch {
	case errors.As(err, new(*goneError)):
		return cloud.Changed
	case errors.As(err, new(*credentialsError)):
		return cloud.Unidentified
	case errors.Is(err, errStillThere):
		return cloud.Busy
	}
	if m, ok := refusals[code(err)]; ok {
		return m
	}
	var response *awshttp.ResponseError
	if !errors.As(err, &response) {
		return cloud.Other // package cloud knows the errors of connections
	}
	status := response.HTTPStatusCode()
	m, ok := statuses[status]
	switch {
	case ok:
		return m
	case status >= 500, errors.As(err, new(*smithy.DeserializationError)):
		return cloud.Broken
	case otherRegion(err) != "":
		return cloud.BadOption
	}
	return cloud.Other
}

// otherRegion is the region that the bucket is in, where the answer says that it is
// not the one that was asked.
func otherRegion(err error) string {
	var response *awshttp.ResponseError
	if !errors.As(err, &response) || response.Response == nil || response.Response.Response == nil {
		return ""
	}
	switch response.HTTPStatusCode() {
	case http.StatusMovedPermanently, http.StatusTemporaryRedirect, http.StatusBadRequest, http.StatusForbidden:
		return response.Response.Header.Get("X-Amz-Bucket-Region")
	}
	return ""
}

// permissions are what the requests need.
var permissions = map[string]string{
	"GetObject":               "s3:GetObject",
	"HeadObject":              "s3:GetObject, and s3:ListBucket on the bucket so that a missing archive can be told from a forbidden one,",
	"PutObject":               "s3:PutObject",
	"CreateMultipartUpload":   "s3:PutObject",
	"UploadPart":              "s3:PutObject",
	"CompleteMultipartUpload": "s3:PutObject",
	"AbortMultipartUpload":    "s3:AbortMultipartUpload",
	"DeleteObject":            "s3:DeleteObject",
	"CopyObject":              "s3:PutObject here and s3:GetObject at the source",
	"ListObjectsV2":           "s3:ListBucket on the bucket",
}

// todo says how to mend a refusal.
func (b *backend) todo(m cloud.Meaning, err error) string {
	region := otherRegion(err)
	if b.endpoint != "" && !b.client.Options().UsePathStyle && errors.As(err, new(*net.DNSError)) {
		return "look whether the address is right; where buckets are no subdomains of " + b.endpoint + ", add use_path_style=true to the URL's options"
	}
	switch m {
	case cloud.Denied:
		return b.todoDenied(err)
	case cloud.Unidentified:
		return b.todoUnidentified(err)
	case cloud.NoBucket:
		return fmt.Sprintf("make the bucket %s, or correct its name, the endpoint or the region in the URL", b.bucket)
	case cloud.BadOption:
		if code(err) == "RequestTimeTooSkewed" {
			return "set this host's clock; S3 accepts 15 minutes of difference"
		}
		if region != "" {
			return fmt.Sprintf("the bucket is in the region %s: add region=%s to the URL's options, or set AWS_REGION", region, region)
		}
		return "add the bucket's region to the URL's options (region=…), or set AWS_REGION; for a server that is not Amazon's look at endpoint and use_path_style too"
	case cloud.Unsupported:
		return "the server does not know this request of S3"
	}
	return ""
}

func (b *backend) todoDenied(err error) string {
	var op *smithy.OperationError
	if errors.As(err, &op) && permissions[op.OperationName] != "" {
		return fmt.Sprintf("these credentials need the permission %s for %s", permissions[op.OperationName], b.bucket)
	}
	return "give these credentials the permissions that docs/stores.md lists"
}

func (b *backend) todoUnidentified(err error) string {
	switch {
	case errors.As(err, new(*credentialsError)):
		return "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, give the host a role, or add anonymous=true to the URL's options of a public bucket"
	case code(err) == "ExpiredToken", code(err) == "TokenRefreshRequired":
		return "the credentials have expired; get new ones (aws sso login, a new session token) and try again"
	}
	return "the server does not know these credentials, or the secret is wrong; look at AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_PROFILE, and at the endpoint in the URL"
}
