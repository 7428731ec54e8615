package gs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"

	"cloud.google.com/go/storage"
	"gocloud.dev/blob"
	"google.golang.org/api/googleapi"

	"github.com/workdir/workdir/store/drivers/internal/cloud"
)

// upload is a resumable upload: the library's writer, which buffers chunkSize bytes and sends
// them when complete, while the next part is being filled. If the total is less than that it
// sends one request, at the end.
type upload struct {
	b      *backend
	writer *blob.Writer
	sdk    *storage.Writer
	size   int64              // bytes, of the parts so far; Part and Complete come one after the other
	cancel context.CancelFunc // abandons it
	began  atomic.Bool        // Google has accepted bytes
	failed atomic.Int64       // tries since then that failed
}

// chunkSize is how many bytes are sent by one request. Each costs an idle round trip, so it is
// the library's default and not the size of a part.
const chunkSize = 16 << 20

// uploadTries is how often a request of an upload is sent.
const uploadTries = 8

// Upload implements cloud.Backend. It makes no request: the first part does.
func (b *backend) Upload(ctx context.Context, name string, cond cloud.Condition, src *cloud.Source) (cloud.Upload, error) {
	if src != nil {
		other, ok := src.Backend.(*backend)
		if !ok || other.identity != b.identity {
			return nil, errors.ErrUnsupported
		}
		return &wholeCopy{b, name, other, src}, nil
	}
	u := &upload{b: b}
	ctx, u.cancel = context.WithCancel(context.WithoutCancel(ctx))
	var err error
	u.writer, u.sdk, err = b.newWriter(withChunks(ctx), name, chunkSize, cond,
		storage.WithPolicy(storage.RetryAlways), storage.WithErrorFunc(u.tryAgain), b.backoff())
	if err != nil {
		u.cancel()
		return nil, err
	}
	u.sdk.ProgressFunc = func(int64) {
		u.began.Store(true)
		u.failed.Store(0)
	}
	return u, nil
}

// tryAgain is called by the library after each try; err is nil on success. A retry goes to the
// same address, where Google knows which bytes it has and whether the object exists, so
// retries are always safe. (One request for the whole has no such address: see failure.)
func (u *upload) tryAgain(err error) bool {
	return storage.ShouldRetry(err) && u.failed.Add(1) < uploadTries
}

func (u *upload) MaxParts() int { return 1 }

// Kept and Copy are wholeCopy's.
func (u *upload) Kept(_, end, _ int64) (from, to int64)         { return end, end }
func (u *upload) Copy(context.Context, int, int64, int64) error { return errors.ErrUnsupported }

// Part implements cloud.Upload. An error in sending p may come from the next call.
func (u *upload) Part(ctx context.Context, _ int, p []byte) error {
	stop := context.AfterFunc(ctx, u.cancel)
	defer stop()
	u.size += int64(len(p))
	_, err := u.writer.Write(p)
	return u.failure(ctx, err)
}

// Complete sends the rest of the writer, at most chunkSize. The condition was set at the
// beginning.
func (u *upload) Complete(ctx context.Context, _ cloud.Condition) (cloud.Attributes, error) {
	defer u.cancel()
	stop := context.AfterFunc(ctx, u.cancel)
	defer stop()
	if err := u.failure(ctx, u.writer.Close()); err != nil {
		return cloud.Attributes{}, err
	}
	return attributes(u.sdk.Attrs()), nil
}

// Abort cancels the requests in flight and waits for their end. Google drops the upload after
// a week; it is invisible and free until then.
func (u *upload) Abort(context.Context) error {
	u.cancel()
	_ = u.writer.Close()
	return nil
}

// failure is err, or the error of ctx if that ended the upload.
func (u *upload) failure(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	err = u.b.SDKError(err)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return ctx.Err()
	}
	var answer *googleapi.Error
	code := 0
	if errors.As(err, &answer) {
		code = answer.Code
	}
	switch {
	case code == http.StatusNotFound && u.began.Load(): // the answer is not about the bucket
		return fmt.Errorf("google no longer knows this upload: %v", tidy(err)) //nolint:errorlint // shown, not matched
	case code == http.StatusPreconditionFailed && u.size < chunkSize && u.failed.Load() > 0: // perhaps a conflict with ourselves
		return fmt.Errorf("the answer to an earlier try was lost, and that to a later one was: %v", tidy(err)) //nolint:errorlint // shown, not matched
	}
	return tidyWrite(err)
}

// wholeCopy is an upload that copies another whole object, between two buckets with the same
// credentials: Google cannot copy parts.
type wholeCopy struct {
	b    *backend
	name string
	from *backend
	src  *cloud.Source
}

func (c *wholeCopy) MaxParts() int { return 1 }

// Kept implements cloud.Upload.
func (c *wholeCopy) Kept(off, end, before int64) (from, to int64) {
	if off == 0 && end == c.src.Size && before == 0 {
		return off, end
	}
	return end, end
}

// Copy implements cloud.Upload. Complete copies.
func (c *wholeCopy) Copy(context.Context, int, int64, int64) error { return nil }

// Part implements cloud.Upload.
func (c *wholeCopy) Part(context.Context, int, []byte) error { return errors.ErrUnsupported }

// Complete implements cloud.Upload, in as many requests as Google requires; the last one makes
// the object.
func (c *wholeCopy) Complete(ctx context.Context, cond cloud.Condition) (cloud.Attributes, error) {
	source, err := c.from.handle(ctx)
	target, terr := c.b.handle(ctx)
	generation, gerr := parseRevision(c.src.Revision)
	under, cerr := conditions(cond)
	if err := errors.Join(err, terr, gerr, cerr); err != nil {
		return cloud.Attributes{}, err
	}
	a, err := target.Object(c.name).If(under).CopierFrom(source.Object(c.src.Name).Generation(generation)).Run(ctx)
	if err != nil {
		return cloud.Attributes{}, tidy(err)
	}
	return attributes(a), nil
}

// Abort implements cloud.Upload.
func (c *wholeCopy) Abort(context.Context) error { return nil }
