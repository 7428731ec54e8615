package azure

import (
	"bytes"
	"context"
	"crypto/md5"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/store/drivers/internal/cloud"
	gocloud "gocloud.dev/blob"
	"gocloud.dev/blob/azureblob"
)

// backend is one container. It is immutable.
type backend struct {
	cloud.Blobs
	client  *container.Client // of the same container, for writes
	host    string            // host and port of the account
	account string            // for messages
	expires time.Time         // of the client's SAS token; zero without one
	name    string            // of the container

	credential azcore.TokenCredential // the client's login; nil if that is a key, a SAS token, or unknown
}

var _ cloud.Backend = (*backend)(nil)

// newBackend panics if client is nil. own says that the client was made with containerOptions,
// and sends names unescaped.
func newBackend(client *container.Client, own bool) *backend {
	bucket, err := azureblob.OpenBucket(context.Background(), client, nil)
	if err != nil {
		panic(err)
	}
	b := &backend{client: client}
	b.Open, b.Dialect, b.PageSize = cloud.Opened(bucket), dialect{}, listPage
	b.Tried = []cloud.Kind{cloud.KindPut, cloud.KindComplete, cloud.KindCopy}
	if !own {
		b.Escaped = []string{`\`, `"`, "#", "%", "?", "\x7f", "../"}
	}
	// The container is the last segment of the path. The account is the first label of the
	// host, or, for an emulator, the segment before the container. Containers of different
	// accounts can have the same name, so the account is part of the place.
	if u, err := url.Parse(client.URL()); err == nil {
		b.host = u.Host
		segments := strings.Split(strings.Trim(u.Path, "/"), "/")
		b.name = segments[len(segments)-1]
		b.account, _, _ = strings.Cut(u.Hostname(), ".")
		if len(segments) > 1 {
			b.account = segments[len(segments)-2]
		}
		// Source: learn.microsoft.com, "Create a service SAS".
		for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00", time.DateOnly} {
			if t, err := time.Parse(layout, u.Query().Get("se")); err == nil {
				b.expires = t
			}
		}
	}
	b.Name, b.Place = scheme+"://"+b.name, b.host+"/"+b.account
	return b
}

// dialect implements cloud.Dialect with Azure's types.
type dialect struct{}

// Reading implements cloud.Dialect.
func (dialect) Reading(as func(any) bool, _ int64, rev store.Revision) error {
	var o *blob.DownloadStreamOptions
	if as(&o) {
		o.AccessConditions = pinned(rev)
	}
	return nil
}

// Opened implements cloud.Dialect.
func (dialect) Opened(r *gocloud.Reader, _ int64) (cloud.Attributes, error) {
	var answer blob.DownloadStreamResponse
	r.As(&answer)
	if isFolder(answer.Metadata) {
		return cloud.Attributes{}, folder()
	}
	size := r.Size()
	return attributes(answer.ETag, &size, answer.LastModified), nil
}

// Attributes implements cloud.Dialect.
func (dialect) Attributes(a *gocloud.Attributes) (cloud.Attributes, error) {
	var answer blob.GetPropertiesResponse
	a.As(&answer)
	if isFolder(answer.Metadata) {
		return cloud.Attributes{}, folder()
	}
	return attributes(answer.ETag, answer.ContentLength, answer.LastModified), nil
}

// listPage is the maximum number of blobs that Azure lists by one request.
const listPage = 5000

// Listing implements cloud.Dialect.
func (dialect) Listing(as func(any) bool, r cloud.PageRequest) error {
	var o *container.ListBlobsHierarchyOptions
	if as(&o) {
		o.Prefix = &r.Prefix
		o.Include.Metadata = true // distinguishes folders
		if r.Start != "" {
			o.StartFrom = &r.Start
		}
	}
	return nil
}

