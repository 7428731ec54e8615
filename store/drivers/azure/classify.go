package azure

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/store/drivers/internal/cloud"
)

// Codes that the service answers with and the SDK has no names for.
const (
	accountRequiresHTTPS bloberror.Code = "AccountRequiresHttps"
	keysNotPermitted     bloberror.Code = "KeyBasedAuthenticationNotPermitted"
	publicNotPermitted   bloberror.Code = "PublicAccessNotPermitted"
)

const (
	todoLogin = "log in with \"az login\", give the machine a managed identity, or set AZURE_STORAGE_ACCOUNT with AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN, or AZURE_STORAGE_CONNECTION_STRING"
	todoWrong = "the account key is wrong or was replaced, or the SAS token is wrong or expired; set the right one in AZURE_STORAGE_KEY, AZURE_STORAGE_SAS_TOKEN or AZURE_STORAGE_CONNECTION_STRING"
	todoLease = "somebody holds a lease on the archive; break it (az storage blob lease break) or wait until it ends"
	todoTier  = "the archive is in the access tier Archive; bring it back with \"az storage blob set-tier --tier Hot\", which takes hours"
	todoSAS   = "the SAS token does not allow it; make one for the service blob (ss=b), for containers and objects (srt=co), with the permissions racwdl (sp)"
	todoName  = "a container's name has 3 to 63 lower-case letters, digits and hyphens; a key with \".tar.gz\" at most 1,024 characters"
	todoHTTPS = "the account takes encrypted connections only; leave out protocol=http and AZURE_STORAGE_PROTOCOL"
)

