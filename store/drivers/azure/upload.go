package azure

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"slices"
	"sync"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/workdir/workdir/store/drivers/internal/cloud"
)

const (
	// idSize is how long ids of blocks are, before base64, where nothing asks for
	// another length. Azure takes up to 64 bytes, all of one length for a name.
	idSize = 20
	// minIDSize is the least that is unlike those of other writers: 4 bytes at
	// random, and the number.
	minIDSize = 4 + 2
)

// upload stages blocks under a name and then commits the list of them.
type upload struct {
	blocks *blockblob.Client

	mu     sync.Mutex
	random []byte         // the beginning of every id; its length is that of ids less the number's
	ids    map[int]string // of the parts that were staged, in base64
	sizes  map[int]int64  // of the same
}

// Upload implements cloud.Backend.
func (b *backend) Upload(_ context.Context, name string, _ cloud.Condition) (cloud.Upload, error) {
	return b.newUpload(name), nil
}

func (b *backend) newUpload(name string) *upload {
	u := &upload{blocks: b.client.NewBlockBlobClient(name), ids: map[int]string{}, sizes: map[int]int64{}}
	u.setIDSize(idSize)
	return u
}

// MaxParts implements cloud.Upload: as many as the store wants.
func (u *upload) MaxParts() int { return cloud.UploadParts }

// Part implements cloud.Upload.
//
// Blocks that another tool staged under this name and never committed decide on the
// length of all ids for as long as they are there, which is a week. So where ours
// are refused, theirs are looked at, and ids of that length are sent.
func (u *upload) Part(ctx context.Context, n int, p []byte) error {
	id := u.newID(n)
	err := u.stage(ctx, n, id, p)
	if !bloberror.HasCode(err, bloberror.InvalidBlobOrBlock, bloberror.InvalidBlockID) {
		return err
	}
	if lerr := u.learnIDSize(ctx, len(id)); lerr != nil {
		return lerr
	}
	return u.stage(ctx, n, u.newID(n), p)
}

func (u *upload) stage(ctx context.Context, n int, id string, p []byte) error {
	_, err := u.blocks.StageBlock(ctx, id, seekable(p), &blockblob.StageBlockOptions{TransactionalValidation: checksum(p)})
	if err != nil {
		return refused(err)
	}
	u.staged(n, id, int64(len(p)))
	return nil
}

// staged notes that part n is at the store.
func (u *upload) staged(n int, id string, size int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.ids[n], u.sizes[n] = id, size
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

// learnIDSize takes over the length of the ids that are staged. refused is the
// length, in base64, that was not taken; another part may have learnt since.
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
			return fmt.Errorf("blocks: %w", errForeignBlocks)
		}
		u.setIDSize(len(id))
		return nil
	}
	return fmt.Errorf("blocks: %w", errForeignBlocks)
}

// Complete implements cloud.Upload.
func (u *upload) Complete(ctx context.Context, cond cloud.Condition) (cloud.Attributes, error) {
	list, size := u.list()
	r, err := u.blocks.CommitBlockList(once(ctx), list, &blockblob.CommitBlockListOptions{
		HTTPHeaders:      headers(),
		AccessConditions: conditions(cond),
	})
	if err != nil {
		return cloud.Attributes{}, refused(err)
	}
	return attributes(r.ETag, &size, r.LastModified), nil
}

// list gives the ids of all parts in order, and the size of all together.
func (u *upload) list() (ids []string, size int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for n := 1; n <= len(u.ids); n++ {
		ids = append(ids, u.ids[n])
		size += u.sizes[n]
	}
	return ids, size
}

// Abort implements cloud.Upload. There is nothing that Azure lets us do: see "What
// stays behind" in the package's comment.
func (u *upload) Abort(context.Context) error { return nil }
