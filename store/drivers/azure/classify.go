package azure

import (
	"encoding/xml"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/store/drivers/internal/cloud"
)

const (
	todoLogin = "log in with \"az login\", give the machine a managed identity, or set AZURE_STORAGE_ACCOUNT with AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN, or AZURE_STORAGE_CONNECTION_STRING"
	todoWrong = "the account key is wrong or was replaced, or the SAS token is wrong or expired; set the right one in AZURE_STORAGE_KEY, AZURE_STORAGE_SAS_TOKEN or AZURE_STORAGE_CONNECTION_STRING"
	todoSAS   = "the SAS token does not allow it; make one for the service blob (ss=b), for containers and objects (srt=co), with the permissions racwdl (sp)"
)

// words are the service's codes. Source: learn.microsoft.com, "Blob Storage error codes" and
// "Common REST API error codes".
var words = cloud.NewWords(
	// Only for an existing container, to users who may read it.
	cloud.Said{Codes: "BlobNotFound", Meaning: cloud.NotFound},
	cloud.Said{Codes: "404", Meaning: cloud.NoBucket, Todo: "what answers is not Azure Blob Storage, or has no such account; look at the options domain and storage_account"},
	cloud.Said{Codes: "ContainerNotFound", Meaning: cloud.NoBucket},
	cloud.Said{Codes: "ContainerBeingDeleted", Meaning: cloud.NoBucket, Todo: "the container is being deleted; use another one"},
	cloud.Said{Codes: "ContainerDisabled", Meaning: cloud.NoBucket, Todo: "the container was disabled; ask who administers the account"},
	cloud.Said{Codes: "ResourceNotFound", Meaning: cloud.NoBucket, Todo: "look at the names of account and container, and give credentials: without, a private container is not found; " + todoLogin},
	cloud.Said{Codes: "AuthorizationPermissionMismatch InsufficientAccountPermissions", Meaning: cloud.Denied}, // Todo by the request: permission
	cloud.Said{Codes: "AuthorizationFailure", Meaning: cloud.Denied, Todo: "the key or SAS token is wrong, or does not allow this, or the account's network rules keep this machine out; look at the account under Networking"},
	cloud.Said{Codes: "AuthorizationResourceTypeMismatch AuthorizationServiceMismatch", Meaning: cloud.Denied, Todo: todoSAS},
	cloud.Said{Codes: "UnauthorizedBlobOverwrite", Meaning: cloud.Denied, Todo: "the SAS token lets make blobs (c) but not replace them (w); " + todoSAS},
	cloud.Said{Codes: "AuthorizationProtocolMismatch", Meaning: cloud.Denied, Todo: "the SAS token is for encrypted connections only; leave out protocol=http and AZURE_STORAGE_PROTOCOL"},
	cloud.Said{Codes: "AuthorizationSourceIPMismatch", Meaning: cloud.Denied, Todo: "the SAS token is not for the address of this machine (sip)"},
	cloud.Said{Codes: "AccountIsDisabled", Meaning: cloud.Denied, Todo: "the account or its subscription was disabled; ask who administers it"},
	cloud.Said{Codes: "KeyBasedAuthenticationNotPermitted", Meaning: cloud.Denied, Todo: "the account takes no keys; unset AZURE_STORAGE_KEY and AZURE_STORAGE_CONNECTION_STRING, and log in with \"az login\" or a managed identity"},
	cloud.Said{Codes: "LeaseIdMissing LeaseIdMismatchWithBlobOperation LeaseIdMismatchWithContainerOperation", Meaning: cloud.Denied, Todo: "somebody holds a lease on the archive; break it (az storage blob lease break) or wait until it ends"},
	cloud.Said{Codes: "BlobImmutableDueToPolicy ImmutabilityPolicyDeleteOnLockedPolicy", Meaning: cloud.Denied, Todo: "a policy of the container or a legal hold keeps the archive as it is; use a container without one"},
	cloud.Said{Codes: "BlobUsesCustomerSpecifiedEncryption", Meaning: cloud.Denied, Todo: "the archive is encrypted with a key that only its writer has; use keys that the account manages, or an encryption scope"},
	cloud.Said{Codes: "AuthenticationFailed InvalidAuthenticationInfo", Meaning: cloud.Unidentified, Todo: todoWrong},
	cloud.Said{Codes: "401", Meaning: cloud.Unidentified, Todo: todoLogin},
	cloud.Said{Codes: "NoAuthenticationInformation PublicAccessNotPermitted", Meaning: cloud.Unidentified, Todo: todoLogin},
	// InvalidBlockList: another writer committed under this name, which discarded our blocks.
	cloud.Said{Codes: "ConditionNotMet TargetConditionNotMet SourceConditionNotMet BlobAlreadyExists InvalidBlockList", Meaning: cloud.Changed},
	cloud.Said{Codes: "InvalidRange", Meaning: cloud.OutOfRange},
	cloud.Said{Codes: "Md5Mismatch Crc64Mismatch", Meaning: cloud.Busy, Todo: "what arrived at the store was not what was sent; look at proxies on the way"},
	cloud.Said{Codes: "AccountBeingCreated ServerBusy SystemInUse", Meaning: cloud.Busy},
	cloud.Said{Codes: "InternalError OperationTimedOut", Meaning: cloud.Broken},
	cloud.Said{Codes: "301 302 303 307 308", Meaning: cloud.BadOption, Todo: "what answers is not Azure Blob Storage; look at the options domain and protocol"},
	cloud.Said{Codes: "AccountRequiresHttps", Meaning: cloud.BadOption, Todo: "the account takes encrypted connections only; leave out protocol=http and AZURE_STORAGE_PROTOCOL"},
	cloud.Said{Codes: "InvalidResourceName InvalidUri RequestUrlFailedToParse OutOfRangeInput", Meaning: cloud.BadOption, Todo: "a container's name has 3 to 63 lower-case letters, digits and hyphens; a key with \".tar.gz\" at most 1,024 characters"},
	cloud.Said{Codes: "InvalidHeaderValue", Meaning: cloud.BadOption, Todo: "the server may be too old for this version of the protocol; update it (Azurite: --skipApiVersionCheck)"},
	cloud.Said{Codes: "UnsupportedHttpVerb UnsupportedHeader UnsupportedQueryParameter ConditionHeadersNotSupported", Meaning: cloud.Unsupported},
	cloud.Said{Codes: "BlobArchived BlobBeingRehydrated", Todo: "the archive is in the access tier Archive; bring it back with \"az storage blob set-tier --tier Hot\", which takes hours"},
	cloud.Said{Codes: "BlockCountExceedsLimit", Todo: "too many uploads of this workspace were abandoned; their blocks are gone after seven days, or when any other commit of it succeeds"},
	cloud.Said{Codes: "InvalidBlobType", Todo: "in the archive's place is a page blob or an append blob; remove it, or choose another key"},
	cloud.Said{Codes: "PendingCopyOperation", Todo: "another program is copying to the archive; wait until it is done"},
	cloud.Said{Codes: "SnapshotsPresent", Todo: "the archive has snapshots, which would be deleted with it; delete them first (az storage blob delete --delete-snapshots only), or keep an empty archive"},
)