// byCode says what the service's codes mean. Source: learn.microsoft.com, "Blob
// Storage error codes" and "Common REST API error codes".
var byCode = map[bloberror.Code]cloud.Refusal{
	// Said only of a container that is there and to those who may read it.
	bloberror.BlobNotFound: {Meaning: cloud.NotFound},

	bloberror.AccountBeingCreated:           {Meaning: cloud.Busy},
	bloberror.ContainerNotFound:             {Meaning: cloud.NoBucket},
	bloberror.ContainerBeingDeleted:         {Meaning: cloud.NoBucket, Todo: "the container is being deleted; use another one"},
	bloberror.ContainerDisabled:             {Meaning: cloud.NoBucket, Todo: "the container was disabled; ask who administers the account"},
	bloberror.ResourceNotFound:              {Meaning: cloud.NoBucket, Todo: "look at the names of account and container, and give credentials: without, a private container is not found; " + todoLogin},
	bloberror.OperationNotAllowedOnRootBlob: {Meaning: cloud.NoBucket, Todo: "$root takes no keys with slashes; use another container"},

	bloberror.AuthorizationPermissionMismatch:        {Meaning: cloud.Denied}, // Todo by the request: permission
	bloberror.InsufficientAccountPermissions:         {Meaning: cloud.Denied},
	bloberror.AuthorizationFailure:                   {Meaning: cloud.Denied, Todo: "the key or SAS token is wrong, or does not allow this, or the account's network rules keep this machine out; look at the account under Networking"},
	bloberror.AuthorizationResourceTypeMismatch:      {Meaning: cloud.Denied, Todo: todoSAS},
	bloberror.AuthorizationServiceMismatch:           {Meaning: cloud.Denied, Todo: todoSAS},
	bloberror.UnauthorizedBlobOverwrite:              {Meaning: cloud.Denied, Todo: "the SAS token lets make blobs (c) but not replace them (w); " + todoSAS},
	bloberror.AuthorizationProtocolMismatch:          {Meaning: cloud.Denied, Todo: "the SAS token is for encrypted connections only; leave out protocol=http and AZURE_STORAGE_PROTOCOL"},
	bloberror.AuthorizationSourceIPMismatch:          {Meaning: cloud.Denied, Todo: "the SAS token is not for the address of this machine (sip)"},
	bloberror.AccountIsDisabled:                      {Meaning: cloud.Denied, Todo: "the account or its subscription was disabled; ask who administers it"},
	keysNotPermitted:                                 {Meaning: cloud.Denied, Todo: "the account takes no keys; unset AZURE_STORAGE_KEY and AZURE_STORAGE_CONNECTION_STRING, and log in with \"az login\" or a managed identity"},
	bloberror.LeaseIDMissing:                         {Meaning: cloud.Denied, Todo: todoLease},
	bloberror.LeaseIDMismatchWithBlobOperation:       {Meaning: cloud.Denied, Todo: todoLease},
	bloberror.LeaseIDMismatchWithContainerOperation:  {Meaning: cloud.Denied, Todo: todoLease},
	bloberror.BlobImmutableDueToPolicy:               {Meaning: cloud.Denied, Todo: "a policy of the container or a legal hold keeps the archive as it is; use a container without one"},
	bloberror.ImmutabilityPolicyDeleteOnLockedPolicy: {Meaning: cloud.Denied, Todo: "a locked policy keeps the archive as it is; use a container without one"},
	bloberror.BlobUsesCustomerSpecifiedEncryption:    {Meaning: cloud.Denied, Todo: "the archive is encrypted with a key that only its writer has; use keys that the account manages, or an encryption scope"},

	bloberror.AuthenticationFailed:        {Meaning: cloud.Unidentified, Todo: todoWrong},
	bloberror.InvalidAuthenticationInfo:   {Meaning: cloud.Unidentified, Todo: todoWrong},
	bloberror.NoAuthenticationInformation: {Meaning: cloud.Unidentified, Todo: todoLogin},
	publicNotPermitted:                    {Meaning: cloud.Unidentified, Todo: todoLogin},

	bloberror.ConditionNotMet:       {Meaning: cloud.Changed},
	bloberror.TargetConditionNotMet: {Meaning: cloud.Changed},
	bloberror.SourceConditionNotMet: {Meaning: cloud.Changed},
	bloberror.BlobAlreadyExists:     {Meaning: cloud.Changed},
	// Another writer committed under this name, which discarded our blocks.
	bloberror.InvalidBlockList: {Meaning: cloud.Changed},

	bloberror.InvalidRange: {Meaning: cloud.OutOfRange},

	// Not done; what arrived was not what was sent.
	bloberror.MD5Mismatch:   {Meaning: cloud.Busy, Todo: "what arrived at the store was not what was sent; look at proxies on the way"},
	bloberror.CRC64Mismatch: {Meaning: cloud.Busy, Todo: "what arrived at the store was not what was sent; look at proxies on the way"},
	bloberror.ServerBusy:    {Meaning: cloud.Busy},
	bloberror.SystemInUse:   {Meaning: cloud.Busy},

	bloberror.InternalError:     {Meaning: cloud.Broken},
	bloberror.OperationTimedOut: {Meaning: cloud.Broken},

	accountRequiresHTTPS:              {Meaning: cloud.BadOption, Todo: todoHTTPS},
	bloberror.InvalidResourceName:     {Meaning: cloud.BadOption, Todo: todoName},
	bloberror.InvalidURI:              {Meaning: cloud.BadOption, Todo: todoName},
	bloberror.RequestURLFailedToParse: {Meaning: cloud.BadOption, Todo: todoName},
	bloberror.OutOfRangeInput:         {Meaning: cloud.BadOption, Todo: todoName},
	bloberror.InvalidHeaderValue:      {Meaning: cloud.BadOption, Todo: "the server may be too old for this version of the protocol; update it (Azurite: --skipApiVersionCheck)"},
	bloberror.FeatureVersionMismatch:  {Meaning: cloud.BadOption, Todo: "another program made the blob in a way that this version of the protocol cannot read"},

	bloberror.UnsupportedHTTPVerb:          {Meaning: cloud.Unsupported},
	bloberror.UnsupportedHeader:            {Meaning: cloud.Unsupported},
	bloberror.UnsupportedQueryParameter:    {Meaning: cloud.Unsupported},
	bloberror.ConditionHeadersNotSupported: {Meaning: cloud.Unsupported},

	bloberror.BlobArchived:           {Meaning: cloud.Other, Todo: todoTier},
	bloberror.BlobBeingRehydrated:    {Meaning: cloud.Other, Todo: todoTier},
	bloberror.BlockCountExceedsLimit: {Meaning: cloud.Other, Todo: "too many uploads of this workspace were abandoned; their blocks are gone after seven days, or when any other commit of it succeeds"},
	bloberror.InvalidBlobType:        {Meaning: cloud.Other, Todo: "in the archive's place is a page blob or an append blob; remove it, or choose another key"},
	bloberror.PendingCopyOperation:   {Meaning: cloud.Other, Todo: "another program is copying to the archive; wait until it is done"},
	bloberror.SnapshotsPresent:       {Meaning: cloud.Other, Todo: "the archive has snapshots, which would be deleted with it; delete them first (az storage blob delete --delete-snapshots only), or keep an empty archive"},
}

// byStatus says what an answer without a code, or with one that is not known, means.
var byStatus = map[int]cloud.Refusal{
	http.StatusUnauthorized:                 {Meaning: cloud.Unidentified, Todo: todoLogin},
	http.StatusForbidden:                    {Meaning: cloud.Denied},
	http.StatusNotFound:                     {Meaning: cloud.NoBucket, Todo: "what answers is not Azure Blob Storage, or has no such account; look at the options domain and storage_account"},
	http.StatusRequestTimeout:               {Meaning: cloud.Broken},
	http.StatusPreconditionFailed:           {Meaning: cloud.Changed},
	http.StatusRequestedRangeNotSatisfiable: {Meaning: cloud.OutOfRange},
	http.StatusTooManyRequests:              {Meaning: cloud.Busy},
	http.StatusNotImplemented:               {Meaning: cloud.Unsupported},
}

