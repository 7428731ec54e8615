package azure

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"
	"github.com/workdir/workdir/store/drivers/internal/cloud"
)

const (
	// idSize is the default length of block ids, before base64. Azure accepts up to 64 bytes,
	// of equal length for all blocks of a name.
	idSize = 20
	// maxBlocks is the maximum number of kept blocks: Azure allows 50,000 in all.
	maxBlocks = 30_000
	// minKept is the minimum size of kept blocks, in bytes, so that blocks do not become ever
	// smaller.
	minKept = 1 << 20
	// copyBlock is how many bytes the service copies by one request; it allows up to 4,000
	// MiB, and answers when done.
	copyBlock = 128 << 20
	// sourceLife is how long a signature for the source is valid.
	sourceLife = 15 * time.Minute
	// storageScope is the scope of tokens for Blob Storage.
	storageScope = "https://storage.azure.com/.default"
	// minIDSize is the minimum length of ids unlike those of other writers: 4 random bytes,
	// and the number.
	minIDSize = 4 + 2
)

// upload stages blocks under a name and then commits the list of them. A part is a block, or
// as many as were committed together.
type upload struct {
	b      *backend
	name   string
	blocks *blockblob.Client
	src    *cloud.Source // may be nil
	base   []block       // the blocks of src, if the upload replaces src; immutable, like from
	from   *address      // by which the service itself reads src; nil if nothing is copied

	mu     sync.Mutex
	random []byte           // the beginning of every id; its length is that of ids less the number's
	parts  map[int][]string // ids of the blocks of each part, in base64
}

// block is a block of a blob.
type block struct {
	id       string
	off, end int64
}

// address is the address by which the service itself reads a blob, and, if needed, the
// authorisation for it.
type address struct {
	url   string
	token *string
}

// Upload implements cloud.Backend. If src is the replaced blob its blocks are kept by their
// ids; otherwise the service copies from any blob of the account.
func (b *backend) Upload(ctx context.Context, name string, _ cloud.Condition, src *cloud.Source) (cloud.Upload, error) {
	u := &upload{b: b, name: name, blocks: b.client.NewBlockBlobClient(name), src: src, parts: map[int][]string{}}
	u.setIDSize(idSize)
	if src == nil {
		return u, nil
	}
	other, ok := src.Backend.(*backend)
	if !ok || other.Endpoint() != b.Endpoint() {
		return nil, errors.ErrUnsupported
	}
	if other == b && src.Name == name {
		if err := u.learnBase(ctx); err != nil {
			return nil, err
		}
	}
	if u.base != nil {
		return u, nil
	}
	from, err := other.readable(ctx, src.Name)
	if err != nil {
		return nil, fmt.Errorf("%w: %v", errors.ErrUnsupported, err) //nolint:errorlint // shown, not matched: the bytes can go another way
	}
	u.from = from
	return u, nil
}

// learnBase gets the blocks of the replaced blob. A blob made by one request has none. A list
// identifies blocks only by their ids, and a restaged id means the new block; so only ids as
// long as ours are kept, which are unique.
func (u *upload) learnBase(ctx context.Context) error {
	r, err := u.blocks.GetBlockList(cloud.Operation(ctx, "head"), blockblob.BlockListTypeCommitted, nil)
	if err != nil {
		return refused(err)
	}
	if have := attributes(r.ETag, nil, nil).Revision; have != u.src.Revision && len(r.CommittedBlocks) > 0 {
		return cloud.Means(cloud.Changed, "", fmt.Errorf("revision %s is there", have))
	}
	var off int64
	var base []block
	for _, b := range r.CommittedBlocks {
		if len(*b.Name) != base64.StdEncoding.EncodedLen(idSize) {
			return nil
		}
		base = append(base, block{*b.Name, off, off + *b.Size})
		off += *b.Size
	}
	if off == u.src.Size && len(base) <= maxBlocks {
		u.base = base
	}
	return nil
}

// MaxParts implements cloud.Upload: as many as the store wants.
func (u *upload) MaxParts() int { return cloud.UploadParts }

// Kept implements cloud.Upload: whole blocks, or what the service copies by one request.
func (u *upload) Kept(off, end, _ int64) (from, to int64) {
	if u.from != nil {
		switch {
		case end-off < minKept && end-off < u.src.Size:
			return end, end
		case end-off >= copyBlock+minKept:
			end = off + copyBlock
		}
		return off, end
	}
	from, to = end, end
	for _, b := range u.base {
		if b.off >= off && b.end <= end {
			from, to = min(from, b.off), b.end
		}
	}
	if to-from < minKept {
		return end, end
	}
	return from, to
}

