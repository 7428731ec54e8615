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

// words are S3's error codes, which other servers have adopted. See "Error responses" in the
// Amazon S3 API reference.
var words = cloud.NewWords(
	cloud.Said{Codes: "NoSuchKey NotFound NoSuchVersion", Meaning: cloud.NotFound},
	cloud.Said{Codes: "NoSuchBucket InvalidBucketName", Meaning: cloud.NoBucket},
	cloud.Said{Codes: "AccessDenied Forbidden AllAccessDisabled AccountProblem MethodNotAllowed KMS.DisabledException InvalidObjectState", Meaning: cloud.Denied},
	cloud.Said{Codes: "InvalidAccessKeyId SignatureDoesNotMatch InvalidToken InvalidSecurity NotSignedUp Unauthorized", Meaning: cloud.Unidentified},
	cloud.Said{Codes: "ExpiredToken TokenRefreshRequired", Meaning: cloud.Unidentified,
		Todo: "the credentials have expired; get new ones (aws sso login, a new session token) and try again"},
	cloud.Said{Codes: "PreconditionFailed", Meaning: cloud.Changed},
	cloud.Said{Codes: "ConditionalRequestConflict OperationAborted SlowDown SlowDownWrite SlowDownRead TooManyRequests RequestLimitExceeded Throttling ThrottlingException", Meaning: cloud.Busy},
	cloud.Said{Codes: "RequestTimeout BadDigest XAmzContentChecksumMismatch IncompleteBody", Meaning: cloud.Busy},
	// From servers that keep objects as files: a directory is in the archive's place.
	cloud.Said{Codes: "ExistingObjectIsDirectory ObjectParentIsFile", Meaning: cloud.Other},
	cloud.Said{Codes: "InvalidRange RequestedRangeNotSatisfiable", Meaning: cloud.OutOfRange},
	cloud.Said{Codes: "PermanentRedirect TemporaryRedirect AuthorizationHeaderMalformed IllegalLocationConstraintException KeyTooLongError", Meaning: cloud.BadOption},
	cloud.Said{Codes: "RequestTimeTooSkewed", Meaning: cloud.BadOption, Todo: "set this host's clock; S3 accepts 15 minutes of difference"},
	cloud.Said{Codes: "409", Meaning: cloud.Busy},
	cloud.Said{Codes: "NotImplemented", Meaning: cloud.Unsupported, Todo: "the server does not know this request of S3"},
	cloud.Said{Codes: "InsufficientStorage XMinioStorageFull QuotaExceeded EntityTooLarge", Meaning: cloud.Full},
	// A missing upload was completed, aborted, or never existed, which is unknown.
	cloud.Said{Codes: noSuchUpload + " InternalError ServiceUnavailable", Meaning: cloud.Broken},
)

// conditional returns err, or, if a conditional write found no object to replace, an error
// with that meaning: S3 then answers NoSuchKey instead of PreconditionFailed.
func conditional(err error, cond cloud.Condition) error {
	if c := code(err); cond.Replace != "" && (c == "NoSuchKey" || c == "NotFound") {
		return cloud.Means(cloud.Changed, "", err)
	}
	return err
}

// code is S3's error code, "" for other errors.
func code(err error) string {
	if api, ok := errors.AsType[smithy.APIError](err); ok {
		return api.ErrorCode()
	}
	return ""
}

// Classify implements cloud.Backend.
func (b *backend) Classify(err error) cloud.Refusal {
	c, status := code(err), 0
	if response, ok := errors.AsType[*awshttp.ResponseError](err); ok {
		status = response.HTTPStatusCode()
	}
	_, known := words[c]
	r := words.Of(c, status, err)
	switch {
	case known:
	case otherRegion(err) != "":
		r.Meaning = cloud.BadOption
	case status != 0 && r.Meaning != cloud.Busy && errors.As(err, new(*smithy.DeserializationError)):
		r.Meaning = cloud.Broken
	}
	if r.Todo == "" {
		r.Todo = b.todo(r.Meaning, err)
	}
	return r
}

// otherRegion is the region of the bucket, if the answer says that it is not the one of the
// request.
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
	"UploadPartCopy":          "s3:PutObject here and s3:GetObject at the source",
	"ListObjectsV2":           "s3:ListBucket on the bucket",
}

// todo says how to fix a refusal.
func (b *backend) todo(m cloud.Meaning, err error) string {
	if b.Place != "" && !b.client.Options().UsePathStyle && errors.As(err, new(*net.DNSError)) {
		return "look whether the address is right; where buckets are no subdomains of " + b.Place + ", add use_path_style=true to the URL's options"
	}
	switch m {
	case cloud.Denied:
		return b.todoDenied(err)
	case cloud.Unidentified:
		return "the server does not know these credentials, or the secret is wrong; look at AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_PROFILE, and at the endpoint in the URL"
	case cloud.NoBucket:
		return fmt.Sprintf("make the bucket %s, or correct its name, the endpoint or the region in the URL", b.bucket)
	case cloud.BadOption:
		if region := otherRegion(err); region != "" {
			return fmt.Sprintf("the bucket is in the region %s: add region=%s to the URL's options, or set AWS_REGION", region, region)
		}
		return "add the bucket's region to the URL's options (region=…), or set AWS_REGION; for a server that is not Amazon's look at endpoint and use_path_style too"
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
