package azure

import (
	"bytes"
	"context"
	"crypto/md5"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/workdir/workdir/store"
	"github.com/workdir/workdir/store/drivers/internal/cloud"
)

// backend is one container. It is immutable.
type backend struct {
	client  *container.Client
	host    string    // host and port of the account
	account string    // for messages
	name    string    // of the container
	expires time.Time // of the client's SAS token; zero where there is none

	credential azcore.TokenCredential // what the client logs in with; nil where that is a key, a SAS token, or not known
}

var _ cloud.Backend = (*backend)(nil)

func newBackend(client *container.Client) *backend {
	b := &backend{client: client}
	// What the SDK could send requests to can be split. The container is the last
	// segment of the path; before it an emulator has the account, which elsewhere
	// is the first label of the host.
	if u, err := url.Parse(client.URL()); err == nil {
		b.host = u.Host
		segments := strings.Split(strings.Trim(u.Path, "/"), "/")
		b.name = segments[len(segments)-1]
		b.account, _, _ = strings.Cut(u.Hostname(), ".")
		if len(segments) > 1 {
			b.account = segments[len(segments)-2]
		}
		b.expires = expiry(u.Query().Get("se"))
	}
	return b
}

// expiry reads the time in a SAS token: a date, with a time to the minute or to the
// second. Source: learn.microsoft.com, "Create a service SAS".
func expiry(se string) time.Time {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00", time.DateOnly} {
		if t, err := time.Parse(layout, se); err == nil {
			return t
		}
	}
	return time.Time{}
}

// Bucket implements cloud.Backend. The account is part of the name: containers of
// different accounts have the same names.
func (b *backend) Bucket() string { return scheme + "://" + b.name }

// Endpoint implements cloud.Backend.
func (b *backend) Endpoint() string { return b.host + "/" + b.account }

// Close implements cloud.Backend.
func (b *backend) Close() error { return nil }

// Get implements cloud.Backend. Azure answers a range of an empty blob as one beyond
// the end.
func (b *backend) Get(ctx context.Context, name string, off, length int64, rev store.Revision) (cloud.Body, error) {
	count := max(length, blob.CountToEnd) // which is 0
	if length == 0 {
		a, err := b.head(ctx, name, rev)
		return cloud.Body{ReadCloser: http.NoBody, Attributes: a}, err
	}
	r, err := b.client.NewBlobClient(name).DownloadStream(ctx, &blob.DownloadStreamOptions{
		Range:            blob.HTTPRange{Offset: off, Count: count},
		AccessConditions: pinned(rev),
	})
	if err != nil {
		return cloud.Body{}, refused(err)
	}
	if isFolder(r.Metadata) {
		r.Body.Close()
		return cloud.Body{}, folder()
	}
	return cloud.Body{
		ReadCloser: reader{r.Body},
		Attributes: attributes(r.ETag, totalSize(r.ContentLength, r.ContentRange), r.LastModified),
	}, nil
}

// reader gives the errors of a body without what they could show.
type reader struct{ io.ReadCloser }

func (r reader) Read(p []byte) (int, error) {
	n, err := r.ReadCloser.Read(p)
	if err != nil && err != io.EOF {
		err = refused(err)
	}
	return n, err
}

// totalSize is that of the blob, from a range's "bytes 0-9/27" or, where all of it
// was asked for, its length.
func totalSize(length *int64, contentRange *string) *int64 {
	if contentRange == nil {
		return length
	}
	_, total, _ := strings.Cut(*contentRange, "/")
	if size, err := strconv.ParseInt(total, 10, 64); err == nil {
		return &size
	}
	return length
}

// Head implements cloud.Backend.
func (b *backend) Head(ctx context.Context, name string) (cloud.Attributes, error) {
	return b.head(ctx, name, "")
}

func (b *backend) head(ctx context.Context, name string, rev store.Revision) (cloud.Attributes, error) {
	r, err := b.client.NewBlobClient(name).GetProperties(ctx, &blob.GetPropertiesOptions{AccessConditions: pinned(rev)})
	if err != nil {
		return cloud.Attributes{}, refused(err)
	}
	if isFolder(r.Metadata) {
		return cloud.Attributes{}, folder()
	}
	return attributes(r.ETag, r.ContentLength, r.LastModified), nil
}

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
	size := int64(len(body))
	return attributes(r.ETag, &size, r.LastModified), nil
}