// folder is the error for a directory in the archive's place.
func folder() error {
	return &store.Error{
		Kind: store.ErrNotArchive, Cause: errors.New("a directory of an account with a hierarchical namespace is in its place"),
		Todo: "remove it, or choose another key",
	}
}

// Classify implements cloud.Backend.
func (b *backend) Classify(err error) cloud.Refusal {
	var answer *azcore.ResponseError
	var dns *net.DNSError
	switch {
	case errors.As(err, new(*azidentity.AuthenticationFailedError)), errors.As(err, new(*azidentity.AuthenticationRequiredError)): // of a program's own client
		return cloud.Refusal{Meaning: cloud.Unidentified, Todo: todoLogin}
	case errors.As(err, &dns) && dns.IsNotFound:
		return cloud.Refusal{Meaning: cloud.NoBucket, Todo: fmt.Sprintf("there is no storage account %q at %s, or this machine has no names; look at storage_account, AZURE_STORAGE_ACCOUNT and the option domain", b.account, b.host)}
	case !errors.As(err, &answer):
		return cloud.Connection(err)
	}
	r := words.Of(answer.ErrorCode, answer.StatusCode, err)
	switch {
	case r.Meaning == cloud.Unidentified, answer.ErrorCode == "AuthorizationFailure":
		return b.classifyTime(r, answer.RawResponse)
	case r.Todo != "":
	case r.Meaning == cloud.Denied:
		r.Todo = permission(answer)
	case r.Meaning == cloud.NoBucket:
		r.Todo = fmt.Sprintf("make the container %q in the account %q (az storage container create --name %s --account-name %s), or correct the names", b.name, b.account, b.name, b.account)
	}
	return r
}