// Listed implements cloud.Dialect.
func (dialect) Listed(o *gocloud.ListObject) cloud.Listed {
	var item container.BlobItem
	o.As(&item)
	if isFolder(item.Metadata) || isDirectory(item.Properties) {
		return cloud.Listed{}
	}
	return cloud.Listed{Name: *item.Name, Attributes: attributes(item.Properties.ETag, item.Properties.ContentLength, item.Properties.LastModified)}
}

// Tidy implements cloud.Dialect.
func (dialect) Tidy(err error) error { return refused(err) }

// Put implements cloud.Backend.
func (b *backend) Put(ctx context.Context, name string, body []byte, cond cloud.Condition) (cloud.Attributes, error) {
	r, err := b.client.NewBlockBlobClient(name).Upload(once(ctx), seekable(body), &blockblob.UploadOptions{
		HTTPHeaders:             headers(),
		TransactionalValidation: checksum(body),
		AccessConditions:        conditions(cond),
	})
	if err != nil {
		return cloud.Attributes{}, refused(err)
	}
	return attributes(r.ETag, nil, r.LastModified), nil
}

// Delete implements cloud.Backend. It does not delete a blob with snapshots: they are backups,
// which Azure would delete as well.
func (b *backend) Delete(ctx context.Context, name string, rev store.Revision) error {
	_, err := b.client.NewBlobClient(name).Delete(once(ctx), &blob.DeleteOptions{AccessConditions: pinned(rev)})
	return refused(err)
}

// Accessible implements cloud.Backend. Azure answers "BlobNotFound" only for an existing
// container, to users who may read the blob.
func (b *backend) Accessible(ctx context.Context, name string) error {
	_, err := b.Head(ctx, name)
	if bloberror.HasCode(err, bloberror.BlobNotFound) {
		return nil
	}
	return err
}

// once returns a context for a request that the SDK must not retry: after a lost answer the
// second would be refused because of the first one's success.
func once(ctx context.Context) context.Context {
	return policy.WithRetryOptions(ctx, policy.RetryOptions{MaxRetries: -1})
}

// seekable returns a body in the form required by the SDK.
func seekable(p []byte) io.ReadSeekCloser { return streaming.NopCloser(bytes.NewReader(p)) }

// checksum makes the service verify the received bytes.
func checksum(p []byte) blob.TransferValidationType {
	sum := md5.Sum(p)
	return blob.TransferValidationTypeMD5(sum[:])
}

// headers returns the headers of an archive.
func headers() *blob.HTTPHeaders {
	gzip := "application/gzip"
	return &blob.HTTPHeaders{BlobContentType: &gzip}
}

// conditions of a write.
func conditions(c cloud.Condition) *blob.AccessConditions {
	if c.Replace != "" {
		return pinned(c.Replace)
	}
	anyTag := azcore.ETagAny
	return &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfNoneMatch: &anyTag}}
}

// pinned is the condition that the blob has revision rev; nil for no condition.
func pinned(rev store.Revision) *blob.AccessConditions {
	if rev == "" {
		return nil
	}
	tag := azcore.ETag(`"` + string(rev) + `"`)
	return &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfMatch: &tag}}
}

func value[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// attributes converts the fields of an answer. The ETag has quotes in a header but not in a
// list.
func attributes(tag *azcore.ETag, size *int64, modified *time.Time) cloud.Attributes {
	return cloud.Attributes{
		Revision: store.Revision(strings.Trim(string(value(tag)), `"`)), Size: value(size), ModTime: value(modified),
	}
}

// isFolder recognises blobs that stand for directories: accounts with a hierarchical namespace
// present theirs in this way, and older Hadoop tools create such blobs.
func isFolder(metadata map[string]*string) bool {
	for name, value := range metadata {
		if strings.EqualFold(name, "hdi_isfolder") && value != nil && strings.EqualFold(*value, "true") {
			return true
		}
	}
	return false
}

// isDirectory is isFolder for lists of accounts with a hierarchical namespace.
func isDirectory(p *container.BlobProperties) bool {
	return p != nil && p.ResourceType != nil && *p.ResourceType == "directory"
}