// Delete implements cloud.Backend. A blob with snapshots is not deleted: they are
// somebody's backups, and Azure would delete them as well.
func (b *backend) Delete(ctx context.Context, name string, rev store.Revision) error {
	_, err := b.client.NewBlobClient(name).Delete(once(ctx), &blob.DeleteOptions{AccessConditions: pinned(rev)})
	return refused(err)
}

// List implements cloud.Backend.
func (b *backend) List(ctx context.Context, prefix string, found func(string, cloud.Attributes) error) error {
	pager := b.client.NewListBlobsHierarchyPager("/", &container.ListBlobsHierarchyOptions{
		Prefix:  &prefix,
		Include: container.ListBlobsInclude{Metadata: true}, // tells folders
	})
	return eachPage(ctx, pager, func(page container.ListBlobsHierarchyResponse) error {
		return eachBlob(page.Segment.BlobItems, found)
	})
}

// ListAll implements cloud.Backend.
func (b *backend) ListAll(ctx context.Context, prefix string, found func(string, cloud.Attributes) error) error {
	pager := b.client.NewListBlobsFlatPager(&container.ListBlobsFlatOptions{
		Prefix:  &prefix,
		Include: container.ListBlobsInclude{Metadata: true}, // tells folders
	})
	return eachPage(ctx, pager, func(page container.ListBlobsFlatResponse) error {
		return eachBlob(page.Segment.BlobItems, found)
	})
}

// eachPage asks for the pages of a list, each by one request, until found fails.
func eachPage[T any](ctx context.Context, pager *runtime.Pager[T], found func(T) error) error {
	for pager.More() {
		page, err := pager.NextPage(cloud.Operation(ctx, "list"))
		if err != nil {
			return refused(err)
		}
		if err := found(page); err != nil {
			return err
		}
	}
	return nil
}

// eachBlob calls found for the blobs of one page that are no folders.
func eachBlob(items []*container.BlobItem, found func(string, cloud.Attributes) error) error {
	for _, item := range items {
		if item.Name == nil || item.Properties == nil || isFolder(item.Metadata) || isDirectory(item.Properties) {
			continue
		}
		p := item.Properties
		if err := found(*item.Name, attributes(p.ETag, p.ContentLength, p.LastModified)); err != nil {
			return err
		}
	}
	return nil
}

// Accessible implements cloud.Backend. "BlobNotFound" is what Azure says only of a
// container that is there, to those who may read the blob.
func (b *backend) Accessible(ctx context.Context, name string) error {
	_, err := b.Head(ctx, name)
	if bloberror.HasCode(err, bloberror.BlobNotFound) {
		return nil
	}
	return err
}

// once is ctx for a request that the SDK must not send again by itself: after an
// answer that was lost, a second one would be refused because of the first one's
// success.
func once(ctx context.Context) context.Context {
	return policy.WithRetryOptions(ctx, policy.RetryOptions{MaxRetries: -1})
}

// seekable is a body as the SDK wants it.
func seekable(p []byte) io.ReadSeekCloser { return streaming.NopCloser(bytes.NewReader(p)) }

// checksum has the service compare what arrives with what was sent.
func checksum(p []byte) blob.TransferValidationType {
	sum := md5.Sum(p)
	return blob.TransferValidationTypeMD5(sum[:])
}

// headers are those of an archive.
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

// pinned is the condition that the blob is of revision rev; nil for no condition.
func pinned(rev store.Revision) *blob.AccessConditions {
	if rev == "" {
		return nil
	}
	tag := azcore.ETag(`"` + string(rev) + `"`)
	return &blob.AccessConditions{ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfMatch: &tag}}
}

// attributes from the fields of an answer. The ETag has quotes in a header and none
// in a list.
func attributes(tag *azcore.ETag, size *int64, modified *time.Time) cloud.Attributes {
	var a cloud.Attributes
	if tag != nil {
		a.Revision = store.Revision(strings.Trim(string(*tag), `"`))
	}
	if size != nil {
		a.Size = *size
	}
	if modified != nil {
		a.ModTime = *modified
	}
	return a
}

// isFolder tells the blobs that stand for directories: accounts with a hierarchical
// namespace show theirs so, and older tools of Hadoop's make them.
func isFolder(metadata map[string]*string) bool {
	for name, value := range metadata {
		if strings.EqualFold(name, "hdi_isfolder") && value != nil && strings.EqualFold(*value, "true") {
			return true
		}
	}
	return false
}

// isDirectory is isFolder by what a list says of accounts with a hierarchical
// namespace.
func isDirectory(p *container.BlobProperties) bool {
	return p.ResourceType != nil && *p.ResourceType == "directory"
}