// Copy implements cloud.Upload.
func (u *upload) Copy(ctx context.Context, n int, off, end int64) error {
	if u.from == nil {
		var ids []string
		for _, b := range u.base {
			if b.off >= off && b.end <= end {
				ids = append(ids, b.id)
			}
		}
		u.staged(n, ids...)
		return nil
	}
	id, tag := u.newID(n), azcore.ETag(`"`+string(u.src.Revision)+`"`)
	_, err := u.blocks.StageBlockFromURL(ctx, id, u.from.url, &blockblob.StageBlockFromURLOptions{
		Range:                          blob.HTTPRange{Offset: off, Count: end - off},
		CopySourceAuthorization:        u.from.token,
		SourceModifiedAccessConditions: &blob.SourceModifiedAccessConditions{SourceIfMatch: &tag},
	})
	if err == nil {
		u.staged(n, id)
	}
	return refused(err)
}

// readable returns an address by which the service itself may read a blob.
func (b *backend) readable(ctx context.Context, name string) (*address, error) {
	client := b.client.NewBlobClient(name)
	if b.credential != nil {
		t, err := b.credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{storageScope}})
		if err != nil {
			return nil, err
		}
		bearer := "Bearer " + t.Token
		return &address{client.URL(), &bearer}, nil
	}
	signed, err := client.GetSASURL(sas.BlobPermissions{Read: true}, time.Now().Add(sourceLife), nil)
	if err != nil {
		// No key to sign with: the container's own address has a signature, or none is needed.
		return &address{url: client.URL()}, nil //nolint:nilerr // the service says so if it is not enough
	}
	return &address{url: signed}, nil
}

// Part implements cloud.Upload.
//
// Uncommitted blocks of another tool under this name determine the length of all ids as long
// as they exist, which is a week. So if ours are refused, their length is looked up and used.
func (u *upload) Part(ctx context.Context, n int, p []byte) error {
	id := u.newID(n)
	err := u.stage(ctx, n, id, p)
	if !bloberror.HasCode(err, bloberror.InvalidBlobOrBlock, bloberror.InvalidBlockID) {
		return err
	}
	if u.base != nil { // whose ids have a different length
		return errors.ErrUnsupported
	}
	if lerr := u.learnIDSize(ctx, len(id)); lerr != nil {
		return lerr
	}
	return u.stage(ctx, n, u.newID(n), p)
}

func (u *upload) stage(ctx context.Context, n int, id string, p []byte) error {
	_, err := u.blocks.StageBlock(ctx, id, seekable(p), &blockblob.StageBlockOptions{TransactionalValidation: checksum(p)})
	if err == nil {
		u.staged(n, id)
	}
	return refused(err)
}

// staged records that part n is at the store.
func (u *upload) staged(n int, ids ...string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.parts[n] = ids
}

// newID is the id of a part, in base64.
func (u *upload) newID(n int) string {
	u.mu.Lock()
	defer u.mu.Unlock()
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint16(u.random[:len(u.random):len(u.random)], uint16(n)))
}

// setIDSize makes the ids of this upload size bytes long from now on.
func (u *upload) setIDSize(size int) {
	random := make([]byte, size-2)
	_, _ = rand.Read(random) // never fails
	u.mu.Lock()
	defer u.mu.Unlock()
	u.random = random
}

// learnIDSize adopts the length of the staged ids. refusedLen is the refused length, in
// base64; another part may have adopted a new one since.
func (u *upload) learnIDSize(ctx context.Context, refusedLen int) error {
	if len(u.newID(0)) != refusedLen {
		return nil
	}
	r, err := u.blocks.GetBlockList(cloud.Operation(ctx, "other"), blockblob.BlockListTypeAll, nil)
	if err != nil {
		return refused(err)
	}
	for _, block := range slices.Concat(r.UncommittedBlocks, r.CommittedBlocks) {
		if block.Name == nil || len(*block.Name) == refusedLen {
			continue
		}
		id, err := base64.StdEncoding.DecodeString(*block.Name)
		if err != nil || len(id) < minIDSize {
			break
		}
		u.setIDSize(len(id))
		return nil
	}
	return cloud.Means(cloud.Other, "wait until that program has committed or, at most, seven days, or choose another key",
		errors.New("another program staged blocks under this name, with ids that ours cannot stand beside"))
}

// Complete implements cloud.Upload.
func (u *upload) Complete(ctx context.Context, cond cloud.Condition) (cloud.Attributes, error) {
	var list []string
	for n := 1; n <= len(u.parts); n++ {
		list = append(list, u.parts[n]...)
	}
	r, err := u.blocks.CommitBlockList(once(ctx), list, &blockblob.CommitBlockListOptions{
		HTTPHeaders:      headers(),
		AccessConditions: conditions(cond),
	})
	if err != nil {
		return cloud.Attributes{}, refused(err)
	}
	return attributes(r.ETag, nil, r.LastModified), nil
}

// Abort implements cloud.Upload. It does nothing, since Azure has no request for it: see
// "Leftovers" in the package comment.
func (u *upload) Abort(context.Context) error { return nil }