// clockTolerance: Azure refuses requests that are 15 minutes old.
const clockTolerance = 10 * time.Minute

// classifyTime returns r, or the explanation if the time makes credentials invalid.
func (b *backend) classifyTime(r cloud.Refusal, answer *http.Response) cloud.Refusal {
	if answer != nil {
		theirs, err := http.ParseTime(answer.Header.Get("Date"))
		if off := time.Since(theirs).Round(time.Minute).Abs(); err == nil && off >= clockTolerance {
			return cloud.Refusal{Meaning: cloud.BadOption, Todo: fmt.Sprintf("the clock of this machine is off by %v; set it", off)}
		}
	}
	if !b.expires.IsZero() && time.Now().After(b.expires) {
		return cloud.Refusal{Meaning: cloud.Unidentified, Todo: fmt.Sprintf("the SAS token expired at %s; set a new one in AZURE_STORAGE_SAS_TOKEN", b.expires.Format(time.RFC3339))}
	}
	return r
}

// permission names the permission that a denied request needs.
func permission(answer *azcore.ResponseError) string {
	verb, sas, role := "read", "r", "Storage Blob Data Reader"
	if resp := answer.RawResponse; resp != nil && resp.Request != nil {
		switch {
		case resp.Request.Method == http.MethodPut:
			verb, sas, role = "write", "cw", "Storage Blob Data Contributor"
		case resp.Request.Method == http.MethodDelete:
			verb, sas, role = "delete", "d", "Storage Blob Data Contributor"
		case resp.Request.URL.Query().Get("comp") == "list":
			sas = "l"
		}
	}
	return fmt.Sprintf("give these credentials the role %q on the container (Microsoft.Storage/storageAccounts/blobServices/containers/blobs/%s), or a SAS token with the permission %s", role, verb, sas)
}

// refusedError is an error of the SDK with a different text.
type refusedError struct {
	err  error
	text string
}

func (e *refusedError) Error() string { return e.text }
func (e *refusedError) Unwrap() error { return e.err }

// refused makes an error of the SDK fit for a message: the SDK's texts fill pages, or show the
// whole URL including a SAS token. Nil stays nil.
func refused(err error) error {
	var answer *azcore.ResponseError
	var request *url.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &answer):
		return &refusedError{err, describe(answer)}
	case errors.As(err, &request):
		return &refusedError{err, request.Err.Error()}
	}
	return &refusedError{err, cloud.OneLine(err.Error())}
}

// describe is an answer on one line: status, code, the first line of the service's message,
// and the id by which its support finds the request.
func describe(answer *azcore.ResponseError) string {
	what := answer.ErrorCode
	if what == "" {
		what = http.StatusText(answer.StatusCode)
	}
	s := fmt.Sprintf("%d %s", answer.StatusCode, what)
	if answer.RawResponse == nil {
		return s
	}
	var e struct{ Message string }
	if body, err := runtime.Payload(answer.RawResponse); err == nil && xml.Unmarshal(body, &e) == nil && e.Message != "" { // the SDK has read the body
		first, _, _ := strings.Cut(strings.TrimSpace(e.Message), "\n")
		s += ": " + strings.TrimSuffix(cloud.OneLine(first), ".")
	}
	if id := answer.RawResponse.Header.Get("x-ms-request-id"); id != "" {
		s += " (request " + cloud.OneLine(id) + ")"
	}
	return s
}