// errForeignBlocks: Azure has no code for it.
var errForeignBlocks = errors.New("another program staged blocks under this name, with ids that ours cannot stand beside")

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
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return cloud.Refusal{Meaning: cloud.Unsupported}
	case isLogin(err):
		return cloud.Refusal{Meaning: cloud.Unidentified, Todo: todoLogin}
	case errors.As(err, &answer):
		return b.classifyAnswer(answer)
	case errors.Is(err, store.ErrNotArchive):
		return cloud.Refusal{Meaning: cloud.Other}
	case errors.Is(err, errForeignBlocks):
		return cloud.Refusal{Meaning: cloud.Other, Todo: "wait until that program has committed or, at most, seven days, or choose another key"}
	}
	return b.classifyConnection(err)
}

// classifyAnswer classifies what the service, or a proxy, answered.
func (b *backend) classifyAnswer(answer *azcore.ResponseError) cloud.Refusal {
	r, known := byCode[bloberror.Code(answer.ErrorCode)]
	if !known {
		r, known = byStatus[answer.StatusCode]
	}
	switch {
	case !known && answer.StatusCode >= http.StatusInternalServerError:
		r.Meaning = cloud.Broken
	case !known && answer.StatusCode < http.StatusBadRequest:
		r = cloud.Refusal{Meaning: cloud.BadOption, Todo: "what answers is not Azure Blob Storage; look at the options domain and protocol"}
	case r.Meaning == cloud.Denied && r.Todo == "":
		r.Todo = permission(answer)
	case r.Meaning == cloud.NoBucket && r.Todo == "":
		r.Todo = fmt.Sprintf("make the container %q in the account %q (az storage container create --name %s --account-name %s), or correct the names", b.name, b.account, b.name, b.account)
	case r.Meaning == cloud.Unidentified, answer.ErrorCode == string(bloberror.AuthorizationFailure):
		r = b.classifyTime(r, answer.RawResponse)
	}
	return r
}

// permission names what a request needs that was denied.
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

// classifyTime gives r, or, where the time explains that credentials are not good,
// that.
func (b *backend) classifyTime(r cloud.Refusal, answer *http.Response) cloud.Refusal {
	if off := clockOff(answer); off != 0 {
		return cloud.Refusal{Meaning: cloud.BadOption, Todo: fmt.Sprintf("the clock of this machine is off by %v; set it", off)}
	}
	if !b.expires.IsZero() && time.Now().After(b.expires) {
		return cloud.Refusal{Meaning: cloud.Unidentified, Todo: fmt.Sprintf("the SAS token expired at %s; set a new one in AZURE_STORAGE_SAS_TOKEN", b.expires.Format(time.RFC3339))}
	}
	return r
}

// clockTolerance: Azure refuses requests that are 15 minutes old.
const clockTolerance = 10 * time.Minute

// clockOff is how far this machine's clock is from the service's, where that is too
// far, else 0.
func clockOff(resp *http.Response) time.Duration {
	if resp == nil {
		return 0
	}
	theirs, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return 0
	}
	off := time.Since(theirs).Round(time.Minute).Abs()
	if off < clockTolerance {
		return 0
	}
	return off
}

// classifyConnection classifies what kept an answer from coming.
func (b *backend) classifyConnection(err error) cloud.Refusal {
	var dns *net.DNSError
	var certificate *tls.CertificateVerificationError
	var unknown x509.UnknownAuthorityError
	var record tls.RecordHeaderError
	switch {
	case errors.As(err, &dns) && dns.IsNotFound:
		return cloud.Refusal{Meaning: cloud.NoBucket, Todo: fmt.Sprintf("there is no storage account %q at %s, or this machine has no names; look at storage_account, AZURE_STORAGE_ACCOUNT and the option domain", b.account, b.host)}
	case errors.Is(err, http.ErrSchemeMismatch), errors.As(err, &record):
		return cloud.Refusal{Meaning: cloud.BadOption, Todo: "the server does not encrypt; add the option protocol=http"}
	case errors.As(err, &certificate), errors.As(err, &unknown):
		return cloud.Refusal{Meaning: cloud.BadOption, Todo: "the server's certificate is not trusted here; add its authority to SSL_CERT_FILE, or look at the option domain"}
	}
	return cloud.Refusal{Meaning: cloud.Broken}
}

// isLogin says whether err is of the credentials and not of the store.
func isLogin(err error) bool {
	var login *loginError
	var failed *azidentity.AuthenticationFailedError
	var required *azidentity.AuthenticationRequiredError
	return errors.As(err, &login) || errors.As(err, &failed) || errors.As(err, &required)
}

// refused makes an error of the SDK fit for a message: its own fill pages, or show
// the whole URL with a SAS token in it. Nil stays nil.
func refused(err error) error {
	if err == nil {
		return nil
	}
	return &refusedError{err}
}

// refusedError is an error of the SDK, on one line and without secrets.
type refusedError struct{ err error }

func (e *refusedError) Unwrap() error { return e.err }

func (e *refusedError) Error() string {
	var answer *azcore.ResponseError
	var login *loginError
	var request *url.Error
	switch {
	case errors.As(e.err, &login):
		return login.Error()
	case errors.As(e.err, &answer):
		return describe(answer)
	case errors.As(e.err, &request):
		return request.Err.Error()
	}
	return cloud.OneLine(e.err.Error())
}
